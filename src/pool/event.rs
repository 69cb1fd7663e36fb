//! What happened. The names are in the past tense: an event asks for nothing.

use serde::{Deserialize, Serialize};

use crate::base::Ending;
use crate::base::{Pid, Version, WorkerIndex};
use crate::pool::command::Command;
use crate::pool::settings::Settings;
use crate::pool::worker::Elsewhere;

/// Everything that can reach the pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The sockets are open, and the first workers may be launched.
    Started,
    /// A new image goes on with what another one has handed on. The job for a version that was being prepared went with that image,
    /// so the version is asked for again; and what fell due meanwhile is done.
    Resumed,
    /// A command was given by an admin or a signal.
    CommandGiven(Command),
    /// The program of this version was found, with its environment: the upgrade may start. From then on these settings
    /// are in force, until it is given up.
    ReleaseReady {
        version: Version,
        settings: Settings,
    },
    /// It was not; the upgrade is refused, for this reason.
    ReleaseRefused {
        version: Version,
        reason: String,
    },
    /// The answer to the `SpawnWorker` of this index and version: the child exists, and will soon be the program.
    WorkerSpawned {
        pid: Pid,
        index: WorkerIndex,
        version: Version,
    },
    /// The other answer: there is no child.
    SpawnFailed {
        index: WorkerIndex,
        version: Version,
    },
    /// The child has become its program.
    WorkerExeced {
        pid: Pid,
    },
    /// The check of this version has passed, or failed for this reason.
    CheckEnded {
        version: Version,
        result: Result<(), String>,
    },
    /// A worker said on the control socket that it serves.
    WorkerAcked {
        pid: Pid,
    },
    /// A worker said that it is well.
    WorkerPinged {
        pid: Pid,
        request_id: String,
        /// Of the id.
        is_number: bool,
    },
    /// A worker was stopped by a signal, and does nothing until it is continued.
    WorkerStopped {
        pid: Pid,
    },
    WorkerContinued {
        pid: Pid,
    },
    /// A worker that has ended left a process in this group, which is not its own. Comes before its `WorkerExited`, or later, when what it
    /// left has left something in turn.
    LeftoverFound {
        group: Pid,
        elsewhere: Elsewhere,
    },
    /// A worker ended and waits to be reaped.
    WorkerExited {
        pid: Pid,
        ending: Ending,
    },
    /// The answer to a `ReapWorker`.
    WorkerReaped {
        pid: Pid,
        group: Group,
    },
    /// The last process that a reaped worker had left behind in this group is gone.
    GroupEmptied {
        pid: Pid,
    },
    /// It was seen that this version does not serve, or harms the master; how.
    VersionUnfit {
        version: Version,
        reason: String,
    },
    /// The moment that `Pool::deadline` named has come.
    DeadlinePassed,
}

/// What a reaped worker left behind in its process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    Empty,
    HasSurvivors,
}
