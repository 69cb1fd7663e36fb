//! A client of the tests' own: threads that ask without pause, each time on a new connection and with an id of its own,
//! and count what was answered, by whom, and everything that was lost. It never retries and never forgives.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::request::{Answer, Failure, Target, ask};
use crate::support::wait::LIMIT;

/// How many failures a report tells in words.
const FAILURES_TOLD_MAX: usize = 8;

/// A running load.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

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

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    began: Instant,
}

#[derive(Default)]
struct State {
    report: Report,
    next_id: u64,
    stopping: bool,
}

impl Load {
    /// So many threads, each asking for `/?id=N`.
    pub fn start(target: impl Into<Target>, threads: usize) -> Self {
        Self::start_on(target, threads, "/")
    }

    /// The same for a path of your choice, for instance `/slow?ms=20`.
    pub fn start_on(target: impl Into<Target>, threads: usize, path: &str) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), began: Instant::now() });
        let (target, joint) = (target.into(), if path.contains('?') { '&' } else { '?' });
        let threads = (0..threads)
            .map(|_| {
                let (shared, target, path) = (Arc::clone(&shared), target.clone(), format!("{path}{joint}id="));
                thread::spawn(move || {
                    while let Some(id) = shared.next_id() {
                        shared.ask_and_count(&target, &format!("{path}{id}"));
                    }
                })
            })
            .collect();
        Self { shared, threads }
    }

    /// Waits until `count` more requests than now have come to an end, good or bad.
    #[track_caller]
    pub fn wait_for(&self, count: u64) {
        let state = self.shared.state();
        let wanted = state.report.total() + count;
        let missing = |state: &mut State| state.report.total() < wanted;
        let (state, result) = self.shared.changed.wait_timeout_while(state, LIMIT, missing).unwrap();
        assert!(!result.timed_out(), "waited {LIMIT:?} for {count} more requests; so far {}", state.report);
    }

    /// Waits until a worker of this release has answered so many requests.
    #[track_caller]
    pub fn wait_for_release(&self, release: &str, count: u64) {
        let missing = |state: &mut State| state.report.answered_by(release) < count;
        let (state, result) = self.shared.changed.wait_timeout_while(self.shared.state(), LIMIT, missing).unwrap();
        assert!(!result.timed_out(), "waited {LIMIT:?} for release {release}; so far {}", state.report);
    }

    /// What happened until now.
    pub fn so_far(&self) -> Report {
        self.shared.state().report.clone()
    }

    /// Lets every thread finish its request, and counts.
    pub fn stop(mut self) -> Report {
        self.shared.state().stopping = true;
        for thread in self.threads.drain(..) {
            thread.join().expect("a client thread panicked");
        }
        self.so_far()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Without waiting: a failing test shall end; each thread leaves after its request.
        if let Ok(mut state) = self.shared.state.lock() {
            state.stopping = true;
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn next_id(&self) -> Option<u64> {
        let mut state = self.state();
        state.next_id += 1;
        (!state.stopping).then_some(state.next_id)
    }

    fn ask_and_count(&self, target: &Target, path: &str) {
        let before = Instant::now();
        let outcome = ask(target, path);
        let latency = before.elapsed();
        let mut state = self.state();
        match outcome {
            Ok(answer) => state.report.count_answer(answer, latency),
            Err((failure, why)) => state.report.count_failure(failure, &why, path, self.began.elapsed()),
        }
        self.changed.notify_all();
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
