//! The syslog thread: passes warnings and errors on to /dev/log, for `--syslog`. A syslog that is away or slow keeps
//! nobody waiting but this thread; it is looked for again at the next line.

use std::io;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

use crate::pool::Mono;
use crate::sys::clock;
use crate::threads::spawn;

/// How many messages may wait to be sent; more are dropped, they are in the other log as well.
const MESSAGES_MAX: usize = 1024;

/// How long a syslog that did not answer is left alone.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Warning,
    Error,
}

/// The end that messages are put into.
#[derive(Clone)]
pub struct SyslogQueue {
    messages: Sender<(Severity, String)>,
}

impl SyslogQueue {
    /// Queues a message, or drops it.
    pub fn push(&self, severity: Severity, message: String) {
        let _full = self.messages.try_send((severity, message));
    }
}

/// Errors: no thread can be started.
pub fn start() -> io::Result<SyslogQueue> {
    let (messages, queued) = bounded(MESSAGES_MAX);
    spawn::named("syslog", move || send_all(&queued))?;
    Ok(SyslogQueue { messages })
}

type Connection = Logger<LoggerBackend, Formatter3164>;

fn send_all(queued: &Receiver<(Severity, String)>) {
    let mut connection: Option<Connection> = None;
    let mut failed_at: Option<Mono> = None;
    for (severity, message) in queued {
        let left_alone = failed_at.is_some_and(|moment| clock::now().since(moment) < RETRY_PAUSE);
        // What comes during the pause must not make it longer.
        if left_alone {
            continue;
        }
        connection = connection.or_else(connect);
        let sent = connection.as_mut().is_some_and(|connection| send(connection, severity, &message));
        failed_at = if sent { None } else { Some(clock::now()) };
        if !sent {
            connection = None;
        }
    }
}

fn connect() -> Option<Connection> {
    let formatter = Formatter3164 {
        facility: Facility::LOG_DAEMON,
        hostname: None,
        process: "einhyrningsins".to_owned(),
        pid: std::process::id(),
    };
    syslog::unix(formatter).ok()
}

fn send(connection: &mut Connection, severity: Severity, message: &str) -> bool {
    match severity {
        Severity::Warning => connection.warning(message),
        Severity::Error => connection.err(message),
    }
    .is_ok()
}
