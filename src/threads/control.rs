//! The control thread: listens on the control socket, reads requests, writes replies. It passes requests on and decides
//! nothing about them; a client that is slow, silent or mad costs this thread, never the main one.
//!
//! A client has at most one request on its way: its next line is looked at when the reply has come. So the mailbox
//! that replies come through needs no more room than there may be clients.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::pool::{ClientId, Mono, Pid};
use crate::protocol::{self, Request};
use crate::sys::errno::words;
use crate::sys::wakeup::Wakeup;
use crate::sys::{accept, clock, limits, peer};
use crate::threads::Input;
use crate::threads::client_connection::{Connection, Reading};
use crate::threads::spawn;

/// How many connections there may be, workers' own (`-g`) aside.
const CLIENTS_MAX: usize = 256;

/// How many descriptors clients leave to the master, for the pipes and connections of new workers; half of them, where
/// there are fewer than twice as many.
const DESCRIPTORS_LEFT: u64 = 32;

/// How many messages may wait for this thread: a reply for each client, and a new connection for each worker.
const MAILBOX_MAX: usize = 4096;

/// How long accepting rests when the system has no descriptor to give. Without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often refusals are logged at most.
const REFUSAL_NOTE: Duration = Duration::from_secs(60);

/// What the main thread says to this one.
enum Message {
    Reply { client: ClientId, line: String },
    Adopt { connection: OwnedFd, owner: Pid },
}

/// The main thread's end.
pub struct Control {
    mailbox: Sender<Message>,
    wakeup: Wakeup,
}

impl Control {
    /// Sends a reply. The client may be gone; then nobody misses it.
    pub fn reply(&self, client: ClientId, line: String) {
        self.post(Message::Reply { client, line });
    }

    /// Takes over our end of a worker's own connection (`-g`).
    pub fn adopt(&self, connection: OwnedFd, owner: Pid) {
        self.post(Message::Adopt { connection, owner });
    }

    fn post(&self, message: Message) {
        if self.mailbox.try_send(message).is_err() {
            log::error!("the control thread does not keep up, a message to it is dropped");
        }
        self.wakeup.wake();
    }
}

/// Serves `listener`, a non-blocking socket, from now on.
///
/// Errors: no descriptor for the wake-up, or no thread can be had.
pub fn start(listener: OwnedFd, inbox: Sender<Input>) -> io::Result<Control> {
    let (mailbox, messages) = bounded(MAILBOX_MAX);
    let wakeup = Wakeup::new()?;
    let woken = wakeup.try_clone()?;
    spawn::named("control", move || Server::new(&listener, &inbox, &messages, &woken).serve())?;
    Ok(Control { mailbox, wakeup })
}

struct Server<'a> {
    listener: &'a OwnedFd,
    inbox: &'a Sender<Input>,
    messages: &'a Receiver<Message>,
    woken: &'a Wakeup,
    connections: Vec<Connection>,
    /// A client whose descriptor lies here or above is turned away. The lowest free number is given out, so that there are
    /// about as many in use.
    descriptor_end: u64,
    next_id: u64,
    /// While it lies ahead, no connection is accepted.
    accept_again: Option<Mono>,
    refusals: Refusals,
}

/// Connections that were turned away, and when that was said last.
#[derive(Default)]
struct Refusals {
    count: u64,
    noted: Option<Mono>,
}

impl<'a> Server<'a> {
    fn new(
        listener: &'a OwnedFd,
        inbox: &'a Sender<Input>,
        messages: &'a Receiver<Message>,
        woken: &'a Wakeup,
    ) -> Self {
        let limit = limits::descriptor_limit();
        Self {
            listener,
            inbox,
            messages,
            woken,
            connections: Vec::new(),
            descriptor_end: limit - DESCRIPTORS_LEFT.min(limit / 2),
            next_id: 0,
            accept_again: None,
            refusals: Refusals::default(),
        }
    }

    fn serve(mut self) {
        loop {
            let ready = self.wait();
            if ready.woken {
                self.woken.rest();
                self.read_mailbox();
            }
            for at in ready.readable {
                self.connections[at].read();
            }
            for at in ready.writable {
                self.connections[at].write();
            }
            if !self.pass_requests_on() {
                return;
            }
            self.connections.retain(|connection| !connection.is_over());
            if ready.accept {
                self.accept_all();
            }
        }
    }

    /// The one blocking call.
    fn wait(&mut self) -> Ready {
        let now = clock::now();
        self.accept_again = self.accept_again.filter(|&moment| moment > now);
        let pause = self.accept_again.map(|moment| moment.since(now).as_millis() + 1);
        let timeout = pause.map_or(PollTimeout::NONE, |ms| PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX));
        let accepting = if self.accept_again.is_some() { PollFlags::empty() } else { PollFlags::POLLIN };
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(self.connections.len() + 2);
        fds.push(PollFd::new(self.woken.as_fd(), PollFlags::POLLIN));
        fds.push(PollFd::new(self.listener.as_fd(), accepting));
        fds.extend(self.connections.iter().map(|connection| PollFd::new(connection.as_fd(), interest(connection))));
        if poll(&mut fds, timeout).is_err() {
            return Ready::default();
        }
        Ready::of(&fds)
    }

    fn read_mailbox(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Reply { client, line } => {
                    if let Some(to) = self.connections.iter_mut().find(|connection| connection.id == client) {
                        to.answer(&line);
                    }
                }
                Message::Adopt { connection, owner } => {
                    let id = self.fresh_id();
                    self.connections.push(Connection::new(id, connection, Some(owner)));
                }
            }
        }
    }

    /// Passes on what is complete. Says whether the main thread is still there.
    fn pass_requests_on(&mut self) -> bool {
        for connection in &mut self.connections {
            let request = match connection.next_line() {
                Reading::Line(line) => bind_to_owner(protocol::parse(&line), connection.owner),
                Reading::Nothing => continue,
                Reading::TooLong => {
                    log::warn!("a request of more than {} bytes without an end is refused", protocol::LINE_MAX);
                    connection.refuse(&protocol::reply("Request too long", None));
                    continue;
                }
            };
            let ends = request.ends_connection();
            let input = Input::Requested { client: connection.id, request };
            if self.inbox.send(input).is_err() {
                return false;
            }
            if ends {
                connection.close();
            }
        }
        true
    }

    fn accept_all(&mut self) {
        loop {
            match accept::accept(self.listener.as_fd()) {
                Ok(Some(connection)) => self.admit(connection),
                Ok(None) => return,
                Err(errno) => {
                    log::warn!("cannot accept a control connection, trying again soon: {}", words(errno));
                    self.accept_again = Some(clock::now().after(ACCEPT_PAUSE));
                    return;
                }
            }
        }
    }

    /// Only root and the master's own user may speak here.
    fn admit(&mut self, connection: OwnedFd) {
        let known = peer::credentials(connection.as_fd()).is_ok_and(|peer| peer.uid == 0 || peer.uid == own_uid());
        let public = self.connections.iter().filter(|connection| connection.owner.is_none()).count();
        let crowded = u64::try_from(connection.as_raw_fd()).is_ok_and(|number| number >= self.descriptor_end);
        if !known || crowded || public >= CLIENTS_MAX {
            return self.refusals.count_one();
        }
        let id = self.fresh_id();
        self.connections.push(Connection::new(id, connection, None));
    }

    fn fresh_id(&mut self) -> ClientId {
        self.next_id += 1;
        ClientId(self.next_id)
    }
}

impl Refusals {
    fn count_one(&mut self) {
        self.count += 1;
        let now = clock::now();
        if self.noted.is_none_or(|noted| now.since(noted) >= REFUSAL_NOTE) {
            self.noted = Some(now);
            log::warn!("refused {} control connections: too many, or not from root or our own user", self.count);
            self.count = 0;
        }
    }
}

/// On a worker's own connection (`-g`) only that worker speaks, whatever pid it names.
fn bind_to_owner(request: Request, owner: Option<Pid>) -> Request {
    match (request, owner) {
        (Request::Ack { .. }, Some(pid)) => Request::Ack { pid },
        (Request::Ping { request_id, .. }, Some(pid)) => Request::Ping { pid, request_id },
        (request, _) => request,
    }
}

fn interest(connection: &Connection) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, connection.wants_to_read());
    flags.set(PollFlags::POLLOUT, connection.wants_to_write());
    flags
}

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// What poll(2) found; connections by their place.
#[derive(Default)]
struct Ready {
    woken: bool,
    accept: bool,
    readable: Vec<usize>,
    writable: Vec<usize>,
}

impl Ready {
    fn of(fds: &[PollFd<'_>]) -> Self {
        let mut ready = Self::default();
        for (at, fd) in fds.iter().enumerate() {
            let found = fd.revents().unwrap_or(PollFlags::empty());
            let broken = found.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL);
            match at {
                0 => ready.woken = !found.is_empty(),
                1 => ready.accept = found.contains(PollFlags::POLLIN),
                _ => {
                    if found.contains(PollFlags::POLLIN) || broken {
                        ready.readable.push(at - 2);
                    }
                    if found.contains(PollFlags::POLLOUT) {
                        ready.writable.push(at - 2);
                    }
                }
            }
        }
        ready
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
