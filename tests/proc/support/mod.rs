//! What the tests with real processes stand on: a master in a directory of its own, a client that counts every lost
//! request, and readers of /proc. It waits for conditions with a ceiling, and must never leave a process behind.
//!
//! ```ignore
//! let master = Setup::new("-n 2 -m manual").bind(",r").http_worker("--ack manual").release("one").start();
//! let load = Load::start(master.addr(), 4);
//! master.release("two");
//! master.signal(Signal::SIGHUP);
//! master.wait_for_log("Upgraded successfully", 1);
//! load.wait_for(100);
//! load.stop().assert_nothing_lost();
//! ```

#![allow(dead_code, unused_imports, reason = "a harness: not every test needs all of it")]

mod clients;
mod control;
mod flood;
mod held;
mod inject;
mod load;
mod log;
mod manager;
mod master;
mod procfs;
mod refusal;
mod request;
mod root;
mod self_test;
mod setup;
mod sockets;
mod strace;
mod stranger;
mod successor;
mod terminal;
mod vitals;
mod wait;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use clients::Clients;
pub use control::{ControlClient, decoded};
pub use flood::{FLOOD, assert_supervised, flood, flood_and_supervise};
pub use held::HeldRequest;
pub use inject::Injection;
pub use load::{Load, Pace, Report};
pub use log::{Log, seconds_before_kill};
pub use manager::Manager;
pub use master::Master;
pub use procfs::{Process, SignalSet};
pub use refusal::{Refusal, Snapshot};
pub use request::{Answer, Failure, Target, ask, judge};
pub use root::is_root;
pub use setup::{Setup, free_address};
pub use sockets::{SOCKET_REPORT, socket_reports};
pub use strace::Strace;
pub use stranger::{Crowd, OTHER_UID, Stranger};
pub use successor::AS_EINHORN;
pub use terminal::TYPES_CTRL_C;
pub use vitals::Vitals;
pub use wait::{LIMIT, holds_within, wait_until};

/// The program under test.
pub const EINHYRNINGSINS: &str = env!("CARGO_BIN_EXE_einhyrningsins");

/// Copies a program by another process: a child that another test has just forked could hold our descriptor for writing,
/// and what is open so cannot be run.
#[track_caller]
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = Command::new("cp").args([from.as_ref(), to.as_ref()]).status().expect("cannot run cp");
    assert!(status.success(), "cannot copy {}: {status}", from.as_ref().display());
}

/// A program of `examples/`, as `cargo test` builds it beside the program under test.
pub fn example(name: &str) -> PathBuf {
    let path = Path::new(EINHYRNINGSINS).with_file_name("examples").join(name);
    assert!(path.exists(), "{} is missing; `cargo build --example {name}` builds it", path.display());
    path
}
