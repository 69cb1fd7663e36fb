//! What the control thread gives away before the master replaces its own program: all that it holds. It comes back as it was
//! when there is no next image; for the next image it is described as plain data. Nothing here decides what a handoff has.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};

use crate::base::{ClientId, wire};
use crate::control::server::{Place, Server};
use crate::protocol::{Format, Peer, RequestId, id_on_wire};
use crate::sys::file_id::FileId;
use crate::threads::crew::Post;

/// How long the main thread waits for the control thread. It only takes longer when that waits for room in the inbox, and
/// then the main thread must not wait for it.
const FREEZE_MAX: Duration = Duration::from_millis(500);

/// How many bytes of its clients a master carries over: what they have not taken, and what they have sent that nobody has looked at.
/// The document holds each twice, and four bytes for a byte in the worst case; while it is written and read, the master does nothing
/// else.
pub(crate) const CARRIED_BYTES_MAX: usize = 1024 * 1024;

/// What a client that waits for an upgrade is sent its news under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Subscription {
    #[serde(with = "id_on_wire")]
    pub(crate) id: RequestId,
    pub(crate) format: Format,
}

/// A client's connection on its way from one image to the next. `F` is its descriptor: a number while it is described, an
/// [`OwnedFd`](std::os::fd::OwnedFd) when it has arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Carried<F> {
    pub(crate) fd: F,
    pub(crate) id: ClientId,
    pub(crate) peer: Peer,
    /// A request of its is on its way, and the reply has still to come.
    pub(crate) asked: bool,
    pub(crate) subscription: Option<Subscription>,
    /// What it has sent and nobody has looked at, whole lines among it.
    #[serde(with = "wire")]
    pub(crate) unparsed: Vec<u8>,
    /// What it has not taken yet.
    #[serde(with = "wire")]
    pub(crate) unwritten: Vec<u8>,
}

/// All connections, and the ids of those to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Clients<F> {
    pub(crate) connections: Vec<Carried<F>>,
    /// The id that the next client will have.
    pub(crate) next_client: ClientId,
}

/// The listener and its file; its path and mode are known to the main thread.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stand {
    pub(crate) listener: RawFd,
    pub(crate) file: FileId,
    pub(crate) clients: Clients<RawFd>,
}

/// What the control thread held. While this lives, that thread waits; when it is dropped, everything goes on.
#[must_use = "the control thread goes on once it is dropped"]
pub(crate) struct Frozen {
    server: Option<Box<Server>>,
    back: Back,
}

/// Where the server goes when it is over.
enum Back {
    ToTheThread(Sender<Box<Server>>),
    ToItsPlace(Arc<Post<Place>>),
}

impl Frozen {
    /// Without a thread there is nothing to wait for.
    pub(crate) fn taken_from(place: &mut Place, post: &Arc<Post<Place>>) -> Option<Self> {
        let server = place.0.take()?;
        Some(Self { server: Some(server), back: Back::ToItsPlace(Arc::clone(post)) })
    }

    /// Says what there is. What the main thread has told the control thread meanwhile is done before: a reply to a request
    /// that was still in the inbox must go to its client, or into the description.
    pub(crate) fn describe(&mut self) -> Option<Stand> {
        let server = self.server.as_mut()?;
        server.catch_up();
        Some(server.describe())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let Some(server) = self.server.take() else { return };
        match &self.back {
            Back::ToTheThread(thread) => {
                // There is room for it, and the thread waits for nothing else.
                let _thread_is_gone = thread.try_send(server);
            }
            Back::ToItsPlace(post) => {
                // No thread was started meanwhile: the main thread has done this instead.
                if let Some(mut place) = post.in_stead() {
                    place.0 = Some(server);
                }
            }
        }
    }
}

/// An order to give all away.
#[derive(Debug)]
pub(crate) struct Freeze {
    away: Sender<Box<Server>>,
    back: Receiver<Box<Server>>,
}

/// Waits for what the control thread gives away; None if it does not come to it in time. Nothing gets lost between the two:
/// the channel holds nothing, so that the thread knows whether it was taken.
pub(crate) fn freeze(give: impl FnOnce(Freeze)) -> Option<Frozen> {
    let (away, given) = bounded(0);
    let (back, returned) = bounded(1);
    give(Freeze { away, back: returned });
    let server = given.recv_timeout(FREEZE_MAX).ok()?;
    Some(Frozen { server: Some(server), back: Back::ToTheThread(back) })
}

impl Freeze {
    /// Gives the server away and waits for its return. At once if nobody takes it: the order came to its turn too late.
    pub(crate) fn give(self, server: Box<Server>) -> Option<Box<Server>> {
        match self.away.send(server) {
            Ok(()) => self.back.recv().ok(),
            Err(refused) => Some(refused.0),
        }
    }
}

impl<F> Carried<F> {
    /// The same with its descriptor in another form. None: it has none.
    pub(crate) fn with_fd<G>(self, form: impl FnOnce(F) -> Option<G>) -> Option<Carried<G>> {
        let Self { fd, id, peer, asked, subscription, unparsed, unwritten } = self;
        Some(Carried { fd: form(fd)?, id, peer, asked, subscription, unparsed, unwritten })
    }
}

/// Those of a master that has just been started.
impl<F> Default for Clients<F> {
    fn default() -> Self {
        Self { connections: Vec::new(), next_client: ClientId(1) }
    }
}

#[cfg(test)]
#[path = "handover_tests.rs"]
mod tests;
