//! One worker, and what is left of one. They know what they are, and decide nothing.

use crate::base::earlier;
use serde::{Deserialize, Deserializer, Serialize};

use crate::base::{Mono, Pid, Signal, Slot, Version, Wall, WorkerIndex};
use crate::pool::settings::REQUEST_ID_MAX;

/// A worker that was launched and has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    pub pid: Pid,
    pub index: WorkerIndex,
    #[serde(default)]
    pub slot: Slot,
    pub version: Version,
    /// The signal at which its program ends in peace, as it was set when this worker was launched: an old one is another
    /// program, and may want another.
    pub graceful: Signal,
    pub spawned_at: Mono,
    /// Whether the child has become its program.
    pub execed: bool,
    pub acked_at: Option<Mono>,
    /// Stopped by a signal (job control), and thus not serving.
    pub stopped: bool,
    /// Since when. None: not stopped, or by a master that did not note it.
    #[serde(default)]
    pub stopped_at: Option<Mono>,
    pub ping: Option<Ping>,
    pub told: Option<Told>,
    pub killed: bool,
    /// Told to go by an upgrade that was then given up: it goes, and another worker takes its place.
    pub excluded_from_target: bool,
}

/// The last sign of life that a worker gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ping {
    pub at: Mono,
    #[serde(deserialize_with = "cut_id")]
    pub request_id: String,
    /// Whether the id is a number, and no text that looks like one.
    #[serde(default)]
    pub is_number: bool,
    /// What einhorn, which had the worker before us, says that `at` is by the wall clock.
    #[serde(default)]
    pub wall: Option<Wall>,
}

/// That and how a worker was told to go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// In the order of their first sending, each once.
    pub signals: Vec<Signal>,
    pub first_at: Mono,
    pub last_at: Mono,
    /// When patience ends; never without a signal timeout.
    pub kill_at: Option<Mono>,
}

/// What remains of a worker that has ended: a zombie until it is reaped, then what it left in its process group. Or a group of
/// another number, in which it has left something: [`Elsewhere`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leftover {
    /// The number of the group; of a worker's own group, its pid.
    pub pid: Pid,
    /// What the group is told once it is known to live on.
    pub signal: Signal,
    /// What it is told by a graceful stop: the worker's own.
    pub graceful: Signal,
    pub since: Mono,
    /// Of another group: whether it was told to go, which it is when its worker's end is told.
    pub reaped: bool,
    pub kill_at: Option<Mono>,
    pub killed: bool,
    #[serde(default)]
    pub elsewhere: Option<Elsewhere>,
}

/// Where a leftover comes from that is not in its worker's own group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    /// The pid that the worker had.
    pub worker: Pid,
    /// What the worker was, by its name. Empty where it is not known any more.
    pub wrapper: String,
    /// What is left, by its name.
    pub program: String,
}

impl Leftover {
    /// Whether this worker has left it in another group.
    pub fn is_of(&self, worker: Pid) -> bool {
        self.elsewhere.as_ref().is_some_and(|elsewhere| elsewhere.worker == worker)
    }
}

impl Ping {
    /// The id is cut, between characters, to its longest allowed length.
    pub fn new(at: Mono, mut request_id: String) -> Self {
        cut(&mut request_id);
        Self { at, request_id, is_number: false, wall: None }
    }
}

fn cut(request_id: &mut String) {
    let mut length = request_id.len().min(REQUEST_ID_MAX);
    while !request_id.is_char_boundary(length) {
        length -= 1;
    }
    request_id.truncate(length);
}

/// A newer image may allow longer ones.
fn cut_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let mut request_id = String::deserialize(deserializer)?;
    cut(&mut request_id);
    Ok(request_id)
}

impl Worker {
    /// One that was just launched.
    pub fn new(pid: Pid, index: WorkerIndex, version: Version, graceful: Signal, spawned_at: Mono) -> Self {
        Self {
            pid,
            index,
            slot: Slot(index.0),
            version,
            graceful,
            spawned_at,
            execed: false,
            acked_at: None,
            stopped: false,
            stopped_at: None,
            ping: None,
            told: None,
            killed: false,
            excluded_from_target: false,
        }
    }

    pub fn is_acked(&self) -> bool {
        self.acked_at.is_some()
    }

    pub fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// Whether requests can be counted on to be answered: acked, not told to go, not killed, not stopped. One that was
    /// killed because its exec hung may still ack, when its news was late.
    pub fn serves(&self) -> bool {
        self.is_acked() && !self.is_told() && !self.killed && !self.stopped
    }

    /// Notes that it is told to go; patience may only get shorter.
    pub(in crate::pool) fn tell(&mut self, now: Mono, signal: Signal, kill_at: Option<Mono>) {
        let told = self.told.get_or_insert(Told { signals: Vec::new(), first_at: now, last_at: now, kill_at });
        if !told.signals.contains(&signal) {
            told.signals.push(signal);
        }
        told.last_at = now;
        told.kill_at = earlier(told.kill_at, kill_at);
    }

    /// What remains when it ends. `kill_at` is for one that was not told to go.
    pub(in crate::pool) fn into_leftover(self, now: Mono, kill_at: Option<Mono>) -> Leftover {
        let graceful = self.graceful;
        let signal = self.told.as_ref().and_then(|told| told.signals.last().copied()).unwrap_or(graceful);
        let kill_at = match self.told {
            Some(told) => told.kill_at,
            None => kill_at,
        };
        Leftover { pid: self.pid, signal, graceful, since: now, reaped: false, kill_at, killed: false, elsewhere: None }
    }
}

/// By which signal workers are told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopSignal {
    /// Each by its own.
    Graceful,
    /// The same, and none is killed: what is still there after a while hears TERM.
    GracefulThenTerm,
    /// All by the signal that the command named.
    Signal(Signal),
}

impl StopSignal {
    /// What it is for a worker whose own signal is `graceful`.
    pub(in crate::pool) fn signal(self, graceful: Signal) -> Signal {
        match self {
            Self::Graceful | Self::GracefulThenTerm => graceful,
            Self::Signal(signal) => signal,
        }
    }
}

pub(in crate::pool) fn count(workers: &[Worker], wanted: impl Fn(&Worker) -> bool) -> u32 {
    u32::try_from(workers.iter().filter(|worker| wanted(worker)).count()).unwrap_or(u32::MAX)
}
