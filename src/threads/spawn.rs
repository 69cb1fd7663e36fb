//! Starts a named thread that outlives its own mistakes. The only place where threads are started.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// How often a thread may panic before it is left alone; one that fails at every turn must not take the processor.
const RESTARTS_MAX: u32 = 100;

/// A thread's small stack: its code is flat.
pub(crate) const STACK_BYTES: usize = 512 * 1024;

/// Runs `body` in a thread of this name. Should it panic, it is logged and begun again: a supervisor that silently no
/// longer reaps, or no longer hears signals, is worse than one that ends.
///
/// Errors: the system has no room for another thread.
pub(crate) fn named(name: &'static str, stack_bytes: usize, body: impl Fn() + Send + 'static) -> io::Result<()> {
    let turns = move || {
        for _ in 0..RESTARTS_MAX {
            if catch_unwind(AssertUnwindSafe(&body)).is_ok() {
                return;
            }
            log::error!("the {name} thread failed and is started again");
        }
        log::error!("the {name} thread failed {RESTARTS_MAX} times and is not started again");
    };
    #[cfg(test)]
    shortage::check()?;
    thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(turns).map(drop)
}

/// Stands in for a system that has no room for a thread, in the thread of one test.
#[cfg(test)]
pub(crate) mod shortage {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static PREVAILS: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn begin() {
        PREVAILS.set(true);
    }

    pub(crate) fn end() {
        PREVAILS.set(false);
    }

    pub(crate) fn check() -> io::Result<()> {
        if PREVAILS.get() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::resume_unwind;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::sys::testing::{LIMIT, wait_until};

    /// How often a body is begun that fails so many times; counted when its thread is gone.
    fn beginnings(failures: u32) -> u32 {
        let begun = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&begun);
        named("tested", STACK_BYTES, move || {
            if counter.fetch_add(1, Ordering::SeqCst) < failures {
                // A panic that nothing prints.
                resume_unwind(Box::new(()));
            }
        })
        .unwrap();
        assert!(wait_until(LIMIT, || Arc::strong_count(&begun) == 1), "the thread does not end");
        begun.load(Ordering::SeqCst)
    }

    #[test]
    fn a_thread_that_returns_has_ended() {
        assert_eq!(beginnings(0), 1);
    }

    #[test]
    fn a_thread_that_fails_begins_again() {
        assert_eq!(beginnings(1), 2);
        assert_eq!(beginnings(RESTARTS_MAX - 1), RESTARTS_MAX);
    }

    #[test]
    fn a_thread_that_fails_at_every_turn_is_left_alone() {
        assert_eq!(beginnings(u32::MAX), RESTARTS_MAX);
    }
}
