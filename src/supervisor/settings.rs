//! From the configuration to what the pool decides by, and from the changes that `config` asks for to both.

use std::time::Duration;

use crate::base::AckMode;
use crate::config::{Config, LogSettings};
use crate::logging;
use crate::logging::plan::{LogPlan, level_of};
use crate::logging::syslog_message::Facility;
use crate::machines::reload::{Configuration, Input};
use crate::pool::{Manner, Settings, Share, Stages};
use crate::protocol::Change;
use crate::release::prepare::AppliedConfig;
use crate::supervisor::master::Supervisor;
use crate::sys::limits;

/// How long a version is on trial, and how many failures it may have then, where a configuration file leaves it open, or one who has
/// set a limit to the tries of an upgrade.
const EARLY_LIFE: Duration = Duration::from_secs(30);
const MAX_FAILURES: u32 = 3;

/// What the pool shall decide by.
pub(crate) fn of(config: &Config) -> Settings {
    let is_limited = config.retries.is_some() || config.early_life.is_some() || config.max_failures.is_some();
    let has_trial = config.has_file() || is_limited;
    let cpu_count = || u32::try_from(limits::cpu_count()).unwrap_or(u32::MAX);
    Settings {
        target: config.number.of(cpu_count()),
        ack: config.ack,
        ack_timeout: config.ack_timeout,
        spacing_s: config.seconds,
        max_unacked: config.max_unacked.unwrap_or_else(cpu_count),
        max_upgrade_additional: config.max_upgrade_additional,
        signal_timeout: config.signal_timeout.map(|seconds| Duration::from_secs(u64::from(seconds))),
        retries: config.retries,
        graceful: config.worker.graceful_signal,
        manner: if config.stands_in_for_einhorn() { Manner::Einhorn } else { Manner::Own },
        early_life: config.early_life.unwrap_or(if has_trial { EARLY_LIFE } else { Duration::ZERO }),
        max_failures: config.max_failures.unwrap_or(if has_trial { MAX_FAILURES } else { 0 }),
        stages: Stages::new(&config.rollout.stages).unwrap_or_default(),
        bake: config.rollout.bake.unwrap_or_default(),
        has_check: !config.rollout.check.is_empty(),
        max_surge: config.max_surge,
        stop_delay: config.stop_delay,
        max_unavailable: config.max_unavailable.unwrap_or(Share::Count(0)),
        no_restart: config.no_restart(),
    }
}

/// What is logged, and where it goes.
pub(crate) fn log_plan(log: &LogSettings) -> LogPlan {
    LogPlan {
        level: level_of(log.level.verbosity()),
        target: log.target,
        format: log.format,
        has_time: log.time || log.file.is_some(),
        syslog_level: level_of(log.syslog_level.verbosity()),
        // `config` knows the same names.
        facility: Facility::named(&log.facility).unwrap_or(Facility::DAEMON),
        ident: log.ident.clone(),
    }
}

impl Configuration for AppliedConfig {
    type Change = Change;

    fn set(&mut self, change: &Change) {
        self.effective.command(change.option, change.value.clone());
    }

    fn in_place_of(self, in_force: &Self) -> Self {
        Self { effective: in_force.followed_by(&self.loaded).0, ..self }
    }

    fn settings(&self) -> Settings {
        of(&self.effective)
    }
}

impl Supervisor {
    /// As on the command line: an ack timeout means nothing where acks come from a timer.
    pub(crate) fn is_timeout_without_use(&self, changes: &[Change]) -> bool {
        let sets_timeout = changes.iter().any(|change| change.option == "ack-timeout" && change.value.is_some());
        sets_timeout && self.config().ack != AckMode::Manual
    }

    /// Takes changes over into the configuration; they were checked, and they are all taken or none.
    pub(crate) fn apply(&mut self, changes: Vec<Change>) {
        self.drive_reload(Input::Commanded(changes));
        logging::set_verbosity(self.config().log.level.verbosity());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::FACILITIES;

    #[test]
    fn every_facility_of_the_configuration_is_known_to_syslog() {
        for name in FACILITIES.split('|') {
            assert_eq!(Facility::named(name).map(Facility::name), Some(name));
        }
    }
}
