//! What a line of the log looks like: einhorn's form, with its time in front where that is wanted, or a JSON document.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime};

use log::Level;
use serde_json::{Value as Json, json};

use crate::base::limits::LAST_SECOND;
use crate::base::{LogFormat, Pid, Slot, Version, printable};
use crate::logging::journal::mark_of;
use crate::sys::clock;

/// Who wrote a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Speaker {
    /// The master, or another process of ours.
    Own { name: &'static str, pid: u32 },
    /// A child that is to become a worker.
    Child(Pid),
    /// A worker's own line.
    Worker { slot: Slot, pid: Pid, version: Version },
    /// A line of the process that loads the program of a version.
    Loader { pid: Pid, version: Version },
}

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Plain,
    PlainWithTime,
    Json,
}

impl Layout {
    pub(crate) fn of(format: LogFormat, has_time: bool) -> Self {
        match (format, has_time) {
            (LogFormat::Json, _) => Self::Json,
            (LogFormat::Plain, true) => Self::PlainWithTime,
            (LogFormat::Plain, false) => Self::Plain,
        }
    }
}

/// That of the lines from now on.
static LAYOUT: AtomicU8 = AtomicU8::new(Layout::Plain as u8);

pub(crate) fn set_layout(layout: Layout) {
    LAYOUT.store(layout as u8, Ordering::Relaxed);
}

fn layout() -> Layout {
    let all = [Layout::Plain, Layout::PlainWithTime, Layout::Json];
    all.into_iter().find(|layout| *layout as u8 == LAYOUT.load(Ordering::Relaxed)).unwrap_or(Layout::Plain)
}

/// A line with its newline. It stays one line, and cannot move a terminal's cursor: clients and workers have words in it.
pub(crate) fn line(level: Level, speaker: Speaker, message: &str) -> String {
    let text = match speaker {
        Speaker::Worker { .. } | Speaker::Loader { .. } => {
            format!("[{}] {}", speaker.named(), printable::line(message))
        }
        Speaker::Own { .. } | Speaker::Child(_) => {
            format!("[{}] {level}: {}", speaker.named(), printable::line(message))
        }
    };
    in_layout(layout(), level, speaker, &text, message)
}

/// Bare words with their newline, as einhorn shows them at its terminal.
pub(crate) fn bare(speaker: Speaker, message: &str) -> String {
    in_layout(layout(), Level::Info, speaker, &printable::line(message), message)
}

fn in_layout(layout: Layout, level: Level, speaker: Speaker, text: &str, message: &str) -> String {
    let mark = mark_of(level);
    match layout {
        Layout::Plain => format!("{mark}{text}\n"),
        Layout::PlainWithTime => format!("{mark}{} {text}\n", now()),
        Layout::Json => format!("{mark}{}\n", printable::json(&document(level, speaker, message).to_string())),
    }
}

/// As RFC 3339 has it, in UTC, to the millisecond.
fn now() -> String {
    let (seconds, nanos) = clock::wall();
    let since_epoch = Duration::new(u64::try_from(seconds).unwrap_or(0).min(LAST_SECOND), nanos);
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since_epoch).to_string()
}

fn document(level: Level, speaker: Speaker, message: &str) -> Json {
    let level = level.as_str().to_lowercase();
    let (time, source) = (now(), speaker.source());
    match speaker {
        Speaker::Own { pid, .. } => {
            json!({"time": time, "level": level, "source": source, "pid": pid, "message": message})
        }
        Speaker::Child(pid) => {
            json!({"time": time, "level": level, "source": source, "pid": pid.0, "message": message})
        }
        Speaker::Worker { slot, pid, version } => json!({
            "time": time, "level": level, "source": source, "slot": slot.0, "pid": pid.0, "version": version.0,
            "message": message,
        }),
        Speaker::Loader { pid, version } => json!({
            "time": time, "level": level, "source": source, "pid": pid.0, "version": version.0, "message": message,
        }),
    }
}

impl Speaker {
    /// As it stands in brackets before a plain message.
    pub(crate) fn named(self) -> String {
        match self {
            Self::Own { name, pid } => format!("{} {pid}", name.to_uppercase()),
            Self::Child(pid) => format!("WORKER {pid}"),
            Self::Worker { slot, pid, version } => format!("worker {slot}, pid {pid}, version {version}"),
            Self::Loader { pid, version } => format!("loader, pid {pid}, version {version}"),
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Own { name, .. } => name,
            Self::Child(_) | Self::Worker { .. } => "worker",
            Self::Loader { .. } => "loader",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: Speaker = Speaker::Own { name: "master", pid: 7 };
    const LOADER: Speaker = Speaker::Loader { pid: Pid(13), version: Version(3) };
    const WORKER: Speaker = Speaker::Worker { slot: Slot(2), pid: Pid(12), version: Version(3) };

    fn shown(layout: Layout, speaker: Speaker) -> String {
        in_layout(layout, Level::Warn, speaker, "text", "a \"b\"\n\u{1b}\u{202e}")
    }

    #[test]
    fn a_plain_line_begins_with_its_time_where_that_is_wanted() {
        assert_eq!(line(Level::Warn, MASTER, "a\nb\u{1b}"), "[MASTER 7] WARN: a\\x0ab\\x1b\n");
        assert_eq!(line(Level::Info, Speaker::Child(Pid(9)), "x"), "[WORKER 9] INFO: x\n");
        assert_eq!(line(Level::Info, WORKER, "x"), "[worker 2, pid 12, version 3] x\n");
        assert_eq!(line(Level::Info, LOADER, "x"), "[loader, pid 13, version 3] x\n");
        assert_eq!(bare(MASTER, "x"), "x\n");
        assert_eq!(shown(Layout::Plain, MASTER), "text\n");
        let timed = shown(Layout::PlainWithTime, MASTER);
        let (time, rest) = timed.split_once(' ').unwrap();
        assert_eq!(rest, "text\n");
        assert!(humantime::parse_rfc3339(time).is_ok() && time.len() == "2026-11-30T00:00:00.000Z".len(), "{time}");
    }

    #[test]
    fn a_json_line_has_the_message_as_it_is_and_steers_no_terminal() {
        for (speaker, fields) in [
            (MASTER, json!({"source": "master", "pid": 7})),
            (Speaker::Child(Pid(9)), json!({"source": "worker", "pid": 9})),
            (WORKER, json!({"source": "worker", "slot": 2, "pid": 12, "version": 3})),
            (LOADER, json!({"source": "loader", "pid": 13, "version": 3})),
        ] {
            let line = shown(Layout::Json, speaker);
            assert!(line.ends_with("}\n") && !line.trim_end().chars().any(printable::is_hidden), "{line:?}");
            let mut said: Json = serde_json::from_str(&line).unwrap();
            let time = said["time"].take();
            assert!(humantime::parse_rfc3339(time.as_str().unwrap()).is_ok());
            for (name, value) in fields.as_object().unwrap() {
                assert_eq!(&said[name], value);
            }
            assert_eq!((&said["level"], &said["message"]), (&json!("warn"), &json!("a \"b\"\n\u{1b}\u{202e}")));
        }
    }

    #[test]
    fn json_always_has_the_time() {
        assert_eq!(Layout::of(LogFormat::Json, false), Layout::Json);
        assert_eq!(Layout::of(LogFormat::Plain, true), Layout::PlainWithTime);
        assert_eq!(Layout::of(LogFormat::Plain, false), Layout::Plain);
    }
}
