//! Bad releases under load: each is deployed by moving a link and giving `einhyrningsinsctl upgrade`, as a deploy does, and then it
//! is counted what was lost, how few workers served, and when the old strength was back. `make test` runs the short form, `make
//! bad-releases` all of it.

#![allow(clippy::disallowed_methods, reason = "tests read the clock and start threads of their own")]

mod kind;
mod run;
mod site;
#[path = "../proc/support/mod.rs"]
mod support;
mod table;
mod watch;

use crate::kind::{Length, Style};

#[test]
fn bad_releases_cannot_hurt_in_smooth_upgrades() {
    run::run_all(Style::Smooth, Length::Short);
}
