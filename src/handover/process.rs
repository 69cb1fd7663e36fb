//! Which process a number means, for as long as the machine runs: numbers are given anew, and times are not.

use serde::{Deserialize, Serialize};

use crate::base::Pid;

/// One process for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// In ticks of the kernel's clock.
    pub(crate) began: u64,
}
