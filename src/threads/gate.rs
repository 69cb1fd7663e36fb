//! Bounds how many requests that get no reply wait for the main thread: each carries a ticket, which comes back when the main
//! thread has dealt with it. A gate makes no thread wait: it says no, and wakes the control thread when there is room again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::sys::wakeup::Wakeup;

/// How many may be on their way. An admin's request, which waits for its reply, waits for no more of others than these.
pub(crate) const TICKETS_MAX: usize = 8;

/// When so few are left out, the thread that was told no is woken: not for each ticket, which would be one wake-up for each request.
const TICKETS_LOW: usize = TICKETS_MAX / 2;

pub(crate) struct Gate(Arc<Shared>);

/// Held while a request is on its way to the main thread, and until that is done with it.
pub(crate) struct Ticket(Arc<Shared>);

struct Shared {
    out: AtomicUsize,
    /// Whether the control thread has asked in vain.
    is_wanted: AtomicBool,
    wakeup: Arc<Wakeup>,
}

impl Gate {
    /// `wakeup` is the control thread's.
    pub(crate) fn new(wakeup: Arc<Wakeup>) -> Self {
        Self(Arc::new(Shared { out: AtomicUsize::new(0), is_wanted: AtomicBool::new(false), wakeup }))
    }

    /// None: as many as there may be are on their way. The thread is woken when that has changed. Only the control thread asks.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        let take = || {
            let is_free = self.0.out.load(Ordering::SeqCst) < TICKETS_MAX;
            is_free.then(|| {
                self.0.out.fetch_add(1, Ordering::SeqCst);
                Ticket(Arc::clone(&self.0))
            })
        };
        take().or_else(|| {
            self.0.is_wanted.store(true, Ordering::SeqCst);
            // The last one may have come back before it was known that it is wanted.
            take()
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let left = self.0.out.fetch_sub(1, Ordering::SeqCst) - 1;
        if left <= TICKETS_LOW && self.0.is_wanted.swap(false, Ordering::SeqCst) {
            self.0.wakeup.wake();
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::errno::Errno;

    use super::*;
    use crate::sys::wakeup::poll;

    /// Whether this thread was woken since it was asked last.
    fn was_woken() -> bool {
        poll(&mut [], Some(Duration::ZERO)) == Err(Errno::EINTR)
    }

    #[test]
    fn a_gate_is_closed_until_half_of_its_tickets_are_back() {
        let wakeup = Arc::new(Wakeup::default());
        wakeup.enlist();
        let gate = Gate::new(wakeup);
        let mut out: Vec<Ticket> = (0..TICKETS_MAX).map(|_| gate.ticket().unwrap()).collect();
        out.pop();
        assert!(!was_woken(), "no ticket was refused");
        out.push(gate.ticket().unwrap());
        assert!(gate.ticket().is_none());
        while out.len() > TICKETS_LOW {
            assert!(!was_woken(), "{} are out", out.len());
            out.pop();
        }
        assert!(was_woken());
        out.clear();
        assert!(!was_woken(), "it was woken already");
    }
}
