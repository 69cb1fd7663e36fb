//! Pacing: how long the master waits between two launches, by `-s`, and ever longer for code that does not live.
//!
//! E11: that no wall clock has a part in it cannot be shown here, where all processes share the clock. The pool gets the time as
//! `now` and has no clock of its own (`tests/tidy.rs`, `tests/sim`), and `sys::clock` reads CLOCK_MONOTONIC for it.

use crate::support::{Master, Setup, example};
use nix::sys::signal::Signal;

/// What a line says before each launch that replaces a worker: seconds since the last launch, and the least there must be.
struct Relaunch {
    since: f64,
    interval: f64,
    deaths: Option<String>,
}

impl Relaunch {
    fn parse(line: &str) -> Self {
        let (_, since) = line.split_once("Last spinup was ").unwrap();
        let (since, interval) = since.split_once("s ago, and spinup_interval is ").unwrap();
        let (interval, rest) = interval.split_once("s, so spinning up a new process.").unwrap();
        let deaths = rest.trim().strip_prefix('(').map(|words| words.trim_end_matches(')').to_owned());
        Self { since: since.parse().unwrap(), interval: interval.parse().unwrap(), deaths }
    }
}

/// Waits for so many relaunches; none comes too early.
fn relaunches(master: &Master, count: usize) -> Vec<Relaunch> {
    let lines = master.wait_for_log("Last spinup was ", count);
    let found: Vec<_> = lines.iter().take(count).map(|line| Relaunch::parse(line)).collect();
    for relaunch in &found {
        assert!(relaunch.since >= relaunch.interval, "{} < {}", relaunch.since, relaunch.interval);
    }
    found
}

#[test]
fn the_first_workers_are_launched_at_once_and_replacements_one_by_one() {
    let master = Setup::new("-v -n 4 -m 0 -s 0.3").program(["sleep", "1000"]).start();
    master.wait_for_log("Launching 4 new workers", 1);
    master.wait_for_log("Up to 4 / 4", 1);
    assert_eq!(master.log().count("Last spinup was"), 0, "{}", master.log());
    master.wait_for_workers(4).iter().for_each(|worker| assert!(worker.signal(Signal::SIGKILL)));
    for relaunch in relaunches(&master, 4) {
        // Four that die at one moment are one accident, and no loop.
        assert_eq!((relaunch.interval, relaunch.deaths), (0.3, None));
    }
    master.wait_for_workers(4);
}

// Failure mode 20.
#[test]
fn code_that_dies_at_once_is_launched_ever_more_rarely_until_it_is_mended() {
    let master = Setup::new("-n 1 -m manual -s 0.1").bind(",r").script("exit 1").start();
    let deaths: Vec<_> = relaunches(&master, 4).into_iter().map(|it| (it.interval, it.deaths.unwrap())).collect();
    let after = |deaths: u32| format!("there have been {deaths} consecutive unacked worker deaths");
    // As einhorn writes them, to the last digit.
    let recorded = [(0.150_000_000_000_000_02, 1), (0.225, 2), (0.3375, 3), (0.506_250_000_000_000_1, 4)];
    for ((interval, said), (recorded, number)) in deaths.iter().zip(recorded) {
        assert!((interval - recorded).abs() < 1e-12, "{interval} is not {recorded}");
        assert_eq!(*said, after(number));
    }
    let exact = "spinup_interval is 0.15000000000000002s, so spinning up a new process. (there have been 1 ";
    assert_eq!(master.log().count(exact), 1, "{}", master.log());
    master.replace("worker.sh", &format!("exec {} --ack manual", example("http_worker").display()));
    let line = master.wait_for_log("Up to 1 / 1 manual ACKs, breaking the streak of ", 1).remove(0);
    assert!(line.ends_with("consecutive unacked workers dying"), "{line}");
    // Mended is mended: the next death is the first again.
    let replaced = master.log().count("===> Launched");
    master.wait_for_workers(1)[0].signal(Signal::SIGKILL);
    master.wait_for_log("===> Launched", replaced + 1);
    master.wait_for_log("Up to 1 / 1 manual ACKs", 2);
}

// E26: with einhorn each ack begins the count anew, and this is launched every -s seconds for ever.
#[test]
fn code_that_dies_just_after_its_ack_is_launched_ever_more_rarely() {
    let master = Setup::new("-v -n 1 -m 0 -s 0.1").program(["sleep", "1000"]).start();
    for life in 1..=7 {
        master.wait_for_log("Up to 1 / 1", life);
        master.wait_for_workers(1)[0].signal(Signal::SIGKILL);
    }
    let intervals: Vec<f64> = relaunches(&master, 7).iter().map(|relaunch| relaunch.interval).collect();
    assert_eq!(master.log().count("before it was ACKed"), 0, "{}", master.log());
    assert_eq!(intervals[0], 0.1, "the first is an accident, not yet a chain");
    assert!(intervals.windows(2).all(|pair| pair[1] > 1.4 * pair[0]), "{intervals:?}");
}
