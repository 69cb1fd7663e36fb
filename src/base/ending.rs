//! How a process ended.

use crate::base::signal::Signal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Code(i32),
    Signal(Signal),
}
