//! Runs the check of an upgrade (`upgrade.check`): a command of the operator's that says whether the workers of a stage do well. It runs
//! as the workers do, in a process group of its own; the main thread does not wait for it.

use std::os::fd::AsFd;

use crate::base::{Ending, Mono, Pid, Signal, Version, printable};
use crate::files::program::find_program;
use crate::pool::Event;
use crate::supervisor::master::Supervisor;
use crate::supervisor::running_check::{Killed, OUTPUT_BYTES_MAX, OUTPUT_NAME, RunningCheck};
use crate::sys::errno::words;
use crate::sys::prepared_exec::SpawnRequest;
use crate::sys::{clock, fd, memfd, process};

const STDOUT: i32 = 1;
const STDERR: i32 = 2;

impl Supervisor {
    /// The answer comes at once if there is no child.
    pub(crate) fn run_check(&mut self, version: Version, slots: u32) -> Option<Event> {
        // One that still runs is about an upgrade that is over.
        self.children.check.iter_mut().for_each(|check| check.kill(Killed::Unwanted));
        match self.start_version_check(version, slots) {
            Ok(check) => {
                self.threads.reaper.resume();
                self.children.check = Some(check);
                None
            }
            Err(why) => Some(Event::CheckEnded { version, result: Err(why) }),
        }
    }

    fn start_version_check(&self, version: Version, slots: u32) -> Result<RunningCheck, String> {
        let argv = &self.config().rollout.check;
        let release = self.sockets.releases.get(&version);
        let (Some(program), Some(release)) = (argv.first(), release) else { return Err("there is none".to_owned()) };
        let said = |cause: &dyn std::fmt::Display| {
            format!("cannot run {}: {cause}", printable::line(&program.to_string_lossy()))
        };
        let spec = &release.exec_spec;
        let path = spec.environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
        let path = find_program(program, path).map_err(|error| said(&error))?;
        let addresses: Vec<String> = release.listeners.iter().map(|listener| listener.bind.to_string()).collect();
        let number = |number: u32| number.to_string();
        let variables = [
            ("EINHYRNINGSINS_VERSION", version.to_string()),
            ("EINHYRNINGSINS_STAGE", number(slots)),
            ("EINHYRNINGSINS_SLOTS", number(self.pool.settings().target)),
            ("EINHYRNINGSINS_SOCKETS", addresses.join(" ")),
        ];
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        let output = memfd::scratch(OUTPUT_NAME, OUTPUT_BYTES_MAX).map_err(|error| said(&error))?;
        let output = fd::lift(output, STDERR + 1).map_err(|error| said(&error))?;
        let request = SpawnRequest {
            path: &path,
            file: None,
            argv,
            env: &spec.environment.iter().cloned().chain(variables).collect::<Vec<_>>(),
            own_pid_variable: None,
            directory: spec.directory.as_deref(),
            descriptors: &[(output.as_fd(), STDOUT), (output.as_fd(), STDERR)],
            birth: &self.facts.birth,
            nice: spec.nice,
            cpus: None,
            parent_death: Some(Signal::KILL),
            umask: spec.umask,
            limits: &spec.limits,
            identity: spec.identity.as_ref(),
        };
        let spawned = process::spawn(&request).map_err(|errno| said(&words(errno)))?;
        let (program, limit) = (program.clone(), self.config().rollout.check_timeout);
        let (ends_at, pid, exec) = (clock::now().after(limit), spawned.pid, spawned.exec);
        Ok(RunningCheck { pid, version, program, limit, ends_at, killed: None, exec, output })
    }

    /// Whether this child is the check.
    pub(crate) fn is_version_check(&self, pid: Pid) -> bool {
        self.children.check.as_ref().is_some_and(|check| check.pid == pid)
    }

    /// It has ended, and was reaped.
    pub(crate) fn on_version_check_ended(&mut self, ending: Ending) -> Option<Event> {
        let check = self.children.check.take()?;
        let (version, result) = (check.version, check.conclude(ending));
        log::info!(
            "The check of version {version} {}",
            result.as_ref().map_or_else(String::clone, |()| "passed".to_owned())
        );
        Some(Event::CheckEnded { version, result })
    }

    /// Kills a check whose upgrade or whose time is over.
    pub(crate) fn end_overdue_check(&mut self) {
        let Some(check) = &mut self.children.check else { return };
        if !self.pool.waits_for_check_of(check.version) {
            check.kill(Killed::Unwanted);
        } else if check.ends_at <= clock::now() {
            check.kill(Killed::Late);
        }
    }

    pub(crate) fn check_deadline(&self) -> Option<Mono> {
        let check = self.children.check.as_ref().filter(|check| check.killed.is_none())?;
        let is_wanted = self.pool.waits_for_check_of(check.version);
        Some(if is_wanted { check.ends_at } else { Mono::from_nanos(0) })
    }
}
