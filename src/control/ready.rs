//! What the control thread asks poll(2), and what poll(2) found. Reads and writes nothing.

use nix::poll::{PollFd, PollFlags};

use crate::base::ClientId;
use crate::control::connection::Connection;

/// What poll(2) is asked about a connection.
pub(crate) fn interest(connection: &Connection) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, connection.wants_to_read());
    flags.set(PollFlags::POLLOUT, connection.wants_to_write());
    flags
}

/// What poll(2) found.
#[derive(Default)]
pub(crate) struct Ready {
    pub(crate) socket_changed: bool,
    pub(crate) accept: bool,
    pub(crate) clients: Vec<(ClientId, ClientEvent)>,
}

#[derive(Clone, Copy)]
pub(crate) enum ClientEvent {
    Readable,
    Writable,
    HungUp,
}

impl Ready {
    /// The listener comes first, then the connections with these ids, then the watch on the socket's file.
    pub(crate) fn of(fds: &[PollFd<'_>], ids: &[ClientId], overdue: bool) -> Self {
        let found = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::empty());
        let mut clients = Vec::new();
        let (listener, others) = fds.split_at(1);
        let (connections, watch) = others.split_at(ids.len());
        for (fd, &id) in connections.iter().zip(ids) {
            let events = found(fd);
            if events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
                clients.push((id, ClientEvent::HungUp));
            } else if events.contains(PollFlags::POLLIN) {
                clients.push((id, ClientEvent::Readable));
            }
            if events.contains(PollFlags::POLLOUT) {
                clients.push((id, ClientEvent::Writable));
            }
        }
        Self {
            socket_changed: watch.iter().any(|watch| !found(watch).is_empty()) || overdue,
            accept: listener.iter().any(|listener| found(listener).contains(PollFlags::POLLIN)),
            clients,
        }
    }
}
