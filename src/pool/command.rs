//! The commands that change what the pool aims at. What a request looks like on the wire is not known here.

use serde::{Deserialize, Serialize};

use crate::base::Signal;
use crate::pool::settings::Settings;

/// What an admin or a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Replace every worker.
    Upgrade(UpgradeStyle),
    /// Launch no more, send this to every worker, and end when all are gone.
    Stop(Signal),
    /// The same, with each worker's own graceful signal; none of them is held to be more urgent for its name.
    StopGracefully,
    /// Pass a signal on to every worker; it is not held against them.
    Forward(Signal),
    /// Run so many workers; at least 1. It stays when an upgrade is given up.
    SetTarget(u32),
    /// Decide by these from now on, and by `fallback` once the upgrade under way is given up. Where none is under way both
    /// are the same.
    Configure { settings: Settings, fallback: Settings },
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
