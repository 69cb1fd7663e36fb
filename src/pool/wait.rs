//! What an upgrade may wait for, as data. It decides nothing; `waits` does.

use serde::{Deserialize, Serialize};

use crate::base::{Mono, Pid, Slot};
use crate::pool::settings::WAIT_NOTE;

/// A reason. Each has its own moment, so that how long it lasts needs no bookkeeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// It is paused.
    Resume { since: Mono },
    /// For what the check says.
    Check,
    /// The stage is watched.
    Bake { until: Mono },
    /// For this worker's ack. `until`: when it is overdue.
    Ack { by: Waited, until: Option<Mono> },
    /// For this worker, which counts as serving then.
    Timer { by: Waited, until: Mono },
    /// For this worker, which a signal has stopped.
    Continue { by: Waited },
    /// For the end of this worker, which was told to go and takes the room of a new one, or is the last of its version. `others`: so many
    /// do, too.
    Exit { by: Waited, others: u32 },
    /// For the moment of the next launch; so many workers of the slot died young in a row.
    Launch { slot: Slot, deaths: u32, until: Mono },
}

/// The worker that is waited for, and since when it is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waited {
    pub pid: Pid,
    pub slot: Slot,
    pub since: Mono,
}

impl Wait {
    /// The worker that is waited for.
    pub fn worker(&self) -> Option<Waited> {
        match self {
            Self::Ack { by, .. } | Self::Timer { by, .. } | Self::Continue { by } | Self::Exit { by, .. } => Some(*by),
            Self::Resume { .. } | Self::Check | Self::Bake { .. } | Self::Launch { .. } => None,
        }
    }

    /// A worker that waits is told of once it has waited for so long. The others are told of when they begin.
    pub(in crate::pool) fn note_at(&self) -> Option<Mono> {
        self.worker().map(|by| by.since.after(WAIT_NOTE))
    }
}

/// A wait that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedWait {
    pub(in crate::pool) wait: Wait,
    pub(in crate::pool) at: Mono,
}

impl NotedWait {
    /// Whether this one needs not be told, too: it is of the same kind, for a worker that was as it is by then. Of many workers that are
    /// waited for at once, one is named.
    pub(in crate::pool) fn covers(&self, wait: &Wait) -> bool {
        let is_same_kind = std::mem::discriminant(wait) == std::mem::discriminant(&self.wait);
        is_same_kind && wait.worker().is_some_and(|by| by.since <= self.at)
    }
}
