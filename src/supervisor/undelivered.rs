//! Signals that the system refused to send, though the worker is there: one that runs as another user for the moment, or that a
//! security module protects. The pool tells a worker once, so they are sent again until they are delivered, or for
//! [`GIVE_UP_AFTER`]. It must never send to a pid that the pool no longer lists.

use std::fmt;
use std::time::Duration;

use nix::errno::Errno;

use crate::base::{Mono, Pid, Signal};
use crate::pool::Pool;
use crate::supervisor::adopted::Adopted;
use crate::sys::errno::words;
use crate::sys::{clock, signal};

/// How long to wait before the first further attempt, and at most before a later one.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// After that, the signal is not sent any more.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// What a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addressee {
    Worker(Pid),
    /// Of the worker that leads or led it.
    Group(Pid),
}

/// One that waits.
struct Waiting {
    to: Addressee,
    signal: Signal,
    since: Mono,
    due: Mono,
    wait: Duration,
}

impl Waiting {
    fn new(to: Addressee, signal: Signal, now: Mono) -> Self {
        Self { to, signal, since: now, due: now.after(FIRST_WAIT), wait: FIRST_WAIT }
    }

    fn later(self, now: Mono) -> Self {
        let wait = (self.wait * 2).min(LONGEST_WAIT);
        Self { due: now.after(wait), wait, ..self }
    }
}

/// Those that wait.
#[derive(Default)]
pub(crate) struct Undelivered(Vec<Waiting>);

impl Undelivered {
    /// Sends it, now or later. A missing process is no error: its end is about to be noticed.
    pub(crate) fn send(&mut self, adopted: &Adopted, to: Addressee, signal: Signal) {
        match attempt(adopted, to, signal) {
            Ok(()) => {}
            Err(Errno::ESRCH) => log::debug!("cannot send {signal} to {to}: {}", words(Errno::ESRCH)),
            Err(errno) => {
                log::error!("cannot send {signal} to {to}, trying again: {}", words(errno));
                self.0.push(Waiting::new(to, signal, clock::now()));
            }
        }
    }

    /// When the next further attempt is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.0.iter().map(|it| it.due).min()
    }

    /// Makes those that are due.
    pub(crate) fn send_again(&mut self, now: Mono, adopted: &Adopted, pool: &Pool) {
        if self.deadline().is_none_or(|due| due > now) {
            return;
        }
        for it in std::mem::take(&mut self.0) {
            if !is_listed(it.to, pool) {
                continue;
            }
            if it.due > now {
                self.0.push(it);
                continue;
            }
            match attempt(adopted, it.to, it.signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) if it.since.after(GIVE_UP_AFTER) <= now => {
                    log::error!("cannot send {} to {}, giving up: {}", it.signal, it.to, words(errno));
                }
                Err(_) => self.0.push(it.later(now)),
            }
        }
    }
}

fn is_listed(to: Addressee, pool: &Pool) -> bool {
    match to {
        Addressee::Worker(pid) => pool.workers().iter().any(|worker| worker.pid == pid),
        Addressee::Group(pid) => {
            pool.workers().iter().any(|worker| worker.pid == pid)
                || pool.leftovers().iter().any(|leftover| leftover.pid == pid)
        }
    }
}

fn attempt(adopted: &Adopted, to: Addressee, wanted: Signal) -> Result<(), Errno> {
    match to {
        Addressee::Worker(pid) => adopted.send(pid, wanted).unwrap_or_else(|| signal::send(pid, wanted)),
        Addressee::Group(pid) => adopted.send_to_group(pid, wanted).unwrap_or_else(|| signal::send_group(pid, wanted)),
    }
}

impl fmt::Display for Addressee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(pid) => write!(f, "worker {pid}"),
            Self::Group(pid) => write!(f, "the group of worker {pid}"),
        }
    }
}
