//! The same load and the same events on several supervisors. It counts, and judges none of them: what each is made for, and what not,
//! stands in `doc/reliability.md`.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::load::Load;
use crate::rng::Rng;
use crate::subject::{Running, Subject, WORKERS};
use crate::support::Process;
use crate::table::thousands;
use crate::tally::Row;

const CLIENTS: usize = 16;
/// At most between two restarts that come without waiting for each other.
const HASTY_MS_MAX: u64 = 300;
/// How long the load goes on after the last of its kind.
const AFTER: Duration = Duration::from_secs(1);

/// How often each event is.
#[derive(Clone, Copy)]
pub struct Times {
    pub restarts: u64,
    pub hasty_restarts: u64,
    pub kills: u64,
}

pub struct Line {
    pub subject: &'static str,
    event: String,
    times: u64,
    pub row: Row,
    /// What became of the supervisor.
    pub end: String,
}

/// All of them that are installed, or only ours.
pub fn compare(subjects: &[Subject], times: Times, seed: u64) -> Vec<Line> {
    let mut lines = Vec::new();
    for subject in subjects {
        match subject.place() {
            Some(place) => lines.extend(try_out(*subject, &place, times, seed)),
            None => println!("{} is left out: no variable says where it is", subject.name()),
        }
    }
    lines
}

/// Each kind of event has a supervisor of its own, so that one which dies has no part in the next.
fn try_out(subject: Subject, place: &str, times: Times, seed: u64) -> Vec<Line> {
    let kind = |event: String, times: u64, happen: fn(&Running, &mut Rng) -> bool| (event, times, happen);
    let kinds = [
        kind(format!("{}, waited for", subject.restart_name()), times.restarts, restart_and_wait),
        kind(format!("{}, at random moments", subject.restart_name()), times.hasty_restarts, restart_hastily),
        kind("worker killed".to_owned(), times.kills, kill_a_worker),
    ];
    let mut lines = Vec::new();
    for (event, times, happen) in kinds {
        let (running, mut rng) = (subject.start(place.to_owned()), Rng::new(seed));
        let load = Load::start(&[CLIENTS], seed);
        load.lead(0, &[running.address.into()]);
        let began = Instant::now();
        let done = (0..times).take_while(|_| happen(&running, &mut rng)).count();
        thread::sleep(AFTER);
        let end = match (running.is_alive(), done as u64 == times) {
            (true, true) => "lives".to_owned(),
            (true, false) => format!("lives; number {} came to no end", done + 1),
            (false, _) => format!("dead after number {}", (done as u64 + 1).min(times)),
        };
        println!("{}, {event}: {done} of {times} in {} s, {end}", subject.name(), began.elapsed().as_secs());
        lines.push(Line { subject: subject.name(), event, times, row: load.so_far().sum(), end });
    }
    lines
}

/// Whether the supervisor lives and has four workers, none of which it had before.
fn restart_and_wait(running: &Running, _: &mut Rng) -> bool {
    let old = running.workers();
    running.restart();
    running.comes_to(|workers| workers.len() == WORKERS && !workers.iter().any(|worker| old.contains(worker)))
}

fn restart_hastily(running: &Running, rng: &mut Rng) -> bool {
    running.restart();
    thread::sleep(Duration::from_millis(rng.below(HASTY_MS_MAX)));
    running.is_alive()
}

fn kill_a_worker(running: &Running, rng: &mut Rng) -> bool {
    let victim: Process = rng.pick(&running.workers());
    victim.signal(Signal::SIGKILL);
    running.comes_to(|workers| workers.len() == WORKERS && !workers.contains(&victim))
}

pub fn table(lines: &[Line]) -> String {
    let head = "| supervisor | event | times | requests | lost | refused | the supervisor |\n|---|---|---:|---:|---:|---:|---|\n";
    let line = |Line { subject, event, times, row, end }: &Line| {
        let counts = [row.requests(), row.lost_count(), row.refused].map(thousands).join(" | ");
        format!("| {subject} | {event} | {times} | {counts} | {end} |\n")
    };
    lines.iter().map(line).fold(head.to_owned(), |text, line| text + &line)
}
