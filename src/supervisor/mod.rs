//! The main thread: it starts everything, then does what the pool decides. The only one that forks, signals, reaps and
//! execs; it never waits for anything but the next input or deadline.

mod admittance;
mod begin;
mod bound_files;
mod calendar;
mod candidate;
mod environment;
mod event_loop;
mod exit_code;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hand_over;
mod held;
mod help;
mod launch;
mod listeners;
mod log_route;
mod logging;
mod memory;
mod next_program;
mod perform;
mod plan;
mod plan_from_ruby;
mod preflight;
mod prepare;
mod recheck;
mod reexec;
mod release;
mod reload;
mod removed_binds;
mod reply;
mod report;
mod resume;
mod salvage;
mod service_manager;
mod service_stand;
mod settings;
mod signals;
mod startup;
mod state;
mod status;
mod title;
mod undelivered;

pub use exit_code::EXIT_CODES;
pub use signals::HEARD;

use std::process::ExitCode;

use crate::config::{Config, Invocation};
use crate::pool::{Action, Pool};
use crate::supervisor::begin::Threads;
use crate::supervisor::event_loop::Children;
use crate::supervisor::files::Files;
use crate::supervisor::held::Facts;
use crate::supervisor::memory::Memory;
use crate::supervisor::prepare::Call;
use crate::supervisor::reexec::Reexec;
use crate::supervisor::release::Sockets;
use crate::supervisor::reload::Preparation;
use crate::supervisor::reply::Denials;
use crate::supervisor::service_manager::ServiceManager;
use crate::sys::title::Title;

/// Everything that the main thread holds while it supervises.
struct Supervisor {
    pool: Pool,
    /// What it goes by beside; it is handed on as it is.
    facts: Facts,
    sockets: Sockets,
    children: Children,
    /// The errands for a version to come.
    preparation: Preparation,
    threads: Threads,
    files: Files,
    reexec: Reexec,
    memory: Memory,
    denials: Denials,
    service_manager: ServiceManager,
    /// None where there is no room for one.
    title: Option<Title>,
    /// Reused from event to event.
    actions: Vec<Action>,
}

impl Supervisor {
    /// As it counts: what commands have changed is in it.
    fn config(&self) -> &Config {
        &self.facts.settled.effective
    }
}

/// The program `einhyrningsins` (or `einhorn`), from its arguments to its exit code.
pub fn main() -> ExitCode {
    if let Err(error) = startup::first_things() {
        return startup::complain(&error, exit_code::CANNOT_START);
    }
    let call = Call::of_this_process();
    match crate::config::parse(&call.argv0, call.args.clone(), &prepare::read_file) {
        Ok(Invocation::Run(config)) => startup::run(*config, call),
        Ok(invocation) => startup::answer(invocation, &call),
        Err(problems) => startup::complain_of_all(&problems.0, exit_code::BAD_OPTION),
    }
}
