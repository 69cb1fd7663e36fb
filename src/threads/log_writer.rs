//! The log thread: writes finished lines to standard error, which may be a pipe that nobody reads. Whoever logs never
//! waits for it: what does not fit into the queue is dropped and counted, and the count is written when there is room.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::sys::stderr;
use crate::threads::spawn;

/// How many lines may wait to be written.
const LINES_MAX: usize = 4096;

/// What goes to the thread.
enum Item {
    Line(Vec<u8>),
    Flush(Sender<()>),
}

/// The end that lines are put into; clones share the queue.
#[derive(Clone)]
pub struct LogQueue {
    items: Sender<Item>,
    dropped: Arc<AtomicU64>,
    dropped_ever: Arc<AtomicU64>,
}

impl LogQueue {
    /// How many lines were dropped since the start.
    pub fn dropped_lines(&self) -> u64 {
        self.dropped_ever.load(Ordering::Relaxed)
    }

    /// How many wait to be written.
    pub fn waiting_lines(&self) -> u64 {
        u64::try_from(self.items.len()).unwrap_or(u64::MAX)
    }

    /// Counts what an earlier image has dropped.
    pub fn count_dropped(&self, lines: u64) {
        self.dropped_ever.fetch_add(lines, Ordering::Relaxed);
    }

    /// Queues a line with its newline, or counts it as dropped.
    pub fn push(&self, line: Vec<u8>) {
        if self.items.try_send(Item::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.dropped_ever.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was queued is written, for so long at most until there is room and again until it is written.
    pub fn flush(&self, patience: Duration) {
        let (done, finished) = bounded(1);
        if self.items.send_timeout(Item::Flush(done), patience).is_ok() {
            let _late = finished.recv_timeout(patience);
        }
    }
}

impl Write for LogQueue {
    /// One call is one line: so env_logger writes.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the thread. `prefix` begins the lines of its own, about what was dropped.
///
/// Errors: no thread can be started.
pub fn start(prefix: String) -> io::Result<LogQueue> {
    let (items, queued) = bounded(LINES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&dropped);
    spawn::named("log", move || write_all(&queued, &counter, &prefix))?;
    Ok(LogQueue { items, dropped, dropped_ever: Arc::default() })
}

fn write_all(queued: &Receiver<Item>, dropped: &AtomicU64, prefix: &str) {
    for item in queued {
        match item {
            Item::Line(line) => {
                write_line(&line);
                let lost = dropped.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    write_line(
                        format!("{prefix} WARN: dropped {lost} log lines, nobody read them in time\n").as_bytes(),
                    );
                }
            }
            Item::Flush(done) => drop(done),
        }
    }
}

/// Writes to standard error. One that is closed or broken is no reason to do anything: there is nowhere to say so.
fn write_line(line: &[u8]) {
    let mut rest = line;
    while !rest.is_empty() {
        match stderr::write(rest) {
            Ok(written) => rest = &rest[written.min(rest.len())..],
            Err(_) => return,
        }
    }
}
