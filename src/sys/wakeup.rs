//! Wakes one thread that waits in ppoll(2) or rt_sigtimedwait(2), by a signal to that thread alone. It takes no descriptor, so
//! that there is nothing to be had from a system that has none left. It carries no message, only that there is one elsewhere.

use std::sync::atomic::{AtomicI32, Ordering, fence};
use std::time::Duration;

use libc::c_int;
use nix::errno::Errno;
use nix::poll::{PollFd, ppoll};
use nix::sys::signal::Signal as Named;
use nix::sys::time::TimeSpec;

use crate::base::Signal;
use crate::sys::signal::{self, Received};

/// By default it does nothing, so that one which a stranger sends does nothing either.
const WAKE: Named = Named::SIGURG;

/// The thread to wake; none at first.
#[derive(Debug, Default)]
pub struct Wakeup {
    /// Its number, gettid(2); 0 for none.
    thread: AtomicI32,
}

impl Wakeup {
    /// Makes the calling thread the one that is woken. To be called before the thread looks for messages the first time: what is
    /// put there later wakes it.
    pub fn enlist(&self) {
        signal::block(WAKE);
        signal::let_interrupt(WAKE);
        self.thread.store(nix::unistd::gettid().as_raw(), Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Ends the thread's wait, the one under way or else the next. To be called when the message is in its place. Never blocks;
    /// equal calls in a row are one.
    pub fn wake(&self) {
        // Either this sees the thread's number, or the thread sees the message.
        fence(Ordering::SeqCst);
        let thread = self.thread.load(Ordering::SeqCst);
        if thread != 0 {
            signal::send_to_thread(thread, WAKE);
        }
    }
}

/// poll(2). No timeout: for ever.
///
/// # Errors
/// EINTR when a wake-up ends it.
pub fn poll(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<c_int, Errno> {
    ppoll(fds, timeout.map(TimeSpec::from_duration), Some(signal::mask_without(WAKE)))
}

/// Waits so long, or until the thread is woken: where [`poll`] fails, for a loop must not spin.
pub fn rest(time: Duration) {
    let _woken = signal::take([WAKE as c_int], Some(time));
}

/// Waits for one of these signals, which are blocked in every thread, and takes it. None: the thread was woken, or interrupted.
pub fn wait_for(signals: &[Signal]) -> Option<Received> {
    let wanted = signals.iter().map(|signal| signal.number()).chain([WAKE as c_int]);
    signal::take(wanted, None).filter(|received| signals.contains(&received.signal))
}

/// Takes one of these signals if it is pending, without waiting.
pub fn take_pending(signals: &[Signal]) -> Option<Received> {
    signal::take(signals.iter().map(|signal| signal.number()), Some(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use nix::poll::PollFlags;

    use super::*;
    use crate::base::Pid;
    use crate::sys::signal::Sender;
    use crate::sys::testing::{LIMIT, on_first_thread};

    /// Runs `wait` in a thread again and again; each end of it is told.
    fn waiting(wakeup: &Arc<Wakeup>, wait: impl Fn() + Send + 'static) -> std::sync::mpsc::Receiver<()> {
        let (told, ends) = channel();
        let wakeup = Arc::clone(wakeup);
        #[expect(clippy::disallowed_methods, reason = "threads::spawn is above this room")]
        std::thread::spawn(move || {
            wakeup.enlist();
            while told.send(()).is_ok() {
                wait();
            }
        });
        ends.recv_timeout(LIMIT).unwrap();
        ends
    }

    #[test]
    fn each_wait_ends_when_it_is_woken_and_not_before() {
        on_first_thread(module_path!(), "each_wait_ends_when_it_is_woken_and_not_before", || {
            signal::block_all();
            let (reader, _writer) = nix::unistd::pipe().unwrap();
            let by_poll: Box<dyn Fn() + Send> = Box::new(move || {
                assert_eq!(poll(&mut [PollFd::new(reader.as_fd(), PollFlags::POLLIN)], None), Err(Errno::EINTR));
            });
            let by_signal: Box<dyn Fn() + Send> = Box::new(|| assert_eq!(wait_for(&[Signal::HUP]), None));
            for wait in [by_poll, by_signal] {
                let wakeup = Arc::new(Wakeup::default());
                // No thread is there to be woken yet.
                wakeup.wake();
                let ends = waiting(&wakeup, wait);
                for _ in 0..200 {
                    assert!(ends.try_recv().is_err(), "it ended by itself");
                    wakeup.wake();
                    ends.recv_timeout(LIMIT).unwrap();
                }
            }
        });
    }

    #[test]
    fn a_signal_is_taken_once_by_a_wait_or_a_look() {
        on_first_thread(module_path!(), "a_signal_is_taken_once_by_a_wait_or_a_look", || {
            signal::block_all();
            let own = Pid(nix::unistd::getpid().as_raw());
            let wanted = [Signal::HUP, Signal::CONT, Signal::TERM];
            assert_eq!(take_pending(&wanted), None);
            for wanted_one in wanted {
                signal::send(own, wanted_one).unwrap();
                signal::send(own, Signal::USR1).unwrap();
                let received = Some(Received { signal: wanted_one, sender: Sender::Process(own) });
                assert_eq!(wait_for(&wanted), received);
                signal::send(own, wanted_one).unwrap();
                assert_eq!(take_pending(&wanted), received);
                assert_eq!(take_pending(&wanted), None);
            }
        });
    }
}
