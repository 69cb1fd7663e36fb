//! The check before a re-exec: the next program is run with `--upgrade-check`, as a child that nobody waits for, and is given
//! the state to read in a copy. One of us says on a descriptor of its own who it is and what is wrong; Ruby's einhorn knows
//! nothing of that, and has passed when it exits with 0. A check that is killed, hangs or fails refuses the re-exec.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use crate::handoff::Document;
use crate::pool::{Ending, Mono, Pid, Signal};
use crate::supervisor::exit_code;
use crate::supervisor::next_program::NextProgram;
use crate::supervisor::plan::Plan;
use crate::sys::birth::Birth;
use crate::sys::errno::words;
use crate::sys::exec_failure::explain_exec_failure;
use crate::sys::exec_pipe::{ExecPipe, ExecState, Stage};
use crate::sys::process::{self, SpawnRequest};
use crate::sys::reexec::Stamp;
use crate::sys::{clock, fd, memfd, signal};

/// How long a check may take before it is killed.
pub(in crate::supervisor) const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// In the environment of a check: where it finds the state, and where it says what it thinks of it.
pub(in crate::supervisor) const CHECK_VARIABLE: &str = "EINHYRNINGSINS_CHECK";
const STATE_FD: i32 = 3;
const ANSWER_FD: i32 = 4;

/// What the files of the two are called in /proc.
const STATE_NAME: &str = "einhyrningsins state to check";
const ANSWER_NAME: &str = "einhyrningsins answer";

/// How an answer of ours begins; behind it, on the next line, what is wrong, if anything.
const ANSWER: &str = "einhyrningsins ";
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Who the next program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Successor {
    /// One of us: it reads our part of the state, and can come back if it cannot.
    Ours,
    /// Ruby's einhorn, or whatever does not say that it is one of us.
    Einhorn,
}

/// A check under way.
pub(in crate::supervisor) struct Check {
    pub(in crate::supervisor) pid: Pid,
    /// What is checked: the file, as it was when it was begun.
    pub(in crate::supervisor) stamp: Option<Stamp>,
    name: String,
    exec: ExecPipe,
    answer: OwnedFd,
    /// None once it was killed for taking too long.
    deadline: Option<Mono>,
    failure: Option<String>,
}

impl Check {
    /// Errors: there is no child, or no room for the state.
    pub(in crate::supervisor) fn start(next: &NextProgram, state: &str, birth: &Birth) -> Result<Self, String> {
        let name = next.path.display().to_string();
        let said = |error: &dyn std::fmt::Display| format!("cannot try {name}: {error}");
        let lift = |file: OwnedFd| fd::lift(file, ANSWER_FD + 1).map_err(|error| said(&error));
        let state = lift(memfd::sealed(STATE_NAME, state.as_bytes()).map_err(|error| said(&error))?)?;
        let answer = lift(memfd::scratch(ANSWER_NAME).map_err(|error| said(&error))?)?;
        let mut env = next.environment.clone();
        env.push((CHECK_VARIABLE.into(), format!("{STATE_FD},{ANSWER_FD}").into()));
        let stamp = Stamp::of(&next.path);
        let request = SpawnRequest {
            path: &next.path,
            argv: &next.check_argv(),
            env: &env,
            own_pid_variable: None,
            directory: None,
            descriptors: &[(state.as_fd(), STATE_FD), (answer.as_fd(), ANSWER_FD)],
            birth,
            nice: None,
            parent_death: Some(Signal::KILL),
            umask: None,
            limits: &[],
            identity: None,
        };
        let spawned = process::spawn(&request).map_err(|errno| said(&words(errno)))?;
        let deadline = Some(clock::now().after(CHECK_LIMIT));
        Ok(Self { pid: spawned.pid, stamp, name, exec: spawned.exec, answer, deadline, failure: None })
    }

    pub(in crate::supervisor) fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    /// Kills it when its time is over.
    pub(in crate::supervisor) fn look(&mut self, now: Mono) {
        if self.deadline.take_if(|deadline| *deadline <= now).is_some() {
            self.failure = Some(format!("{} --upgrade-check took longer than {}s", self.name, CHECK_LIMIT.as_secs()));
            self.kill();
        }
    }

    /// With all that it has started.
    pub(in crate::supervisor) fn kill(&self) {
        if let Err(errno) = signal::send_group(self.pid, Signal::KILL) {
            log::debug!("cannot kill the check {}: {}", self.pid, words(errno));
        }
    }

    /// What came of it; it has ended so.
    ///
    /// Errors: why there shall be no re-exec.
    pub(in crate::supervisor) fn conclude(mut self, ending: Ending) -> Result<Successor, String> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if let ExecState::Failed { stage, errno } = self.exec.poll() {
            return Err(match stage {
                Stage::Exec => explain_exec_failure(self.name.as_ref(), errno),
                _ => format!("cannot try {}: {stage}: {}", self.name, words(errno)),
            });
        }
        let answer = memfd::read_all(&self.answer, ANSWER_BYTES_MAX);
        let answer = answer.map_err(|error| format!("{} --upgrade-check: {error}", self.name))?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        match (answer.strip_prefix(ANSWER).map(|rest| rest.split_once('\n')), ending) {
            (Some(Some((_, problem))), _) if !problem.trim().is_empty() => Err(problem.trim().to_owned()),
            (_, Ending::Signal(signal)) => Err(format!("{} --upgrade-check was killed by SIG{signal}", self.name)),
            (Some(_), Ending::Code(0)) => Ok(Successor::Ours),
            (None, Ending::Code(0)) => Ok(Successor::Einhorn),
            (_, Ending::Code(code)) => Err(format!("{} --upgrade-check exited with code {code}", self.name)),
        }
    }
}

/// `--upgrade-check`: whether we could take over. Without a state to look at we could.
pub(in crate::supervisor) fn answer(variable: Option<&str>) -> ExitCode {
    let Some((state, answer)) = variable.and_then(descriptors).or_else(descriptors_by_name) else {
        return ExitCode::SUCCESS;
    };
    let problem = read(state).err().unwrap_or_default();
    let said = format!("{ANSWER}{}\n{problem}", env!("CARGO_PKG_VERSION"));
    let written = fd::duplicate_number(answer).map(|fd| File::from(fd).write_all(said.as_bytes()));
    match (written, problem.is_empty()) {
        (Ok(Ok(())), true) => ExitCode::SUCCESS,
        (_, _) => ExitCode::from(exit_code::CANNOT_START),
    }
}

/// Of who has lost the variable on the way: a wrapper that clears the environment must not be taken for Ruby's einhorn, which
/// knows no users of workers.
fn descriptors_by_name() -> Option<(i32, i32)> {
    let is_there = |fd: i32, name: &str| {
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
        link.is_ok_and(|link| link.to_string_lossy().starts_with(&format!("/memfd:{name}")))
    };
    (is_there(STATE_FD, STATE_NAME) && is_there(ANSWER_FD, ANSWER_NAME)).then_some((STATE_FD, ANSWER_FD))
}

fn descriptors(text: &str) -> Option<(i32, i32)> {
    let (state, answer) = text.split_once(',')?;
    Some((state.parse().ok()?, answer.parse().ok()?))
}

fn read(state: i32) -> Result<(), String> {
    let document = Document::from_yaml(&Plan::read_text(state)?).map_err(|error| error.to_string())?;
    Plan::of(&document).map(drop)
}
