//! Decides what to do about the workers. No I/O, no clock, no threads, no failure: what happens outside arrives as an
//! [`Event`], what shall be done leaves as an [`Action`].

mod ids;
mod signal;
mod time;

pub use ids::{ClientId, Pid, Version, WorkerIndex};
pub use signal::Signal;
pub use time::Mono;
