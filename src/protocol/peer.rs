//! The other end of a control connection, and what it may ask for. What the kernel says of it is asked elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::Pid;
use crate::protocol::commands::Speaker;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The process that connected; 0 if it is in a pid namespace that we cannot see into.
    pub pid: Pid,
    pub uid: u32,
    pub role: Role,
}

/// What it may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything: root, our own user, the configured users and members of the configured groups.
    Admin,
    /// Acks and pings for itself, if it is a worker.
    Guest,
    /// The same, and it is this worker: the connection was made for it (`-g`).
    Worker(Pid),
}

impl Peer {
    /// The other end of a connection that the master made for a worker.
    pub fn of_worker(worker: Pid) -> Self {
        Self { pid: worker, uid: 0, role: Role::Worker(worker) }
    }

    /// Whether it may ask what such a speaker may. Which worker a guest or a worker may speak for is decided where the workers are known.
    pub fn may(&self, speaker: Speaker) -> bool {
        self.role == Role::Admin || speaker == Speaker::Worker
    }

    /// The reply to what it may not ask.
    pub fn denial(&self) -> String {
        match self.role {
            Role::Worker(worker) => {
                format!("Permission denied: worker {worker} may only ack and ping on its own connection")
            }
            Role::Admin | Role::Guest => {
                format!("Permission denied: uid {} may only ack and ping its worker", self.uid)
            }
        }
    }
}

impl fmt::Display for Peer {
    /// Of a connection that was made for a worker, the kernel says only that it is ours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Role::Worker(worker) => write!(f, "worker {worker}"),
            Role::Admin | Role::Guest => write!(f, "uid {}, pid {}", self.uid, self.pid),
        }
    }
}
