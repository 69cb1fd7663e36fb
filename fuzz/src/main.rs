//! One target of `einhyrningsins::fuzzing` as a libFuzzer program; FUZZ_TARGET names it. `fuzz/run` builds and starts it.

#![no_main]

use std::sync::OnceLock;

use einhyrningsins::fuzzing::{TARGETS, Target, find};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

fn chosen() -> Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    find(&name)
        .unwrap_or_else(|| panic!("FUZZ_TARGET is {name:?}, need one of {:?}", TARGETS.map(|target| target.name)))
}

fuzz_target!(|data: &[u8]| (TARGET.get_or_init(chosen).run)(data));
