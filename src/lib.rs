//! einhyrningsins: a supervisor that shares listening sockets among copies of a program and replaces them gracefully.
//!
//! Rooms, from the ground up (`tests/tidy.rs` holds which may import which; `doc/ARCHITECTURE.md` says why):
//! `base` has what all of them name, `pool` and `machines` decide, `supervisor` does, `threads` and `control` watch, `files` says
//! which file is trusted, `sys` calls the system.

// Tests and fuzz targets share helpers between modules.
#![cfg_attr(not(any(test, fuzzing)), warn(unreachable_pub))]

pub mod base;
mod capture;
pub mod client;
pub mod config;
pub mod control;
pub mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod handoff;
mod handover;
pub mod logging;
pub mod machines;
mod output;
pub mod pool;
pub mod protocol;
mod release;
pub mod supervisor;
pub mod sys;
pub mod threads;
mod trace;
pub mod yaml;
