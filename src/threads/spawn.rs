//! Starts a named thread that outlives its own mistakes. The only place where threads are started.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How often a thread may panic before it is left alone; one that fails at every turn must not take the processor.
const RESTARTS_MAX: u32 = 100;

/// How often a thread is tried to be started, and how long to wait in between.
const ATTEMPTS_MAX: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// A thread's small stack: its code is flat.
const STACK_BYTES: usize = 512 * 1024;

/// Runs `body` in a thread of this name. Should it panic, it is logged and begun again: a supervisor that silently no
/// longer reaps, or no longer hears signals, is worse than one that ends.
///
/// Errors: the system has no room for another thread.
pub(in crate::threads) fn named(name: &'static str, body: impl Fn() + Send + 'static) -> io::Result<()> {
    with_stack(name, STACK_BYTES, body)
}

/// The same for code that is not flat, or not ours: it gets a stack of this size.
pub(in crate::threads) fn with_stack(
    name: &'static str,
    stack_bytes: usize,
    body: impl Fn() + Send + 'static,
) -> io::Result<()> {
    let turns = move || {
        for _ in 0..RESTARTS_MAX {
            if catch_unwind(AssertUnwindSafe(&body)).is_ok() {
                return;
            }
            log::error!("the {name} thread failed and is started again");
        }
        log::error!("the {name} thread failed {RESTARTS_MAX} times and is not started again");
    };
    // What cannot be started is not lost with the attempt.
    let waiting = Arc::new(Mutex::new(Some(turns)));
    let take = |waiting: &Mutex<Option<_>>| waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    patiently(|| {
        let waiting = Arc::clone(&waiting);
        let run = move || {
            if let Some(turns) = take(&waiting) {
                turns();
            }
        };
        thread::Builder::new().name(name.to_owned()).stack_size(stack_bytes).spawn(run).map(drop)
    })
}

/// Tries again while there is no room for another thread: at a limit of processes, and in the middle of a re-exec, somebody
/// else may have taken the place that was ours.
#[expect(clippy::disallowed_methods, reason = "whoever leaves a place tells nobody")]
fn patiently(mut start: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let mut outcome = start();
    for _ in 0..ATTEMPTS_MAX {
        match &outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Ok(()) | Err(_) => break,
        }
        outcome = start();
    }
    outcome
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
        named("tested", move || {
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
    fn who_finds_no_room_tries_again() {
        let mut refusals = 3;
        let started = patiently(|| {
            if refusals == 0 {
                return Ok(());
            }
            refusals -= 1;
            Err(io::ErrorKind::WouldBlock.into())
        });
        assert!(started.is_ok() && refusals == 0);
        let mut attempts = 0;
        let refused = patiently(|| {
            attempts += 1;
            Err(io::ErrorKind::OutOfMemory.into())
        });
        assert_eq!((refused.unwrap_err().kind(), attempts), (io::ErrorKind::OutOfMemory, 1));
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
