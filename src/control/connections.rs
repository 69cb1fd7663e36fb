//! All connections of the control socket, and what concerns several of them. Which one is closed for another is decided elsewhere.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::os::fd::{OwnedFd, RawFd};

use crate::base::{ClientId, Mono};
use crate::control::connection::{Connection, Fault};
use crate::control::handover::Clients;
use crate::control::message::Hearing;
use crate::logging::rate_limiter::LogRateLimiter;
use crate::protocol::{More, Peer, Reply, Role};

/// How many bytes of its clients a master carries over, unwritten and unparsed ones together. The document holds each twice, and
/// four bytes for a byte in the worst case; while it is written and read, the master does nothing else.
const CARRIED_BYTES_MAX: usize = 1024 * 1024;

pub(crate) struct Connections {
    pub(crate) all: Vec<Connection>,
    /// The highest id that was given out.
    last_id: u64,
    evicted: LogRateLimiter,
    faults: BTreeMap<Fault, LogRateLimiter>,
}

impl Connections {
    /// Goes on with those of the image before.
    pub(crate) fn resume(clients: Clients<OwnedFd>, now: Mono) -> Self {
        // No id is given out twice, whatever the image before has written down.
        let highest = clients.connections.iter().map(|carried| carried.id.0).max().unwrap_or(0);
        let last_id = clients.next_client.0.saturating_sub(1).max(highest);
        let all = clients.connections.into_iter().map(|carried| Connection::resume(carried, now)).collect();
        Self { all, last_id, evicted: LogRateLimiter::default(), faults: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, stream: OwnedFd, peer: Peer, now: Mono) {
        self.last_id += 1;
        self.all.push(Connection::new(ClientId(self.last_id), stream, peer, now));
    }

    pub(crate) fn find(&mut self, client: ClientId) -> Option<&mut Connection> {
        self.all.iter_mut().find(|connection| connection.id == client)
    }

    /// Those that clients have made; workers' own (`-g`) are not among them.
    pub(crate) fn of_clients(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.all.iter_mut().filter(|connection| !matches!(connection.peer.role, Role::Worker(_)))
    }

    /// Sends news to those that wait for an upgrade.
    pub(crate) fn publish(&mut self, message: &str, hearing: Hearing, now: Mono) {
        let hears = |connection: &&mut Connection| {
            connection.subscription.as_ref().is_some_and(|subscription| hearing.includes(subscription.format))
        };
        self.all.iter_mut().filter(hears).for_each(|connection| publish_to(connection, message, More::Follows, now));
    }

    /// Sends all that wait for an upgrade their last news, but for these.
    pub(crate) fn conclude(&mut self, message: &str, except: &[ClientId], now: Mono) {
        for connection in self.all.iter_mut().filter(|connection| !except.contains(&connection.id)) {
            publish_to(connection, message, More::No, now);
        }
    }

    /// Sends one of them its last news.
    pub(crate) fn conclude_for(&mut self, client: ClientId, message: &str, now: Mono) {
        if let Some(connection) = self.find(client) {
            publish_to(connection, message, More::No, now);
        }
    }

    /// Writes what can be written at once.
    pub(crate) fn write(&mut self, now: Mono) {
        for connection in self.all.iter_mut().filter(|connection| connection.wants_to_write()) {
            connection.write(now);
        }
        self.remove_closed(now);
    }

    pub(crate) fn remove_closed(&mut self, now: Mono) {
        for connection in &mut self.all {
            connection.expire(now);
            if let Some(fault) = connection.take_fault() {
                let id = connection.id.0;
                self.faults.entry(fault).or_default().warn(now, format_args!("[client {id}] dropped, {fault}"));
            }
        }
        self.all.retain(|connection| !connection.is_over());
    }

    /// Closes the connection at this place for another; says whether there was one.
    pub(crate) fn evict(&mut self, chosen: Option<usize>, reason: &str, now: Mono) -> bool {
        let Some(place) = chosen else { return false };
        let id = self.all.swap_remove(place).id.0;
        self.evicted.warn(now, format_args!("[client {id}] dropped, {reason}"));
        true
    }

    /// As the next image needs them. Clients for which there is no room are left out; they go on if this image does.
    pub(crate) fn describe(&mut self) -> Clients<RawFd> {
        self.leave_some_behind();
        let carried = self.all.iter().filter(|connection| connection.is_carried());
        let connections = carried.map(Connection::describe).collect();
        Clients { connections, next_client: ClientId(self.last_id + 1) }
    }

    /// The state is handed on within bounds whatever clients do: those with the most bytes to carry over stay behind, so that those
    /// of the others fit in.
    fn leave_some_behind(&mut self) {
        self.all.iter_mut().for_each(|connection| connection.left_behind = false);
        let mut carried: Vec<_> = self.all.iter_mut().filter(|connection| connection.is_carried()).collect();
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
}

/// Sends news of an upgrade to a client that waits for it.
fn publish_to(connection: &mut Connection, message: &str, more: More, now: Mono) {
    let Some(subscription) = &connection.subscription else { return };
    let reply = Reply { more, ..Reply::last(message, Some(subscription.id.clone())) };
    let line = reply.to_line(subscription.format);
    if more == More::No {
        connection.subscription = None;
    }
    connection.send(&line, now);
}
