//! Decides what to do about the workers. No I/O, no clock, no threads, no failure: what happens outside arrives as an
//! [`Event`], what shall be done leaves as an [`Action`].
//!
//! Nothing is planned ahead: after every event [`Pool::handle`] looks at what there is and what there should be, and
//! asks for the difference. So a command in the middle of an upgrade, or a death in the middle of that, needs no case of
//! its own.
//!
//! **The serving floor.** Unless the master was told to stop, no action lowers the number of workers that serve
//! ([`Worker::serves`]) below the smaller of the target and what it was.

mod ack;
mod action;
mod backoff;
mod command;
mod cull;
mod down;
mod event;
mod exit;
mod leaving;
mod machine;
mod notice;
mod replenish;
mod rollout;
mod settings;
mod shutdown;
mod slot_deaths;
mod slots;
mod stage;
mod state;
mod tell;
mod trial;
mod upgrade;
mod wait;
mod waits;
mod worker;

#[cfg(test)]
mod graceful_tests;
#[cfg(test)]
mod preparing_tests;
#[cfg(test)]
mod small_tests;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod stop_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod version_tests;

pub use crate::base::{AckMode, Share, Stages};
pub use action::{Action, ExitReason};
pub use backoff::Backoff;
pub use command::{Command, Terms, UpgradeStyle};
pub use event::{Event, Group};
pub use machine::Pool;
pub use notice::{AckIgnored, Acked, Asked, Blocked, Notice, UpgradeFailure};
pub use settings::{DAEMON_GRACE, EXEC_LIMIT, Manner, QUIT_GRACE, REQUEST_ID_MAX, Settings, TERM_GRACE, WAIT_NOTE};
pub use slot_deaths::SlotDeaths;
pub use slots::number_slots;
pub use stage::{Phase, Upgrade};
pub use state::{Down, Earlier, Preparing, State, Stopping, Trial};
pub use trial::EARLIER_MAX;
pub use wait::{NotedWait, Wait, Waited};
pub use worker::{Elsewhere, Leftover, Ping, StopSignal, Told, Worker};
