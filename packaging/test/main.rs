//! Tests of the packages that `make deb` and `make rpm` have built, as a user gets them: `make package-test`. They need root,
//! for they boot machines to install the packages in (`machine`), and a system with Debian's tools.
//!
//! They look at packages and at what an installed system shows; they must never change the system that they run on.

#![allow(clippy::disallowed_methods, reason = "tests read the clock and wait")]

mod bad_releases;
mod completions;
mod deb;
mod deploys;
mod install;
mod killed;
mod kills;
#[path = "../../tests/bad_releases/kind.rs"]
#[allow(dead_code, reason = "not all kinds can be tried out here")]
mod kind;
mod lint;
mod machine;
mod machine_self_test;
mod packages;
mod page;
mod readme;
mod reproducible;
#[path = "../../tests/sim/rng.rs"]
#[allow(dead_code, reason = "the simulator draws more kinds of things")]
mod rng;
mod rpm;
#[path = "../../tests/bad_releases/samples.rs"]
#[allow(dead_code, reason = "kinds name them")]
mod samples;
mod service;
mod site;
#[path = "../../tests/support/sources.rs"]
mod sources;
mod unit;

#[path = "../../tests/proc/support/mod.rs"]
mod support;
