//! The control thread: listens on the control socket, reads requests, writes replies. It passes requests on and decides
//! nothing about them; a client that is slow, silent or mad costs this thread, never the main one.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::pool::{ClientId, Mono};
use crate::protocol::{self, Format, LINE_MAX, More, Reply};
use crate::sys::wakeup::Wakeup;
use crate::sys::{accept, clock};
use crate::threads::Input;
use crate::threads::admission::{Policy, Role, judge, made_for};
use crate::threads::client_connection::{Connection, Reading, Subscription};
use crate::threads::control::{Message, Then};
use crate::threads::socket_file::SocketFile;

/// How long accepting rests when the system has no descriptor to give, and no idle client has one to spare. Without it
/// the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections are kept for root and our own user.
const RESERVED: usize = 8;

/// How many connections a user may have who is neither.
const PER_GUEST_MAX: usize = 64;

/// How often refusals are logged at most.
const REFUSAL_NOTE: Duration = Duration::from_secs(60);

pub(in crate::threads) struct Server {
    socket: SocketFile,
    policy: Policy,
    inbox: Sender<Input>,
    messages: Receiver<Message>,
    woken: Wakeup,
    connections: Vec<Connection>,
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

/// Whether the main thread is still there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inbox {
    Open,
    Closed,
}

impl Server {
    pub(in crate::threads) fn new(
        socket: SocketFile,
        policy: Policy,
        inbox: Sender<Input>,
        messages: Receiver<Message>,
        woken: Wakeup,
    ) -> Self {
        let (connections, refusals) = (Vec::new(), Refusals::default());
        Self { socket, policy, inbox, messages, woken, connections, next_id: 0, accept_again: None, refusals }
    }

    pub(in crate::threads) fn serve(&mut self) {
        loop {
            let ready = self.wait();
            let now = clock::now();
            if ready.woken {
                self.woken.rest();
                self.read_mailbox(now);
            }
            if ready.socket_changed {
                if let Some(moved) = self.socket.restore() {
                    let _main_is_gone = self.inbox.send(Input::SocketMoved(moved));
                }
            }
            for (at, event) in ready.clients {
                match event {
                    ClientEvent::HungUp => self.connections[at].hang_up(now),
                    ClientEvent::Readable => self.connections[at].read(now),
                    ClientEvent::Writable => self.connections[at].write(now),
                }
            }
            if self.pass_requests_on(now) == Inbox::Closed {
                return;
            }
            self.connections.iter_mut().for_each(|connection| connection.expire(now));
            self.connections.retain(|connection| !connection.is_over());
            if ready.accept {
                self.accept_all(now);
            }
        }
    }

    /// The one blocking call.
    fn wait(&mut self) -> Ready {
        let now = clock::now();
        self.accept_again = self.accept_again.filter(|&moment| moment > now);
        let deadlines = self.connections.iter().filter_map(Connection::deadline);
        let due = deadlines.chain(self.accept_again).chain(self.socket.deadline()).min();
        let timeout = due.map_or(PollTimeout::NONE, |moment| {
            PollTimeout::try_from(moment.since(now).as_millis() + 1).unwrap_or(PollTimeout::MAX)
        });
        let accepting = if self.accept_again.is_some() { PollFlags::empty() } else { PollFlags::POLLIN };
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(self.connections.len() + 3);
        fds.push(PollFd::new(self.woken.as_fd(), PollFlags::POLLIN));
        fds.push(PollFd::new(self.socket.watch_fd(), PollFlags::POLLIN));
        fds.push(PollFd::new(self.socket.listener_fd(), accepting));
        let polled = self.connections.iter().enumerate().filter(|(_, connection)| connection.is_worth_polling());
        let places: Vec<usize> = polled.map(|(at, _)| at).collect();
        fds.extend(places.iter().map(|&at| {
            let connection = &self.connections[at];
            PollFd::new(connection.as_fd(), interest(connection))
        }));
        match poll(&mut fds, timeout) {
            Ok(_) => Ready::of(&fds, &places, self.socket.deadline().is_some_and(|moment| moment <= clock::now())),
            Err(_) => Ready::default(),
        }
    }

    fn read_mailbox(&mut self, now: Mono) {
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::Reply { client, reply, format, then } => self.reply(client, reply, format, then, now),
                Message::Publish { message } => self.publish(&message, More::Follows, now),
                Message::Conclude { message } => self.publish(&message, More::No, now),
                Message::ConcludeFor { client, message } => {
                    if let Some(to) = self.find(client) {
                        news(to, &message, More::No, now);
                    }
                }
                Message::Adopt { connection, worker } => {
                    let id = self.fresh_id();
                    self.connections.push(Connection::new(id, connection, made_for(worker), now));
                }
            }
        }
    }

    fn reply(&mut self, client: ClientId, reply: Reply, format: Format, then: Then, now: Mono) {
        let Some(to) = self.find(client) else { return };
        to.answer(&reply.to_line(format), now);
        if let (Then::Subscribe, Some(id)) = (then, reply.id) {
            to.subscription = Some(Subscription { id, format });
        }
    }

    fn publish(&mut self, message: &str, more: More, now: Mono) {
        for connection in &mut self.connections {
            news(connection, message, more, now);
        }
    }

    fn find(&mut self, client: ClientId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id == client)
    }

    /// Passes on what is complete.
    fn pass_requests_on(&mut self, now: Mono) -> Inbox {
        for connection in &mut self.connections {
            let request = match connection.next_line() {
                Reading::Line(line) => protocol::parse(&line),
                Reading::Nothing => continue,
                Reading::TooLong => {
                    log::warn!("[client {}] dropped, its request has more than {LINE_MAX} bytes", connection.id.0);
                    connection.refuse(&Reply::last("Request too long", None).to_line(Format::Yaml), now);
                    continue;
                }
            };
            let ends = request.asked.ends_connection();
            let input = Input::Requested { client: connection.id, peer: connection.peer, request };
            if self.inbox.send(input).is_err() {
                return Inbox::Closed;
            }
            if ends {
                connection.close();
            }
        }
        Inbox::Open
    }

    fn accept_all(&mut self, now: Mono) {
        loop {
            match accept::accept(self.socket.listener_fd()) {
                Ok(Some(connection)) => self.admit(connection, now),
                Ok(None) => return,
                // Somebody has to go, or all have to wait.
                Err(Errno::EMFILE | Errno::ENFILE) if self.drop_oldest_idle("no descriptors are left") => {}
                Err(errno) => {
                    log::warn!("cannot accept a control connection, trying again soon: {}", errno.desc());
                    self.accept_again = Some(now.after(ACCEPT_PAUSE));
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: OwnedFd, now: Mono) {
        let Ok(peer) = judge(stream.as_fd(), &self.policy) else { return self.refusals.count_one(now) };
        let max = match peer.role {
            Role::Admin | Role::Worker(_) => self.policy.connections_max,
            Role::Guest => self.policy.connections_max.saturating_sub(RESERVED),
        };
        let public = |connection: &&Connection| !matches!(connection.peer.role, Role::Worker(_));
        let taken = self.connections.iter().filter(public).count();
        let of_uid = self.connections.iter().filter(public).filter(|known| known.peer.uid == peer.uid).count();
        if (peer.role == Role::Guest && of_uid >= PER_GUEST_MAX)
            || (taken >= max && !(peer.role == Role::Admin && self.drop_oldest_idle("too many are connected")))
        {
            return self.refusals.count_one(now);
        }
        let id = self.fresh_id();
        self.connections.push(Connection::new(id, stream, peer, now));
    }

    /// Makes room by closing the connection that has been silent longest. Says whether there was one.
    fn drop_oldest_idle(&mut self, reason: &str) -> bool {
        let candidates = self.connections.iter().enumerate();
        let idle = candidates.filter(|(_, known)| known.is_idle() && !matches!(known.peer.role, Role::Worker(_)));
        let Some((at, _)) = idle.min_by_key(|(_, known)| (known.active_at, known.id)) else { return false };
        let dropped = self.connections.swap_remove(at);
        self.refusals.note(clock::now(), || format!("[client {}] and maybe others dropped, {reason}", dropped.id.0));
        true
    }

    fn fresh_id(&mut self) -> ClientId {
        self.next_id += 1;
        ClientId(self.next_id)
    }
}

impl Refusals {
    fn count_one(&mut self, now: Mono) {
        self.count += 1;
        let count = self.count;
        if self.note(now, || format!("refused {count} control connections: too many, or from an unknown user")) {
            self.count = 0;
        }
    }

    /// Logs unless something was logged in the last minute.
    fn note(&mut self, now: Mono, text: impl FnOnce() -> String) -> bool {
        let due = self.noted.is_none_or(|noted| now.since(noted) >= REFUSAL_NOTE);
        if due {
            self.noted = Some(now);
            log::warn!("{}", text());
        }
        due
    }
}

/// Sends news of an upgrade to one who waits for it.
fn news(to: &mut Connection, message: &str, more: More, now: Mono) {
    let Some(subscription) = &to.subscription else { return };
    let reply = Reply { more, ..Reply::last(message, Some(subscription.id.clone())) };
    let line = reply.to_line(subscription.format);
    if more == More::No {
        to.subscription = None;
    }
    to.send(&line, now);
}

fn interest(connection: &Connection) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, connection.wants_to_read());
    flags.set(PollFlags::POLLOUT, connection.wants_to_write());
    flags
}

/// What poll(2) found.
#[derive(Default)]
struct Ready {
    woken: bool,
    socket_changed: bool,
    accept: bool,
    /// Connections by their place.
    clients: Vec<(usize, ClientEvent)>,
}

#[derive(Clone, Copy)]
enum ClientEvent {
    Readable,
    Writable,
    HungUp,
}

impl Ready {
    fn of(fds: &[PollFd<'_>], places: &[usize], overdue: bool) -> Self {
        let found = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::empty());
        let mut clients = Vec::new();
        for (fd, &at) in fds[3..].iter().zip(places) {
            let events = found(fd);
            if events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
                clients.push((at, ClientEvent::HungUp));
            } else if events.contains(PollFlags::POLLIN) {
                clients.push((at, ClientEvent::Readable));
            }
            if events.contains(PollFlags::POLLOUT) {
                clients.push((at, ClientEvent::Writable));
            }
        }
        Self {
            woken: !found(&fds[0]).is_empty(),
            socket_changed: !found(&fds[1]).is_empty() || overdue,
            accept: found(&fds[2]).contains(PollFlags::POLLIN),
            clients,
        }
    }
}
