//! What is logged, and where it goes, as values that their maker has checked. Nothing is logged here.

use log::LevelFilter;

use crate::base::{LogFormat, LogTarget};
use crate::logging::syslog_message::{Facility, Header};

/// What is logged, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogPlan {
    /// The least that is logged at all: debug, info, warn or error.
    pub(crate) level: LevelFilter,
    pub(crate) target: LogTarget,
    pub(crate) format: LogFormat,
    /// Whether a plain line begins with its time.
    pub(crate) has_time: bool,
    /// The least that syslog gets, of what `level` lets through.
    pub(crate) syslog_level: LevelFilter,
    pub(crate) facility: Facility,
    /// The name before each message to syslog: printable, without blanks, brackets and colons, for that is where readers
    /// of syslog see it end.
    pub(crate) ident: String,
}

impl LogPlan {
    /// What stands before each message to syslog.
    pub(crate) fn header(&self) -> Header {
        Header { facility: self.facility, ident: self.ident.clone() }
    }
}

impl Default for LogPlan {
    /// As without a word about it on the command line.
    fn default() -> Self {
        Self {
            level: LevelFilter::Info,
            target: LogTarget::Stderr,
            format: LogFormat::Plain,
            has_time: false,
            syslog_level: LevelFilter::Warn,
            facility: Facility::DAEMON,
            ident: "einhyrningsins".to_owned(),
        }
    }
}

/// einhorn's three grades, 0 to tell everything, 1 what happens, 2 what goes wrong; and 3 for errors alone, which no command
/// of its control socket sets.
pub(crate) fn level_of(verbosity: u8) -> LevelFilter {
    match verbosity {
        0 => LevelFilter::Debug,
        1 => LevelFilter::Info,
        2 => LevelFilter::Warn,
        3.. => LevelFilter::Error,
    }
}

/// The grade after einhorn's `louder`.
pub(crate) fn louder(verbosity: u8) -> u8 {
    verbosity.saturating_sub(1)
}

/// The grade after einhorn's `quieter`, which ends at 2; who has asked for errors alone does not get more by it.
pub(crate) fn quieter(verbosity: u8) -> u8 {
    verbosity + u8::from(verbosity < 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grades_are_einhorns_and_one_more() {
        let levels = [LevelFilter::Debug, LevelFilter::Info, LevelFilter::Warn, LevelFilter::Error];
        assert_eq!([0, 1, 2, 3].map(level_of), levels);
        assert_eq!([0, 1, 2, 3].map(louder), [0, 0, 1, 2]);
        assert_eq!([0, 1, 2, 3].map(quieter), [1, 2, 2, 3]);
    }
}
