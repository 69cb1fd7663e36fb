//! One control connection: its bytes in and out, and what it waits for. It knows lines, not requests.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use crate::base::{ClientId, Mono};
use crate::control::handover::{Carried, Subscription};
use crate::control::line_buffer::{LineBuffer, Reading};
use crate::protocol::{LINE_MAX, Peer};
use crate::sys::errno::words;
use crate::sys::fd::{Blocking, set_blocking};

/// How much may wait for a client that does not read; beyond it the client is dropped.
const UNREAD_MAX: usize = 1024 * 1024;

/// While more than this waits for it, a client's next request is not looked at.
const UNREAD_PAUSE: usize = 64 * 1024;

/// How long a client may leave its replies unread, once they fill what the kernel keeps for it.
const STALL_MAX: Duration = Duration::from_secs(10);

/// How long a client may take from the first byte of a request to its newline.
const LINE_TIME_MAX: Duration = Duration::from_secs(30);

/// How much is read at a time.
const CHUNK: usize = 16 * 1024;

/// How long a connection rests after a read that failed: it may hold the only ack that a worker sends, and what failed, such as
/// the allocation of memory, may pass.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// So many reads in a row may fail, with those pauses, before nothing more is expected of the connection.
const READ_FAILURES_MAX: u32 = 20;

/// Why a client is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Unread,
    Unended,
    TooLong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => f.write_str("it does not read its replies"),
            Self::Unended => f.write_str("it does not end its line"),
            Self::TooLong => write!(f, "its request has more than {LINE_MAX} bytes"),
        }
    }
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

pub(crate) struct Connection {
    pub(crate) id: ClientId,
    pub(crate) peer: Peer,
    pub(crate) subscription: Option<Subscription>,
    pub(crate) active_at: Mono,
    /// There is no room for it in what the next image gets.
    pub(crate) left_behind: bool,
    stream: UnixStream,
    phase: Phase,
    fault: Option<Fault>,
    unparsed: LineBuffer,
    /// The turn in which its last line was parsed; 0 for none.
    pub(crate) last_turn: u64,
    /// Whether its next line is one that needs a ticket.
    pub(crate) needs_ticket: bool,
    /// When the first byte of an unfinished line came.
    line_since: Option<Mono>,
    /// The client writes no more; what it asked is still answered.
    half_closed: bool,
    /// It does not read any more either; what it asked for is still done.
    hung_up: bool,
    unwritten: Vec<u8>,
    /// Nothing can be written to it any more.
    is_deaf: bool,
    /// Since when nothing of `unwritten` could be written.
    stalled_since: Option<Mono>,
    /// How many reads have failed in a row.
    read_failures: u32,
    /// It is left alone until then, since a read has failed.
    rests_until: Option<Mono>,
}

impl Connection {
    /// `stream` is a non-blocking stream socket.
    pub(crate) fn new(id: ClientId, stream: OwnedFd, peer: Peer, now: Mono) -> Self {
        Self {
            id,
            peer,
            subscription: None,
            active_at: now,
            left_behind: false,
            stream: UnixStream::from(stream),
            phase: Phase::Open,
            fault: None,
            unparsed: LineBuffer::default(),
            last_turn: 0,
            needs_ticket: false,
            line_since: None,
            half_closed: false,
            hung_up: false,
            is_deaf: false,
            unwritten: Vec::new(),
            stalled_since: None,
            read_failures: 0,
            rests_until: None,
        }
    }

    /// Goes on with one that came from the image before; its patience begins anew. That the client has closed its end is
    /// found out again.
    pub(crate) fn resume(carried: Carried<OwnedFd>, now: Mono) -> Self {
        if let Err(errno) = set_blocking(carried.fd.as_fd(), Blocking::NonBlocking) {
            // One of us has made it so already, and einhorn's clients read what they ask for.
            log::warn!("[client {}] may keep others waiting: {}", carried.id.0, words(errno));
        }
        let line_since = (!carried.unparsed.is_empty()).then_some(now);
        let stalled_since = (!carried.unwritten.is_empty()).then_some(now);
        Self {
            subscription: carried.subscription,
            phase: if carried.asked { Phase::Asked } else { Phase::Open },
            unparsed: carried.unparsed.into(),
            line_since,
            unwritten: carried.unwritten,
            stalled_since,
            ..Self::new(carried.id, carried.fd, carried.peer, now)
        }
    }

    /// Whether the next image gets it: not if it is over, or was told so and has only to read it, or there is no room for it.
    pub(crate) fn is_carried(&self) -> bool {
        match self.phase {
            Phase::Open | Phase::Asked => !self.left_behind,
            Phase::Closing | Phase::Over => false,
        }
    }

    /// How much of it the next image gets.
    pub(crate) fn carried_bytes(&self) -> usize {
        self.unparsed.bytes().len() + self.unwritten.len()
    }

    /// As the next image needs it.
    pub(crate) fn describe(&self) -> Carried<RawFd> {
        let asked = self.phase == Phase::Asked;
        let (id, peer, subscription) = (self.id, self.peer, self.subscription.clone());
        let (unparsed, unwritten) = (self.unparsed.bytes().to_vec(), self.unwritten.clone());
        let fd = self.stream.as_raw_fd();
        Carried { fd, id, peer, asked, subscription, unparsed, unwritten }
    }

    pub(crate) fn is_over(&self) -> bool {
        let asking = self.phase == Phase::Asked || self.unparsed.contains_line();
        let waiting = self.subscription.is_some() && !self.is_deaf;
        let done = self.half_closed && !asking && !waiting && self.unwritten.is_empty();
        self.phase == Phase::Over || done || (self.phase == Phase::Closing && self.unwritten.is_empty())
    }

    /// Whether it may be closed for another client's sake: it neither asks nor waits for anything, and has not sent a line
    /// that was not parsed yet. An ack that is lost so is never sent again.
    pub(crate) fn is_idle(&mut self, now: Mono) -> bool {
        if self.phase != Phase::Open || self.subscription.is_some() || !self.unwritten.is_empty() {
            return false;
        }
        if self.wants_to_read() {
            self.read(now);
        }
        !self.unparsed.contains_line()
    }

    /// Whether it does nothing but wait for news.
    pub(crate) fn only_waits(&self) -> bool {
        self.phase == Phase::Open && self.subscription.is_some()
    }

    /// The request on its way needs no reply, and others may follow.
    pub(crate) fn go_on(&mut self) {
        if self.phase == Phase::Asked {
            self.phase = Phase::Open;
        }
    }

    /// Whether poll(2) can tell anything new: of one that hung up, or cannot be read, it would tell that for ever.
    /// Nor of one that is not read on before what it said is done.
    pub(crate) fn is_worth_polling(&self) -> bool {
        let is_full = self.is_deaf && !self.unparsed.has_room();
        !self.hung_up && !is_full && self.rests_until.is_none()
    }

    /// What poll(2) is asked about it.
    pub(crate) fn poll_fd(&self) -> PollFd<'_> {
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, self.wants_to_read());
        events.set(PollFlags::POLLOUT, self.wants_to_write());
        PollFd::new(self.as_fd(), events)
    }

    /// Ends the rest after a failed read when its time has come.
    pub(crate) fn end_rest(&mut self, now: Mono) {
        self.rests_until = self.rests_until.filter(|&moment| moment > now);
    }

    /// While a request is on its way no more than one further line is read.
    pub(crate) fn wants_to_read(&self) -> bool {
        !self.half_closed && self.unparsed.has_room() && matches!(self.phase, Phase::Open | Phase::Asked)
    }

    pub(crate) fn wants_to_write(&self) -> bool {
        !self.unwritten.is_empty() && self.phase != Phase::Over
    }

    /// When it has to be looked at, whatever comes: patience with it ends, or its rest after a failed read.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        [self.patience(), self.rests_until].into_iter().flatten().min()
    }

    /// When patience with it ends. A line that is complete waits for us, not for the client.
    fn patience(&self) -> Option<Mono> {
        let line = self.line_since.filter(|_| !self.unparsed.has_found_line()).map(|since| since.after(LINE_TIME_MAX));
        let stall = self.stalled_since.map(|since| since.after(STALL_MAX));
        [line, stall].into_iter().flatten().min()
    }

    /// Ends it if it is overdue.
    pub(crate) fn expire(&mut self, now: Mono) {
        if self.patience().is_some_and(|deadline| deadline <= now) {
            self.drop_for(if self.stalled_since.is_some() { Fault::Unread } else { Fault::Unended });
        }
    }

    fn drop_for(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.phase = Phase::Over;
    }

    /// Why it was dropped, if it was; to be told once.
    pub(crate) fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// The other end is gone altogether; what it had written before still counts. Such a stream says where it ends, so that any
    /// other answer to a read is a failure.
    pub(crate) fn hang_up(&mut self, now: Mono) {
        self.turn_deaf();
        while !self.half_closed && self.phase != Phase::Over && self.unparsed.has_room() {
            if let Err(ErrorKind::WouldBlock) = self.try_read(now) {
                self.rest(now);
            }
            if self.rests_until.is_some() {
                return;
            }
        }
        // Else there is more, for which there is no room yet.
        self.hung_up = self.half_closed || self.phase == Phase::Over;
    }

    /// No reply reaches it any more, and none is kept for it.
    fn turn_deaf(&mut self) {
        self.is_deaf = true;
        self.unwritten.clear();
        self.stalled_since = None;
    }

    /// Reads what is there, once.
    pub(crate) fn read(&mut self, now: Mono) {
        let _nothing_or_rests = self.try_read(now);
    }

    /// Errors: there is nothing at the moment, or the read has failed and the connection rests.
    fn try_read(&mut self, now: Mono) -> Result<(), ErrorKind> {
        let mut chunk = [0; CHUNK];
        match self.stream.read(&mut chunk).map_err(|error| error.kind()) {
            Ok(0) => self.half_closed = true,
            Ok(length) => {
                self.read_failures = 0;
                self.active_at = now;
                self.line_since.get_or_insert(now);
                self.unparsed.extend(&chunk[..length]);
            }
            Err(ErrorKind::Interrupted) => {}
            Err(ErrorKind::WouldBlock) => return Err(ErrorKind::WouldBlock),
            Err(kind) => {
                self.rest(now);
                return Err(kind);
            }
        }
        Ok(())
    }

    /// After a read that has failed.
    fn rest(&mut self, now: Mono) {
        self.read_failures += 1;
        if self.read_failures > READ_FAILURES_MAX {
            self.phase = Phase::Over;
        } else {
            self.rests_until = Some(now.after(READ_PAUSE));
        }
    }

    pub(crate) fn write(&mut self, now: Mono) {
        match self.stream.write(&self.unwritten) {
            Ok(length) => {
                self.unwritten.drain(..length);
                self.stalled_since = (!self.unwritten.is_empty()).then_some(now);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                self.stalled_since.get_or_insert(now);
            }
            // Requests of before may still be there to be read.
            Err(_) => self.turn_deaf(),
        }
    }

    /// Whether there is something for [`Self::next_line`].
    pub(crate) fn has_line(&mut self) -> bool {
        self.unparsed.scan() && self.phase == Phase::Open && self.unwritten.len() <= UNREAD_PAUSE
    }

    /// The next complete line without its newline, unless a request is still on its way, or replies pile up.
    pub(crate) fn next_line(&mut self, now: Mono) -> Reading {
        if !self.has_line() {
            return Reading::Nothing;
        }
        let reading = self.unparsed.take_line();
        if let Reading::Line(_) = reading {
            // What follows could not be finished before.
            self.line_since = (!self.unparsed.bytes().is_empty()).then_some(now);
            self.phase = Phase::Asked;
        }
        reading
    }

    /// Takes back the line that [`Self::next_line`] gave: it has to wait for a ticket.
    pub(crate) fn put_back(&mut self, line: &[u8], now: Mono) {
        self.unparsed.put_back(line);
        self.line_since = Some(now);
        self.phase = Phase::Open;
        self.needs_ticket = true;
    }

    /// The reply to the request on its way.
    pub(crate) fn answer(&mut self, line: &str, now: Mono) {
        if self.phase == Phase::Asked {
            self.phase = Phase::Open;
            // The next line, if it has begun, could not be finished before.
            self.line_since = self.line_since.map(|_| now);
        }
        self.send(line, now);
    }

    /// Sends a line of its own accord.
    pub(crate) fn send(&mut self, line: &str, now: Mono) {
        if self.phase == Phase::Over || self.is_deaf {
            return;
        }
        if self.unwritten.len() > UNREAD_MAX {
            self.drop_for(Fault::Unread);
            return;
        }
        self.unwritten.extend_from_slice(line.as_bytes());
        self.write(now);
    }

    /// Says that a line is too long, and hears no more.
    pub(crate) fn refuse(&mut self, line: &str, now: Mono) {
        self.fault = Some(Fault::TooLong);
        self.send(line, now);
        self.close();
    }

    pub(crate) fn close(&mut self) {
        if self.phase != Phase::Over {
            self.phase = Phase::Closing;
            self.unparsed.clear();
            self.line_since = None;
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
