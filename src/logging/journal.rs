//! Whether the journal of systemd reads standard error, and how it is told a line's level.

use std::sync::OnceLock;

use log::Level;

use crate::sys::stderr::is_journal;

/// Asked once, since standard error stays what it is.
static IS_JOURNAL: OnceLock<bool> = OnceLock::new();

/// Whether the journal of systemd reads standard error.
pub(crate) fn goes_to_journal() -> bool {
    let is_read = || std::env::var_os("JOURNAL_STREAM").is_some_and(|stream| is_journal(&stream));
    *IS_JOURNAL.get_or_init(is_read)
}

/// What a line begins with, so that the journal knows its level, as sd-daemon(3) has it. Nothing where there is no journal.
pub(crate) fn mark_of(level: Level) -> &'static str {
    if !goes_to_journal() {
        return "";
    }
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}
