//! The signal thread: the only one that takes signals, which are blocked in every thread. It tells the main thread which came.
//! Before the master replaces its own program it takes none: what comes from then on waits for the next image, or for the thaw.
//! It never loses one that it has taken.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendError, Sender, bounded};

use crate::base::Signal;
use crate::sys::wakeup;
use crate::threads::Input;
use crate::threads::crew::{Crew, Post, Work};

/// How long the main thread waits for this one to be deaf. It only takes longer when the thread waits for room in the
/// inbox, and then the main thread must not wait for it.
const FREEZE_MAX: Duration = Duration::from_millis(500);

/// How many orders may wait: those that nobody waits for any more, and one.
const ORDERS_MAX: usize = 2;

/// The main thread's end.
pub(crate) struct SignalThread {
    orders: Sender<Freeze>,
    post: Arc<Post<Ear>>,
}

/// While it lives, no thread takes a signal. When it is dropped, they are heard again, and first those that came meanwhile.
#[must_use = "signals are heard again once it is dropped"]
#[derive(Debug)]
pub(crate) struct Deafness {
    _thaws_when_dropped: Sender<()>,
}

/// An order to be deaf.
struct Freeze {
    /// Dropped once every signal that was taken is in the inbox, and no further one will be.
    frozen: Sender<()>,
    /// Disconnected when it is over.
    thawed: Receiver<()>,
}

impl SignalThread {
    /// Stops hearing signals. Those that were taken are in the inbox when it returns; later ones stay pending in the process,
    /// blocked, and outlive an exec. None: the thread did not come to it in half a second, and goes on hearing.
    pub(crate) fn freeze(&self) -> Option<Deafness> {
        let (frozen, confirmed) = bounded(1);
        let (thaw, thawed) = bounded(0);
        let deafness = Deafness { _thaws_when_dropped: thaw };
        if self.post.in_stead().is_some() {
            // The main thread hears, and does something else meanwhile.
            return Some(deafness);
        }
        // An order that comes to its turn too late finds itself over, since then `thaw` has been dropped.
        self.orders.try_send(Freeze { frozen, thawed }).ok()?;
        self.post.wake();
        confirmed.recv_timeout(FREEZE_MAX).ok()?;
        Some(deafness)
    }
}

/// Hears every signal of `wanted` from now on; all of them are blocked. Equal signals that come faster than they are handled are
/// one.
///
/// Errors: no thread can be started.
pub(crate) fn start(wanted: &'static [Signal], inbox: Sender<Input>, crew: &mut Crew) -> io::Result<SignalThread> {
    let (orders, given) = bounded(ORDERS_MAX);
    let post = crew.post(Ear { wanted, inbox, given })?;
    Ok(SignalThread { orders, post })
}

/// What the thread holds.
struct Ear {
    wanted: &'static [Signal],
    inbox: Sender<Input>,
    given: Receiver<Freeze>,
}

impl Work for Ear {
    const NAME: &'static str = "signals";

    /// Returns when the main thread is gone.
    fn serve(&mut self) {
        let mut heard = Ok(());
        while heard.is_ok() {
            while let Ok(order) = self.given.try_recv() {
                be_deaf(&order);
            }
            heard = match wakeup::wait_for(self.wanted) {
                Some(signal) => self.pass_on(signal),
                None => Ok(()),
            };
        }
    }

    fn turn(&mut self) -> Vec<Input> {
        let pending = std::iter::from_fn(|| wakeup::take_pending(self.wanted));
        // Of each there is one at most, unless somebody sends them without end.
        pending.take(self.wanted.len()).map(Input::Signaled).collect()
    }
}

impl Ear {
    fn pass_on(&self, signal: Signal) -> Result<(), SendError<Input>> {
        self.inbox.send(Input::Signaled(signal))
    }
}

/// The thread has passed on what it took, and takes nothing until it is over.
fn be_deaf(order: &Freeze) {
    let _too_late = order.frozen.send(());
    let _over = order.thawed.recv();
}

#[cfg(test)]
#[path = "signals_tests.rs"]
mod tests;
