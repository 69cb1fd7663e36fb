//! Whether a master does its work while it is attacked: a killed worker is replaced in its normal time, its memory does
//! not grow, an admin is answered. Times are compared with the same measurement from before, within one run.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::master::Master;
use crate::support::wait::LIMIT;

/// How much memory a master may take on under attack, in KiB.
const GROWTH_MAX_KIB: i32 = 4096;

/// How many times longer a replacement may take than in peace, on a machine that is busy with the attack itself.
const SLOWER_MAX: u32 = 20;

/// What counts as no time at all: below it, the ratio would be one of the scheduler's moods.
const RESOLUTION: Duration = Duration::from_millis(250);

/// A master's condition in peace.
pub struct Vitals<'a> {
    master: &'a Master,
    worker_count: usize,
    replacement: Duration,
    memory_kib: i32,
}

impl<'a> Vitals<'a> {
    /// Measures a master with so many workers, to be started with a short `-s`.
    #[track_caller]
    pub fn take(master: &'a Master, worker_count: usize) -> Self {
        master.wait_for_workers(worker_count);
        // What is allocated once, at the first request of its kind, is no growth.
        for _ in 0..20 {
            master.control("{command: state}");
            master.control("{command: status, format: json}");
        }
        let replacement = replacement(master, worker_count);
        let memory_kib = master.process().anonymous_kib().unwrap();
        Self { master, worker_count, replacement, memory_kib }
    }

    /// Kills a worker and sees it replaced, is answered, and looks at the memory.
    #[track_caller]
    pub fn check(&self) {
        let now = replacement(self.master, self.worker_count);
        let allowed = self.replacement.max(RESOLUTION) * SLOWER_MAX;
        assert!(now < allowed, "a worker was replaced after {now:?}, and after {:?} in peace", self.replacement);
        let answer = self.master.control("{command: ehlo, user: admin}");
        assert!(answer.contains("Welcome, admin!"), "{answer}");
        self.check_memory();
    }

    #[track_caller]
    pub fn check_memory(&self) {
        let grown_kib = self.master.process().anonymous_kib().expect("the master is gone") - self.memory_kib;
        assert!(
            grown_kib < GROWTH_MAX_KIB,
            "the master has taken {grown_kib} KiB more; the log:\n{}",
            self.master.log()
        );
    }
}

/// How long it takes until a killed worker has a successor.
#[track_caller]
fn replacement(master: &Master, worker_count: usize) -> Duration {
    let victim = master.wait_for_workers(worker_count)[0];
    let began = Instant::now();
    assert!(victim.signal(Signal::SIGKILL));
    master.wait_until("a killed worker is replaced", LIMIT, || {
        let workers = master.workers();
        workers.len() == worker_count && !workers.contains(&victim)
    });
    began.elapsed()
}
