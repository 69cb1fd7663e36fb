//! Tests that need root, to become another user or to give up a right of root's.

use std::io::{Write, stderr};
use std::panic::Location;

use nix::unistd::geteuid;

/// Whether we are root; if not, says that the test which asks was not run, so that it is not taken for one that passed.
#[track_caller]
pub fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        // Not by a macro, whose words the test harness would keep to itself.
        let _may_be_closed = writeln!(stderr(), "{}: this test was not run, it needs root", Location::caller());
    }
    root
}
