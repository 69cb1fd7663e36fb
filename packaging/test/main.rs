//! Tests of the packages that `make deb` and `make rpm` have built, as a user gets them: `make package-test`. They need root,
//! for they boot machines to install the packages in (`machine`), and a system with Debian's tools.
//!
//! They look at packages and at what an installed system shows; they must never change the system that they run on.

#![allow(clippy::disallowed_methods, reason = "tests read the clock and wait")]

mod completions;
mod deb;
mod install;
mod lint;
mod machine;
mod machine_self_test;
mod packages;
mod readme;
mod reproducible;
mod rpm;
mod service;
mod site;
#[path = "../../tests/support/sources.rs"]
mod sources;
mod unit;

#[path = "../../tests/proc/support/mod.rs"]
mod support;
