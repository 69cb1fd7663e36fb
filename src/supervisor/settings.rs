//! From the configuration to what the pool decides by, and from the changes that `config` asks for to both.

use std::time::Duration;

use crate::config::{Ack, Config};
use crate::pool::{AckMode, Settings, Signal};
use crate::protocol::Change;
use crate::supervisor::{Supervisor, logging};
use crate::sys::limits;

/// What the pool shall decide by.
pub(in crate::supervisor) fn of(config: &Config) -> Settings {
    let cpu_count = || u32::try_from(limits::cpu_count()).unwrap_or(u32::MAX);
    Settings {
        target: config.number,
        ack: match config.ack {
            Ack::Timer(after) => AckMode::Timer(after),
            Ack::Manual => AckMode::Manual,
        },
        ack_timeout: config.ack_timeout,
        spacing_s: config.seconds,
        max_unacked: config.max_unacked.unwrap_or_else(cpu_count),
        max_upgrade_additional: config.max_upgrade_additional,
        signal_timeout: config.signal_timeout.map(|seconds| Duration::from_secs(u64::from(seconds))),
        graceful: Signal::USR2,
        retries: config.retries,
    }
}

impl Supervisor {
    /// As on the command line: an ack timeout means nothing where acks come from a timer.
    pub(in crate::supervisor) fn is_timeout_without_use(&self, changes: &[Change]) -> bool {
        let sets_timeout = changes.iter().any(|change| matches!(change, Change::AckTimeout(Some(_))));
        sets_timeout && self.config.ack != Ack::Manual
    }

    /// Takes changes over into the configuration; they were checked, and they are all taken or none.
    pub(in crate::supervisor) fn apply(&mut self, changes: &[Change]) -> Settings {
        for &change in changes {
            let config = &mut self.config;
            match change {
                Change::Number(number) => config.number = number,
                Change::Seconds(seconds) => {
                    config.seconds = seconds;
                    config.origins.note_given("seconds");
                }
                Change::SignalTimeout(seconds) => config.signal_timeout = seconds,
                Change::MaxUnacked(max) => config.max_unacked = max,
                Change::MaxUpgradeAdditional(additional) => config.max_upgrade_additional = additional,
                Change::AckTimeout(timeout) => config.ack_timeout = timeout,
                Change::Retries(retries) => config.retries = retries,
                Change::Verbosity(verbosity) => {
                    config.verbosity = verbosity;
                    logging::set_verbosity(verbosity);
                }
            }
        }
        of(&self.config)
    }
}
