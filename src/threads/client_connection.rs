//! One control connection: its bytes in and out. It knows lines, not requests.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use crate::pool::{ClientId, Pid};
use crate::protocol::LINE_MAX;

/// How much may wait for a client that does not read; beyond it the client is dropped.
const UNREAD_MAX: usize = 1024 * 1024;

/// How much is read at a time.
const CHUNK: usize = 16 * 1024;

/// What the next line is.
pub(in crate::threads) enum Reading {
    Line(Vec<u8>),
    /// Not complete yet, or not to be looked at yet.
    Nothing,
    TooLong,
}

/// How far a connection is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// A request is on its way, its reply has not come.
    Asked,
    /// Nothing more is read; it is over when all is written.
    Closing,
    Over,
}

pub(in crate::threads) struct Connection {
    pub(in crate::threads) id: ClientId,
    pub(in crate::threads) stream: UnixStream,
    /// The worker at its other end, if the master made it for one.
    pub(in crate::threads) owner: Option<Pid>,
    phase: Phase,
    unparsed: Vec<u8>,
    /// So much of `unparsed` is known to have no newline.
    scanned: usize,
    /// The client writes no more; what it asked is still answered.
    half_closed: bool,
    unwritten: Vec<u8>,
}

impl Connection {
    /// `connection` is a non-blocking stream socket.
    pub(in crate::threads) fn new(id: ClientId, connection: OwnedFd, owner: Option<Pid>) -> Self {
        Self {
            id,
            stream: UnixStream::from(connection),
            owner,
            phase: Phase::Open,
            unparsed: Vec::new(),
            scanned: 0,
            half_closed: false,
            unwritten: Vec::new(),
        }
    }

    pub(in crate::threads) fn is_over(&self) -> bool {
        let unanswered = self.phase == Phase::Asked || self.unparsed.contains(&b'\n');
        let nothing_left = self.half_closed && !unanswered && self.unwritten.is_empty();
        self.phase == Phase::Over || nothing_left || (self.phase == Phase::Closing && self.unwritten.is_empty())
    }

    /// While a request is on its way no more than one further line is read.
    pub(in crate::threads) fn wants_to_read(&self) -> bool {
        !self.half_closed && self.unparsed.len() <= LINE_MAX && matches!(self.phase, Phase::Open | Phase::Asked)
    }

    pub(in crate::threads) fn wants_to_write(&self) -> bool {
        !self.unwritten.is_empty() && self.phase != Phase::Over
    }

    /// Takes in what is there, once.
    pub(in crate::threads) fn read(&mut self) {
        let mut chunk = [0; CHUNK];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.half_closed = true,
            Ok(length) => self.unparsed.extend_from_slice(&chunk[..length]),
            Err(error) if is_passing(&error) => {}
            Err(_) => self.phase = Phase::Over,
        }
    }

    pub(in crate::threads) fn write(&mut self) {
        match self.stream.write(&self.unwritten) {
            Ok(length) => drop(self.unwritten.drain(..length)),
            Err(error) if is_passing(&error) => {}
            Err(_) => self.phase = Phase::Over,
        }
    }

    /// The next complete line without its newline, unless a request is still on its way. Each byte is looked at once.
    pub(in crate::threads) fn next_line(&mut self) -> Reading {
        if self.phase != Phase::Open {
            return Reading::Nothing;
        }
        match self.unparsed[self.scanned..].iter().position(|&byte| byte == b'\n') {
            Some(at) if self.scanned + at <= LINE_MAX => {
                let mut line: Vec<u8> = self.unparsed.drain(..=self.scanned + at).collect();
                line.pop();
                self.scanned = 0;
                self.phase = Phase::Asked;
                Reading::Line(line)
            }
            Some(_) => Reading::TooLong,
            None => {
                self.scanned = self.unparsed.len();
                if self.scanned > LINE_MAX { Reading::TooLong } else { Reading::Nothing }
            }
        }
    }

    /// The reply to the request on its way.
    pub(in crate::threads) fn answer(&mut self, line: &str) {
        if self.phase == Phase::Asked {
            self.phase = Phase::Open;
        }
        self.queue(line);
    }

    /// Says why, and hears no more.
    pub(in crate::threads) fn refuse(&mut self, line: &str) {
        self.queue(line);
        self.close();
    }

    pub(in crate::threads) fn close(&mut self) {
        if self.phase != Phase::Over {
            self.phase = Phase::Closing;
        }
    }

    fn queue(&mut self, line: &str) {
        if self.unwritten.len() + line.len() > UNREAD_MAX {
            log::warn!("a control client that does not read its replies is dropped");
            self.phase = Phase::Over;
            return;
        }
        self.unwritten.extend_from_slice(line.as_bytes());
        self.write();
    }
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
