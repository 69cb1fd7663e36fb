//! What a client's request leads to: an event for the pool, a reply, or a line in the log.

use crate::pool::{ClientId, Event};
use crate::protocol::{self, Request};
use crate::supervisor::{Supervisor, state};
use crate::yaml;

impl Supervisor {
    /// Answers what can be answered at once, and says what the pool has to hear.
    pub(in crate::supervisor) fn answer(&mut self, client: ClientId, request: Request) -> Option<Event> {
        let (message, id) = match request {
            Request::Ack { pid } => return Some(Event::WorkerAcked { pid }),
            Request::Ping { pid, request_id } => return Some(Event::WorkerPinged { pid, request_id }),
            Request::WithoutPid { shown } => {
                log::error!("[client {}] Invalid request (no pid): {shown}", client.0);
                return None;
            }
            Request::State { id } => (yaml::write(&self.state()), id),
            Request::Unknown { shown, id } => (format!("Unrecognized command: {shown}\n"), id),
            Request::WithoutCommand { id } => {
                ("No \"command\" parameter provided; not sure what you want me to do.".to_owned(), id)
            }
            Request::Unreadable => ("Could not parse command".to_owned(), None),
        };
        self.control.reply(client, protocol::reply(&message, id.as_ref()));
        None
    }

    fn state(&self) -> yaml::Value {
        state::document(self)
    }
}
