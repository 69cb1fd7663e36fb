//! The commands that change what the pool aims at. What a request looks like on the wire is not known here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Pid, Signal, Stages, Version};
use crate::pool::settings::Settings;

/// What an admin or a signal asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Replace every worker.
    Upgrade {
        style: UpgradeStyle,
        terms: Terms,
    },
    /// Launch no more of the new version until `Resume`.
    Pause,
    Resume,
    /// Give up the upgrade under way, or the version that is on trial.
    Abort,
    /// Go back to this version, or to the one before.
    RollBack(Option<Version>),
    /// Launch no more, send this to every worker, and end when all are gone.
    Stop(Signal),
    /// The same, with each worker's own graceful signal; none of them is held to be more urgent for its name.
    StopGracefully,
    /// The same, and TERM follows for those that are still there after the signal timeout.
    StopGracefullyThenTerm,
    /// Pass a signal on to every worker; it is not held against them.
    Forward(Signal),
    /// The same, to these workers alone.
    ForwardTo {
        signal: Signal,
        pids: Vec<Pid>,
    },
    /// Run so many workers; at least 1. It stays when an upgrade is given up.
    SetTarget(u32),
    /// Decide by these from now on: by those of the modern version, and by those of each that is gone back to.
    Configure(Vec<(Version, Settings)>),
}

/// On which terms an upgrade is done; where nothing is said, the settings say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub stages: Option<Stages>,
    /// How long each stage but the last is watched.
    pub bake: Option<Duration>,
    /// After so long it is given up, if it is not done.
    pub deadline: Option<Duration>,
}

/// How old workers make room for new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpgradeStyle {
    /// A few at a time.
    Smooth,
    /// All new ones first.
    Fleet,
}
