//! The process that the master is: its pid, what it changes of itself for its work, and its last lines when it cannot start.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use log::Level;

use crate::base::{Pid, printable};
use crate::logging;
use crate::sys::birth::Birth;
use crate::sys::errno::words;
use crate::sys::limits;

pub(crate) fn own_pid() -> Pid {
    Pid(std::process::id().try_into().unwrap_or(i32::MAX))
}

/// The process itself: room for descriptors, and orphans of workers come to us rather than to init.
pub(crate) fn configure_process(birth: &Birth) {
    if let Err(errno) = birth.raise_nofile() {
        log::warn!("cannot raise the limit of open files: {}", words(errno));
    }
    if let Err(errno) = limits::set_child_subreaper() {
        log::warn!("cannot adopt what workers leave behind: {}", words(errno));
    }
}

/// Takes that back, for a successor that knows nothing of it and would hand it to its workers.
pub(crate) fn restore_process(birth: &Birth) {
    if let Err(errno) = limits::unset_child_subreaper().and_then(|()| birth.restore_nofile()) {
        log::warn!("cannot leave the process as it was found: {}", words(errno));
    }
}

/// One line on standard error.
pub(crate) fn report_error(error: &dyn Display, code: u8) -> ExitCode {
    report_errors(&[error], code)
}

/// A line on standard error for each.
pub(crate) fn report_errors(errors: &[impl Display], code: u8) -> ExitCode {
    report(Level::Error, "", errors);
    ExitCode::from(code)
}

/// The same for what is no reason to end.
pub(crate) fn report_warnings(warnings: &[impl Display]) {
    report(Level::Warn, "WARN: ", warnings);
}

fn report(level: Level, kind: &str, sentences: &[impl Display]) {
    let mark = logging::mark_of(level);
    let line = |said: &dyn Display| format!("{mark}einhyrningsins: {kind}{}\n", printable::line(&said.to_string()));
    let lines: Vec<String> = sentences.iter().map(|said| line(said)).collect();
    let _may_be_closed = std::io::stderr().write_all(lines.concat().as_bytes());
}
