//! The signal thread: the only one that takes signals, which are blocked in every thread. It tells the main thread which came.
//! Before the master replaces its own program the thread pauses: what comes from then on stays pending for the next image, or until
//! the pause is over. It never loses a signal that it has taken.

use std::io;
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::base::Signal;
use crate::sys::signal::{self, Received};
use crate::sys::{procfs, wakeup};
use crate::threads::Input;
use crate::threads::crew::Crew;
use crate::threads::handle::{Paused, Pauses, ThreadHandle, Work};

/// The main thread's end.
pub(crate) struct SignalThread(Arc<ThreadHandle<SignalReader>>);

/// While it lives, no thread takes a signal.
pub(crate) type SignalsPaused = Paused<SignalReader>;

impl SignalThread {
    /// Stops reading signals. Those that were taken are in the inbox when it returns; later ones stay pending in the process,
    /// blocked, and outlive an exec. None: the thread is busy, and goes on reading.
    pub(crate) fn pause(&self) -> Option<SignalsPaused> {
        self.0.pause()
    }
}

/// Reads every signal of `wanted` from now on; all of them are blocked. Those that are pending already are in the inbox, which has
/// room for one of each, when it returns. Equal signals that come faster than they are handled are one.
///
/// # Errors
/// No thread can be started.
pub(crate) fn start(wanted: &'static [Signal], inbox: Sender<Input>, crew: &mut Crew) -> io::Result<SignalThread> {
    let mut reader = SignalReader { wanted, inbox };
    for pending in reader.turn() {
        let _the_other_end_is_there = reader.inbox.send(pending);
    }
    crew.start(reader, Arc::default()).map(SignalThread)
}

/// What the thread holds.
pub(crate) struct SignalReader {
    wanted: &'static [Signal],
    inbox: Sender<Input>,
}

impl Work for SignalReader {
    const NAME: &'static str = "signals";

    fn serve(&mut self, pauses: &Pauses) {
        while !pauses.is_requested() {
            let Some(received) = wakeup::wait_for(self.wanted) else { continue };
            if self.inbox.send(input(received)).is_err() {
                return;
            }
        }
    }

    fn turn(&mut self) -> Vec<Input> {
        let pending = std::iter::from_fn(|| wakeup::take_pending(self.wanted));
        // Of each there is one at most, unless signals are sent without end.
        pending.take(self.wanted.len()).map(input).collect()
    }
}

fn input(received: Received) -> Input {
    let lineage = match received.sender {
        signal::Sender::Process(pid) => procfs::lineage(pid).collect(),
        signal::Sender::Unnumbered | signal::Sender::Kernel => Vec::new(),
    };
    Input::Signaled(received, lineage)
}

#[cfg(test)]
#[path = "signals_tests.rs"]
mod tests;
