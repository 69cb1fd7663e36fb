//! Waiting for a condition, with a ceiling: the tests' only way to let time pass.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up: long, because the machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until the condition holds; panics with `what` was waited for, and says how long.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, condition: impl FnMut() -> bool) {
    assert!(holds_within(limit, condition), "waited {limit:?} for this, in vain: {what}");
}

/// Whether the condition came to hold in that time.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
    true
}
