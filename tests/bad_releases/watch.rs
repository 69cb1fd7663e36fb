//! Looks at a master from outside all the while: how many workers serve, as its `status` says, and of which release they are, as their
//! environment says. It changes nothing, and goes on when the master does not answer.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{LIMIT, Process, holds_within};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(30);
/// For an answer; a master that takes longer is asked anew.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What one look has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub serving: usize,
    /// The releases of the workers that have acked and were not told to go.
    pub releases: Vec<String>,
    /// How many others there are.
    pub others: usize,
    pub is_upgrading: bool,
    pub is_on_trial: bool,
}

impl Look {
    /// So many workers serve, all of this release, and nothing is under way.
    pub fn is_all(&self, release: &str, count: usize) -> bool {
        let all = self.releases.len() == count && self.releases.iter().all(|each| each == release);
        all && self.serving == count && self.others == 0 && !self.is_upgrading
    }
}

/// Since the watch began.
pub struct Seen {
    pub at: Duration,
    pub look: Look,
}

pub struct Watch {
    began: Instant,
    seen: Arc<Mutex<Vec<Seen>>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn start(socket: &Path) -> Self {
        let (seen, stopping, began) =
            (Arc::<Mutex<Vec<Seen>>>::default(), Arc::new(AtomicBool::new(false)), Instant::now());
        let mut eye = Eye { socket: socket.to_owned(), stream: None };
        let (to, end) = (Arc::clone(&seen), Arc::clone(&stopping));
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                if let Some(look) = eye.look() {
                    let at = began.elapsed();
                    to.lock().unwrap_or_else(PoisonError::into_inner).push(Seen { at, look });
                }
                thread::sleep(LOOK_EVERY);
            }
        });
        Self { began, seen, stopping, thread: Some(thread) }
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The moment of the first look after this one from which on all looks were so; none if the last was not.
    pub fn so_since(&self, after: Duration, is_so: impl Fn(&Look) -> bool) -> Option<Duration> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let last = seen.iter().rev().take_while(|seen| seen.at >= after && is_so(&seen.look)).last();
        last.map(|seen| seen.at)
    }

    /// What was seen at first, or will be.
    pub fn first(&self) -> Look {
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner).first().map(|seen| seen.look.clone());
        assert!(holds_within(LIMIT, || seen().is_some()), "the master does not answer");
        seen().expect("none is taken away")
    }

    /// The fewest that served.
    pub fn serving_min(&self) -> usize {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|seen| seen.look.serving).min().unwrap_or(0)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

struct Eye {
    socket: PathBuf,
    stream: Option<BufReader<UnixStream>>,
}

impl Eye {
    fn look(&mut self) -> Option<Look> {
        let answer = self.ask();
        if answer.is_none() {
            self.stream = None;
        }
        let answer: Value = serde_json::from_str(&answer?).ok()?;
        let status = &answer["status"];
        let workers = status["workers"].as_array()?;
        let acked = workers.iter().filter(|worker| worker["state"] == "acked");
        let releases: Vec<_> = acked.filter_map(|worker| release(worker["pid"].as_i64()?)).collect();
        Some(Look {
            serving: usize::try_from(status["serving"].as_u64()?).ok()?,
            others: workers.len() - releases.len(),
            releases,
            is_upgrading: !status["upgrade"].is_null(),
            is_on_trial: !status["trial"].is_null(),
        })
    }

    fn ask(&mut self) -> Option<String> {
        if self.stream.is_none() {
            let stream = UnixStream::connect(&self.socket).ok()?;
            stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
            self.stream = Some(BufReader::new(stream));
        }
        let stream = self.stream.as_mut()?;
        stream.get_mut().write_all(b"{\"command\":\"status\",\"format\":\"json\"}\n").ok()?;
        let mut answer = String::new();
        stream.read_line(&mut answer).ok().filter(|length| *length > 0)?;
        Some(answer)
    }
}

fn release(pid: i64) -> Option<String> {
    Process(i32::try_from(pid).ok()?).environ().remove("WORKER_VERSION")
}
