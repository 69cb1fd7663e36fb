//! What the main thread says to the control thread.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crossbeam_channel::Sender;

use crate::base::{ClientId, Pid};
use crate::control::access::Policy;
use crate::files::control_socket::Access;
use crate::protocol::{Format, Reply};

#[derive(Debug)]
pub(crate) enum Message {
    Reply {
        client: ClientId,
        reply: Reply,
        format: Format,
        then: Then,
    },
    /// News for clients that wait for an upgrade.
    Publish {
        message: String,
        hearing: Hearing,
    },
    /// The last news of it.
    Conclude {
        message: String,
        /// Clients that go on waiting.
        except: Vec<ClientId>,
    },
    /// The last news for this client: its upgrade did not begin.
    ConcludeFor {
        client: ClientId,
        message: String,
    },
    /// The worker is gone, whichever process still has its connection.
    Forget {
        worker: Pid,
    },
    /// Our end of a worker's own connection (`-g`).
    Adopt {
        connection: OwnedFd,
        worker: Pid,
    },
    /// Who may connect, and what they may ask for; it holds for connections that are open, too.
    SetAccess {
        policy: Policy,
        access: Access,
    },
    /// Watch these files, in place of those before.
    Watch {
        paths: Vec<PathBuf>,
    },
    /// Its sender waits until it is dropped: earlier messages have been written by then.
    Flush {
        done: Sender<()>,
    },
}

/// Which of the clients that wait for an upgrade are sent news of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    All,
    /// Those that asked for it in this format.
    Only(Format),
}

impl Hearing {
    pub(crate) fn includes(self, format: Format) -> bool {
        match self {
            Self::All => true,
            Self::Only(wanted) => format == wanted,
        }
    }
}

/// What follows a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// The client is sent news of the upgrade, under the id of its request.
    Subscribe,
}
