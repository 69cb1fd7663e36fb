//! Tests with real processes: what the simulator cannot show. One file for each word, the same word as in the code.
//!
//! They talk to the master as a user does, by its command line, signals, files and socket, and must never look inside.

#![allow(clippy::disallowed_methods, reason = "tests read the clock and start threads of their own")]

mod access;
mod adoption;
mod adoption_after;
mod adoption_journal;
mod bind_owner;
mod binding;
mod check_as;
mod closed;
mod command_line;
mod config_file;
mod control;
mod control_faults;
mod control_guests;
mod control_hostile;
mod control_limits;
mod control_roles;
mod crash;
mod ctl;
mod ctl_master;
mod ctl_shell;
mod ctl_strangers;
mod denied_files;
mod directories;
mod fd_store;
mod files;
mod foreground;
mod history;
mod http_worker;
mod idle;
mod kills;
mod launch;
mod leftovers;
mod log;
mod log_file;
mod lost_files;
mod memory;
mod no_restart;
mod output;
mod pacing;
mod picture;
mod pid_reuse;
mod preload;
mod preload_kills;
mod privileges;
mod reap;
mod reexec;
mod reexec_refused;
mod reexec_thousand;
mod reexec_window;
mod release;
mod reload;
mod removed_bind;
#[path = "../support/replay.rs"]
mod replay;
#[path = "../sim/rng.rs"]
#[allow(dead_code, reason = "the simulator draws more kinds of things")]
mod rng;
mod rollout;
mod service_manager;
mod shutdown;
mod signals;
mod slots;
mod support;
mod syslog;
mod takeover;
mod takeover_faults;
mod title;
mod trace;
mod unfit;
mod upgrade;
mod variables;
mod waits;
mod worker;
mod wrappers;
