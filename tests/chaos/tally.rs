//! What became of the requests, apart for each phase of a run: how many were answered, refused or lost, and how long the
//! answers took. It only counts; whether a loss is allowed is decided elsewhere.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::Failure;

/// How many losses are kept one by one; the counts go on.
const LOSSES_MAX: usize = 10_000;

/// The number of a phase: its place in the list of those that a run has.
pub type Phase = usize;

/// What happened in each phase.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    rows: BTreeMap<Phase, Row>,
    pub losses: Vec<Loss>,
}

/// What happened in one phase, or in several.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub answered: u64,
    /// Of these, the ones that had a connection of their own.
    pub fresh: u64,
    /// Connections that were refused, so that no request was sent.
    pub refused: u64,
    pub lost: BTreeMap<Failure, u64>,
    pub latency: Histogram,
}

/// A request that was sent and not answered as it should be.
#[derive(Clone, Debug)]
pub struct Loss {
    pub phase: Phase,
    pub path: String,
    /// What its connection led to.
    pub target: String,
    pub failure: Failure,
    pub why: String,
    pub began: Instant,
    pub ended: Instant,
    /// The worker that had answered on the same connection before.
    pub worker: Option<i32>,
    /// The client's own end, of a TCP connection.
    pub local: Option<SocketAddr>,
}

impl Tally {
    pub fn row(&self, phase: Phase) -> Row {
        self.rows.get(&phase).cloned().unwrap_or_default()
    }

    pub fn row_mut(&mut self, phase: Phase) -> &mut Row {
        self.rows.entry(phase).or_default()
    }

    pub fn lose(&mut self, loss: Loss) {
        *self.row_mut(loss.phase).lost.entry(loss.failure).or_default() += 1;
        if self.losses.len() < LOSSES_MAX {
            self.losses.push(loss);
        }
    }

    /// All phases as one.
    pub fn sum(&self) -> Row {
        self.rows.values().fold(Row::default(), |mut sum, row| {
            sum.add(row);
            sum
        })
    }

    pub fn add(&mut self, other: &Self) {
        for (phase, row) in &other.rows {
            self.row_mut(*phase).add(row);
        }
        let room = LOSSES_MAX.saturating_sub(self.losses.len());
        self.losses.extend(other.losses.iter().take(room).cloned());
    }
}

impl Row {
    pub fn lost_count(&self) -> u64 {
        self.lost.values().sum()
    }

    /// Sent, whatever became of them.
    pub fn requests(&self) -> u64 {
        self.answered + self.lost_count()
    }

    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.fresh += other.fresh;
        self.refused += other.refused;
        for (failure, count) in &other.lost {
            *self.lost.entry(*failure).or_default() += count;
        }
        self.latency.add(&other.latency);
    }
}

/// How often each latency came, to within a sixteenth.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    pub longest: Duration,
}

impl Histogram {
    pub fn record(&mut self, latency: Duration) {
        let at = bucket(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.longest = self.longest.max(latency);
    }

    /// The latency that so many of a hundred stay below or at; zero when there is none.
    pub fn percentile(&self, percent: u64) -> Duration {
        let wanted = (self.counts.iter().sum::<u64>() * percent).div_ceil(100);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_micros(at.map_or(0, lower_bound))
    }

    fn add(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.longest = self.longest.max(other.longest);
    }
}

/// Sixteen buckets for each power of two.
fn bucket(micros: u64) -> usize {
    if micros < 16 {
        return micros as usize;
    }
    let power = micros.ilog2();
    ((power - 3) * 16) as usize + ((micros >> (power - 4)) & 15) as usize
}

fn lower_bound(bucket: usize) -> u64 {
    if bucket < 16 {
        return bucket as u64;
    }
    (16 + bucket as u64 % 16) << (bucket / 16 - 1)
}

#[test]
fn a_latency_falls_into_a_bucket_that_begins_less_than_a_sixteenth_below_it() {
    let all = (0..200).chain((8..40).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + (1 << power) / 3]));
    for micros in all {
        let low = lower_bound(bucket(micros));
        assert!(low <= micros && micros - low <= micros / 16, "{micros} is in the bucket of {low}");
    }
}

#[test]
fn percentiles_are_those_of_what_was_recorded() {
    let mut histogram = Histogram::default();
    (1..=100).for_each(|millis| histogram.record(Duration::from_millis(millis)));
    let near = |percent, millis: u64| {
        let found = histogram.percentile(percent).as_micros() as f64;
        (found / (millis * 1000) as f64 - 1.0).abs() < 1.0 / 16.0
    };
    assert!(near(50, 50) && near(99, 99), "{:?} {:?}", histogram.percentile(50), histogram.percentile(99));
    assert_eq!(histogram.longest, Duration::from_millis(100));
}
