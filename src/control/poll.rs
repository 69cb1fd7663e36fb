//! The control thread's one blocking call, and what it found. Reads and writes nothing.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use crate::base::ClientId;
use crate::control::connection::Connection;
use crate::control::socket_file::SocketFile;
use crate::sys::{clock, wakeup};

/// How long the thread waits when poll(2) fails, as for want of memory.
const FAILURE_PAUSE: Duration = Duration::from_millis(50);

/// What poll(2) found. That the wait was ended by a wake-up is as good as any other end of it.
#[derive(Default)]
pub(crate) struct Ready {
    pub(crate) socket_changed: bool,
    pub(crate) files_changed: bool,
    pub(crate) accept: bool,
    pub(crate) clients: Vec<(ClientId, ClientEvent)>,
}

#[derive(Clone, Copy)]
pub(crate) enum ClientEvent {
    Readable,
    Writable,
    HungUp,
}

/// Waits so long at most; None: for ever. The listener is asked for `accepting`.
pub(crate) fn wait(
    socket: &SocketFile,
    files: Option<BorrowedFd<'_>>,
    accepting: PollFlags,
    connections: &[Connection],
    timeout: Option<Duration>,
) -> Ready {
    let polled: Vec<&Connection> = connections.iter().filter(|connection| connection.is_worth_polling()).collect();
    let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(polled.len() + 3);
    fds.push(PollFd::new(socket.listener_fd(), accepting));
    fds.extend(polled.iter().map(|connection| connection.poll_fd()));
    fds.extend(files.map(|watch| PollFd::new(watch, PollFlags::POLLIN)));
    let files_count = usize::from(files.is_some());
    fds.extend(socket.watch_fd().map(|watch| PollFd::new(watch, PollFlags::POLLIN)));
    match wakeup::poll(&mut fds, timeout) {
        Ok(_) => {
            let is_overdue = socket.deadline().is_some_and(|moment| moment <= clock::now());
            let mut ready = ready(&fds, &polled, files_count);
            ready.socket_changed |= is_overdue;
            ready
        }
        Err(Errno::EINTR) => Ready::default(),
        Err(_) => {
            wakeup::rest(timeout.unwrap_or(FAILURE_PAUSE).min(FAILURE_PAUSE));
            Ready::default()
        }
    }
}

/// The listener comes first, then these connections, then the watch on other files if there is one, then that on the socket's file.
fn ready(fds: &[PollFd<'_>], polled: &[&Connection], files_count: usize) -> Ready {
    let found = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::empty());
    let (listener, others) = fds.split_at(1);
    let (connections, watches) = others.split_at(polled.len());
    let (files, watch) = watches.split_at(files_count);
    let mut clients = Vec::new();
    for (fd, connection) in connections.iter().zip(polled) {
        let events = found(fd);
        if events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL) {
            clients.push((connection.id, ClientEvent::HungUp));
        } else if events.contains(PollFlags::POLLIN) {
            clients.push((connection.id, ClientEvent::Readable));
        }
        if events.contains(PollFlags::POLLOUT) {
            clients.push((connection.id, ClientEvent::Writable));
        }
    }
    Ready {
        socket_changed: watch.iter().any(|watch| !found(watch).is_empty()),
        files_changed: files.iter().any(|watch| !found(watch).is_empty()),
        accept: listener.iter().any(|listener| found(listener).contains(PollFlags::POLLIN)),
        clients,
    }
}
