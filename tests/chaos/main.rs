//! A master under load to which everything happens that may happen to it, in an order that a seed gives. `make chaos` runs it until
//! ten million requests are done, `make soak` for some minutes; each prints a table and fails if it finds a fault. `make test` runs
//! what is called short, with and without faults that are planted.

#![allow(clippy::disallowed_methods, reason = "tests read the clock and start threads of their own")]

mod client;
mod compare;
mod event;
mod load;
mod log_watch;
mod master_killed;
#[path = "../sim/rng.rs"]
#[allow(dead_code, reason = "the simulator needs more of it")]
mod rng;
mod run;
#[cfg(test)]
mod self_test;
mod site;
mod slope;
mod soak;
mod subject;
#[path = "../proc/support/mod.rs"]
mod support;
mod table;
mod tally;
mod trouble;
mod verdict;
mod wire;

use std::env;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::compare::Times;
use crate::run::{Options, Outcome, Plant, run};
use crate::subject::Subject;

const REQUESTS: u64 = 10_000_000;
const MINUTES: u64 = 10;
const VIOLENT_ROUNDS: u64 = 20;

/// For `make chaos`: `CHAOS_REQUESTS`, `CHAOS_SEED`, `CHAOS_PLANT` are read from the environment.
#[test]
#[ignore = "takes a quarter of an hour; `make chaos` runs it"]
fn chaos() {
    let plant = match env::var("CHAOS_PLANT").as_deref() {
        Ok("deadly") => Plant::Deadly,
        Ok("held") => Plant::Held,
        Ok("") | Err(_) => Plant::Nothing,
        Ok(other) => panic!("CHAOS_PLANT={other}: there are deadly and held"),
    };
    let requests = variable("CHAOS_REQUESTS").unwrap_or(REQUESTS);
    let outcome = run_and_tell(Options { seed: seed(), requests, violent_rounds: VIOLENT_ROUNDS, plant });
    assert!(outcome.fault.is_none(), "a fault was found, see above");
}

#[test]
fn short_chaos_loses_nothing_but_what_killed_workers_held() {
    let outcome = run_and_tell(Options { seed: seed(), requests: 10_000, violent_rounds: 1, plant: Plant::Nothing });
    assert_eq!(outcome.fault, None);
    assert!(outcome.tally.sum().answered >= 10_000);
}

#[test]
fn short_chaos_finds_workers_that_die_of_what_tells_them_to_go() {
    // The first of them may have had nothing in hand.
    let outcome = run_and_tell(Options { seed: seed(), requests: 100_000, violent_rounds: 0, plant: Plant::Deadly });
    assert!(outcome.fault.is_some_and(|fault| fault.contains("requests were lost")));
    assert!(outcome.tally.sum().lost_count() > 0);
}

#[test]
fn short_chaos_finds_descriptors_that_stay() {
    let outcome = run_and_tell(Options { seed: seed(), requests: 10_000, violent_rounds: 0, plant: Plant::Held });
    assert!(outcome.fault.is_some_and(|fault| fault.contains("the master holds")));
}

/// For `make soak`: `MINUTES` and `CHAOS_SEED` are read from the environment.
#[test]
#[ignore = "takes minutes; `make soak` runs it"]
fn soak() {
    let minutes = variable("MINUTES").unwrap_or(MINUTES);
    assert_eq!(soak_and_tell(Duration::from_secs(60 * minutes)), None);
}

#[test]
fn a_short_soak_leaves_nothing_behind() {
    assert_eq!(soak_and_tell(Duration::from_secs(10)), None);
}

/// For `make compare`: the variables that say where the others are stand in `subject`.
#[test]
#[ignore = "needs other supervisors; `make compare` runs it"]
fn compare() {
    let seed = seed();
    let times = Times { restarts: 5, hasty_restarts: 10, kills: 5 };
    println!("seed {seed}\n\n{}", compare::table(&compare::compare(&subject::ALL, times, seed)));
}

#[test]
fn a_short_comparison_finds_that_this_program_loses_nothing_in_a_restart() {
    let times = Times { restarts: 1, hasty_restarts: 2, kills: 1 };
    let lines = compare::compare(&[Subject::Ours], times, seed());
    println!("{}", compare::table(&lines));
    assert!(lines.iter().all(|line| line.row.answered > 0 && line.end == "lives"));
    assert!(lines[..2].iter().all(|line| line.row.lost_count() + line.row.refused == 0));
}

fn soak_and_tell(span: Duration) -> Option<String> {
    let seed = seed();
    println!("seed {seed}");
    let outcome = soak::soak(span, seed);
    println!("{}", outcome.report);
    outcome.fault
}

fn run_and_tell(options: Options) -> Outcome {
    println!("seed {}", options.seed);
    let outcome = run(options);
    println!("{}", outcome.report);
    outcome
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    variable("CHAOS_SEED").unwrap_or_else(now)
}

/// A number from the environment; one that cannot be read is no default.
fn variable<N: FromStr>(name: &str) -> Option<N> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
