//! Asks a master how it is, in the words that it knows: `status` in JSON, or `state` when it has never heard of that.
//! Shows nothing.

use serde_json::Value as Json;

use crate::base::Pid;
use crate::client::connection::{Connection, Patience};
use crate::client::failure::Failure;
use crate::client::reply::Reply;
use crate::client::request::Request;
use crate::client::status::Status;
use crate::sys::clock;
use crate::yaml::Time;

/// What the master understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Ours,
    Einhorns,
}

/// How a master is, and the document that says so, with what this version does not know too.
pub(in crate::client) struct Answer {
    pub(in crate::client) status: Status,
    pub(in crate::client) document: Json,
}

/// Remembers what the master understands, and which question is open.
pub(in crate::client) struct Question {
    dialect: Dialect,
    open: Option<i64>,
}

impl Question {
    pub(in crate::client) fn new() -> Self {
        Self { dialect: Dialect::Ours, open: None }
    }

    /// Asks; the answer to an earlier question does not count any more.
    pub(in crate::client) fn ask(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let id = connection.next_id();
        let request = match self.dialect {
            Dialect::Ours => Request::new(id, "status", &[]).in_json(),
            Dialect::Einhorns => Request::new(id, "state", &[]),
        };
        self.open = Some(id);
        connection.send(&request)
    }

    /// The answer, if this reply is it; a master that does not understand is asked again at once.
    pub(in crate::client) fn take(
        &mut self,
        connection: &mut Connection,
        reply: Reply,
    ) -> Result<Option<Answer>, Failure> {
        if reply.id != self.open {
            return Ok(None);
        }
        self.open = None;
        if self.dialect == Dialect::Ours && reply.is_unknown_command() {
            self.dialect = Dialect::Einhorns;
            self.ask(connection)?;
            return Ok(None);
        }
        answer(self.dialect, reply, connection.master()).map(Some)
    }

    /// Asks and waits for the answer.
    pub(in crate::client) fn settle(
        &mut self,
        connection: &mut Connection,
        patience: Patience,
    ) -> Result<Answer, Failure> {
        self.ask(connection)?;
        loop {
            let reply = connection.receive(patience, "status")?;
            if let Some(answer) = self.take(connection, reply)? {
                return Ok(answer);
            }
        }
    }
}

fn answer(dialect: Dialect, reply: Reply, master: Pid) -> Result<Answer, Failure> {
    let document = reply.status.clone();
    let message = reply.accepted()?;
    match (dialect, document) {
        (Dialect::Ours, Some(document)) => {
            let mut status = Status::from_json(&document)?;
            // The kernel's word counts, not the master's, which may be in another pid namespace, too.
            status.pid = Some(i64::from(master.0)).filter(|pid| *pid > 0).or(status.pid);
            Ok(Answer { status, document })
        }
        (Dialect::Ours, None) => Err(Failure::Unreadable { cause: "the reply has no status".to_owned() }),
        (Dialect::Einhorns, _) => {
            let (seconds, nanos) = clock::wall();
            let status = Status::from_state(&message, master, Time::utc(seconds, nanos))?;
            let document = status.to_json();
            Ok(Answer { status, document })
        }
    }
}
