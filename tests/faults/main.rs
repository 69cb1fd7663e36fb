//! Faults in the system calls of a real master: in each phase of its life, each call that it makes there fails with each error that
//! its manual page names. Soon after the fault it must work again with all its workers, or have ended with a documented code and left
//! nothing behind.
//!
//! A cell is a phase, a call of a thread by its number, and an error; `phases` says what is done, `calls` which errors there are,
//! `verdict` what is demanded. The cells are made from what the master really calls (`record`), so a new call comes in by itself.
//! `make faults` runs them all, and `make test` a sample. `FAULTS_SEED` and `FAULTS_CELLS` choose, `FAULTS_ONLY` gives the cells
//! whose names begin so, `FAULTS_SECONDS` is the ceiling of a recovery and `FAULTS_JOBS` how many masters run at a time.

#![allow(clippy::disallowed_methods, reason = "tests read the clock and start threads of their own")]

mod ask;
mod calls;
mod cells;
mod exceptions;
mod fault;
mod phases;
mod report;
#[path = "../sim/rng.rs"]
#[allow(dead_code, reason = "the simulator draws more kinds of things")]
mod rng;
mod run;
#[path = "../proc/support/mod.rs"]
mod support;
mod tracer;
mod verdict;

use std::collections::BTreeSet;
use std::env;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cells::{Cell, Recording};
use crate::phases::{PHASES, Phase};
use crate::report::{Report, Row};

/// How often each phase is looked at before; what a thread calls differs by chance.
const RECORDINGS: usize = 2;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == run::AS_TRACER) {
        tracer::run(&words[1..]);
        return ExitCode::SUCCESS;
    }
    let plan = Plan::read();
    let all = match plan.all_cells() {
        Ok(all) => all,
        Err(unknown) => {
            println!("faults: these system calls are in no list of tests/faults/calls.rs: {unknown:?}");
            return ExitCode::FAILURE;
        }
    };
    if all.is_empty() {
        println!("faults: no cell begins with {:?}", plan.only.unwrap_or_default());
        return ExitCode::FAILURE;
    }
    let total = all.len();
    let chosen = cells::choose(all, plan.count, plan.seed);
    println!("faults: {} of {total} cells, seed {}, {} masters at a time", chosen.len(), plan.seed, plan.jobs);
    let complete = plan.only.is_none() && chosen.len() == total;
    let report = Report::of(run_all(&chosen, &plan));
    report.print(complete)
}

/// What was asked for.
struct Plan {
    seed: u64,
    count: usize,
    only: Option<String>,
    limit: Duration,
    jobs: usize,
}

impl Plan {
    fn read() -> Self {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        Self {
            seed: number("FAULTS_SEED", clock),
            count: usize::try_from(number("FAULTS_CELLS", u64::MAX)).unwrap_or(usize::MAX),
            only: env::var("FAULTS_ONLY").ok().filter(|only| !only.is_empty()),
            limit: Duration::from_secs(number("FAULTS_SECONDS", 30)),
            jobs: usize::try_from(number("FAULTS_JOBS", 4)).unwrap_or(1),
        }
    }

    /// Of every phase, or those that begin as asked for; else the numbers of the calls that have no name here.
    fn all_cells(&self) -> Result<Vec<Cell>, BTreeSet<String>> {
        let only = self.only.as_deref().unwrap_or("");
        let wanted = |phase: &&Phase| only.starts_with(&format!("{}/", phase.name)) || phase.name.starts_with(only);
        let phases: Vec<&'static Phase> = PHASES.iter().filter(wanted).collect();
        let recorded = in_parallel(&phases, self.jobs, |phase| recording_of(phase, self.limit));
        let unknown: BTreeSet<_> = recorded.iter().flat_map(cells::unknown).collect();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let cells = phases.iter().zip(&recorded).flat_map(|(phase, recording)| cells::of_phase(phase, recording));
        Ok(cells.filter(|cell| cell.to_string().starts_with(only)).collect())
    }
}

/// What the master calls at least in this phase, and what it holds at most.
fn recording_of(phase: &Phase, limit: Duration) -> Recording {
    let mut all = run::record(phase, limit);
    for _ in 1..RECORDINGS {
        let again = run::record(phase, limit);
        all.descriptors = all.descriptors.max(again.descriptors);
        all.counts.retain(|key, count| {
            *count = (*count).min(again.counts.get(key).copied().unwrap_or(0));
            *count > 0
        });
    }
    all
}

fn run_all(cells: &[Cell], plan: &Plan) -> Vec<Row> {
    let (done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    in_parallel(cells, plan.jobs, |cell| {
        let mut outcome = run::run(cell, plan.limit);
        if !outcome.hit {
            outcome = run::run(cell, plan.limit);
        }
        let row = Row { cell: cell.clone(), outcome };
        row.tell();
        let failures =
            failed.fetch_add(usize::from(row.is_failure()), Ordering::Relaxed) + usize::from(row.is_failure());
        let count = done.fetch_add(1, Ordering::Relaxed) + 1;
        if count % 100 == 0 {
            println!("faults: {count} of {} cells, {failures} failures", cells.len());
        }
        row
    })
}

/// Does it to each, so many at a time; the results come in the order of the things.
fn in_parallel<T: Sync, R: Send>(things: &[T], jobs: usize, job: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some((at, thing)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, things.get(at)?)))
                {
                    let result = job(thing);
                    results.lock().unwrap().push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().unwrap_or_else(|_| panic!("cannot read {name} {text:?}: not a number"))
        }
        Ok(_) | Err(_) => default,
    }
}
