//! The main thread's end of the control thread. What it says goes through a queue that never makes it wait. The thread itself is
//! `server`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::{ClientId, Pid};
use crate::control::access::Policy;
use crate::control::handover::Clients;
use crate::control::message::{Hearing, Message, Then};
use crate::control::server::Server;
use crate::control::socket_file::{Retired, SocketFile};
use crate::files::control_socket::Access;
use crate::protocol::{Format, Reply};
use crate::sys::wakeup::Wakeup;
use crate::threads::Input;
use crate::threads::crew::Crew;
use crate::threads::gate::Gate;
use crate::threads::handle::{Paused, ThreadHandle};

/// How many messages may wait for the thread. A client has one request on its way at a time, so replies cannot be more than
/// clients; what an upgrade has to say is one message, however many wait for it.
///
/// The channel makes room for all of them at once; that is why it carries boxes.
const MAILBOX_MAX: usize = 8 * 1024;

pub(crate) struct Control {
    mailbox: Sender<Box<Message>>,
    thread: Arc<ThreadHandle<Server>>,
    retired: Retired,
}

/// While it lives, the control thread waits; then all goes on, timers too, as if nothing had happened.
pub(crate) type ControlPaused = Paused<Server>;

impl Control {
    /// The socket's file is about to be removed, and not to be made again.
    pub(crate) fn retire(&self) {
        self.retired.retire();
    }

    /// To be called at the very end. What it returns is disconnected when the last messages are written, as far as clients take
    /// them. The thread may have to wait for room in the inbox before.
    pub(crate) fn finish(&self) -> Receiver<()> {
        let (done, finished) = bounded(1);
        self.send(Message::Flush { done });
        finished
    }

    /// Sends a reply. The client may be gone; then it is dropped.
    pub(crate) fn reply(&self, client: ClientId, reply: Reply, format: Format, then: Then) {
        self.send(Message::Reply { client, reply, format, then });
    }

    /// Sends news to clients that wait for an upgrade.
    pub(crate) fn publish(&self, message: String, hearing: Hearing) {
        self.send(Message::Publish { message, hearing });
    }

    /// Sends them the outcome, but for these; they wait no longer.
    pub(crate) fn conclude(&self, message: String, except: Vec<ClientId>) {
        self.send(Message::Conclude { message, except });
    }

    /// Sends one of them the outcome of what it asked for.
    pub(crate) fn conclude_for(&self, client: ClientId, message: String) {
        self.send(Message::ConcludeFor { client, message });
    }

    /// Closes the connection that was made for a worker: what it left behind must not keep it open here.
    pub(crate) fn forget(&self, worker: Pid) {
        self.send(Message::Forget { worker });
    }

    /// Takes over our end of a worker's own connection (`-g`).
    pub(crate) fn adopt(&self, connection: OwnedFd, worker: Pid) {
        self.send(Message::Adopt { connection, worker });
    }

    /// Changes who may connect, and what they may ask for.
    pub(crate) fn set_access(&self, policy: Policy, access: Access) {
        self.send(Message::SetAccess { policy, access });
    }

    /// Has these files watched, in place of those before: `Input::FilesChanged` comes now, and whenever something happens to one.
    pub(crate) fn watch(&self, paths: Vec<PathBuf>) {
        self.send(Message::Watch { paths });
    }

    /// Stops the thread where nothing is half done; every request that was passed on is in the inbox. None: the thread is busy, and
    /// goes on.
    pub(crate) fn pause(&self) -> Option<ControlPaused> {
        self.thread.pause()
    }

    fn send(&self, message: Message) {
        if self.mailbox.try_send(Box::new(message)).is_err() {
            log::error!("the control thread does not keep up, a message to it is dropped");
        }
        self.thread.wake();
    }
}

/// Serves the socket, and the clients of the image before, if there are any. What they sent meanwhile is read now; whether they have
/// lost rights, [`Control::set_access`] finds out.
///
/// # Errors
/// No thread can be started.
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
    let thread = crew.start(Server::new(socket, clients, policy, inbox, messages, gate), wakeup)?;
    Ok(Control { mailbox, thread, retired })
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
