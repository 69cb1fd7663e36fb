//! How log lines look and where they go: `[MASTER 123] INFO: …` on standard error through the log thread, warnings and
//! errors to syslog as well if wanted. Nothing here blocks.

use std::fmt::Write as _;
use std::io;
use std::io::Write as _;
use std::sync::OnceLock;

use env_logger::{Builder, Target, WriteStyle};
use log::{Level, LevelFilter, Record};

use crate::pool::Pid;
use crate::threads::log_writer::{self, LogQueue};
use crate::threads::syslog_writer::{self, Severity, SyslogQueue};

/// The target that marks a line as being about a worker's own doing; the pid follows it.
const WORKER_TARGET: &str = "worker ";

/// For what is no log line and yet goes the same way.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// Where lines go; dropped at the very end.
pub struct Logging {
    queue: LogQueue,
}

/// Sends everything that is logged through the log thread from now on.
///
/// Errors: a thread cannot be started.
pub fn start(verbosity: u8, syslog: Option<SyslogQueue>) -> io::Result<Logging> {
    let queue = log_writer::start(format!("[MASTER {}]", std::process::id()))?;
    let sink = queue.clone();
    let _first = QUEUE.set(queue.clone());
    static SYSLOG: OnceLock<Option<SyslogQueue>> = OnceLock::new();
    let syslog = SYSLOG.get_or_init(|| syslog);
    let builder = &mut Builder::new();
    builder.filter_level(LevelFilter::Trace).write_style(WriteStyle::Never).target(Target::Pipe(Box::new(sink)));
    builder.format(move |out, record| {
        let message = escape_controls(&record.args().to_string());
        pass_to_syslog(syslog.as_ref(), record.level(), &message);
        writeln!(out, "[{}] {}: {message}", speaker(record), record.level())
    });
    builder.try_init().map_err(io::Error::other)?;
    set_verbosity(verbosity);
    Ok(Logging { queue })
}

/// Errors: a thread cannot be started.
pub fn start_syslog() -> io::Result<SyslogQueue> {
    syslog_writer::start()
}

/// einhorn's three grades: 0 tells everything, 1 what happens, 2 what goes wrong.
pub fn set_verbosity(verbosity: u8) {
    log::set_max_level(match verbosity {
        0 => LevelFilter::Debug,
        1 => LevelFilter::Info,
        _ => LevelFilter::Warn,
    });
}

/// Writes a bare line to standard error, whatever the verbosity.
pub(in crate::supervisor) fn print(line: &str) {
    if let Some(queue) = QUEUE.get() {
        queue.push(format!("{}\n", escape_controls(line)).into_bytes());
    }
}

/// How many lines nobody read in time, since the start.
pub(in crate::supervisor) fn dropped_lines() -> u64 {
    QUEUE.get().map_or(0, LogQueue::dropped_lines)
}

/// Says what a worker is about to do, in the worker's name, as einhorn's workers say it themselves: between fork and exec
/// a child of ours may not log.
pub fn log_for_worker(pid: Pid, message: &str) {
    log::info!(target: &format!("{WORKER_TARGET}{pid}"), "{message}");
}

impl Logging {
    /// Waits, not for long, until the last lines are written.
    pub fn finish(&self) {
        self.queue.flush();
    }
}

fn speaker(record: &Record<'_>) -> String {
    match record.target().strip_prefix(WORKER_TARGET) {
        Some(pid) => format!("WORKER {pid}"),
        None => format!("MASTER {}", std::process::id()),
    }
}

fn pass_to_syslog(syslog: Option<&SyslogQueue>, level: Level, message: &str) {
    let severity = match level {
        Level::Error => Severity::Error,
        Level::Warn => Severity::Warning,
        Level::Info | Level::Debug | Level::Trace => return,
    };
    if let Some(queue) = syslog {
        queue.push(severity, message.to_owned());
    }
}

/// One message stays one line, and cannot move a terminal's cursor: clients and workers have words in it.
fn escape_controls(message: &str) -> String {
    let mut escaped = String::with_capacity(message.len());
    for char in message.chars() {
        if char.is_control() {
            let _infallible = write!(escaped, "\\x{:02x}", u32::from(char));
        } else {
            escaped.push(char);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape_controls;

    #[test]
    fn a_message_cannot_forge_a_second_line_or_steer_a_terminal() {
        assert_eq!(escape_controls("a\n[MASTER 1] x\u{1b}]0;t\u{7}\u{9b}"), "a\\x0a[MASTER 1] x\\x1b]0;t\\x07\\x9b");
        assert_eq!(escape_controls("hé ✓"), "hé ✓");
    }
}
