//! A worker that does not hear the signal by which it is told to go: `su` and `runuser` block it and wait for their program. Then those of
//! its descendants hear it that are nearest to it and can.

use crate::base::{Pid, Signal, printable};
use crate::supervisor::master::Supervisor;
use crate::sys::hearing::{Hearing, hearing};
use crate::sys::{procfs, signal};

impl Supervisor {
    /// After the signal was sent to the worker itself.
    pub(crate) fn tell_for_the_deaf(&self, worker: Pid, told: Signal) {
        if hearing(worker, told) != Hearing::Never {
            return;
        }
        let name = procfs::names(worker).into_iter().next().unwrap_or_default();
        let name = printable::line(&name);
        let hearers = hearers_below(worker, told);
        if hearers.is_empty() {
            log::warn!(
                "Worker {worker} ({name}) ignores or blocks {told}: it stays until it ends by itself or is killed"
            );
            return;
        }
        let pids: Vec<String> = hearers.iter().map(Pid::to_string).collect();
        log::warn!(
            "Worker {worker} ({name}) ignores or blocks {told}: sending it to its children [{}]",
            pids.join(", ")
        );
        for pid in hearers {
            if let Err(errno) = signal::send(pid, told) {
                log::error!("cannot send {told} to {pid}: {errno}");
            }
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
