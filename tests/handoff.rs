//! A large handoff in time. Everything else about handoffs is tested in their own room, which may not read a clock.

use std::time::Duration;

use einhyrningsins::handoff::{Document, Fd, ours};
use einhyrningsins::pool::Pid;
use nix::time::{ClockId, clock_gettime};

const WORKERS: i32 = 10_000;

/// A slow machine may need this much time of a processor to write and read them; what is quadratic needs more. How much time passes
/// says nothing on a machine that is busy with other things.
const TIME_MAX: Duration = Duration::from_secs(60);

#[test]
fn ten_thousand_workers_are_passed_on_in_time() {
    let mut document = Document::from_yaml(include_str!("golden/handoff/ours-1.yaml")).unwrap();
    let ours = document.ours.as_mut().unwrap();
    let (child, worker) = (document.state.children.workers[0].1.clone(), ours.workers[0].clone());
    for number in 0..WORKERS {
        let pid = Pid(100_000 + number);
        document.state.children.workers.push((pid, child.clone()));
        ours.workers.push(ours::Worker { pid, exec_pipe: Some(Fd(1_000 + number)), ..worker.clone() });
    }
    let began = processor_time();
    let text = document.to_yaml();
    assert!(Document::from_yaml(&text).unwrap() == document);
    let took = processor_time() - began;
    println!("{} bytes in {took:?}", text.len());
    assert!(took < TIME_MAX, "{took:?} for {} bytes", text.len());
}

/// What this thread has used so far.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}
