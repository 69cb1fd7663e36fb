//! How a process ended.

use serde::{Deserialize, Serialize};

use crate::base::signal::Signal;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    Code(i32),
    Signal(Signal),
}
