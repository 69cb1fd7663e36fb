//! The crew: every thread beside the main one. Where threads cannot be started, at a limit of processes or without memory, the main
//! thread does their work between its own, in turns that never wait, and goes on trying to start them. A thread finds its work as
//! the last turn left it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::base::Mono;
use crate::sys::clock;
use crate::sys::wakeup::Wakeup;
use crate::threads::Input;
use crate::threads::handle::{ThreadHandle, Work};

/// How often the main thread does the work of missing threads.
const TURN_PAUSE: Duration = Duration::from_millis(50);

/// How often it tries to start them.
const START_PAUSE: Duration = Duration::from_secs(1);

/// A thread that could not be started, whatever its work is.
trait MissingThread: Send {
    fn name(&self) -> &'static str;
    fn is_wanted(&self) -> bool;
    fn start(&self) -> io::Result<()>;
    fn turn(&self) -> Vec<Input>;
}

impl<W: Work> MissingThread for Arc<ThreadHandle<W>> {
    fn name(&self) -> &'static str {
        W::NAME
    }

    fn is_wanted(&self) -> bool {
        Self::strong_count(self) > 1
    }

    fn start(&self) -> io::Result<()> {
        ThreadHandle::start(self)
    }

    fn turn(&self) -> Vec<Input> {
        catch_unwind(AssertUnwindSafe(|| ThreadHandle::turn(self))).unwrap_or_else(|_| {
            log::error!("the main thread failed at the work of the {} thread", W::NAME);
            Vec::new()
        })
    }
}

/// What follows when a thread cannot be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shortage {
    /// The master is not started.
    Refuse,
    /// The main thread stands in.
    StandIn,
}

/// The main thread's end.
pub(crate) struct Crew {
    shortage: Shortage,
    missing: Vec<Box<dyn MissingThread>>,
    /// Why, until it is logged.
    unlogged: Option<io::Error>,
    /// When the main thread stands in next, and when it tries again to start a thread.
    turn_due: Mono,
    start_due: Mono,
}

impl Crew {
    /// For a start that fails without its threads.
    pub(crate) fn required() -> Self {
        Self::new(Shortage::Refuse)
    }

    /// For a master that has workers, and goes on without threads.
    pub(crate) fn optional() -> Self {
        Self::new(Shortage::StandIn)
    }

    fn new(shortage: Shortage) -> Self {
        let never_yet = Mono::from_nanos(0);
        Self { shortage, missing: Vec::new(), unlogged: None, turn_due: never_yet, start_due: never_yet }
    }

    /// From now on the main thread stands in for a thread that cannot be started.
    pub(crate) fn allow_missing(&mut self) {
        self.shortage = Shortage::StandIn;
    }

    /// Starts a thread for this work, and has it woken by `wakeup`, too.
    ///
    /// # Errors
    /// It cannot be started, and the main thread does not stand in.
    pub(crate) fn start<W: Work>(&mut self, work: W, wakeup: Arc<Wakeup>) -> io::Result<Arc<ThreadHandle<W>>> {
        let thread = Arc::new(ThreadHandle::new(work, wakeup));
        match (thread.start(), self.shortage) {
            (Ok(()), _) => Ok(thread),
            (Err(error), Shortage::Refuse) => Err(error),
            (Err(error), Shortage::StandIn) => {
                self.unlogged = Some(error);
                self.missing.push(Box::new(Arc::clone(&thread)));
                self.start_due = clock::now().after(START_PAUSE);
                Ok(thread)
            }
        }
    }

    /// When [`Self::turn`] is to be called next; never, while every thread runs.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        (!self.missing.is_empty()).then_some(self.turn_due)
    }

    /// If it is time, starts the missing threads, and does the work of those that cannot be started. Returns what they would have
    /// sent.
    pub(crate) fn turn(&mut self, now: Mono) -> Vec<Input> {
        if self.deadline().is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.turn_due = now.after(TURN_PAUSE);
        if self.start_due <= now {
            self.start_due = now.after(START_PAUSE);
            self.start_missing();
        }
        self.log_missing();
        let inputs = self.missing.iter().flat_map(|thread| thread.turn()).collect();
        self.missing.retain(|thread| thread.is_wanted());
        inputs
    }

    /// After one that cannot be started, the others are not tried.
    fn start_missing(&mut self) {
        let mut room = true;
        self.missing.retain(|thread| {
            room = room && thread.start().is_ok();
            !room
        });
        if self.missing.is_empty() {
            log::warn!("Every thread runs again");
        }
    }

    fn log_missing(&mut self) {
        if let (Some(error), false) = (self.unlogged.take(), self.missing.is_empty()) {
            let names: Vec<&str> = self.missing.iter().map(|thread| thread.name()).collect();
            let names = names.join(", ");
            log::warn!(
                "cannot start a thread: {error}; the main thread does the work of others ({names}), more slowly, until it can"
            );
        }
    }
}

#[cfg(test)]
#[path = "crew_tests.rs"]
mod tests;
