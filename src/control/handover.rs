//! All that the control thread holds, as plain data for the next image.

use std::os::fd::RawFd;

use serde::{Deserialize, Serialize};

use crate::base::{ClientId, wire};
use crate::protocol::{Format, Peer, RequestId, id_on_wire};
use crate::sys::file_id::FileId;

/// The id and format in which a client that waits for an upgrade is sent its news.
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
    /// Bytes that were read and not yet parsed, whole lines among them.
    #[serde(with = "wire")]
    pub(crate) unparsed: Vec<u8>,
    /// Bytes that the client has not taken yet.
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

/// What the control thread holds; path and mode of the file are known to the main thread.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ControlState {
    pub(crate) listener: RawFd,
    pub(crate) file: FileId,
    pub(crate) clients: Clients<RawFd>,
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
