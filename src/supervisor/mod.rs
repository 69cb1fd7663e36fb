//! The main thread: it starts everything, then does what the pool decides. The only one that forks, signals, reaps and
//! execs; it never waits for anything but the next input or deadline.

mod environment;
mod event_loop;
mod exit_code;
mod help;
mod launch;
mod listeners;
mod log_route;
mod logging;
mod perform;
mod recheck;
mod release;
mod reply;
mod report;
mod settings;
mod signals;
mod startup;
mod state;
mod status;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use crossbeam_channel::Receiver;

use crate::config::{Config, Invocation};
use crate::pool::{Action, ClientId, Pid, Pool, Version};
use crate::supervisor::listeners::Listener;
use crate::supervisor::recheck::Recheck;
use crate::supervisor::release::Release;
use crate::supervisor::reply::Denials;
use crate::supervisor::startup::Files;
use crate::supervisor::status::Counters;
use crate::sys::birth::Birth;
use crate::sys::exec_pipe::ExecPipe;
use crate::threads::Input;
use crate::threads::control::Control;
use crate::threads::reaper::Reaper;

/// Everything that the main thread holds while it supervises.
struct Supervisor {
    pool: Pool,
    config: Config,
    birth: Birth,
    /// The environment that the master was born with.
    environ: Vec<(OsString, OsString)>,
    releases: BTreeMap<Version, Release>,
    listeners: Vec<Listener>,
    /// Children of whom it is not known yet whether they became their program.
    exec_pipes: Vec<(Pid, ExecPipe)>,
    /// When to look again at what sends no event: the exec pipes, and groups that outlived their leader.
    recheck: Recheck,
    inbox: Receiver<Input>,
    reaper: Reaper,
    control: Control,
    files: Files,
    /// Reused from event to event.
    actions: Vec<Action>,
    /// Who asked for an upgrade that has neither begun nor been refused.
    upgrade_askers: Vec<ClientId>,
    counters: Counters,
    denials: Denials,
    /// Children reaped that were no workers: adopted orphans of theirs.
    strangers: u64,
}

/// The program `einhyrningsins` (or `einhorn`), from its arguments to its exit code.
pub fn main() -> ExitCode {
    let birth = match startup::first_things() {
        Ok(birth) => birth,
        Err(error) => return startup::complain(&error, exit_code::CANNOT_START),
    };
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    match crate::config::parse(&name, args.collect()) {
        Ok(Invocation::Run(config)) => startup::run(*config, birth),
        Ok(invocation) => startup::answer(invocation, &name),
        Err(error) => startup::complain(&error, exit_code::BAD_OPTION),
    }
}
