//! The signal thread: the only one in which signals are not blocked. It tells the main thread which came. Before the master
//! replaces its own program, it blocks them here too: what comes from then on waits for the next image, or for the thaw. It
//! never loses one that it has taken.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendError, Sender, bounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::pool::Signal;
use crate::sys::signal as sys_signal;
use crate::sys::wakeup::Wakeup;
use crate::threads::Input;
use crate::threads::spawn;

/// How long the main thread waits for this one to be deaf. It only takes longer when the thread waits for room in the
/// inbox, and then the main thread must not wait for it.
const FREEZE_MAX: Duration = Duration::from_millis(500);

/// How many orders may wait: those that nobody waits for any more, and one.
const ORDERS_MAX: usize = 2;

/// The main thread's end.
pub struct SignalThread {
    orders: Sender<Freeze>,
    wakeup: Wakeup,
}

/// While it lives, no thread takes a signal. When it is dropped, they are heard again, and first those that came meanwhile.
#[must_use = "signals are heard again once it is dropped"]
#[derive(Debug)]
pub struct Deafness {
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
    pub fn freeze(&self) -> Option<Deafness> {
        let (frozen, confirmed) = bounded(1);
        let (thaw, thawed) = bounded(0);
        // An order that comes to its turn too late finds itself over, since then `thaw` has been dropped.
        self.orders.try_send(Freeze { frozen, thawed }).ok()?;
        self.wakeup.wake();
        confirmed.recv_timeout(FREEZE_MAX).ok()?;
        Some(Deafness { _thaws_when_dropped: thaw })
    }
}

/// Hears every signal of `wanted` from now on. Equal signals that come faster than they are handled are one.
///
/// Errors: a signal that cannot be caught is among them, no descriptors are left, or no thread can be started.
pub fn start(wanted: &'static [Signal], inbox: Sender<Input>) -> io::Result<SignalThread> {
    let (orders, given) = bounded(ORDERS_MAX);
    let wakeup = Wakeup::new()?;
    let woken = wakeup.try_clone()?;
    let (reader, writer) = UnixStream::pair()?;
    let numbers = wanted.iter().map(|signal| signal.number());
    let delivery = SignalDelivery::with_pipe(reader, writer, SignalOnly, numbers)?;
    // A mutex only because the thread may have to begin again; nobody else ever locks it.
    let ear = Mutex::new(Ear { wanted, delivery, inbox, given, woken });
    spawn::named("signals", move || ear.lock().unwrap_or_else(PoisonError::into_inner).listen())?;
    Ok(SignalThread { orders, wakeup })
}

/// What the thread holds.
struct Ear {
    wanted: &'static [Signal],
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    inbox: Sender<Input>,
    given: Receiver<Freeze>,
    woken: Wakeup,
}

impl Ear {
    /// Returns when the main thread is gone.
    fn listen(&mut self) {
        sys_signal::unblock_in_this_thread(self.wanted);
        while self.pass_on().is_ok() {
            while let Ok(order) = self.given.try_recv() {
                if self.be_deaf(order).is_err() {
                    return;
                }
            }
            self.wait();
        }
    }

    /// The one blocking call. That a signal interrupts it is as good as any other end of it.
    fn wait(&self) {
        let interest = PollFlags::POLLIN;
        let _interrupted = poll(
            &mut [PollFd::new(self.delivery.get_read().as_fd(), interest), PollFd::new(self.woken.as_fd(), interest)],
            PollTimeout::NONE,
        );
        self.woken.rest();
    }

    /// Sends on what was taken. The handler has noted it before it made the pipe readable, and this empties the pipe first,
    /// so that nothing is overlooked.
    fn pass_on(&mut self) -> Result<(), SendError<Input>> {
        for signal in self.delivery.pending().filter_map(Signal::from_number) {
            self.inbox.send(Input::Signaled(signal))?;
        }
        Ok(())
    }

    /// The handlers run in this thread alone, so that none runs once signals are blocked here; all that they have noted is
    /// sent on before anybody is told. They stay installed: a signal never meets its default.
    fn be_deaf(&mut self, order: Freeze) -> Result<(), SendError<Input>> {
        sys_signal::block_all();
        self.pass_on()?;
        let _too_late = order.frozen.send(());
        let _over = order.thawed.recv();
        sys_signal::unblock_in_this_thread(self.wanted);
        Ok(())
    }
}

#[cfg(test)]
#[path = "signals_tests.rs"]
mod tests;
