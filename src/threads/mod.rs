//! The threads beside the main one. Each makes one blocking call and sends on what it saw; none decides, and none holds a lock that
//! another one waits for.
//!
//! Theory of operation: everything that is seen becomes an `Input` in one bounded channel to the main thread. A thread
//! may wait for room in it, since the main thread never waits for a thread. What the main thread says to a thread goes
//! through bounded queues too, and never blocks it: a queue is either large enough by construction or drops and counts.

pub(crate) mod adopted;
pub(crate) mod crew;
pub(crate) mod gate;
pub(crate) mod handle;
pub(crate) mod jobs;
pub(crate) mod reaper;
pub(crate) mod signals;
pub(crate) mod spawn;

use crate::base::{ClientId, Pid};
use crate::protocol::{Peer, Request};
use crate::sys::file_id::FileId;
use crate::sys::signal::Received;
use crate::threads::gate::Ticket;

/// How many inputs may wait for the main thread before the threads wait themselves.
pub(crate) const INBOX_MAX: usize = 1024;

/// What a thread saw.
#[derive(Debug)]
pub(crate) enum Input {
    /// The master was sent a signal, by a process of this lineage: it may have ended before the main thread looks.
    Signaled(Received, Vec<Pid>),
    /// Some child ended, was stopped or was continued.
    ChildrenChanged,
    /// A client sent a request that its role allows. One that gets no reply has a ticket, to be dropped when it is done.
    Requested { client: ClientId, peer: Peer, request: Request, ticket: Option<Ticket> },
    /// The control socket's file was removed and made anew, as this one.
    SocketMoved(FileId),
    /// Something has happened to a file that is watched, or may have before it was.
    FilesChanged,
    /// The job thread has finished the oldest of its jobs.
    JobDone,
    /// Memory was refused to the control thread.
    MemoryRefused,
}
