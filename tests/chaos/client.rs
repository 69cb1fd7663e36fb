//! One client of the load: a connection at a time, for one request or for many, asked singly or in batches. It never waits, so
//! that a thread can have many of them, it never asks again, and it never forgives: what was sent and not answered is lost.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, connect, socket};

use crate::load::Shared;
use crate::rng::Rng;
use crate::support::{Answer, Failure, LIMIT, Target};
use crate::tally::{Loss, Tally};
use crate::wire::{self, Connection, Cut};

/// Of a kept connection: at most so many requests, from one on and with each power of two as likely as the next.
const KEPT_REQUESTS_MAX_LOG2: u64 = 12;
/// One connection in so many is kept; with their mean length this makes one request in five have a connection of its own.
const KEPT_EACH: u64 = 150;
/// Requests that a client that does so sends in one piece.
const BATCH: u64 = 8;
/// Before a client that was refused tries again.
const REFUSED_PAUSE: Duration = Duration::from_millis(2);

/// A client, and what it has on its way.
pub struct Client {
    name: usize,
    rng: Rng,
    made: u64,
    state: State,
}

enum State {
    Idle,
    Pausing { until: Instant },
    Talking(Talk),
}

/// A connection.
struct Talk {
    /// Of whatever family: reading and writing are the same calls.
    socket: TcpStream,
    target: String,
    outbox: Vec<u8>,
    inbox: Vec<u8>,
    /// Sent and not answered, in their order.
    waiting: VecDeque<Asked>,
    kind: Kind,
    /// Before the connection was asked for, until its first requests are: they have begun then. A server can accept and die before
    /// this side has had time to send.
    opened: Option<Instant>,
    /// Requests that may still be sent.
    left: u64,
    /// Whether one of the two sides has said that it ends here.
    closing: bool,
    worker: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fresh,
    Kept { batch: u64 },
}

struct Asked {
    path: String,
    began: Instant,
}

/// Whether a client shall go on when it has its answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Going,
    Leaving,
}

impl Client {
    pub fn new(name: usize, seed: u64) -> Self {
        Self { name, rng: Rng::new(seed.wrapping_add(name as u64)), made: 0, state: State::Idle }
    }

    /// Whether it has no connection.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// What it waits for, when it has a connection.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let State::Talking(talk) = &self.state else { return None };
        let writes = if talk.outbox.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        Some((talk.socket.as_fd(), PollFlags::POLLIN | writes))
    }

    /// Begins with a connection if it has none.
    pub fn begin(&mut self, targets: &[Target], shared: &Shared, tally: &mut Tally) {
        match self.state {
            State::Talking(_) => return,
            State::Idle | State::Pausing { .. } if targets.is_empty() => {
                self.state = State::Idle;
                return;
            }
            State::Pausing { until } if Instant::now() < until => return,
            State::Idle | State::Pausing { .. } => {}
        }
        let target = &targets[self.rng.below(targets.len() as u64) as usize];
        let opened = Instant::now();
        match open(target) {
            Ok(socket) => {
                let (kind, left) = self.kind();
                let target = format!("{target:?}");
                let (outbox, inbox, waiting) = Default::default();
                let opened = Some(opened);
                let talk =
                    Talk { socket, target, outbox, inbox, waiting, kind, opened, left, closing: false, worker: None };
                self.state = State::Talking(talk);
                self.ask(Mood::Going, shared, tally);
            }
            Err(error) => {
                self.state = State::Pausing { until: Instant::now() + REFUSED_PAUSE };
                match error.kind() {
                    // The queue of a Unix socket is full; TCP waits for that in the kernel.
                    ErrorKind::WouldBlock => {}
                    ErrorKind::ConnectionRefused | ErrorKind::NotFound => tally.row_mut(shared.phase()).refused += 1,
                    _ => panic!("a client cannot connect to {target:?}: {error}"),
                }
            }
        }
    }

    fn kind(&mut self) -> (Kind, u64) {
        if !self.rng.one_in(KEPT_EACH) {
            return (Kind::Fresh, 1);
        }
        let power = self.rng.below(KEPT_REQUESTS_MAX_LOG2);
        let batch = self.rng.pick(&[1, BATCH]);
        (Kind::Kept { batch }, (1 << power) + self.rng.below(1 << power))
    }

    /// Does what can be done without waiting.
    pub fn proceed(&mut self, mood: Mood, shared: &Shared, tally: &mut Tally) {
        let State::Talking(talk) = &mut self.state else { return };
        let ended = talk.exchange();
        talk.take_answers(shared, tally);
        match ended {
            Ok(()) if !talk.waiting.is_empty() || talk.closing => {}
            Ok(()) => self.ask(mood, shared, tally),
            Err(error) => self.end(&error, shared, tally),
        }
    }

    /// Gives up what has waited too long.
    pub fn expire(&mut self, shared: &Shared, tally: &mut Tally) {
        let State::Talking(talk) = &self.state else { return };
        if talk.waiting.front().is_some_and(|asked| asked.began.elapsed() > LIMIT) {
            self.end(&ErrorKind::TimedOut.into(), shared, tally);
        }
    }

    /// Sends the next requests of this connection.
    fn ask(&mut self, mood: Mood, shared: &Shared, tally: &mut Tally) {
        let State::Talking(talk) = &mut self.state else { return };
        if mood == Mood::Leaving {
            talk.left = 1;
        }
        let batch = match talk.kind {
            Kind::Fresh => 1,
            Kind::Kept { batch } => batch.min(talk.left),
        };
        let began = talk.opened.take().unwrap_or_else(Instant::now);
        for _ in 0..batch {
            self.made += 1;
            talk.left -= 1;
            talk.closing = talk.left == 0;
            let path = wire::path(&mut self.rng, &format!("{}.{}", self.name, self.made));
            let connection = if talk.closing { Connection::Last } else { Connection::Kept };
            talk.outbox.extend_from_slice(wire::request(&path, connection).as_bytes());
            talk.waiting.push_back(Asked { path, began });
        }
        shared.sent(batch);
        if let Err(error) = talk.flush() {
            self.end(&error, shared, tally);
        }
    }

    /// The connection is over: what waits is lost, unless it was refused or closed when it should be.
    fn end(&mut self, error: &io::Error, shared: &Shared, tally: &mut Tally) {
        let State::Talking(talk) = std::mem::replace(&mut self.state, State::Idle) else { return };
        shared.came_to_an_end(talk.waiting.len() as u64);
        if error.kind() == ErrorKind::ConnectionRefused {
            tally.row_mut(shared.phase()).refused += 1;
            self.state = State::Pausing { until: Instant::now() + REFUSED_PAUSE };
            return;
        }
        let (failure, why) = failure(error, talk.inbox.len());
        for asked in &talk.waiting {
            tally.lose(talk.loss(&asked.path, asked.began, failure, why.clone(), shared));
        }
        if talk.waiting.is_empty() && !talk.inbox.is_empty() {
            let why = format!("{} bytes that no request asked for", talk.inbox.len());
            tally.lose(talk.loss("(none)", Instant::now(), Failure::Wrong, why, shared));
        }
    }
}

impl Talk {
    /// Writes and reads what can be; an error, or the end of the stream as one, when nothing more will come.
    fn exchange(&mut self) -> io::Result<()> {
        // What the server has written before it closed can still be read.
        let written = self.flush();
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return written.and(Err(ErrorKind::UnexpectedEof.into())),
                Ok(count) => {
                    self.inbox.extend_from_slice(&buffer[..count]);
                    // The answers are there as a rule, and another read would be a system call for nothing.
                    if count < buffer.len() && !self.closing {
                        return written;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return written,
                Err(error) => return written.and(Err(error)),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            match self.socket.write(&self.outbox) {
                Ok(count) => drop(self.outbox.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take_answers(&mut self, shared: &Shared, tally: &mut Tally) {
        let mut used = 0;
        while let Some(asked) = self.waiting.pop_front() {
            let Some(cut) = wire::cut(&self.inbox[used..], &asked.path) else {
                self.waiting.push_front(asked);
                break;
            };
            used += cut.length;
            self.closing |= cut.closes;
            shared.came_to_an_end(1);
            self.count(&asked, cut, shared, tally);
        }
        self.inbox.drain(..used);
    }

    fn count(&mut self, asked: &Asked, cut: Cut, shared: &Shared, tally: &mut Tally) {
        match cut.answer {
            Ok(Answer { pid, .. }) => {
                self.worker = Some(pid);
                let row = tally.row_mut(shared.phase());
                row.answered += 1;
                row.fresh += u64::from(self.kind == Kind::Fresh);
                row.latency.record(asked.began.elapsed());
            }
            Err((failure, why)) => tally.lose(self.loss(&asked.path, asked.began, failure, why, shared)),
        }
    }

    fn loss(&self, path: &str, began: Instant, failure: Failure, why: String, shared: &Shared) -> Loss {
        let (target, path, worker) = (self.target.clone(), path.to_owned(), self.worker);
        let (phase, ended, local) = (shared.phase(), Instant::now(), self.socket.local_addr().ok());
        Loss { phase, path, target, failure, why, began, ended, worker, local }
    }
}

fn failure(error: &io::Error, bytes: usize) -> (Failure, String) {
    let failure = match error.kind() {
        ErrorKind::UnexpectedEof => Failure::Short,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Failure::Reset,
        ErrorKind::TimedOut => Failure::Timeout,
        _ => Failure::Own,
    };
    (failure, format!("{error}, after {bytes} bytes of the answer"))
}

/// A connection on its way: writing to it fails for as long as it is not there.
fn open(target: &Target) -> io::Result<TcpStream> {
    match target {
        Target::Tcp(address @ SocketAddr::V4(_)) => open_to(AddressFamily::Inet, &SockaddrStorage::from(*address)),
        Target::Tcp(address @ SocketAddr::V6(_)) => open_to(AddressFamily::Inet6, &SockaddrStorage::from(*address)),
        Target::Unix(path) => open_to(AddressFamily::Unix, &UnixAddr::new(path)?),
    }
}

fn open_to(family: AddressFamily, address: &dyn SockaddrLike) -> io::Result<TcpStream> {
    let socket: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
    match connect(socket.as_raw_fd(), address) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(errno.into()),
    }
}
