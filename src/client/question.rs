//! Asks a master for its status, by the command that it knows: `status` in JSON, or `state` of Ruby's einhorn.
//! Shows nothing.

use serde_json::Value as Json;

use crate::base::Pid;
use crate::client::connection::{Connection, Deadline};
use crate::client::failure::Failure;
use crate::client::reply::Reply;
use crate::client::request::Request;
use crate::client::status::Status;
use crate::sys::clock;
use crate::yaml::Time;

/// What the master understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Ours,
    Einhorns,
}

/// The status of a master, and the document it came in, which may have more than this version knows.
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) document: Json,
}

/// Remembers what the master understands, and which question is open.
pub(super) struct Question {
    protocol: Protocol,
    open: Option<i64>,
}

impl Question {
    pub(super) fn new() -> Self {
        Self { protocol: Protocol::Ours, open: None }
    }

    /// Asks; the answer to an earlier question does not count any more.
    pub(super) fn ask(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let id = connection.next_id();
        let request = match self.protocol {
            Protocol::Ours => Request::new(id, "status", &[]).in_json(),
            Protocol::Einhorns => Request::new(id, "state", &[]),
        };
        self.open = Some(id);
        connection.send(&request)
    }

    /// The answer, if this reply is it; a master that does not understand is asked again at once.
    pub(super) fn take(&mut self, connection: &mut Connection, reply: Reply) -> Result<Option<Answer>, Failure> {
        if reply.id != self.open {
            return Ok(None);
        }
        self.open = None;
        if self.protocol == Protocol::Ours && reply.is_unknown_command() {
            self.protocol = Protocol::Einhorns;
            self.ask(connection)?;
            return Ok(None);
        }
        answer(self.protocol, reply, connection.master()).map(Some)
    }

    /// Asks and waits for the answer.
    pub(super) fn ask_and_wait(&mut self, connection: &mut Connection, deadline: Deadline) -> Result<Answer, Failure> {
        self.ask(connection)?;
        loop {
            let reply = connection.receive(deadline, "status")?;
            if let Some(answer) = self.take(connection, reply)? {
                return Ok(answer);
            }
        }
    }
}

fn answer(protocol: Protocol, reply: Reply, master: Pid) -> Result<Answer, Failure> {
    let document = reply.status.clone();
    let message = reply.accepted()?;
    match (protocol, document) {
        (Protocol::Ours, Some(document)) => {
            let mut status = Status::from_json(&document)?;
            // The kernel's pid counts: the master may be in another pid namespace.
            status.pid = Some(i64::from(master.0)).filter(|pid| *pid > 0).or(status.pid);
            Ok(Answer { status, document })
        }
        (Protocol::Ours, None) => Err(Failure::unreadable("the reply has no status")),
        (Protocol::Einhorns, _) => {
            let (seconds, nanos) = clock::wall();
            let status = Status::from_state(&message, master, Time::utc(seconds, nanos))?;
            let document = status.to_json();
            Ok(Answer { status, document })
        }
    }
}
