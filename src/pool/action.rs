//! What shall be done. The imperative, always; the supervisor does it, in order, and reports what has a result.

use serde::{Deserialize, Serialize};

use crate::base::{Pid, Signal, Slot, Version, WorkerIndex};
use crate::pool::notice::Notice;

/// Everything that the pool can ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Find the program of a version to come; answered by `ReleaseReady` or `ReleaseRefused`, which may take its time. It is
    /// asked for again, under the same version, when what was found may be older than the last request.
    PrepareRelease { version: Version },
    /// These are still needed, every other may be forgotten.
    KeepReleases { modern: Version, good: Version, earlier: Vec<Version> },
    /// Launch a worker; answered by `WorkerSpawned` or `SpawnFailed`, which may take its time.
    SpawnWorker { index: WorkerIndex, slot: Slot, version: Version },
    /// Run the check that the configuration names, for a version that runs in so many slots; answered by `CheckEnded`, which may
    /// take its time.
    RunCheck { version: Version, slots: u32 },
    /// Send a signal to the worker itself.
    SignalWorker { pid: Pid, signal: Signal },
    /// Send a signal to everything in the worker's process group.
    SignalGroup { pid: Pid, signal: Signal },
    /// Wait for a worker that has ended; answered by `WorkerReaped`.
    ReapWorker { pid: Pid },
    /// Say so in the log, and to the clients that it concerns.
    Tell(Notice),
    /// Clean up and end; nothing follows.
    Exit(ExitReason),
}

/// Why the master ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// It was told to, and every worker is gone.
    Stopped,
    /// It was told to by QUIT.
    Quit,
    /// No worker ever served, and the retries are used up; or one has ended in the first start with a code that no restart mends.
    GaveUp,
}
