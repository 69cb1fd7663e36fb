//! All cells there are, made from what a master really calls in each phase, and which of them are run. Its order depends on the seed
//! alone.

use std::collections::BTreeMap;
use std::fmt;

use crate::calls;
use crate::fault::{At, Fault};
use crate::phases::Phase;
use crate::rng::Rng;
use crate::tracer::LOADER;

/// How often each thread made each call in a phase.
pub type Counts = BTreeMap<(String, String), u32>;

/// What a phase is when nothing fails.
pub struct Recording {
    pub counts: Counts,
    /// How many descriptors the master has when it works again; none if it ends.
    pub descriptors: usize,
}

/// A fault in a phase.
#[derive(Clone)]
pub struct Cell {
    pub phase: &'static Phase,
    pub fault: Fault,
    /// More descriptors than this are lost ones.
    pub descriptors_max: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.phase.name, self.fault)
    }
}

/// Each call with each of its errors: the first, the second, the middle and the last one of each thread's, and all of them.
pub fn of_phase(phase: &'static Phase, recording: &Recording) -> Vec<Cell> {
    let Recording { counts, descriptors } = recording;
    let cell = |fault: Fault| Cell { phase, fault, descriptors_max: *descriptors };
    let mut cells = Vec::new();
    let mut calls_seen = Vec::new();
    for ((thread, name), &count) in counts {
        let Some(call) = calls::of_name(name) else { continue };
        // Before its first instruction nothing of a start is ours, and nothing is lost. The first program of these phases is started in them.
        let is_loader = thread == LOADER;
        if is_loader && ["start", "adopt"].contains(&phase.name) {
            continue;
        }
        if !is_loader && !calls_seen.contains(&call.name) {
            calls_seen.push(call.name);
        }
        let numbers = if is_loader { vec![1] } else { numbers(count) };
        for &errno in if is_loader { &call.errors[..1] } else { call.errors } {
            let once = |&number: &u32| At::Once { thread: thread.clone(), number };
            cells.extend(numbers.iter().map(once).map(|at| cell(Fault { call: call.name, errno, at })));
        }
    }
    for call in calls_seen.into_iter().filter_map(calls::of_name) {
        let always = |&errno: &_| cell(Fault { call: call.name, errno, at: At::Always });
        cells.extend(call.errors.iter().map(always));
    }
    cells
}

/// What the table does not know.
pub fn unknown(recording: &Recording) -> Vec<String> {
    recording.counts.keys().filter_map(|(_, call)| call.strip_prefix("unknown:")).map(str::to_owned).collect()
}

fn numbers(count: u32) -> Vec<u32> {
    let mut numbers = vec![1, 2, count.div_ceil(2), count];
    numbers.retain(|&number| number <= count);
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// So many of them by chance.
pub fn choose(mut cells: Vec<Cell>, count: usize, seed: u64) -> Vec<Cell> {
    let mut rng = Rng::new(seed);
    for at in (1..cells.len()).rev() {
        let other = rng.below(at as u64 + 1) as usize;
        cells.swap(at, other);
    }
    cells.truncate(count);
    cells
}
