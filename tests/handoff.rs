//! A large handoff in time. Everything else about handoffs is tested in their own room, which may not read a clock.

use std::time::Duration;

use einhyrningsins::base::{Pid, Wall};
use einhyrningsins::handoff::einhorn::{Children, State};
use einhyrningsins::handoff::{Document, Ours};
use einhyrningsins::pool::{State as Pool, Worker};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What grows with the workers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Held {
    pool: Pool,
}

const WORKERS: i32 = 10_000;

/// A slow machine may need this much time of a processor to write and read them; what is quadratic needs more. How much time passes
/// says nothing on a machine that is busy with other things.
const TIME_MAX: Duration = Duration::from_secs(60);

#[test]
fn ten_thousand_workers_are_passed_on_in_time() {
    let golden = Document::from_yaml(include_str!("golden/handoff/ours-2.yaml")).unwrap();
    let mut held: Held = golden.ours.as_ref().unwrap().read().unwrap();
    let worker = held.pool.workers[0].clone();
    held.pool.workers = (0..WORKERS).map(|number| Worker { pid: Pid(100_000 + number), ..worker.clone() }).collect();
    let children = Children::of(&held.pool, |_| Wall { seconds: 1_795_395_600, nanos: 7 });
    let began = processor_time();
    let document = Document {
        state: State { children, ..golden.state },
        ours: Some(Ours::of(&held).unwrap()),
        descriptors: golden.descriptors,
    };
    let text = document.to_yaml();
    let read = Document::from_yaml(&text).unwrap();
    assert!(read == document && read.ours.unwrap().read() == Ok(held));
    let took = processor_time() - began;
    println!("{} bytes in {took:?}", text.len());
    assert!(took < TIME_MAX, "{took:?} for {} bytes", text.len());
}

/// What this thread has used so far.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}
