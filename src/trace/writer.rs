//! The trace thread: writes finished lines to a file that may be on a full disk or a slow one. The main thread never waits for it:
//! what does not fit into the queue is dropped and counted. After a loss nothing is written until a state line comes, so that no gap is
//! without one behind it. A file that has grown to its limit becomes `FILE.1`, and a new one begins, with a state line, too.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::errno::Errno;

use crate::base::Mono;
use crate::base::exit_code::Problem;
use crate::files::error::{FileCause, FileError};
use crate::files::private_file::PrivateFile;
use crate::files::room::check_writable;
use crate::logging::rate_limiter::LogRateLimiter;
use crate::sys::clock;
use crate::sys::errno::words;
use crate::threads::Input;
use crate::threads::crew::Crew;
use crate::threads::handle::{Pauses, ThreadHandle, Work};

/// How large a file may grow before the next one begins. With the one before, a trace takes twice as much, and a little more.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// How many lines may wait to be written, and how many bytes.
const LINES_MAX: usize = 4096;
const WAITING_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How long after a state line the next one may follow that a loss makes necessary.
const STATE_PAUSE: Duration = Duration::from_secs(1);

/// How every trace begins: `machines::trace::Line::State`.
const TRACE_START: &[u8] = b"{\"state\":{\"format\":";

enum Item {
    /// A state line comes with how many lines are missing before it.
    Line(Vec<u8>, Option<u64>),
    Flush(Sender<()>),
}

/// What both ends count.
#[derive(Default)]
struct Tally {
    waiting_bytes: AtomicU64,
    /// Lines that are missing in the file, and of which no state line tells.
    lost: AtomicU64,
    /// The file has grown to its limit.
    is_full: AtomicBool,
}

impl Tally {
    fn take(&self, line: &[u8]) {
        self.waiting_bytes.fetch_sub(line.len() as u64, Ordering::Relaxed);
    }

    /// A line, and with a state line what it would have told of.
    fn lose(&self, lost: Option<u64>) {
        self.lost.fetch_add(1 + lost.unwrap_or(0), Ordering::Relaxed);
    }
}

/// The main thread's end.
pub(crate) struct TraceQueue {
    path: PathBuf,
    items: Sender<Item>,
    tally: Arc<Tally>,
    /// When a state line may be asked for again after a loss; none: there has been no state line yet.
    state_due: Option<Mono>,
    thread: Arc<ThreadHandle<Writer>>,
}

impl TraceQueue {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a line would stand behind the state that it needs. If one is missing since a loss, this one is lost, too.
    pub(crate) fn takes_lines(&self) -> bool {
        let is_whole = self.tally.lost.load(Ordering::Relaxed) == 0;
        if !is_whole {
            self.tally.lose(None);
        }
        is_whole && self.state_due.is_some()
    }

    /// Queues a line, or counts it as lost. A state line comes with what [`Self::wants_state`] said.
    pub(crate) fn push(&self, line: Vec<u8>, lost: Option<u64>) {
        let bytes = line.len() as u64;
        let has_room = self.tally.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) < WAITING_BYTES_MAX;
        if !has_room || self.items.try_send(Item::Line(line, lost)).is_err() {
            self.tally.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.tally.lose(lost);
        }
    }

    /// If a state line is needed now: how many lines are missing before it.
    pub(crate) fn wants_state(&mut self, now: Mono) -> Option<u64> {
        let (is_full, lost) = (&self.tally.is_full, &self.tally.lost);
        let is_needed = match self.state_due {
            None => true,
            Some(due) => is_full.load(Ordering::Relaxed) || due <= now && lost.load(Ordering::Relaxed) > 0,
        };
        is_needed.then(|| {
            self.state_due = Some(now.after(STATE_PAUSE));
            is_full.store(false, Ordering::Relaxed);
            lost.swap(0, Ordering::Relaxed)
        })
    }

    /// Waits until what was queued is written, but no longer than `patience`.
    pub(crate) fn flush(&self, patience: Duration) {
        let (done, finished) = bounded(1);
        if self.thread.without_thread(|_| ()).is_none() && self.items.try_send(Item::Flush(done)).is_ok() {
            let _late = finished.recv_timeout(patience);
        }
    }

    /// How many lines are missing in the file as it is now.
    pub(crate) fn missing(&self) -> u64 {
        self.tally.lost.load(Ordering::Relaxed) + self.items.len() as u64
    }
}

/// What can be known of it without making it.
///
/// # Errors
/// As [`open`].
pub(crate) fn check(path: &Path) -> Result<(), Problem> {
    place_of(path).and_then(|_| check_writable(path)).map_err(|cause| refused(path, cause))
}

/// Opens the file, to be written at its end.
///
/// # Errors
/// Why there can be no trace, in a sentence: it is another kind of file, or others could write to it or put another in its place.
pub(crate) fn open(path: &Path) -> Result<File, Problem> {
    open_trace(path).map_err(|cause| refused(path, cause))
}

fn refused(path: &Path, cause: FileCause) -> Problem {
    let error = FileError::new("write the trace", path, cause);
    let message = format!("{error}; need a trace or a path without a file");
    Problem { code: error.cause.exit_code(), message }
}

fn open_trace(path: &Path) -> Result<File, FileCause> {
    place_of(path)?.append()
}

/// Where nothing stands that is no trace.
fn place_of(path: &Path) -> Result<PrivateFile, FileCause> {
    let place = PrivateFile::in_directory_of(path)?;
    let mut start = Vec::new();
    if let Some(file) = place.open()? {
        file.take(TRACE_START.len() as u64).read_to_end(&mut start)?;
    }
    if !TRACE_START.starts_with(&start) {
        return Err(FileCause::OfAnotherKind);
    }
    Ok(place)
}

fn cause(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| words(Errno::from_raw(number)))
}

/// Starts the thread, which opens the file when the first state line comes. So many lines are missing already.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(path: &Path, lost: u64, crew: &mut Crew) -> io::Result<TraceQueue> {
    let (items, queued) = bounded(LINES_MAX);
    let tally = Arc::new(Tally { lost: lost.into(), ..Tally::default() });
    let writer = Writer {
        path: path.to_owned(),
        queued,
        tally: Arc::clone(&tally),
        file: None,
        bytes: 0,
        complaints: LogRateLimiter::default(),
    };
    let thread = crew.start(writer, Arc::default())?;
    Ok(TraceQueue { path: path.to_owned(), items, tally, state_due: None, thread })
}

struct Writer {
    path: PathBuf,
    queued: Receiver<Item>,
    tally: Arc<Tally>,
    /// None: in the beginning and after a failure, until the next state line.
    file: Option<File>,
    /// How large it is.
    bytes: u64,
    complaints: LogRateLimiter,
}

impl Work for Writer {
    const NAME: &'static str = "trace";

    fn serve(&mut self, _never_paused: &Pauses) {
        while let Ok(item) = self.queued.recv() {
            match item {
                Item::Line(line, lost) => self.take(&line, lost),
                Item::Flush(done) => drop(done),
            }
        }
    }

    /// The main thread writes to no file that might keep it waiting: the lines are lost until there is a thread.
    fn turn(&mut self) -> Vec<Input> {
        for item in self.queued.try_iter().take(LINES_MAX) {
            match item {
                Item::Line(line, lost) => {
                    self.tally.take(&line);
                    self.tally.lose(lost);
                }
                Item::Flush(done) => drop(done),
            }
        }
        Vec::new()
    }
}

impl Writer {
    fn take(&mut self, line: &[u8], lost: Option<u64>) {
        self.tally.take(line);
        let outcome = match lost {
            Some(_) => self.open_for_state().and_then(|before| self.write(&[before, line].concat())),
            None if self.file.is_none() => return self.tally.lose(lost),
            None => self.write(line),
        };
        if let Err(error) = outcome {
            self.file = None;
            self.tally.lose(lost);
            let (path, cause) = (self.path.display(), cause(&error));
            let line = format_args!("cannot write the trace {path}: {cause}, lines are missing in it");
            self.complaints.warn(clock::now(), line);
        }
    }

    /// One that is open and not full is gone on with. Says what is to stand before the state line.
    fn open_for_state(&mut self) -> io::Result<&'static [u8]> {
        let mut before: &[u8] = b"";
        if self.file.is_none() {
            before = self.open()?;
        }
        if let Some(full) = self.file.take_if(|_| self.bytes >= FILE_BYTES_MAX) {
            PrivateFile::in_directory_of(&self.path)?.set_aside(&full, ".1")?;
            before = self.open()?;
        }
        Ok(before)
    }

    fn open(&mut self) -> io::Result<&'static [u8]> {
        let file = open_trace(&self.path)?;
        self.bytes = file.metadata()?.len();
        self.file = Some(file);
        // A master that was killed may have left half a line.
        Ok(if self.bytes > 0 { b"\n" } else { b"" })
    }

    /// The whole line, or nothing of it.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if let Err(error) = file.write_all(line) {
            file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += line.len() as u64;
        if self.bytes >= FILE_BYTES_MAX {
            self.tally.is_full.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
