//! A message to syslog, as RFC 3164 has it, and a connection that takes it. Every wait in it has an end: a syslog that does
//! not read holds its caller for a second, and what to do then is the caller's.

use std::io::{BufWriter, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use log::Level;
use nix::errno::Errno;
use syslog::{LoggerBackend, Severity};

use crate::base::FACILITIES;
use crate::sys::clock::{self, LocalTime};
use crate::sys::errno::errno_of;
use crate::sys::unix_client::{connect_datagram, connect_unix};

/// How long a message may wait for a syslog that is busy.
pub(crate) const SEND_MAX: Duration = Duration::from_secs(1);

/// The longest text that is passed on whole. With what stands before it, that is what rsyslog takes, 8 KiB.
pub(crate) const TEXT_BYTES_MAX: usize = 8 * 1024 - 256;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const NO_TIME: LocalTime = LocalTime { month: 0, day: 1, hour: 0, minute: 0, second: 0 };

/// What stands behind a text that was cut.
const CUT: &str = "...";

/// One of syslog's facilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facility(&'static str);

impl Facility {
    pub(crate) const DAEMON: Self = Self("daemon");

    /// By its name in syslog.conf(5). None for others, and for `kern`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        FACILITIES.split('|').find(|known| *known == name).map(Self)
    }

    #[cfg(test)]
    pub(crate) fn name(self) -> &'static str {
        self.0
    }

    /// The crate knows every name of ours.
    fn code(self) -> syslog::Facility {
        self.0.parse().unwrap_or(syslog::Facility::LOG_DAEMON)
    }
}

/// What stands before a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) facility: Facility,
    pub(crate) ident: String,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) header: Arc<Header>,
    pub(crate) level: Level,
    pub(crate) text: String,
    /// The line that has to go elsewhere if syslog does not get this.
    pub(crate) otherwise: Option<String>,
}

/// A connection to a syslog that was there when it was made.
pub(crate) struct Connection(LoggerBackend);

impl Connection {
    /// To the first of these paths at which there is something.
    ///
    /// Errors: ENOENT, if there is nothing at any of them; why what is there cannot be connected to.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self, Errno> {
        let mut tried = paths.iter().map(|path| connect(path));
        tried.find(|tried| !matches!(tried, Err(Errno::ENOENT))).unwrap_or(Err(Errno::ENOENT)).map(Self)
    }

    /// Errors: EAGAIN, if there was no room for it in [`SEND_MAX`]; ECONNREFUSED or another, if syslog is away.
    pub(crate) fn send(&mut self, header: &Header, level: Level, text: &str) -> Result<(), Errno> {
        let priority = header.facility.code() as u8 | severity(level) as u8;
        let (ident, pid, text) = (&header.ident, std::process::id(), abbreviated(text));
        let message = format!("<{priority}>{} {ident}[{pid}]: {text}", stamp(clock::local_time()));
        self.0.write_all(message.as_bytes()).and_then(|()| self.0.flush()).map_err(|error| errno_of(&error))
    }
}

/// The time as RFC 3164 has it, which is local time.
fn stamp(time: Option<LocalTime>) -> String {
    let Some(LocalTime { month, day, hour, minute, second }) = time else { return stamp(Some(NO_TIME)) };
    format!("{} {day:>2} {hour:02}:{minute:02}:{second:02}", MONTHS.get(month).unwrap_or(&MONTHS[0]))
}

/// Most take datagrams, some connections.
fn connect(path: &Path) -> Result<LoggerBackend, Errno> {
    match connect_datagram(path, SEND_MAX) {
        Ok(fd) => Ok(LoggerBackend::Unix(UnixDatagram::from(fd))),
        Err(Errno::EPROTOTYPE) => {
            let stream = UnixStream::from(connect_unix(path, SEND_MAX)?);
            Ok(LoggerBackend::UnixStream(BufWriter::new(stream)))
        }
        Err(errno) => Err(errno),
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Error => Severity::LOG_ERR,
        Level::Warn => Severity::LOG_WARNING,
        Level::Info => Severity::LOG_INFO,
        Level::Debug | Level::Trace => Severity::LOG_DEBUG,
    }
}

/// A datagram is sent whole or not at all, so a text without end must not be tried again and again.
fn abbreviated(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    let end = (0..=TEXT_BYTES_MAX - CUT.len()).rev().find(|&end| text.is_char_boundary(end));
    format!("{}{CUT}", &text[..end.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::sys::testing::{LIMIT, wait_until};

    const PID: fn() -> u32 = std::process::id;

    fn header(facility: &str, ident: &str) -> Header {
        Header { facility: Facility::named(facility).unwrap(), ident: ident.to_owned() }
    }

    /// What a syslog gets of this.
    fn sent(header: &Header, level: Level, text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let syslog = UnixDatagram::bind(&path).unwrap();
        Connection::open(&[path]).unwrap().send(header, level, text).unwrap();
        let mut buffer = [0; 16 * 1024];
        let length = syslog.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The number in front, and what stands behind the time.
    fn parts(message: &str) -> (&str, &str) {
        let (number, rest) = message.strip_prefix('<').unwrap().split_once('>').unwrap();
        (number, &rest["Jan 01 00:00:00 ".len()..])
    }

    #[test]
    fn facility_and_severity_are_in_the_number_and_the_name_before_the_pid() {
        let daemon = header("daemon", "einhyrningsins");
        let numbers = [(Level::Error, "27"), (Level::Warn, "28"), (Level::Info, "30"), (Level::Debug, "31")];
        for (level, number) in numbers {
            let message = sent(&daemon, level, "hé ✓");
            assert_eq!(parts(&message), (number, &*format!("einhyrningsins[{}]: hé ✓", PID())));
        }
        let message = sent(&header("local7", "web"), Level::Error, "x");
        assert_eq!(parts(&message), ("187", &*format!("web[{}]: x", PID())));
    }

    /// The numbers of RFC 3164, section 4.1.1.
    #[test]
    fn every_facility_but_the_kernels_has_its_name_and_its_number() {
        let numbers = (1..=11).chain(16..=23);
        for (name, number) in FACILITIES.split('|').zip(numbers) {
            let facility = Facility::named(name).unwrap();
            assert_eq!((facility.name(), facility.code() as u8), (name, number << 3));
        }
        assert_eq!(["kern", "DAEMON", "log_daemon", "ntp", "local8", ""].map(Facility::named), [None; 6]);
        assert_eq!(Facility::named("daemon"), Some(Facility::DAEMON));
    }

    #[test]
    fn a_text_without_end_is_cut_and_sent() {
        let whole = "x".repeat(TEXT_BYTES_MAX);
        assert!(sent(&header("user", "web"), Level::Warn, &whole).ends_with("xxx"));
        for endless in [whole.clone() + "x", "✓".repeat(1 << 20)] {
            let message = sent(&header("user", "web"), Level::Warn, &endless);
            assert!(message.ends_with(&format!("{}{CUT}", endless.chars().next().unwrap())));
            assert!((TEXT_BYTES_MAX..8 * 1024).contains(&message.len()), "{}", message.len());
        }
    }

    #[test]
    fn the_first_that_is_there_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["none", "log", "other"].map(|name| dir.path().join(name));
        assert_eq!(Connection::open(&paths).err(), Some(Errno::ENOENT));
        let other = UnixDatagram::bind(&paths[2]).unwrap();
        Connection::open(&paths).unwrap().send(&header("user", "web"), Level::Warn, "x").unwrap();
        assert!(other.recv(&mut [0; 100]).unwrap() > 0);
        // What is there and dead is the syslog all the same. A child that another test has just forked may hold the
        // descriptor until its exec.
        drop(UnixDatagram::bind(&paths[1]).unwrap());
        assert!(wait_until(LIMIT, || Connection::open(&paths).err() == Some(Errno::ECONNREFUSED)));
    }

    #[test]
    fn a_syslog_that_takes_connections_gets_messages_that_end_with_nul() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let listener = UnixListener::bind(&path).unwrap();
        let mut connection = Connection::open(&[path]).unwrap();
        for text in ["one", "two"] {
            connection.send(&header("user", "web"), Level::Warn, text).unwrap();
        }
        drop(connection);
        let mut read = String::new();
        listener.accept().unwrap().0.read_to_string(&mut read).unwrap();
        let texts: Vec<_> = read.split_terminator('\0').map(|message| parts(message).1).collect();
        assert_eq!(texts, ["one", "two"].map(|text| format!("web[{}]: {text}", PID())));
    }
}
