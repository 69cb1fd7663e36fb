//! The control thread: listens on the control socket, reads requests, writes replies. A client that is slow, silent or faulty costs
//! this thread, never the main one.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use nix::poll::PollFlags;

use crate::base::{ClientId, Mono};
use crate::control::acceptor::Acceptor;
use crate::control::access::Policy;
use crate::control::connection::Connection;
use crate::control::connections::Connections;
use crate::control::handover::{Clients, ControlState, Subscription};
use crate::control::message::{Message, Then};
use crate::control::poll::{self, ClientEvent};
use crate::control::requests::Requests;
use crate::control::socket_file::SocketFile;
use crate::control::watched::Watched;
use crate::protocol::{Format, Peer, Reply, Role};
use crate::sys::{allocator, clock};
use crate::threads::Input;
use crate::threads::gate::Gate;
use crate::threads::handle::{Paused, Pauses, Work};

/// How many connections are accepted before those that there are get their turn again.
const ACCEPTED_AT_ONCE: usize = 32;

/// How many before the socket is made anew: more than the old one can hold.
const ACCEPTED_AT_A_MOVE: usize = 256;

pub(crate) struct Server {
    socket: SocketFile,
    inbox: Sender<Input>,
    messages: Receiver<Box<Message>>,
    acceptor: Acceptor,
    connections: Connections,
    requests: Requests,
    watched: Watched,
    /// There may be something to do of which poll(2) tells nothing: messages, and lines that can be passed on now.
    has_more: bool,
    /// As the main thread was told last.
    memory_is_short: bool,
}

/// How long to wait for something to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    UntilReady,
    NotAtAll,
}

impl Work for Server {
    const NAME: &'static str = "control";

    fn serve(&mut self, pauses: &Pauses) {
        let inbox = self.inbox.clone();
        let mut main_is_gone = false;
        self.has_more = true;
        while !main_is_gone && !pauses.is_requested() {
            self.step(Wait::UntilReady, &mut |input| main_is_gone |= inbox.send(input).is_err());
        }
    }

    fn turn(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        self.step(Wait::NotAtAll, &mut |input| inputs.push(input));
        inputs
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
        let connections = Connections::resume(clients, clock::now());
        let (acceptor, requests) = (Acceptor::new(policy), Requests::new(gate));
        let (has_more, memory_is_short) = (true, false);
        let watched = Watched::default();
        Self { socket, inbox, messages, acceptor, connections, requests, watched, has_more, memory_is_short }
    }

    /// Does what there is to do. `send` takes what is for the main thread.
    fn step(&mut self, wait: Wait, send: &mut dyn FnMut(Input)) {
        let ready = self.wait(wait);
        let now = clock::now();
        self.read_mailbox(now);
        if self.watched.take_change(ready.files_changed) {
            send(Input::FilesChanged);
        }
        if ready.socket_changed {
            // The listener of the old file goes, and with it connections that were not accepted.
            self.acceptor.accept(self.socket.listener_fd(), ACCEPTED_AT_A_MOVE, &mut self.connections, now);
            if let Some(moved) = self.socket.restore() {
                send(Input::SocketMoved(moved));
            }
        }
        for (client, event) in ready.clients {
            // A message, or the need for room, may have closed it since.
            let Some(connection) = self.connections.find(client) else { continue };
            match event {
                ClientEvent::HungUp => connection.hang_up(now),
                ClientEvent::Readable => connection.read(now),
                ClientEvent::Writable => connection.write(now),
            }
        }
        self.has_more = self.requests.pass_on(&mut self.connections.all, now, send);
        self.connections.remove_closed(now);
        self.acceptor.identify_again(&mut self.connections, now);
        self.tell_of_short_memory(send);
        if ready.accept {
            self.acceptor.accept(self.socket.listener_fd(), ACCEPTED_AT_ONCE, &mut self.connections, now);
        }
    }

    /// The main thread may be waiting, and has to do something about it.
    fn tell_of_short_memory(&mut self, send: &mut dyn FnMut(Input)) {
        let is_short = allocator::is_short();
        if is_short && !self.memory_is_short {
            send(Input::MemoryRefused);
        }
        self.memory_is_short = is_short;
    }

    /// The one blocking call.
    fn wait(&mut self, wait: Wait) -> poll::Ready {
        let now = clock::now();
        let paused_until = self.acceptor.paused_until(now);
        self.connections.all.iter_mut().for_each(|connection| connection.end_rest(now));
        let deadlines = self.connections.all.iter().filter_map(Connection::deadline);
        let due = deadlines.chain(paused_until).chain(self.socket.deadline()).min();
        let timeout = match wait {
            Wait::UntilReady if !self.has_more => due.map(|moment| moment.since(now)),
            Wait::UntilReady | Wait::NotAtAll => Some(Duration::ZERO),
        };
        let accepting = if paused_until.is_some() { PollFlags::empty() } else { PollFlags::POLLIN };
        poll::wait(&self.socket, self.watched.fd(), accepting, &self.connections.all, timeout)
    }

    /// Does what the main thread says.
    fn read_mailbox(&mut self, now: Mono) {
        while let Ok(message) = self.messages.try_recv() {
            match *message {
                Message::Reply { client, reply, format, then } => self.reply(client, reply, format, then, now),
                Message::Publish { message, hearing } => self.connections.publish(&message, hearing, now),
                Message::Conclude { message, except } => self.connections.conclude(&message, &except, now),
                Message::ConcludeFor { client, message } => self.connections.conclude_for(client, &message, now),
                Message::Adopt { connection, worker } => {
                    self.connections.add(connection, Peer::of_worker(worker), now);
                }
                Message::Forget { worker } => {
                    self.connections.all.retain(|connection| connection.peer.role != Role::Worker(worker));
                }
                Message::SetAccess { policy, access } => {
                    self.socket.set_access(access);
                    self.acceptor.set_policy(policy, &mut self.connections);
                }
                Message::Watch { paths } => self.watched = Watched::begin(paths),
                Message::Flush { done } => drop(done),
            }
        }
    }

    fn reply(&mut self, client: ClientId, reply: Reply, format: Format, then: Then, now: Mono) {
        let Some(to) = self.connections.find(client) else { return };
        to.answer(&reply.to_line(format), now);
        if let (Then::Subscribe, Some(id)) = (then, reply.id) {
            to.subscription = Some(Subscription { id, format });
        }
    }
}

impl Paused<Server> {
    /// Says what there is. What the main thread has told the control thread meanwhile is done before: a reply to a request
    /// that was still in the inbox must go to its client, or into the description. No request is passed on.
    pub(crate) fn describe(&mut self) -> Option<ControlState> {
        let server = self.work()?;
        let now = clock::now();
        server.read_mailbox(now);
        server.connections.write(now);
        let clients = server.connections.describe();
        Some(ControlState { listener: server.socket.listener_fd().as_raw_fd(), file: server.socket.id(), clients })
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
