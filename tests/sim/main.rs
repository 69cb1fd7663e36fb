//! The simulator: a pool in a model world, driven by chance from one seed, with every invariant checked after every step.
//! A step is one event handled by the pool. The wall clock cannot reach it: the pool knows only `Mono` (I17, held by type
//! in `scenarios`); `Mono` itself stands still, creeps, and leaps by hours.
//!
//! Held after every step or action, by the world's own truth and not by what the pool remembers:
//! - I1 a signal goes to a worker or group that the pool was told of and has not let go; I2 each is reaped once, and is
//!   listed until then; I3 the lowest free index; I4 the serving floor, action by action; I5 idle before serving, oldest
//!   first; I6 no worker above target plus additional, no unacked above the limit in single launches; I7 the pause
//!   between single launches; I8 acked once, by its timer or a manual ack; I9 versions rise, and fall only back to the
//!   last good one; I10 told once, killed once, never before its time; I11 nothing is launched once stopping, and `Exit`
//!   comes once, when nothing is left; I16 no deadline is forgotten, none is vain, the next is ahead; I18 lists are
//!   bounded by pids; I21 two like deaths of one instant ask for the same in either order (unlike ones may not: a failure
//!   told first stretches the pause before the launch); I22 the target, and no launch when none is missing;
//!   I23 a worker that is told to go gracefully, and what it leaves behind, hears the signal that was set at its launch; I24
//!   settings come with a version, and are as before when it is given up; I25 each is acked, or misses its ack, as is set
//!   for its version; I26 an upgrade starts, or is refused, by what was looked for after the last request for it, and what
//!   was found without a request is dropped; I12 a pool, and the machine of the reload, come out of the handoff's text as they went in;
//!   I13 it then asks for the same as one that was never handed on; I27 and I28 the order of a re-exec's steps, in `master`; I29 to I32
//!   what is in force, and which client hears of it, in `reload`; I33 to I38 slots, stages and trials, in `rollout`;
//!   I39, I40 and I42 what a bad release may cost, in `strength`; I41 that every command leads to rest, in `deploy`;
//!   I45 what is adopted after a death, in `death`; I43 what an upgrade waits for, in `hear` and `audit`; I44 what becomes of workers that no restart mends, in `final_end`.
//! - L1 rest after faults (`calm`), L2 upgrades to code that never acks (`scenarios`), L3 each upgrade starts or is refused.
//!
//! In one run of four (`deploy`) nothing goes wrong but what releases do (`release`); in the others they do it, too.
//!
//! With later issues come I8's "own connection" and I19, I20 (control socket), I14 (handoff), I15 (sockets).
//! "As the pool was told": a death that is not reported yet cannot be held against it.
//!
//! `SIM_STEPS` and `SIM_SEED` (the first seed) are read from the environment; a failure prints how to see it again.

mod audit;
mod calm;
mod chaos;
mod coverage;
mod death;
mod deploy;
mod final_end;
mod hear;
mod ledger;
mod master;
mod perform;
mod plan;
mod reexec;
mod release;
mod reload;
#[path = "../support/replay.rs"]
mod replay;
mod rng;
mod rollout;
mod run;
mod scenarios;
mod strength;
mod trace;
mod upgrade;
mod world;
mod young;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::calm::Past;
use crate::coverage::Coverage;
use crate::plan::Plan;
use crate::replay::replay;
use crate::rng::Rng;
use crate::run::Run;
use crate::trace::Trace;

const STEPS_DEFAULT: u64 = 10_000_000;
const SEED_DEFAULT: u64 = 1;

/// How many seeds are written down and replayed.
const SEEDS_REPLAYED: u64 = 20;

/// In one of so many runs nothing goes wrong but what releases do.
const DEPLOYS: u64 = 4;

/// From so many steps on, a kind of event, action or notice that was never seen is a failure.
const STEPS_TO_SEE_ALL: u64 = 1_000_000;

#[test]
fn every_invariant_holds_in_millions_of_random_steps() {
    let (steps_wanted, first) = (number("SIM_STEPS", STEPS_DEFAULT), number("SIM_SEED", SEED_DEFAULT));
    let (mut coverage, mut steps, mut seed) = (Coverage::default(), 0, first);
    let started = now();
    while steps < steps_wanted {
        let run = attempt(seed, Trace::default());
        steps += run.step_count;
        coverage.add(&run.coverage);
        seed += 1;
    }
    let seconds = started.elapsed().as_secs_f64();
    let rate = steps as f64 / seconds;
    println!("sim: {steps} steps, seeds {first}..{seed}, {seconds:.1} s, {rate:.0} steps/s");
    for (name, count) in coverage.rows() {
        println!("sim: {count:>10} {name}");
    }
    let unseen: Vec<_> = coverage.rows().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect();
    assert!(steps < STEPS_TO_SEE_ALL || unseen.is_empty(), "never seen: {unseen:?}");
}

/// Every kind of event and action that these seeds come to goes through a trace and back.
#[test]
fn a_run_is_a_trace_that_replays() {
    let first = number("SIM_SEED", SEED_DEFAULT);
    for seed in first..first + SEEDS_REPLAYED {
        let run = attempt(seed, Trace::recording());
        let replayed = replay(run.trace.record()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let seen = (replayed.pool.inputs, replayed.states);
        assert_eq!(seen, (run.step_count, 1 + run.coverage.reexecs + run.coverage.deaths), "seed {seed}: {replayed}");
    }
}

/// `make replay`: the trace of a master, or of a seed that failed here.
#[test]
#[ignore = "it takes a trace: make replay TRACE=FILE"]
fn replay_a_trace() {
    let path = std::env::var("TRACE").unwrap_or_default();
    assert!(!path.is_empty(), "no trace is named: make replay TRACE=FILE");
    let trace = std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    match replay(&trace) {
        Ok(replayed) => println!("{path}: {replayed}"),
        Err(error) => panic!("{path}: {error}"),
    }
}

/// Runs a seed; when an invariant breaks, runs it again with the trace on, prints that, and fails.
fn attempt(seed: u64, trace: Trace) -> Run {
    let mut run = prepare(seed, trace);
    let outcome = catch_unwind(AssertUnwindSafe(|| live(&mut run)));
    let Err(cause) = outcome else { return run };
    if run.trace.is_on() {
        return run;
    }
    let again = attempt(seed, Trace::recording());
    let constant = cause.downcast_ref::<&str>().map(|text| String::from(*text));
    let cause = cause.downcast_ref::<String>().cloned().or(constant).unwrap_or_default();
    println!("{}", again.trace.text());
    let record = format!("{}/sim-{seed}.trace", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&record, again.trace.record()).expect("target is there to be written to");
    println!("sim: as a trace: make replay TRACE={record}");
    println!("sim: settings {:?}", run.plan.settings);
    println!("sim: seed {seed}, step {}: {cause}", run.step_count);
    println!("sim: again: SIM_SEED={seed} SIM_STEPS=1 cargo test --profile sim --test sim every_invariant");
    panic!("seed {seed}, step {}: {cause}", run.step_count);
}

fn prepare(seed: u64, trace: Trace) -> Run {
    let mut rng = Rng::new(seed);
    let plan = if rng.one_in(DEPLOYS) { Plan::deploys(&mut rng) } else { Plan::draw(&mut rng) };
    Run::new(plan, rng, trace)
}

fn live(run: &mut Run) {
    if run.plan.deploys {
        return run.deploy();
    }
    run.rage();
    if !run.ledger.exited {
        let past = run.rng.pick(&[Past::Forgiven, Past::Kept]);
        run.come_to_rest(past);
    }
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("cannot read {name} {text:?}: not a number")),
        Err(_) => default,
    }
}

#[expect(clippy::disallowed_methods, reason = "measures the simulator itself; no simulated thing sees it")]
fn now() -> Instant {
    Instant::now()
}
