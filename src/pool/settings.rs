//! What the pool is told to aim at, and the limits that no option sets. It holds values; it checks none (`config` does).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{AckMode, ExitCodes, Share, Signal, Stages};

/// A worker that dies this soon after its ack, unasked, counts as a sign of a crash loop.
pub(super) const EARLY_LIFE: Duration = Duration::from_secs(10);

/// A child that has not become its program after this time is killed.
pub const EXEC_LIMIT: Duration = Duration::from_secs(10);

/// The longest wait between two launches, however many workers died before their ack (einhorn's).
pub(super) const SPINUP_INTERVAL_MAX_S: f64 = 30.0;

/// The shortest, so that a deadline always lies ahead.
pub(super) const SPINUP_INTERVAL_MIN_S: f64 = 1e-6;

/// By how much each such death stretches the wait (einhorn's).
pub(super) const BACKOFF_FACTOR: f64 = 1.5;

/// How long workers may take to end after TERM when no signal timeout is set.
pub const TERM_GRACE: Duration = Duration::from_secs(90);

/// How long they may take after QUIT, whatever the signal timeout.
pub const QUIT_GRACE: Duration = Duration::from_secs(10);

/// How long a worker that missed its ack timeout may take to end.
pub(super) const UNACKED_GRACE: Duration = Duration::from_secs(10);

/// How long what a worker leaves that went to the background may take to end. It never served, as far as the pool knows.
pub const DAEMON_GRACE: Duration = Duration::from_secs(10);

/// How often the log names the workers that were told to go and stay.
pub(super) const LINGER_NOTE: Duration = Duration::from_secs(60);

/// How long an upgrade waits for a worker before that is told.
pub const WAIT_NOTE: Duration = Duration::from_secs(10);

/// How many failures in a row end an upgrade when an ack timeout is set and `--retries` is not.
pub(super) const RETRIES_WITH_ACK_TIMEOUT: u32 = 3;

/// What a ping's request id may take, in bytes; more is cut.
pub const REQUEST_ID_MAX: usize = 256;

/// As long as systemd allows a service for its start, if nothing else is said.
const ACK_LIMIT_WITH_TRIAL: Duration = Duration::from_secs(90);

/// The settings that the pool decides by; each may change between two events. They come with a version, and go with it when
/// its upgrade is given up.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How many workers shall serve; at least 1.
    pub target: u32,
    pub ack: AckMode,
    /// Within it a manual ack must come; without it, `ack_limit` says what is allowed.
    pub ack_timeout: Option<Duration>,
    /// Seconds between two launches, before any backoff; above 0.
    pub spacing_s: f64,
    /// How many modern workers may be without their ack while workers are launched one by one; at least 1.
    pub max_unacked: u32,
    /// How many workers above the target may live while others are told to go; at least 1.
    pub max_upgrade_additional: Option<u32>,
    /// After it, a worker that was told to go is killed.
    pub signal_timeout: Option<Duration>,
    /// By which a worker that is launched now will be told to go; einhorn's is USR2.
    pub graceful: Signal,
    /// After so many failures in a row an upgrade (or a first start that never served) is given up.
    pub retries: Option<u32>,
    #[serde(default)]
    pub manner: Manner,
    /// How long the workers of a new version must serve before it counts as good. Zero: as soon as all serve.
    #[serde(default)]
    pub early_life: Duration,
    /// A version that fails more often than this in its trial is given up. Zero: there is no trial.
    #[serde(default)]
    pub max_failures: u32,
    #[serde(default)]
    pub stages: Stages,
    /// How long each stage but the last is watched.
    #[serde(default)]
    pub bake: Duration,
    /// Whether each stage ends with a check.
    #[serde(default)]
    pub has_check: bool,
    /// How many workers above the target may live in an upgrade, beside those that were told to go.
    #[serde(default)]
    pub max_surge: Option<Share>,
    /// How many workers fewer than the target may serve in an upgrade.
    #[serde(default = "none")]
    pub max_unavailable: Share,
    /// How long workers go on to serve after a stop was asked for, before they are told.
    #[serde(default)]
    pub stop_delay: Duration,
    /// A worker that ends with one of them, unasked, is not launched again.
    #[serde(default)]
    pub no_restart: ExitCodes,
}

/// Whose way it is done in, where einhorn's and ours differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// An upgrade launches a worker each `spacing_s`; a worker's index is the lowest free number.
    #[default]
    Einhorn,
    /// An upgrade goes on with each ack; a worker's index is its slot.
    Own,
}

fn none() -> Share {
    Share::Count(0)
}

impl Default for Settings {
    /// What einhorn does when it is told nothing, for one worker.
    fn default() -> Self {
        Self {
            target: 1,
            ack: AckMode::Timer(Duration::from_secs(1)),
            ack_timeout: None,
            spacing_s: 1.0,
            max_unacked: 1,
            max_upgrade_additional: None,
            signal_timeout: None,
            graceful: Signal::USR2,
            retries: None,
            manner: Manner::default(),
            early_life: Duration::ZERO,
            max_failures: 0,
            stages: Stages::default(),
            bake: Duration::ZERO,
            has_check: false,
            max_surge: None,
            max_unavailable: none(),
            stop_delay: Duration::ZERO,
            no_restart: ExitCodes::default(),
        }
    }
}

impl Settings {
    /// How many workers fewer than the target may serve in an upgrade. Where the shares leave room for neither a worker more nor a worker
    /// less, it is one: else nothing could be replaced.
    pub fn unavailable(&self) -> u32 {
        let unavailable = self.max_unavailable.rounded_down(self.target);
        let has_surge = self.max_surge.is_none_or(|surge| surge.rounded_up(self.target) > 0);
        if has_surge { unavailable } else { unavailable.max(1) }
    }

    /// Whether a new version is on trial.
    pub fn has_trial(&self) -> bool {
        !self.early_life.is_zero() && self.max_failures > 0
    }

    /// Within which a manual ack must come. None: for ever is allowed, which a trial never does, or an upgrade could wait for ever.
    pub fn ack_limit(&self) -> Option<Duration> {
        self.ack_timeout.or(self.has_trial().then_some(ACK_LIMIT_WITH_TRIAL))
    }

    /// How many failures in a row end an upgrade; none means never.
    pub(in crate::pool) fn failure_limit(&self) -> Option<u32> {
        self.retries.or(self.ack_timeout.map(|_| RETRIES_WITH_ACK_TIMEOUT))
    }

    /// Whether a pool can decide by them.
    pub(in crate::pool) fn check(&self) -> Result<(), String> {
        if self.target < 1 || self.max_unacked < 1 || self.max_upgrade_additional == Some(0) {
            return Err("the numbers of workers must be at least 1".to_owned());
        }
        if !(self.spacing_s.is_finite() && self.spacing_s > 0.0) {
            return Err("spacing_s must be above 0".to_owned());
        }
        Ok(())
    }
}
