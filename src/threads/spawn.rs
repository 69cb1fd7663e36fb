//! Starts a named thread that outlives its own mistakes. The only place where threads are started.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// How often a thread may panic before it is left alone; one that fails at every turn must not take the processor.
const RESTARTS_MAX: u32 = 100;

/// A thread's small stack: its code is flat.
const STACK_BYTES: usize = 512 * 1024;

/// Runs `body` in a thread of this name. Should it panic, it is logged and begun again: a supervisor that silently no
/// longer reaps, or no longer hears signals, is worse than one that ends.
///
/// Errors: the system has no room for another thread.
pub(in crate::threads) fn named(name: &'static str, body: impl Fn() + Send + 'static) -> io::Result<()> {
    let turns = move || {
        for _ in 0..RESTARTS_MAX {
            if catch_unwind(AssertUnwindSafe(&body)).is_ok() {
                return;
            }
            log::error!("the {name} thread failed and is started again");
        }
        log::error!("the {name} thread failed {RESTARTS_MAX} times and is not started again");
    };
    thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(turns).map(drop)
}
