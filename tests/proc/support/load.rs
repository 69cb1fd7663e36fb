//! A client of the tests' own: threads that ask without pause, each time on a new connection and with an id of its own,
//! and count what was answered, by whom, and everything that was lost. It never retries and never forgives. For what takes
//! seconds on many masters at once, there is a slower pace.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::clients::Clients;
use crate::support::request::{Answer, Failure, Target, ask_within};
use crate::support::wait::LIMIT;

/// How many failures a report tells in words.
const FAILURES_TOLD_MAX: usize = 8;

/// How fast each thread asks, and for how long it waits for an answer.
#[derive(Clone, Copy)]
pub struct Pace {
    pub pause: Duration,
    pub limit: Duration,
}

/// A running load.
pub struct Load(Clients<Report>);

/// What became of the requests.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub ok: u64,
    pub lost: BTreeMap<Failure, u64>,
    pub by_release: BTreeMap<String, u64>,
    pub by_pid: BTreeMap<i32, u64>,
    /// From before the connection to the end of the answer, answered requests only.
    pub latency_max: Duration,
    /// The first failures in words, each with the time since the load began.
    pub failures: Vec<String>,
}

impl Load {
    /// So many threads, each asking for `/?id=N`.
    pub fn start(target: impl Into<Target>, threads: usize) -> Self {
        Self::start_on(target, threads, "/")
    }

    /// The same for a path of your choice, for instance `/slow?ms=20`.
    pub fn start_on(target: impl Into<Target>, threads: usize, path: &str) -> Self {
        Self::start_at(target, threads, path, Pace { pause: Duration::ZERO, limit: LIMIT })
    }

    /// The same at this pace.
    pub fn start_at(target: impl Into<Target>, threads: usize, path: &str, pace: Pace) -> Self {
        let (target, joint, began) = (target.into(), if path.contains('?') { '&' } else { '?' }, Instant::now());
        Self(Clients::start(threads, |_| {
            let (target, path) = (target.clone(), format!("{path}{joint}id="));
            move |id| {
                thread::sleep(pace.pause);
                let (path, before) = (format!("{path}{id}"), Instant::now());
                let outcome = ask_within(&target, &path, pace.limit);
                let latency = before.elapsed();
                move |report: &mut Report| match outcome {
                    Ok(answer) => report.count_answer(answer, latency),
                    Err((failure, why)) => report.count_failure(failure, &why, &path, began.elapsed()),
                }
            }
        }))
    }

    /// Waits until `count` more requests than now have come to an end, good or bad.
    #[track_caller]
    pub fn wait_for(&self, count: u64) {
        let wanted = self.so_far().total() + count;
        self.0.wait_until(&format!("{count} more requests"), |report| report.total() >= wanted);
    }

    /// Waits until a worker of this release has answered so many requests.
    #[track_caller]
    pub fn wait_for_release(&self, release: &str, count: u64) {
        self.0.wait_until(&format!("release {release}"), |report| report.answered_by(release) >= count);
    }

    /// What happened until now.
    pub fn so_far(&self) -> Report {
        self.0.so_far()
    }

    /// Lets every thread finish its request, and counts.
    pub fn stop(self) -> Report {
        self.0.stop()
    }
}

impl Report {
    pub fn lost_count(&self) -> u64 {
        self.lost.values().sum()
    }

    pub fn total(&self) -> u64 {
        self.ok + self.lost_count()
    }

    pub fn answered_by(&self, release: &str) -> u64 {
        self.by_release.get(release).copied().unwrap_or(0)
    }

    /// Every request got its own answer, and there were some.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        assert!(self.ok > 0, "no request was answered: {self}");
        assert_eq!(self.lost_count(), 0, "{self}");
    }

    fn count_answer(&mut self, answer: Answer, latency: Duration) {
        self.ok += 1;
        *self.by_release.entry(answer.release).or_default() += 1;
        *self.by_pid.entry(answer.pid).or_default() += 1;
        self.latency_max = self.latency_max.max(latency);
    }

    fn count_failure(&mut self, failure: Failure, why: &str, path: &str, at: Duration) {
        *self.lost.entry(failure).or_default() += 1;
        if self.failures.len() < FAILURES_TOLD_MAX {
            self.failures.push(format!("{path} was {failure} after {at:?}: {why}"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered, {} lost", self.ok, self.lost_count())?;
        self.lost.iter().try_for_each(|(failure, count)| write!(f, ", {count} {failure}"))?;
        writeln!(f, "; slowest {:?}; by release {:?}", self.latency_max, self.by_release)?;
        self.failures.iter().try_for_each(|line| writeln!(f, "  | {line}"))
    }
}
