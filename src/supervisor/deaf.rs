//! A worker that does not hear the signal by which it is told to go: `su` and `runuser` block it and wait for their program. Then those of
//! its descendants hear it that are nearest to it and can.

use std::time::Duration;

use crate::base::{Mono, Pid, Signal, printable};
use crate::handover::held::HardlyTold;
use crate::supervisor::master::Supervisor;
use crate::sys::hearing::{Hearing, has_taken, hearing};
use crate::sys::{procfs, signal};

/// How long a worker may take to take a signal that it blocks: one that takes it by sigwait(3) may be busy with another.
const TAKEN_WITHIN: Duration = Duration::from_millis(200);

impl Supervisor {
    /// It was told to go by this signal, just now.
    pub(crate) fn see_whether_it_hears(&mut self, now: Mono, worker: Pid, signal: Signal) {
        self.facts.hardly_told.push(HardlyTold { worker, signal, due: now.after(TAKEN_WITHIN) });
    }

    /// When to look at the next that is still there.
    pub(crate) fn hearing_deadline(&self) -> Option<Mono> {
        self.facts.hardly_told.iter().filter(|told| self.is_worker(told.worker)).map(|told| told.due).min()
    }

    /// Looks whether those that are still there have taken their signals, and tells their children if not.
    pub(crate) fn look_at_hardly_told(&mut self, now: Mono) {
        let (due, later) = self.facts.hardly_told.iter().partition(|told| told.due <= now);
        self.facts.hardly_told = later;
        let due: Vec<HardlyTold> = due;
        for HardlyTold { worker, signal, .. } in due.iter().filter(|told| self.is_worker(told.worker)) {
            if hearing(*worker, *signal) == Hearing::Never && !has_taken(*worker, *signal) {
                tell_for(*worker, *signal);
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
