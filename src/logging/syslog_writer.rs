//! The syslog thread: passes on to /dev/log what syslog shall have. A syslog that is away, full or restarted keeps no thread
//! waiting but this thread. What it does not get is counted and given back; it is looked for again, at last only when there
//! is something for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::Level;
use nix::errno::Errno;

use crate::logging::backoff::Absence;
use crate::logging::syslog_message::{Connection, Header, Message, SEND_MAX};
use crate::sys::clock;
use crate::threads::Input;
use crate::threads::crew::Crew;
use crate::threads::handle::{Pauses, ThreadHandle, Work};

/// How many messages may wait to be sent.
const MESSAGES_MAX: usize = 1024;

/// How long the end of the master, or of its image, may wait for the last messages: longer than a syslog that does not read
/// keeps the thread waiting.
const FLUSH_MAX: Duration = SEND_MAX.saturating_mul(3);

/// Where a syslog may listen, the likeliest first.
const USUAL_PATHS: [&str; 2] = ["/dev/log", "/var/run/syslog"];

/// What the thread has to say about syslog; it must not log that itself, for its lines could come back to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The line that stands in for a message that syslog did not get.
    Undelivered(String),
    /// Syslog cannot be reached. Said once, until it is back.
    Away(Errno),
    /// It can be reached again, and was told how many messages it has missed.
    Back { missed: u64 },
}

/// What goes to the thread.
enum Item {
    Message(Message),
    Flush(Sender<()>),
}

/// The end that messages are put into; clones share the queue. The thread ends when the last of them is gone.
#[derive(Clone)]
pub(crate) struct SyslogQueue {
    items: Sender<Item>,
    /// Messages that are neither sent nor given back.
    waiting: Arc<AtomicU64>,
    missed: Arc<AtomicU64>,
    thread: Arc<ThreadHandle<Writer>>,
}

impl SyslogQueue {
    /// How many messages wait to be sent, the one that is being sent included.
    pub(crate) fn waiting_messages(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Queues a message. If there is no room, it is counted, and the line that stands in for it comes back.
    pub(crate) fn push(&self, message: Message) -> Option<String> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let Err(refused) = self.items.try_send(Item::Message(message)) else { return None };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.missed.fetch_add(1, Ordering::Relaxed);
        match refused.into_inner() {
            Item::Message(message) => message.otherwise,
            Item::Flush(_) => None,
        }
    }

    /// Waits until what was queued is sent or reported as undelivered, twice three seconds at most.
    pub(crate) fn flush(&self) {
        self.flush_within(FLUSH_MAX);
    }

    /// The same, for so long at most until there is room and again until it is sent.
    pub(crate) fn flush_within(&self, patience: Duration) {
        if let Some(()) = self.thread.without_thread(Writer::report_undelivered) {
            return;
        }
        let (done, finished) = bounded(1);
        if self.items.send_timeout(Item::Flush(done), patience).is_ok() {
            let _late = finished.recv_timeout(patience);
        }
    }
}

/// To be given to [`start`] outside of tests.
pub(crate) fn usual_paths() -> Vec<PathBuf> {
    USUAL_PATHS.map(PathBuf::from).to_vec()
}

/// Starts the thread, which at once looks for a syslog at these paths. `header` stands before what it says itself, until a
/// message comes with another.
///
/// Errors: no thread can be started.
pub(crate) fn start(
    paths: Vec<PathBuf>,
    header: Arc<Header>,
    report: impl Fn(Report) + Send + 'static,
    crew: &mut Crew,
) -> io::Result<SyslogQueue> {
    let (items, queued) = bounded(MESSAGES_MAX);
    let (waiting, missed) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let tallies = [Arc::clone(&waiting), Arc::clone(&missed)];
    let thread = crew.start(Writer::new(paths, queued, tallies, header, report), Arc::default())?;
    Ok(SyslogQueue { items, waiting, missed, thread })
}

struct Writer {
    paths: Vec<PathBuf>,
    queued: Receiver<Item>,
    waiting: Arc<AtomicU64>,
    /// Messages that syslog has not got, and does not know of.
    missed: Arc<AtomicU64>,
    header: Arc<Header>,
    report: Box<dyn Fn(Report) + Send>,
    connection: Option<Connection>,
    absence: Absence,
}

impl Work for Writer {
    const NAME: &'static str = "syslog";

    fn serve(&mut self, _never_paused: &Pauses) {
        self.look_for_syslog();
        loop {
            match self.receive() {
                Ok(Item::Message(message)) => {
                    self.deliver(message);
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                Ok(Item::Flush(done)) => drop(done),
                Err(RecvTimeoutError::Timeout) => self.look_for_syslog(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// A syslog that does not read would keep the main thread waiting, so that it is as if there were none.
    fn turn(&mut self) -> Vec<Input> {
        self.report_undelivered();
        Vec::new()
    }
}

impl Writer {
    fn new(
        paths: Vec<PathBuf>,
        queued: Receiver<Item>,
        [waiting, missed]: [Arc<AtomicU64>; 2],
        header: Arc<Header>,
        report: impl Fn(Report) + Send + 'static,
    ) -> Self {
        let (connection, absence) = (None, Absence::default());
        Self { paths, queued, waiting, missed, header, report: Box::new(report), connection, absence }
    }

    fn report_undelivered(&mut self) {
        while let Ok(item) = self.queued.try_recv() {
            match item {
                Item::Message(message) => {
                    self.leave_undelivered(message);
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                Item::Flush(done) => drop(done),
            }
        }
    }

    fn leave_undelivered(&mut self, message: Message) {
        self.header = message.header;
        self.missed.fetch_add(1, Ordering::Relaxed);
        if let Some(line) = message.otherwise {
            (self.report)(Report::Undelivered(line));
        }
    }

    fn receive(&self) -> Result<Item, RecvTimeoutError> {
        match self.absence.deadline() {
            Some(moment) => self.queued.recv_timeout(moment.since(clock::now())),
            None => self.queued.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn look_for_syslog(&mut self) {
        if let Err(errno) = self.reach() {
            self.leave_alone(errno);
        }
    }

    fn deliver(&mut self, message: Message) {
        self.header = Arc::clone(&message.header);
        if !self.absence.is_too_early(clock::now()) {
            match self.pass_on(message.level, &message.text) {
                Ok(()) => return,
                Err(errno) => self.leave_alone(errno),
            }
        }
        self.leave_undelivered(message);
    }

    /// A syslog that was restarted has refused the old connection; nothing is lost if it is there again by now.
    fn pass_on(&mut self, level: Level, text: &str) -> Result<(), Errno> {
        let was_connected = self.connection.is_some();
        let send = |writer: &mut Self| writer.reach().and_then(|()| writer.send(level, text));
        match send(self) {
            Err(errno) if was_connected && errno != Errno::EAGAIN => send(self),
            result => result,
        }
    }

    /// Connects if need be. What it has missed is told first, which shows too whether it reads.
    fn reach(&mut self) -> Result<(), Errno> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(&self.paths)?);
        }
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let told = self.send(Level::Warn, &format!("{missed} lines did not get here, standard error has them"));
            if told.is_err() {
                self.missed.fetch_add(missed, Ordering::Relaxed);
            }
            told?;
        }
        if self.absence.end(clock::now()) {
            (self.report)(Report::Back { missed });
        }
        Ok(())
    }

    fn send(&mut self, level: Level, text: &str) -> Result<(), Errno> {
        let connection = self.connection.as_mut().ok_or(Errno::ENOTCONN)?;
        let sent = connection.send(&self.header, level, text);
        if sent.is_err() {
            self.connection = None;
        }
        sent
    }

    /// From now on: finding out may have taken its time.
    fn leave_alone(&mut self, errno: Errno) {
        if self.absence.begin_or_go_on(clock::now()) {
            (self.report)(Report::Away(errno));
        }
    }
}

#[cfg(test)]
#[path = "syslog_writer_tests.rs"]
mod tests;
