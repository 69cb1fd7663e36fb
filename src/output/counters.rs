//! The counters of `status`.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::pool::{Notice, UpgradeFailure};
use crate::protocol::object;

/// What has happened since the start of the first image.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counters {
    launched: u64,
    exited: u64,
    killed: u64,
    upgrades: u64,
    failed_upgrades: u64,
    /// Children reaped that were no workers: adopted orphans of theirs.
    pub(crate) orphans: u64,
}

impl Counters {
    pub(crate) fn count(&mut self, notice: &Notice) {
        match notice {
            Notice::Launched { .. } => self.launched += 1,
            Notice::Exited { .. } => self.exited += 1,
            Notice::KillingLate { .. } | Notice::ExecStuck { .. } => self.killed += 1,
            Notice::Upgraded { .. } => self.upgrades += 1,
            Notice::UpgradeRefused { .. } => self.failed_upgrades += 1,
            Notice::UpgradeFailed { reason, .. } => self.failed_upgrades += u64::from(is_own_failure(reason)),
            _ => {}
        }
    }

    pub(crate) fn shown(&self, dropped_lines: u64) -> Json {
        object([
            ("launched", self.launched.into()),
            ("exited", self.exited.into()),
            ("killed", self.killed.into()),
            ("upgrades", self.upgrades.into()),
            ("failed_upgrades", self.failed_upgrades.into()),
            ("log_lines_dropped", dropped_lines.into()),
        ])
    }
}

/// Whether it is the version's own fault, and not what a command wanted.
fn is_own_failure(reason: &UpgradeFailure) -> bool {
    match reason {
        UpgradeFailure::Failures(_) | UpgradeFailure::TooMany(_) | UpgradeFailure::NothingServes => true,
        UpgradeFailure::CheckFailed(_) | UpgradeFailure::Unfit(_) | UpgradeFailure::DeadlinePassed(_) => true,
        UpgradeFailure::Final(_) => true,
        UpgradeFailure::Aborted | UpgradeFailure::RolledBack | UpgradeFailure::Stopping => false,
    }
}
