//! A worker that does not hear the signal by which it is told to go: `su` and `runuser` block it and wait for their program. Then those of
//! its descendants hear it that are nearest to it and can.

use std::time::Duration;

use crate::base::{Mono, Pid, Signal, printable};
use crate::pool::Pool;
use crate::sys::hearing::{Hearing, has_taken, hearing};
use crate::sys::{procfs, signal};

/// How long a worker may take to take a signal that it blocks: one that takes it by sigwait(3) may be busy with another.
const TAKEN_WITHIN: Duration = Duration::from_millis(200);

/// Those that were told to go a moment ago.
#[derive(Default)]
pub(crate) struct HardlyTold(Vec<(Pid, Signal, Mono)>);

impl HardlyTold {
    pub(crate) fn add(&mut self, now: Mono, worker: Pid, told: Signal) {
        self.0.push((worker, told, now.after(TAKEN_WITHIN)));
    }

    /// When to look at the next.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.0.iter().map(|(.., due)| *due).min()
    }

    fn take_due(&mut self, now: Mono) -> Vec<(Pid, Signal)> {
        let (due, later) = std::mem::take(&mut self.0).into_iter().partition(|(.., due)| *due <= now);
        self.0 = later;
        let due: Vec<(Pid, Signal, Mono)> = due;
        due.into_iter().map(|(worker, told, _)| (worker, told)).collect()
    }

    /// Looks whether those that are still there have taken their signals, and tells their children if not.
    pub(crate) fn look_again(&mut self, now: Mono, pool: &Pool) {
        self.0.retain(|(worker, ..)| pool.workers().iter().any(|it| it.pid == *worker));
        for (worker, told) in self.take_due(now) {
            if hearing(worker, told) == Hearing::Never && !has_taken(worker, told) {
                tell_for(worker, told);
            }
        }
    }
}

fn tell_for(worker: Pid, told: Signal) {
    let name = procfs::names(worker).into_iter().next().unwrap_or_default();
    let name = printable::line(&name);
    let hearers = hearers_below(worker, told);
    if hearers.is_empty() {
        log::warn!("Worker {worker} ({name}) ignores or blocks {told}: it stays until it ends by itself or is killed");
        return;
    }
    let pids: Vec<String> = hearers.iter().map(Pid::to_string).collect();
    log::warn!("Worker {worker} ({name}) ignores or blocks {told}: sending it to its children [{}]", pids.join(", "));
    for pid in hearers {
        if let Err(errno) = signal::send(pid, told) {
            log::error!("cannot send {told} to {pid}: {errno}");
        }
    }
}

/// On each way down from the process the first that hears it.
fn hearers_below(pid: Pid, told: Signal) -> Vec<Pid> {
    let descendants = procfs::descendants(pid);
    let hears = |pid: Pid| hearing(pid, told) != Hearing::Never;
    let is_first = |hearer: &Pid| {
        let mut above = procfs::parent(*hearer);
        while let Some(parent) = above.filter(|parent| *parent != pid) {
            if hears(parent) || !descendants.contains(&parent) {
                return false;
            }
            above = procfs::parent(parent);
        }
        above.is_some() && hears(*hearer)
    };
    descendants.iter().copied().filter(is_first).collect()
}
