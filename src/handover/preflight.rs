//! The check before a re-exec: the next program is run with `--upgrade-check`, as a child that the main thread does not wait for, and is given
//! the state to read in a copy. One of us says on a descriptor of its own who it is and what is wrong. Ruby's einhorn knows
//! nothing of that and exits with 0, as /bin/true does: such a program is then run with `--version`, and must answer as Ruby's
//! einhorn does, which prints nothing when it is checked. A check that is killed, hangs or fails refuses the re-exec, and so
//! does a program that proves to be neither.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::process::ExitCode;

use crate::base::exit_code;
use crate::base::{Ending, Pid, Signal};
use crate::handoff::Document;
use crate::handover::candidate::Candidate;
use crate::handover::plan::Plan;
use crate::machines::reexec::CHECK_LIMIT;
use crate::release::call::CHECK_VARIABLE;
use crate::release::environment::Environment;
use crate::sys::birth::Birth;
use crate::sys::errno::words;
use crate::sys::exec_failure::explain_exec_failure;
use crate::sys::exec_pipe::{ExecPipe, ExecState, Stage};
use crate::sys::prepared_exec::SpawnRequest;
use crate::sys::process::{self, Spawned};
use crate::sys::{account, allocator, fd, memfd, signal};

const UPGRADE_CHECK: &str = "--upgrade-check";
const VERSION: &str = "--version";

const STDOUT: i32 = 1;
const STATE_FD: i32 = 3;
const ANSWER_FD: i32 = 4;

/// What the files of the two are called in /proc.
const STATE_NAME: &str = "einhyrningsins state to check";
const ANSWER_NAME: &str = "einhyrningsins answer";

/// How an answer of ours begins; behind it, on the next line, what is wrong, if anything.
const ANSWER: &str = "einhyrningsins ";
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How much of what a program says of itself is shown to the client that asked for the re-exec.
const SHOWN_CHARS_MAX: usize = 60;

/// What the next program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageKind {
    /// One of us: it reads our part of the state, and can come back if it cannot.
    Ours,
    /// Ruby's einhorn.
    Einhorn,
}

/// What came of a question, and the program that was asked.
pub(crate) enum Finding {
    Is(ImageKind, Candidate),
    /// It exits with 0 and has said nothing: it is to be asked for its version.
    Silent(Candidate),
}

/// What the program is asked.
enum Question {
    UpgradeCheck {
        /// What it has written to its standard output.
        printed: OwnedFd,
    },
    Version,
}

impl Question {
    fn flag(&self) -> &'static str {
        match self {
            Self::UpgradeCheck { .. } => UPGRADE_CHECK,
            Self::Version => VERSION,
        }
    }
}

/// A question under way.
pub(crate) struct Check {
    pub(crate) pid: Pid,
    candidate: Candidate,
    question: Question,
    exec: ExecPipe,
    /// What it has written: on a descriptor of its own, or on its standard output.
    answer: OwnedFd,
    failure: Option<String>,
}

impl Check {
    /// # Errors
    /// There is no child, or no room for the state.
    pub(crate) fn start(candidate: Candidate, state: &str, birth: &Birth) -> Result<Self, String> {
        let said = |error: &dyn std::fmt::Display| cannot_try(&candidate, error);
        let state = memfd::sealed(STATE_NAME, state.as_bytes()).map_err(|error| said(&error))?;
        let state = fd::lift(state, ANSWER_FD + 1).map_err(|error| said(&error))?;
        let answer = scratch(&candidate)?;
        let printed = scratch(&candidate)?;
        let variable = (CHECK_VARIABLE.into(), format!("{STATE_FD},{ANSWER_FD}").into());
        let environment = [candidate.program.environment.clone(), vec![variable]].concat();
        let descriptors = [(printed.as_fd(), STDOUT), (state.as_fd(), STATE_FD), (answer.as_fd(), ANSWER_FD)];
        let spawned = spawn(&candidate, UPGRADE_CHECK, &environment, &descriptors, birth)?;
        Ok(Self::of(spawned, candidate, Question::UpgradeCheck { printed }, answer))
    }

    /// Asks a program that has passed in silence for its version, with its standard output on a file of ours.
    ///
    /// # Errors
    /// There is no child.
    pub(crate) fn ask_version(candidate: Candidate, birth: &Birth) -> Result<Self, String> {
        let answer = scratch(&candidate)?;
        let descriptors = [(answer.as_fd(), STDOUT)];
        let spawned = spawn(&candidate, VERSION, &candidate.program.environment, &descriptors, birth)?;
        Ok(Self::of(spawned, candidate, Question::Version, answer))
    }

    fn of(spawned: Spawned, candidate: Candidate, question: Question, answer: OwnedFd) -> Self {
        Self { pid: spawned.pid, candidate, question, exec: spawned.exec, answer, failure: None }
    }

    /// Kills it: its time is over.
    pub(crate) fn time_out(&mut self) {
        self.failure = Some(format!("{} took longer than {}s", self.command(), CHECK_LIMIT.as_secs()));
        self.kill();
    }

    /// With all that it has started.
    pub(crate) fn kill(&self) {
        if let Err(errno) = signal::send_group(self.pid, Signal::KILL) {
            log::debug!("cannot kill the check {}: {}", self.pid, words(errno));
        }
    }

    /// What came of it; it has ended so.
    ///
    /// # Errors
    /// Why there shall be no re-exec.
    pub(crate) fn conclude(mut self, ending: Ending) -> Result<Finding, String> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if let ExecState::Failed { stage, errno } = self.exec.poll() {
            return Err(match stage {
                Stage::Exec => explain_exec_failure(self.candidate.executable.path(), errno),
                _ => cannot_try(&self.candidate, &format!("{stage}: {}", words(errno))),
            });
        }
        let answer = self.read(&self.answer)?;
        match &self.question {
            Question::UpgradeCheck { printed } => {
                let printed = self.read(printed);
                self.conclude_check(&answer, printed, ending)
            }
            Question::Version => self.conclude_version(&answer, ending),
        }
    }

    fn read(&self, written: &OwnedFd) -> Result<String, String> {
        let bytes = memfd::read_scratch(written, ANSWER_BYTES_MAX);
        let bytes = bytes.map_err(|error| format!("{}: {error}", self.command()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What it has printed matters only if it has not answered.
    fn conclude_check(self, answer: &str, printed: Result<String, String>, ending: Ending) -> Result<Finding, String> {
        match (answer.strip_prefix(ANSWER).map(|rest| rest.split_once('\n')), ending) {
            (Some(Some((_, problem))), _) if !problem.trim().is_empty() => Err(problem.trim().to_owned()),
            (_, Ending::Signal(signal)) => Err(format!("{} was killed by SIG{signal}", self.command())),
            (Some(_), Ending::Code(0)) => Ok(Finding::Is(ImageKind::Ours, self.candidate)),
            (None, Ending::Code(0)) => self.conclude_silence(&printed?),
            (_, Ending::Code(code)) => Err(format!("{} exited with code {code}", self.command())),
        }
    }

    /// A program that says a version now would say it whatever it is asked.
    fn conclude_silence(self, printed: &str) -> Result<Finding, String> {
        let last = last_line(printed);
        if is_version_of_einhorn(last) {
            let flag = self.question.flag();
            return Err(self.no_master(&format!("{flag} says {:?}, where einhorn's says nothing", shown(last))));
        }
        Ok(Finding::Silent(self.candidate))
    }

    fn conclude_version(self, answer: &str, ending: Ending) -> Result<Finding, String> {
        let last = last_line(answer);
        if ending == Ending::Code(0) && is_version_of_einhorn(last) {
            return Ok(Finding::Is(ImageKind::Einhorn, self.candidate));
        }
        let flag = self.question.flag();
        Err(self.no_master(&format!("{flag} says {:?}, not a version of einhorn's", shown(last))))
    }

    fn no_master(&self, finding: &str) -> String {
        format!(
            "{} passes {UPGRADE_CHECK} and proves to be no master: it does not answer as einhyrningsins does, and its \
             {finding}; put one of the two there, or name it with --reexec-as (a wrapper must pass on arguments, \
             environment and descriptors)",
            self.candidate.name()
        )
    }

    fn command(&self) -> String {
        format!("{} {}", self.candidate.name(), self.question.flag())
    }
}

/// The last that is not empty.
fn last_line(text: &str) -> &str {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default()
}

fn shown(line: &str) -> String {
    line.chars().take(SHOWN_CHARS_MAX).collect()
}

/// `1.1.1`, and nothing else: so every version of Ruby's einhorn that has `--upgrade-check` answers.
fn is_version_of_einhorn(line: &str) -> bool {
    let numbers: Vec<&str> = line.split('.').collect();
    let is_number = |number: &&str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    numbers.len() == 3 && numbers.iter().all(is_number)
}

fn cannot_try(candidate: &Candidate, error: &dyn std::fmt::Display) -> String {
    format!("cannot try {}: {error}", candidate.name())
}

/// For what the program has to say: more than may be read of it does not fit in.
fn scratch(candidate: &Candidate) -> Result<OwnedFd, String> {
    let answer = memfd::scratch(ANSWER_NAME, 2 * ANSWER_BYTES_MAX).map_err(|error| cannot_try(candidate, &error))?;
    fd::lift(answer, ANSWER_FD + 1).map_err(|error| cannot_try(candidate, &error))
}

fn spawn(
    candidate: &Candidate,
    flag: &str,
    environment: &Environment,
    descriptors: &[(BorrowedFd<'_>, RawFd)],
    birth: &Birth,
) -> Result<Spawned, String> {
    let request = SpawnRequest {
        path: candidate.executable.path(),
        file: Some(candidate.executable.as_fd()),
        argv: &candidate.program.argv_with(flag),
        env: environment,
        own_pid_variable: None,
        directory: None,
        descriptors,
        birth,
        nice: None,
        cpus: None,
        parent_death: Some(Signal::KILL),
        umask: None,
        limits: &[],
        identity: None,
    };
    process::spawn(&request).map_err(|errno| cannot_try(candidate, &words(errno)))
}

/// `--upgrade-check`: whether we could take over. Without a state to look at we could.
pub(crate) fn answer(variable: Option<&str>) -> ExitCode {
    let Some((state, answer)) = variable.and_then(descriptors).or_else(descriptors_by_name) else {
        return ExitCode::SUCCESS;
    };
    let problem = read(state).err().unwrap_or_default();
    let said = format!("{ANSWER}{}\n{problem}", env!("CARGO_PKG_VERSION"));
    let written = fd::adopt(answer).map(|fd| File::from(fd).write_all(said.as_bytes()));
    match (written, problem.is_empty()) {
        (Ok(Ok(())), true) => ExitCode::SUCCESS,
        (_, _) => ExitCode::from(exit_code::CANNOT_START),
    }
}

/// For a program that has lost the variable on the way: a wrapper that clears the environment must not be taken for Ruby's einhorn, which
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
    check_identity(state)?;
    let text = Plan::read_text(state).map_err(|error| error.message)?;
    let document = Document::from_yaml(&text).map_err(|error| error.to_string())?;
    Plan::of(&document)?;
    // Behind an exec it would be too late.
    match allocator::has_room_for_an_image() {
        true => Ok(()),
        false => Err("there is too little memory for another image (see the limits of this process)".to_owned()),
    }
}

/// A program that is set-user-ID, or a wrapper that becomes another user, would leave the master without its sockets and files. One of
/// another group would pass the group on to the workers.
fn check_identity(state: i32) -> Result<(), String> {
    let (uid, gid) = memfd::maker(state).map_err(words)?;
    let (own_uid, own_gid) = (account::own_uid(), account::own_gid());
    if uid != own_uid {
        return Err(format!(
            "it would run as uid {own_uid}, and the master is of uid {uid} (set-user-ID, or a wrapper that becomes another user)"
        ));
    }
    if gid != own_gid {
        return Err(format!(
            "it would run as gid {own_gid}, and the master is of gid {gid} (set-group-ID, or a wrapper that changes the group)"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_numbers_are_a_version_of_einhorns() {
        for version in ["1.1.1", "0.8.2", "0.10.12"] {
            assert!(is_version_of_einhorn(version), "{version}");
        }
        for other in [
            "",
            "1.1",
            "1.1.1.1",
            "v1.1.1",
            "1..1",
            "1.1.1 (x)",
            "ruby 3.1.2",
            "-1.1.1",
            "1.1.1a",
            "einhyrningsins 0.3.0",
        ] {
            assert!(!is_version_of_einhorn(other), "{other}");
        }
    }
}
