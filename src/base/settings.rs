//! Values of the configuration that other rooms act on as they are.

use std::num::NonZeroU8;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a worker is known to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckMode {
    /// It has lived for so long.
    Timer(Duration),
    /// It says so on the control socket.
    Manual,
}

impl Default for AckMode {
    /// einhorn's.
    fn default() -> Self {
        Self::Timer(Duration::from_secs(1))
    }
}

/// So many of all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    Count(u32),
    /// Of a hundred.
    Percent(u32),
}

impl Share {
    pub fn rounded_up(self, total: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => of_hundred(percent, total, 99),
        }
    }

    pub fn rounded_down(self, total: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => of_hundred(percent, total, 0),
        }
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

fn of_hundred(percent: u32, total: u32, extra: u64) -> u32 {
    u32::try_from((u64::from(percent) * u64::from(total) + extra) / 100).unwrap_or(u32::MAX)
}

/// How many exit codes may be named.
pub const EXIT_CODES_MAX: usize = 8;

/// Exit codes of a process, but for 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitCodes([Option<NonZeroU8>; EXIT_CODES_MAX]);

impl ExitCodes {
    /// None: more than [`EXIT_CODES_MAX`].
    pub fn new(codes: &[NonZeroU8]) -> Option<Self> {
        let mut set = Self::default();
        let places = set.0.get_mut(..codes.len())?;
        places.iter_mut().zip(codes).for_each(|(place, code)| *place = Some(*code));
        Some(set)
    }

    pub fn has(self, code: i32) -> bool {
        self.0.into_iter().flatten().any(|known| i32::from(known.get()) == code)
    }
}

/// How many stages an upgrade may have, beside the last one, which is all workers.
pub const STAGES_MAX: usize = 8;

/// How many workers run the new version after each stage of an upgrade. Behind the last one that is named come all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages([Option<Share>; STAGES_MAX]);

impl Stages {
    /// None: more than [`STAGES_MAX`].
    pub fn new(shares: &[Share]) -> Option<Self> {
        let mut stages = Self::default();
        let places = stages.0.get_mut(..shares.len())?;
        places.iter_mut().zip(shares).for_each(|(place, share)| *place = Some(*share));
        Some(stages)
    }

    pub fn shares(&self) -> impl Iterator<Item = Share> {
        self.0.into_iter().flatten()
    }

    /// How many of `total` workers the stage of this number is, counted from 0; at least 1.
    pub fn workers(&self, stage: u32, total: u32) -> u32 {
        let share = usize::try_from(stage).ok().and_then(|stage| *self.0.get(stage)?);
        share.map_or(total, |share| share.rounded_up(total).clamp(1, total.max(1)))
    }
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    #[default]
    Stderr,
    /// The lines down to the level of syslog, and the others nowhere. Standard error has what could not be delivered.
    Syslog,
    /// Standard error has every line, and syslog those down to its level.
    Both,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Plain,
    Json,
}

/// Where standard output and standard error of the workers go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerOutput {
    /// Into the log, line by line.
    Capture,
    /// Where the master's go.
    #[default]
    Inherit,
}

/// The facilities of syslog that a program may use, by their names in syslog.conf(5), parted by `|`. `kern` is for the kernel.
pub const FACILITIES: &str = "user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|\
    local0|local1|local2|local3|local4|local5|local6|local7";

#[cfg(test)]
mod tests {
    use super::*;

    /// As einhyrningsins.toml(5) says: up, but for `max-unavailable`, and never less than one in a stage.
    #[test]
    fn parts_of_a_worker_are_rounded() {
        for (percent, total, up, down) in
            [(25, 4, 1, 1), (25, 5, 2, 1), (25, 3, 1, 0), (1, 1000, 10, 10), (100, 7, 7, 7), (0, 9, 0, 0)]
        {
            let share = Share::Percent(percent);
            assert_eq!((share.rounded_up(total), share.rounded_down(total)), (up, down), "{percent}% of {total}");
            let stages = Stages::new(&[share]).unwrap();
            assert_eq!(stages.workers(0, total), up.max(1), "{percent}% of {total}");
        }
    }
}
