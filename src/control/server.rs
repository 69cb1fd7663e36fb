//! The control thread: listens on the control socket, reads requests, writes replies. It passes requests on, but for
//! those that their client may not make, and decides nothing about them; a client that is slow, silent or mad costs this thread, never the main one.

use std::cmp::Reverse;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use crate::base::{ClientId, Mono};
use crate::control::access::{Policy, judge, made_for};
use crate::control::connection::{Connection, Reading};
use crate::control::eviction;
use crate::control::handle::{Message, Then};
use crate::control::handover::{CARRIED_BYTES_MAX, Clients, Freeze, Stand, Subscription};
use crate::control::notes::Notes;
use crate::control::ready::{ClientEvent, Ready, interest};
use crate::control::socket_file::SocketFile;
use crate::control::turns::{Turns, Waiting};
use crate::files::control_socket::Access;
use crate::protocol::{self, Format, More, Peer, Reply, Role};
use crate::sys::{accept, allocator, clock, wakeup};
use crate::threads::Input;
use crate::threads::crew::Work;
use crate::threads::gate::Gate;

/// How long accepting rests when the system has no descriptor to give, and no idle client has one to spare. Without it
/// the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long the thread rests when poll(2) fails, as for want of memory.
const POLL_PAUSE: Duration = Duration::from_millis(50);

/// A connection of which nothing was heard for that long may be closed when descriptors run out: one that is younger may be a
/// worker's that is about to ack.
const FRESH: Duration = Duration::from_millis(250);

/// How often the kernel is asked who has connected, with [`ACCEPT_PAUSE`] in between, when it does not say.
const JUDGED_MAX: u32 = 20;

/// How many such connections are held meanwhile.
const UNJUDGED_MAX: usize = 32;

/// How many connections are accepted before those that there are get their turn again.
const ACCEPTED_AT_ONCE: usize = 32;

/// How many before the socket is made anew: more than the old one can hold.
const ACCEPTED_AT_A_MOVE: usize = 256;

/// How many connections are kept for root and our own user.
const RESERVED: usize = 8;

/// How many connections a user may have who is neither.
const PER_GUEST_MAX: usize = 64;

/// Why a connection is closed then.
const CROWDED: &str = "too many are connected";

pub(crate) struct Server {
    socket: SocketFile,
    policy: Policy,
    inbox: Sender<Input>,
    messages: Receiver<Box<Message>>,
    gate: Gate,
    turns: Turns,
    /// There may be something to do of which poll(2) tells nothing: messages, and lines that can be passed on now.
    look_again: bool,
    connections: Vec<Connection>,
    /// Of which the kernel did not say whose they are, and how often it was asked.
    unjudged: Vec<(OwnedFd, u32)>,
    next_id: u64,
    /// As the main thread was told last.
    memory_is_short: bool,
    /// While it lies ahead, no connection is accepted.
    accept_again: Option<Mono>,
    notes: Notes,
}

/// Whether the main thread is still there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inbox {
    Open,
    Closed,
}

/// What came of looking at a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Looked {
    Done,
    /// It stays until the main thread is done with others.
    NoRoom,
    /// The main thread is gone.
    Alone,
}

/// Why serving has stopped.
enum Stop {
    /// The main thread is gone.
    Alone,
    /// It wants to have the server for a while.
    Frozen(Freeze),
}

/// How long to wait for something to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Wait,
    LookOnly,
}

/// Where the server stands; there it is found when the thread has to begin again. None while the main thread has it.
pub(crate) struct Place(pub(crate) Option<Box<Server>>);

impl Place {
    pub(crate) fn of(server: Server) -> Self {
        Self(Some(Box::new(server)))
    }
}

impl Work for Place {
    const NAME: &'static str = "control";

    fn serve(&mut self) {
        while let Some(server) = &mut self.0 {
            match server.serve() {
                Stop::Alone => return,
                Stop::Frozen(order) => self.0 = self.0.take().and_then(|server| order.give(server)),
            }
        }
    }

    fn turn(&mut self) -> Vec<Input> {
        self.0.as_mut().map_or_else(Vec::new, |server| server.turn())
    }
}

impl Server {
    pub(crate) fn new(
        socket: SocketFile,
        clients: Clients<OwnedFd>,
        policy: Policy,
        inbox: Sender<Input>,
        messages: Receiver<Box<Message>>,
        gate: Gate,
    ) -> Self {
        // No id is given out twice, whatever the image before has written down.
        let highest = clients.connections.iter().map(|carried| carried.id.0).max().unwrap_or(0);
        let next_id = clients.next_client.0.saturating_sub(1).max(highest);
        let now = clock::now();
        let connections = clients.connections.into_iter().map(|carried| Connection::resume(carried, now)).collect();
        let notes = Notes::default();
        let (turns, unjudged) = (Turns::default(), Vec::new());
        Self {
            socket,
            policy,
            inbox,
            messages,
            gate,
            turns,
            look_again: true,
            connections,
            unjudged,
            next_id,
            memory_is_short: false,
            accept_again: None,
            notes,
        }
    }

    fn serve(&mut self) -> Stop {
        let inbox = self.inbox.clone();
        self.look_again = true;
        loop {
            let step = self.step(Patience::Wait, &mut |input| match inbox.send(input) {
                Ok(()) => Inbox::Open,
                Err(_) => Inbox::Closed,
            });
            if let Some(stop) = step {
                return stop;
            }
        }
    }

    /// In the main thread, which takes in what is passed on itself.
    fn turn(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        let _an_order_without_a_reply = self.step(Patience::LookOnly, &mut |input| {
            inputs.push(input);
            Inbox::Open
        });
        inputs
    }

    /// Does what there is to do.
    fn step(&mut self, patience: Patience, pass_on: &mut dyn FnMut(Input) -> Inbox) -> Option<Stop> {
        let ready = self.wait(patience);
        let now = clock::now();
        if let Some(order) = self.read_mailbox(now) {
            self.settle(now);
            return Some(Stop::Frozen(order));
        }
        if ready.socket_changed {
            // Those who came by the old file would be sent away with its listener.
            self.accept(ACCEPTED_AT_A_MOVE, now);
            if let Some(moved) = self.socket.restore() {
                let _main_is_gone = pass_on(Input::SocketMoved(moved));
            }
        }
        for (client, event) in ready.clients {
            // It may be gone since: the main thread has had a worker's connection closed, or it had to make room.
            let Some(connection) = self.find(client) else { continue };
            match event {
                ClientEvent::HungUp => connection.hang_up(now),
                ClientEvent::Readable => connection.read(now),
                ClientEvent::Writable => connection.write(now),
            }
        }
        if self.pass_requests_on(now, pass_on) == Inbox::Closed {
            return Some(Stop::Alone);
        }
        self.forget_those_who_are_over(now);
        self.judge_again(now);
        self.tell_of_a_shortage(pass_on);
        if ready.accept {
            self.accept(ACCEPTED_AT_ONCE, now);
        }
        None
    }

    /// The main thread may be waiting, and has to do something about it.
    fn tell_of_a_shortage(&mut self, pass_on: &mut dyn FnMut(Input) -> Inbox) {
        let is_short = allocator::is_short();
        if is_short && !self.memory_is_short {
            let _main_is_gone = pass_on(Input::MemoryRefused);
        }
        self.memory_is_short = is_short;
    }

    /// Writes what can be written at once.
    fn settle(&mut self, now: Mono) {
        for connection in self.connections.iter_mut().filter(|connection| connection.wants_to_write()) {
            connection.write(now);
        }
        self.forget_those_who_are_over(now);
    }

    /// Does what the main thread has said since the thread stopped. No request is passed on.
    pub(crate) fn catch_up(&mut self) {
        let now = clock::now();
        // An order to freeze in there is one that nobody waits for any more.
        while self.read_mailbox(now).is_some() {}
        self.settle(now);
    }

    /// Clients for which there is no room are not described; they go on if this image does.
    pub(crate) fn describe(&mut self) -> Stand {
        self.leave_some_behind();
        let connections = self.carried().map(Connection::describe).collect();
        let clients = Clients { connections, next_client: ClientId(self.next_id + 1) };
        Stand { listener: self.socket.listener_fd().as_raw_fd(), file: self.socket.id(), clients }
    }

    fn carried(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().filter(|connection| connection.is_carried())
    }

    /// The state is handed on within bounds whatever clients do: those with the most to carry over stay behind, so that what the
    /// others leave unread, or have said by half, fits in.
    fn leave_some_behind(&mut self) {
        self.connections.iter_mut().for_each(|connection| connection.left_behind = false);
        let mut carried: Vec<&mut Connection> =
            self.connections.iter_mut().filter(|connection| connection.is_carried()).collect();
        carried.sort_by_key(|connection| Reverse(connection.carried_bytes()));
        let all: usize = carried.iter().map(|connection| connection.carried_bytes()).sum();
        let (mut bytes, mut count) = (all, 0);
        for connection in carried {
            if bytes <= CARRIED_BYTES_MAX {
                break;
            }
            bytes -= connection.carried_bytes();
            connection.left_behind = true;
            count += 1;
        }
        if count > 0 {
            log::warn!(
                "{count} clients are dropped at the re-exec: they and others leave {all} bytes unread or half said, and \
                 {CARRIED_BYTES_MAX} are carried over at most"
            );
        }
    }

    fn forget_those_who_are_over(&mut self, now: Mono) {
        for connection in &mut self.connections {
            connection.expire(now);
            if let Some(fault) = connection.take_fault() {
                self.notes.drop_for_fault(connection.id, fault, now);
            }
        }
        self.connections.retain(|connection| !connection.is_over());
    }

    /// The one blocking call. That it was woken is as good as any other end of it.
    fn wait(&mut self, patience: Patience) -> Ready {
        let now = clock::now();
        self.accept_again = self.accept_again.filter(|&moment| moment > now);
        self.connections.iter_mut().for_each(|connection| connection.end_rest(now));
        let look_again = std::mem::take(&mut self.look_again);
        let deadlines = self.connections.iter().filter_map(Connection::deadline);
        let due = deadlines.chain(self.accept_again).chain(self.socket.deadline()).min();
        let timeout = match patience {
            Patience::Wait if !look_again => due.map(|moment| moment.since(now)),
            Patience::Wait | Patience::LookOnly => Some(Duration::ZERO),
        };
        let accepting = if self.accept_again.is_some() { PollFlags::empty() } else { PollFlags::POLLIN };
        let polled: Vec<&Connection> =
            self.connections.iter().filter(|connection| connection.is_worth_polling()).collect();
        let ids: Vec<ClientId> = polled.iter().map(|connection| connection.id).collect();
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(polled.len() + 2);
        fds.push(PollFd::new(self.socket.listener_fd(), accepting));
        fds.extend(polled.iter().map(|connection| PollFd::new(connection.as_fd(), interest(connection))));
        fds.extend(self.socket.watch_fd().map(|watch| PollFd::new(watch, PollFlags::POLLIN)));
        match wakeup::poll(&mut fds, timeout) {
            Ok(_) => Ready::of(&fds, &ids, self.socket.deadline().is_some_and(|moment| moment <= clock::now())),
            Err(Errno::EINTR) => Ready::default(),
            Err(_) => {
                if patience == Patience::Wait {
                    wakeup::rest(timeout.unwrap_or(POLL_PAUSE).min(POLL_PAUSE));
                }
                Ready::default()
            }
        }
    }

    /// Does what the main thread says, up to its order to freeze: what it says behind that is for afterwards.
    fn read_mailbox(&mut self, now: Mono) -> Option<Freeze> {
        while let Ok(message) = self.messages.try_recv() {
            match *message {
                Message::Reply { client, reply, format, then } => self.reply(client, reply, format, then, now),
                Message::Publish { message } => self.publish(&message, More::Follows, &[], now),
                Message::Conclude { message, except } => self.publish(&message, More::No, &except, now),
                Message::ConcludeFor { client, message } => {
                    if let Some(to) = self.find(client) {
                        news(to, &message, More::No, now);
                    }
                }
                Message::Adopt { connection, worker } => {
                    let id = self.fresh_id();
                    self.connections.push(Connection::new(id, connection, made_for(worker), now));
                }
                Message::Forget { worker } => {
                    self.connections.retain(|connection| connection.peer.role != Role::Worker(worker));
                }
                Message::Admit { policy, access } => self.change_admission(policy, access),
                Message::Freeze(order) => return Some(order),
                Message::Flush { done } => drop(done),
            }
        }
        None
    }

    /// Whoever may no longer speak as an admin must not go on as one on a connection that is open.
    fn change_admission(&mut self, policy: Policy, access: Access) {
        self.socket.admit(access);
        self.policy = policy;
        let of_clients = |connection: &&mut Connection| !matches!(connection.peer.role, Role::Worker(_));
        for connection in self.connections.iter_mut().filter(of_clients) {
            if let Ok(peer) = judge(connection.as_fd(), &self.policy) {
                connection.peer = peer;
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

    fn publish(&mut self, message: &str, more: More, except: &[ClientId], now: Mono) {
        for connection in self.connections.iter_mut().filter(|connection| !except.contains(&connection.id)) {
            news(connection, message, more, now);
        }
    }

    fn find(&mut self, client: ClientId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id == client)
    }

    /// Looks at complete lines: all admins', and so many of the others' as there is room for.
    fn pass_requests_on(&mut self, now: Mono, pass_on: &mut dyn FnMut(Input) -> Inbox) -> Inbox {
        let waiting: Vec<Waiting> = self.connections.iter_mut().enumerate().filter_map(waiting).collect();
        let turn = self.turns.next(&waiting);
        let mut is_full = false;
        for place in turn.places {
            // A ticket that comes back meanwhile is for the one that was refused.
            if is_full && self.connections[place].peer.role != Role::Admin {
                break;
            }
            match self.look_at(place, now, pass_on) {
                Looked::Done => {}
                Looked::NoRoom => is_full = true,
                Looked::Alone => return Inbox::Closed,
            }
        }
        if turn.is_short && !is_full {
            // When there is room again, the gate wakes.
            self.look_again = true;
        }
        Inbox::Open
    }

    /// Looks at the next line of the connection at this place: refuses, denies, or passes on. Where no reply will come to tell that
    /// the main thread is done with it, it needs a ticket. Nor does a reply wake the thread then for the next line, which may be here
    /// already.
    fn look_at(&mut self, place: usize, now: Mono, pass_on: &mut dyn FnMut(Input) -> Inbox) -> Looked {
        let connection = &mut self.connections[place];
        let mut ticket = None;
        if connection.needs_ticket || connection.peer.role != Role::Admin {
            ticket = self.gate.ticket();
            if ticket.is_none() {
                return Looked::NoRoom;
            }
        }
        let line = match connection.next_line(now) {
            Reading::Line(line) => line,
            Reading::Nothing => return Looked::Done,
            Reading::TooLong => {
                connection.refuse(&Reply::last("Request too long", None).to_line(Format::Yaml), now);
                return Looked::Done;
            }
        };
        connection.last_turn = self.turns.number;
        self.turns.had(connection.peer);
        let request = protocol::parse(&line);
        let (client, peer) = (connection.id, connection.peer);
        if !peer.may(request.speaker) {
            self.notes.deny(client, &peer, now);
            connection.answer(&Reply::last(peer.denial(), request.id).to_line(request.format), now);
            self.look_again = true;
            return Looked::Done;
        }
        let ends = request.ends_connection();
        if ends && ticket.is_none() {
            ticket = self.gate.ticket();
            if ticket.is_none() {
                connection.put_back(&line, now);
                return Looked::NoRoom;
            }
        }
        connection.needs_ticket = false;
        let ticket = ticket.filter(|_| ends);
        if pass_on(Input::Requested { client, peer, request, ticket }) == Inbox::Closed {
            return Looked::Alone;
        }
        match peer.role {
            _ if !ends => {}
            // It has this connection for life: a ping may follow its ack.
            Role::Worker(_) => {
                connection.go_on();
                self.look_again = true;
            }
            Role::Admin | Role::Guest => connection.close(),
        }
        Looked::Done
    }

    fn accept(&mut self, max: usize, now: Mono) {
        for _ in 0..max {
            match accept::accept(self.socket.listener_fd()) {
                Ok(Some(connection)) => self.admit(connection, 1, now),
                Ok(None) => return,
                // Somebody has to go, or all have to wait.
                Err(Errno::EMFILE | Errno::ENFILE) if self.drop_an_idle_one("no descriptors are left", FRESH, now) => {}
                Err(errno) => {
                    self.notes.cannot_accept(errno, now);
                    self.accept_again = Some(now.after(ACCEPT_PAUSE));
                    return;
                }
            }
        }
    }

    /// Asks once more for those of which the kernel has not said whose they are.
    fn judge_again(&mut self, now: Mono) {
        if self.accept_again.is_some_and(|moment| moment > now) {
            return;
        }
        for (stream, asked) in std::mem::take(&mut self.unjudged) {
            self.admit(stream, asked + 1, now);
        }
    }

    /// `asked`: how often the kernel has been asked whose it is, this time included.
    fn admit(&mut self, stream: OwnedFd, asked: u32, now: Mono) {
        let peer = match judge(stream.as_fd(), &self.policy) {
            Ok(peer) => peer,
            Err(_) if asked < JUDGED_MAX && self.unjudged.len() < UNJUDGED_MAX => {
                self.unjudged.push((stream, asked));
                self.accept_again = Some(now.after(ACCEPT_PAUSE));
                return;
            }
            Err(_) => return self.notes.refuse(now),
        };
        let max = match peer.role {
            Role::Admin | Role::Worker(_) => self.policy.connections_max,
            Role::Guest => self.policy.connections_max.saturating_sub(RESERVED),
        };
        // What was refused may be what the next client would need; an admin gets the place, and the memory, of another.
        let max = if allocator::is_short() { max.min(RESERVED) } else { max };
        let public = |connection: &&Connection| !matches!(connection.peer.role, Role::Worker(_));
        let taken = self.connections.iter().filter(public).count();
        let of_uid = self.connections.iter().filter(public).filter(|known| known.peer.uid == peer.uid).count();
        let has_place = match peer.role {
            Role::Guest if of_uid >= PER_GUEST_MAX => self.drop_one_of_its_user(peer, now),
            Role::Admin | Role::Guest | Role::Worker(_) => true,
        };
        if !has_place || (taken >= max && !self.make_room_for(peer, now)) {
            return self.notes.refuse(now);
        }
        let id = self.fresh_id();
        self.connections.push(Connection::new(id, stream, peer, now));
    }

    /// Makes room when all places are taken that one like this may have; says whether there was a connection to close.
    fn make_room_for(&mut self, peer: Peer, now: Mono) -> bool {
        match peer.role {
            Role::Admin => self.drop_an_idle_one(CROWDED, Duration::ZERO, now),
            Role::Guest => {
                let chosen = eviction::one_of_the_guests(&mut self.connections, peer, FRESH, now);
                self.drop_for_room(chosen, CROWDED, now)
            }
            // It is adopted, and takes no place.
            Role::Worker(_) => false,
        }
    }

    /// Makes room for any client; says whether there was a connection to close.
    fn drop_an_idle_one(&mut self, reason: &str, silent_for: Duration, now: Mono) -> bool {
        let chosen = eviction::idle_one(&mut self.connections, silent_for, now);
        self.drop_for_room(chosen, reason, now)
    }

    /// Makes room for a guest whose user has all the places that a user may have.
    fn drop_one_of_its_user(&mut self, peer: Peer, now: Mono) -> bool {
        let chosen = eviction::one_of_its_user(&mut self.connections, peer, now);
        self.drop_for_room(chosen, "another process of its user has fewer connections", now)
    }

    fn drop_for_room(&mut self, chosen: Option<usize>, reason: &str, now: Mono) -> bool {
        let Some(at) = chosen else { return false };
        let dropped = self.connections.swap_remove(at);
        self.notes.drop_for_room(dropped.id, reason, now);
        true
    }

    fn fresh_id(&mut self) -> ClientId {
        self.next_id += 1;
        ClientId(self.next_id)
    }
}

/// A connection that has a line.
fn waiting((place, connection): (usize, &mut Connection)) -> Option<Waiting> {
    let (id, peer, last_turn) = (connection.id, connection.peer, connection.last_turn);
    connection.has_line().then_some(Waiting { place, id, peer, last_turn })
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

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
