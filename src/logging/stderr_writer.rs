//! The log thread: writes finished lines to standard error, which may be a pipe that is not read. The thread that logs never
//! waits for it: what does not fit into the queue is dropped and counted, and `log_output` tells of it when there is room.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::base::Mono;
use crate::logging::stderr_output::LogOutput;
use crate::sys::{clock, stderr};
use crate::threads::Input;
use crate::threads::crew::Crew;
use crate::threads::handle::{Pauses, ThreadHandle, Work};

/// How many lines may wait to be written.
const LINES_MAX: usize = 4096;

/// How much of what workers write may wait to be written, and behind how many lines: the rest of the room is the master's.
const OUTPUT_BYTES_MAX: usize = 2 << 20;
const OUTPUT_LINES_MAX: u64 = LINES_MAX as u64 / 2;

/// Whether what workers write finds room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    Full,
}

/// What goes to the thread.
enum Item {
    Line(Vec<u8>),
    /// A line of a worker's.
    Output(Vec<u8>),
    Flush(Sender<()>),
}

/// How often [`LogQueue::flush_while_read`] looks whether the lines are read.
const READER_CHECK: Duration = Duration::from_millis(10);

/// The end that lines are put into; clones share the queue.
#[derive(Clone)]
pub(crate) struct LogQueue {
    items: Sender<Item>,
    /// Lines that are not written to their end.
    waiting: Arc<AtomicU64>,
    /// Bytes of workers' lines that are not written.
    output_bytes: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
    dropped_ever: Arc<AtomicU64>,
    thread: Arc<ThreadHandle<Writer>>,
}

impl LogQueue {
    /// How many lines were dropped, or could not be written whole, since the start.
    pub(crate) fn dropped_lines(&self) -> u64 {
        self.dropped_ever.load(Ordering::Relaxed)
    }

    /// How many wait to be written, the one that is being written included.
    pub(crate) fn waiting_lines(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Counts what an earlier image has dropped.
    pub(crate) fn count_dropped(&self, lines: u64) {
        self.dropped_ever.fetch_add(lines, Ordering::Relaxed);
    }

    /// Queues a line with its newline, or counts it as dropped.
    pub(crate) fn push(&self, line: Vec<u8>) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.items.try_send(Item::Line(line)).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.dropped_ever.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether there is room for another line of a worker's.
    pub(crate) fn room_for_output(&self) -> Room {
        let is_full =
            self.waiting_lines() >= OUTPUT_LINES_MAX || self.output_bytes.load(Ordering::Relaxed) >= OUTPUT_BYTES_MAX;
        if is_full { Room::Full } else { Room::Free }
    }

    /// Queues a line of a worker's with its newline, if there is room. If there is none, it is counted among those that were ever dropped,
    /// and its caller tells of it.
    pub(crate) fn push_output(&self, line: Vec<u8>) -> Room {
        let bytes = line.len();
        if self.room_for_output() == Room::Full {
            self.dropped_ever.fetch_add(1, Ordering::Relaxed);
            return Room::Full;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.output_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.items.try_send(Item::Output(line)).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.output_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped_ever.fetch_add(1, Ordering::Relaxed);
            return Room::Full;
        }
        Room::Free
    }

    /// Waits until what was queued is written, for so long at most until there is room and again until it is written.
    pub(crate) fn flush(&self, patience: Duration) {
        if let Some(()) = self.thread.without_thread(|writer| writer.write_what_fits(clock::now().after(patience))) {
            return;
        }
        let (done, finished) = bounded(1);
        if self.items.send_timeout(Item::Flush(done), patience).is_ok() {
            let _late = finished.recv_timeout(patience);
        }
    }

    /// The same for a caller that nothing else can be done beside: it waits on only while there is room for a line, as `has_room`
    /// says when the thread has not finished within some milliseconds. What is left then stays queued.
    pub(crate) fn flush_while_read(&self, patience: Duration, has_room: impl Fn() -> bool) {
        if let Some(()) = self.thread.without_thread(|writer| writer.write_what_fits(clock::now())) {
            return;
        }
        let (done, finished) = bounded(1);
        if self.items.try_send(Item::Flush(done)).is_err() {
            return;
        }
        let end = clock::now().after(patience);
        while let Err(RecvTimeoutError::Timeout) = finished.recv_timeout(READER_CHECK) {
            if clock::now() >= end || !has_room() {
                return;
            }
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

/// Starts the thread. `warning` makes the lines of its own, about what was dropped.
///
/// Errors: no thread can be started.
pub(crate) fn start(warning: fn(&str) -> String, crew: &mut Crew) -> io::Result<LogQueue> {
    let (items, queued) = bounded(LINES_MAX);
    let tallies = Tallies::default();
    let Tallies { waiting, output_bytes, dropped, dropped_ever } = tallies.clone();
    let thread = crew.start(Writer { queued, tallies, warning }, Arc::default())?;
    Ok(LogQueue { items, waiting, output_bytes, dropped, dropped_ever, thread })
}

struct Writer {
    queued: Receiver<Item>,
    tallies: Tallies,
    warning: fn(&str) -> String,
}

/// Those of the queue.
#[derive(Clone, Default)]
struct Tallies {
    waiting: Arc<AtomicU64>,
    output_bytes: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
    dropped_ever: Arc<AtomicU64>,
}

impl Work for Writer {
    const NAME: &'static str = "log";

    fn serve(&mut self, _never_paused: &Pauses) {
        write_all(&self.queued, &self.tallies, self.output());
    }

    fn turn(&mut self) -> Vec<Input> {
        self.write_what_fits(clock::now());
        Vec::new()
    }
}

/// Writes to standard error.
type StderrOutput<'a> = LogOutput<'a, fn(&[u8]) -> io::Result<usize>>;

impl Writer {
    fn output(&self) -> StderrOutput<'_> {
        LogOutput::new(stderr::write, self.warning, &self.tallies.dropped, &self.tallies.dropped_ever)
    }

    /// Writes while there is room, and waits for more until then.
    fn write_what_fits(&mut self, end: Mono) {
        let mut output = self.output();
        while !self.queued.is_empty() && stderr::has_room_within(end.since(clock::now())) {
            match self.queued.try_recv() {
                Ok(item) => write_item(item, &self.tallies, &mut output),
                Err(_) => return,
            }
        }
    }
}

fn write_all<W>(queued: &Receiver<Item>, tallies: &Tallies, mut output: LogOutput<'_, W>)
where
    W: FnMut(&[u8]) -> io::Result<usize>,
{
    for item in queued {
        write_item(item, tallies, &mut output);
    }
}

fn write_item<W>(item: Item, tallies: &Tallies, output: &mut LogOutput<'_, W>)
where
    W: FnMut(&[u8]) -> io::Result<usize>,
{
    let line = match item {
        Item::Flush(done) => return drop(done),
        Item::Line(line) => line,
        Item::Output(line) => {
            tallies.output_bytes.fetch_sub(line.len(), Ordering::Relaxed);
            line
        }
    };
    output.on_line(&line);
    tallies.waiting.fetch_sub(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A queue whose thread is stuck in a line that is not read.
    fn stuck() -> (LogQueue, Receiver<Item>) {
        let (items, queued) = bounded(LINES_MAX);
        let queue = LogQueue { items, ..start(str::to_owned, &mut Crew::required()).unwrap() };
        queue.push(b"line\n".to_vec());
        (queue, queued)
    }

    #[test]
    fn a_reader_that_does_not_read_is_given_up_at_the_first_look() {
        let (queue, _queued) = stuck();
        let looks = Cell::new(0);
        queue.flush_while_read(Duration::from_secs(3600), || {
            looks.set(looks.get() + 1);
            looks.get() < 3
        });
        assert_eq!((looks.get(), queue.waiting_lines()), (3, 1));
        // So it is when there is not even room for the order.
        (0..LINES_MAX).for_each(|_| queue.push(Vec::new()));
        queue.flush_while_read(Duration::from_secs(3600), || panic!("nothing is to be waited for"));
        assert_eq!((queue.waiting_lines(), queue.dropped_lines()), (4095, 2));
    }

    #[test]
    fn what_workers_write_leaves_room_for_the_masters_own_lines() {
        for (length, room) in [(10, OUTPUT_LINES_MAX - 1), (64 * 1024, 32)] {
            let (queue, queued) = stuck();
            let line = || vec![b'x'; length];
            let taken = (0..LINES_MAX).filter(|_| queue.push_output(line()) == Room::Free).count() as u64;
            assert_eq!((taken, queue.room_for_output()), (room, Room::Full));
            let refused = LINES_MAX as u64 - taken;
            assert_eq!((queue.dropped_lines(), queue.dropped.load(Ordering::Relaxed)), (refused, 0));
            queue.push(Vec::new());
            assert_eq!(queue.dropped_lines(), refused);
            // When they are written, there is room again.
            let LogQueue { waiting, output_bytes, .. } = queue.clone();
            let tallies = Tallies { waiting, output_bytes, ..Tallies::default() };
            let none = AtomicU64::new(0);
            let mut output = LogOutput::new(|bytes: &[u8]| Ok(bytes.len()), str::to_owned, &none, &none);
            queued.try_iter().for_each(|item| write_item(item, &tallies, &mut output));
            assert_eq!((queue.room_for_output(), queue.output_bytes.load(Ordering::Relaxed)), (Room::Free, 0));
        }
    }

    #[test]
    fn a_reader_that_reads_slowly_is_waited_for_and_not_for_ever() {
        let (queue, queued) = stuck();
        queue.flush_while_read(Duration::from_millis(30), || true);
        std::thread::scope(|scope| {
            let one = Tallies { waiting: Arc::new(AtomicU64::new(1)), ..Tallies::default() };
            let none = AtomicU64::new(0);
            scope.spawn(move || write_all(&queued, &one, LogOutput::new(stderr::write, str::to_owned, &none, &none)));
            queue.flush_while_read(Duration::from_secs(3600), || true);
            drop(queue);
        });
    }
}
