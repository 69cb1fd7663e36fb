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

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use crossbeam_channel::Receiver;

use crate::config::{Config, Invocation};
use crate::pool::{Action, Mono, Pid, Pool, Version};
use crate::supervisor::bound_files::BoundFiles;
use crate::supervisor::files::Files;
use crate::supervisor::held::Facts;
use crate::supervisor::listeners::Listener;
use crate::supervisor::memory::Memory;
use crate::supervisor::prepare::Call;
use crate::supervisor::recheck::Recheck;
use crate::supervisor::reexec::Reexec;
use crate::supervisor::release::Release;
use crate::supervisor::reload::{Coming, Purposes};
use crate::supervisor::reply::Denials;
use crate::supervisor::service_manager::ServiceManager;
use crate::supervisor::undelivered::Undelivered;
use crate::sys::exec_pipe::ExecPipe;
use crate::sys::title::Title;
use crate::threads::Input;
use crate::threads::control::Control;
use crate::threads::crew::Crew;
use crate::threads::errand::Errands;
use crate::threads::reaper::Reaper;
use crate::threads::signals::SignalThread;

/// Everything that the main thread holds while it supervises.
struct Supervisor {
    pool: Pool,
    facts: Facts,
    /// What counts when the upgrade that was prepared starts.
    coming: Option<Coming>,
    /// None where there is no room for one.
    title: Option<Title>,
    releases: BTreeMap<Version, Release>,
    /// Every open one, of all versions.
    listeners: Vec<Arc<Listener>>,
    bound_files: BoundFiles,
    /// Children of whom it is not known yet whether they became their program.
    exec_pipes: Vec<(Pid, ExecPipe)>,
    /// When to look again at what sends no event: the exec pipes, and groups that outlived their leader.
    recheck: Recheck,
    inbox: Receiver<Input>,
    crew: Crew,
    signals: SignalThread,
    reaper: Reaper,
    control: Control,
    errands: Errands,
    /// What the errands under way are for.
    purposes: Purposes,
    /// When it is said that the oldest of them takes long.
    errand_note_due: Option<Mono>,
    files: Files,
    /// Reused from event to event.
    actions: Vec<Action>,
    denials: Denials,
    reexec: Reexec,
    memory: Memory,
    /// Signals that could not be sent, and are sent again.
    undelivered: Vec<Undelivered>,
    service_manager: ServiceManager,
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
