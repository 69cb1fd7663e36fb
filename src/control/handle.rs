//! The control thread's handle: what the main thread says to it, through a queue that never makes the main thread wait. The
//! thread itself is `control_server`.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::{ClientId, Pid};
use crate::control::access::Policy;
use crate::control::handover::{Clients, Freeze, Frozen, freeze};
use crate::control::server::{Place, Server};
use crate::control::socket_file::{Retired, SocketFile};
use crate::files::control_socket::Access;
use crate::protocol::{Format, Reply};
use crate::sys::wakeup::Wakeup;
use crate::threads::Input;
use crate::threads::crew::{Crew, Post};
use crate::threads::gate::Gate;

/// How many messages may wait for the thread. A client has one request on its way at a time, so replies cannot be more than
/// clients; what an upgrade has to say is one message, however many wait for it.
///
/// The channel makes room for all of them at once; that is why it carries boxes.
const MAILBOX_MAX: usize = 8 * 1024;

/// What the main thread says.
#[derive(Debug)]
pub(crate) enum Message {
    Reply {
        client: ClientId,
        reply: Reply,
        format: Format,
        then: Then,
    },
    /// News for all who wait for an upgrade.
    Publish {
        message: String,
    },
    /// The last they hear of it.
    Conclude {
        message: String,
        /// Those who go on waiting.
        except: Vec<ClientId>,
    },
    /// The last that this one hears of it: its upgrade did not come to be.
    ConcludeFor {
        client: ClientId,
        message: String,
    },
    /// This worker is no more, whoever else may have its connection.
    Forget {
        worker: Pid,
    },
    Adopt {
        connection: OwnedFd,
        worker: Pid,
    },
    /// Who may connect and speak from now on, those who are connected too.
    Admit {
        policy: Policy,
        access: Access,
    },
    /// All that the thread holds goes to the main thread, and comes back.
    Freeze(Freeze),
    /// Its sender waits until it is dropped: what was said before has been written by then.
    Flush {
        done: Sender<()>,
    },
}

/// What follows a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// The client is told of the upgrade, under the id of its request.
    Subscribe,
}

/// The main thread's end.
pub(crate) struct Control {
    mailbox: Sender<Box<Message>>,
    post: Arc<Post<Place>>,
    retired: Retired,
}

impl Control {
    /// The socket's file is about to be removed, and not to be made again.
    pub(crate) fn retire(&self) {
        self.retired.retire();
    }

    /// To be called at the very end. What comes back is disconnected when the last words are written, as far as clients take
    /// them. The thread may have to wait for room in the inbox before.
    pub(crate) fn finish(&self) -> Receiver<()> {
        let (done, finished) = bounded(1);
        self.tell(Message::Flush { done });
        finished
    }

    /// Sends a reply. The client may be gone; then nobody misses it.
    pub(crate) fn reply(&self, client: ClientId, reply: Reply, format: Format, then: Then) {
        self.tell(Message::Reply { client, reply, format, then });
    }

    /// Tells everybody who waits for an upgrade.
    pub(crate) fn publish(&self, message: String) {
        self.tell(Message::Publish { message });
    }

    /// Tells them the outcome, but for these; they wait no longer.
    pub(crate) fn conclude(&self, message: String, except: Vec<ClientId>) {
        self.tell(Message::Conclude { message, except });
    }

    /// Tells one of them the outcome of what it asked for.
    pub(crate) fn conclude_for(&self, client: ClientId, message: String) {
        self.tell(Message::ConcludeFor { client, message });
    }

    /// Closes the connection that was made for a worker: what it left behind must not keep it open here.
    pub(crate) fn forget(&self, worker: Pid) {
        self.tell(Message::Forget { worker });
    }

    /// Takes over our end of a worker's own connection (`-g`).
    pub(crate) fn adopt(&self, connection: OwnedFd, worker: Pid) {
        self.tell(Message::Adopt { connection, worker });
    }

    /// Changes who may connect, and who may speak as what.
    pub(crate) fn admit(&self, policy: Policy, access: Access) {
        self.tell(Message::Admit { policy, access });
    }

    /// Stops the thread where nothing is half done, and takes all that it holds. What was said before has been written as far
    /// as it can be; every request that was passed on is in the inbox. None: the thread did not come to it in half a second,
    /// and goes on.
    pub(crate) fn freeze(&self) -> Option<Frozen> {
        match self.post.in_stead() {
            Some(mut place) => Frozen::taken_from(&mut place, &self.post),
            None => freeze(|order| self.tell(Message::Freeze(order))),
        }
    }

    fn tell(&self, message: Message) {
        if self.mailbox.try_send(Box::new(message)).is_err() {
            log::error!("the control thread does not keep up, a message to it is dropped");
        }
        self.post.wake();
    }
}

/// Serves the socket, and the clients of the image before, if there are any. What they said meanwhile is heard now; who may no longer speak as
/// they did, [`Control::admit`] finds out.
///
/// Errors: no thread can be started.
pub(crate) fn start(
    socket: SocketFile,
    clients: Clients<OwnedFd>,
    policy: Policy,
    inbox: Sender<Input>,
    crew: &mut Crew,
) -> io::Result<Control> {
    let (mailbox, messages) = bounded(MAILBOX_MAX);
    let wakeup = Arc::new(Wakeup::default());
    let gate = Gate::new(Arc::clone(&wakeup));
    let retired = socket.retired();
    let server = Server::new(socket, clients, policy, inbox, messages, gate);
    let post = crew.post_woken_by(wakeup, Place::of(server))?;
    Ok(Control { mailbox, post, retired })
}
