//! The master's stderr, caught line by line as it is written. It must never let the pipe run full.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::support::wait::{LIMIT, holds_within};

/// Written by [`Log::settle`] behind all that has been written before; no line of the log.
const MARK: &str = "\u{1}everything before this has been read";

/// What has been written so far.
#[derive(Default)]
pub struct Log {
    text: Arc<Mutex<Text>>,
    /// The harness's own end of the pipe. While it is there, the catching thread reads on.
    writer: Option<File>,
}

#[derive(Default)]
struct Text {
    lines: Vec<String>,
    marks: usize,
}

impl Log {
    /// A log, and the descriptor whose writers it catches, until it is dropped and they are gone.
    pub fn catch() -> (Self, OwnedFd) {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let log = Self { text: Arc::default(), writer: Some(File::from(writer.try_clone().unwrap())) };
        let text = Arc::clone(&log.text);
        thread::spawn(move || {
            let lines = BufReader::new(File::from(reader)).split(b'\n').map_while(Result::ok);
            lines.for_each(|line| text.lock().unwrap().add(&String::from_utf8_lossy(&line)));
        });
        (log, writer)
    }

    pub fn lines(&self) -> Vec<String> {
        self.text().lines.clone()
    }

    /// Reads nothing more for as long as what comes back is kept; nor can this log be asked anything until then.
    pub fn hold(&self) -> impl Drop {
        self.text()
    }

    /// The lines behind so many first ones.
    pub fn since(&self, count: usize) -> Vec<String> {
        self.text().lines.get(count..).unwrap_or_default().to_vec()
    }

    /// The lines that contain this text.
    pub fn with(&self, text: &str) -> Vec<String> {
        self.text().lines.iter().filter(|line| line.contains(text)).cloned().collect()
    }

    pub fn count(&self, text: &str) -> usize {
        self.text().lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Waits until all that has been written so far can be seen here.
    pub fn settle(&self) {
        let Some(mut writer) = self.writer.as_ref() else { return };
        let before = self.text().marks;
        // In one write, so that no line of the master's can come between the mark and its end.
        writer.write_all(format!("{MARK}\n").as_bytes()).unwrap();
        assert!(holds_within(LIMIT, || self.text().marks > before), "the log cannot be caught");
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap()
    }
}

/// After how many seconds the line says that a child is killed.
#[track_caller]
pub fn seconds_before_kill(line: &str) -> u64 {
    let seconds =
        line.split_once("is still active after ").and_then(|(_, rest)| rest.strip_suffix("s. Sending SIGKILL."));
    seconds.and_then(|seconds| seconds.parse().ok()).unwrap_or_else(|| panic!("not about a kill: {line:?}"))
}

impl Text {
    /// A mark may stand behind a line that its writer has not ended.
    fn add(&mut self, line: &str) {
        let before_mark = line.strip_suffix(MARK);
        self.marks += usize::from(before_mark.is_some());
        if before_mark != Some("") {
            self.lines.push(before_mark.unwrap_or(line).to_owned());
        }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|line| writeln!(f, "  | {line}"))
    }
}
