//! The re-exec, from the command to the exec(2): prepare, check, freeze, hand over, exec; and back to normal when a step
//! fails. A step that fails leaves the master as it was, and the upgrade that waits for the re-exec is refused. It never
//! stops anything itself: each output is a request, and the input that answers it says how it went.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Mono, Version};

/// How long the program that is checked may take before it is killed.
pub const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// How long to wait before busy threads are asked to stop once more, and how often they are asked.
pub const FREEZE_PAUSE: Duration = Duration::from_millis(50);
pub const FREEZE_TRIES_MAX: u32 = 40;

/// How long to wait before looking again whether the jobs are done.
pub const JOB_PAUSE: Duration = Duration::from_millis(250);

/// How long unread log lines delay a re-exec, and how often the machine looks whether they were read. What is unread then is
/// counted as lost.
pub const LOG_PATIENCE: Duration = Duration::from_millis(500);
pub const LOG_PAUSE: Duration = Duration::from_millis(10);

/// How many checks are made in a row when the program is replaced during each of them.
pub const CHECKS_MAX: u32 = 5;

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reexec {
    stage: Stage,
    origin: Origin,
    /// The upgrade that waits for the re-exec.
    version: Option<Version>,
    /// Checks since the last success or refusal.
    checks: u32,
}

/// How this image came to be, as far as the next upgrade is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// No upgrade made it.
    Elsewhere,
    /// It is the new image that the upgrade asked for.
    Upgrade,
    /// The new image that the upgrade asked for could not go on, for this reason, and went back to this one.
    Return(String),
}

/// How far the re-exec has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Idle,
    /// It begins at the end of the turn: in the middle of a turn, a launch may be without its answer.
    Wanted,
    /// No deadline: the check took too long and was killed; its end is awaited.
    Checking {
        deadline: Option<Mono>,
    },
    Ready(Ready),
    /// The threads are being stopped, or are stopped.
    Freezing(Ready),
}

/// The program passed the check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ready {
    checked_at: Mono,
    due: Mono,
    freeze_tries: u32,
}

/// What happens to the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The pool wants a version prepared.
    Upgrade { version: Version, program: NextProgram },
    /// The command to replace the program and leave the workers alone.
    Reload { master: MasterState },
    /// No input of the master is half done, and no launch is without its answer.
    TurnEnded { master: MasterState },
    /// To `StartCheck` and `AskVersion`.
    CheckStarted(Result<(), String>),
    /// The child of the check has ended.
    CheckEnded(CheckResult),
    /// To `Look`.
    Looked(Outlook),
    /// To `Freeze`.
    Froze(Freeze),
    /// To `Drain`.
    Drained(Drain),
    /// To `Exec`: there is no next image.
    ExecFailed(ExecFailure),
}

/// Whether the program to come can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextProgram {
    Known,
    /// Upgrades replace the workers alone.
    Unknown,
}

/// Whether the master may still be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MasterState {
    Running,
    /// It ends when its workers have ended, and replaces nothing any more.
    Stopping,
}

/// What the check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckResult {
    Passed,
    /// The program exits with 0 and says nothing, as Ruby's einhorn does and /bin/true.
    Silent,
    Failed(String),
}

/// What stands in the way of the exec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    Clear,
    /// Jobs are under way, of which the next image would know nothing.
    Jobs,
    /// Log lines wait to be read.
    LogLines,
    /// The program is not the one that was checked.
    ProgramChanged,
    Impossible(String),
}

/// Whether the threads have stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Freeze {
    Done,
    /// A thread is too busy to stop. All threads run.
    Busy,
}

/// How things stand once all that was said before the threads stopped has been acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drain {
    Done,
    /// A job was begun.
    Jobs,
    /// The master was told to stop.
    Stopping,
    /// The master has nothing left to do, and ends.
    Ended,
}

/// Why this is still the same program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecFailure {
    /// The program was replaced since it was checked.
    ProgramChanged,
    Failed(String),
}

/// What the machine asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Say that a re-exec begins.
    TellBegin,
    /// Say that there is none since the master stops.
    TellStopping,
    /// Say why there is none, and refuse the upgrade that waits for it.
    GiveUp { failure: Failure, version: Option<Version> },
    /// Prepare the version in this image.
    PrepareVersion(Version),
    /// The new image that this upgrade asked for could not go on, for this reason.
    RefuseVersion { version: Version, reason: String },
    /// Open the next program and run it with `--upgrade-check`. Answer: `CheckStarted`, later `CheckEnded`.
    StartCheck,
    /// Ask the program that passed in silence for its `--version`. Answer: the same.
    AskVersion,
    /// The check took too long: kill it. Its end comes as `CheckEnded`.
    KillCheck,
    /// Kill the check. Its end is of no interest.
    AbandonCheck,
    /// Answer: `Looked`.
    Look,
    /// Stop the threads. Answer: `Froze`.
    Freeze,
    /// Act on everything that was said until now. Answer: `Drained`.
    Drain,
    /// Hand the state over and become the next program. Answer, if there is one: `ExecFailed`.
    Exec,
    /// Let the threads go on.
    Thaw,
}

/// Why a re-exec was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The program was replaced during each of `CHECKS_MAX` checks.
    ProgramKeepsChanging,
    ThreadsBusy,
    Other(String),
}

impl Reexec {
    pub fn new(origin: Origin) -> Self {
        Self { stage: Stage::Idle, origin, version: None, checks: 0 }
    }

    /// Whether this program is about to be replaced, or at least is being checked for it.
    pub fn is_under_way(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// When it wants to hear of the end of a turn, whatever else happens.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.stage {
            Stage::Idle | Stage::Freezing(_) => None,
            Stage::Wanted => Some(Mono::from_nanos(0)),
            Stage::Checking { deadline } => *deadline,
            Stage::Ready(ready) => Some(ready.due),
        }
    }

    /// Takes an input; what it asks for is to be done in the order given, and each request answered before the next input.
    pub fn handle(&mut self, now: Mono, input: Input, outputs: &mut Vec<Output>) {
        match input {
            Input::Upgrade { version, program } => self.on_upgrade(version, program, outputs),
            Input::Reload { master: MasterState::Running } => self.begin(outputs),
            Input::Reload { master: MasterState::Stopping } => outputs.push(Output::TellStopping),
            Input::TurnEnded { master } => self.on_turn_ended(now, master, outputs),
            Input::CheckStarted(Ok(())) => {
                self.stage = Stage::Checking { deadline: Some(now.after(CHECK_LIMIT)) };
            }
            Input::CheckStarted(Err(reason)) => self.fail(Failure::Other(reason), outputs),
            Input::CheckEnded(result) => self.on_check_ended(now, result, outputs),
            Input::Looked(outlook) => self.on_looked(now, outlook, outputs),
            Input::Froze(freeze) => self.on_froze(now, freeze, outputs),
            Input::Drained(drain) => self.on_drained(now, drain, outputs),
            Input::ExecFailed(failure) => {
                outputs.push(Output::Thaw);
                match failure {
                    ExecFailure::ProgramChanged => self.check(outputs),
                    ExecFailure::Failed(reason) => self.fail(Failure::Other(reason), outputs),
                }
            }
        }
    }

    /// The master replaces itself first, as einhorn does; the new image prepares the version.
    fn on_upgrade(&mut self, version: Version, program: NextProgram, outputs: &mut Vec<Output>) {
        match (std::mem::replace(&mut self.origin, Origin::Elsewhere), program) {
            (Origin::Upgrade, _) | (Origin::Elsewhere, NextProgram::Unknown) => {
                outputs.push(Output::PrepareVersion(version));
            }
            (Origin::Return(reason), _) => outputs.push(Output::RefuseVersion { version, reason }),
            (Origin::Elsewhere, NextProgram::Known) => {
                self.version = Some(version);
                self.begin(outputs);
            }
        }
    }

    /// One re-exec that is under way already is as good as another.
    fn begin(&mut self, outputs: &mut Vec<Output>) {
        if self.stage == Stage::Idle {
            self.stage = Stage::Wanted;
            outputs.push(Output::TellBegin);
        }
    }

    fn on_turn_ended(&mut self, now: Mono, master: MasterState, outputs: &mut Vec<Output>) {
        match (&mut self.stage, master) {
            (Stage::Idle | Stage::Freezing(_), _) => {}
            (Stage::Checking { .. }, MasterState::Stopping) => {
                outputs.extend([Output::AbandonCheck, Output::TellStopping]);
                self.rest();
            }
            (Stage::Wanted, MasterState::Stopping) => self.rest(),
            (Stage::Wanted, MasterState::Running) => self.check(outputs),
            (Stage::Checking { deadline }, MasterState::Running) => {
                if deadline.take_if(|due| *due <= now).is_some() {
                    outputs.push(Output::KillCheck);
                }
            }
            (Stage::Ready(ready), _) if ready.due <= now => outputs.push(Output::Look),
            (Stage::Ready(_), _) => {}
        }
    }

    fn check(&mut self, outputs: &mut Vec<Output>) {
        self.checks += 1;
        if self.checks > CHECKS_MAX {
            return self.fail(Failure::ProgramKeepsChanging, outputs);
        }
        self.stage = Stage::Wanted;
        outputs.push(Output::StartCheck);
    }

    fn on_check_ended(&mut self, now: Mono, result: CheckResult, outputs: &mut Vec<Output>) {
        match result {
            CheckResult::Passed => {
                self.stage = Stage::Ready(Ready { checked_at: now, due: now, freeze_tries: 0 });
            }
            CheckResult::Silent => outputs.push(Output::AskVersion),
            CheckResult::Failed(reason) => self.fail(Failure::Other(reason), outputs),
        }
    }

    fn on_looked(&mut self, now: Mono, outlook: Outlook, outputs: &mut Vec<Output>) {
        let Stage::Ready(ready) = &mut self.stage else { return };
        match outlook {
            Outlook::LogLines if now.since(ready.checked_at) < LOG_PATIENCE => ready.due = now.after(LOG_PAUSE),
            Outlook::Clear | Outlook::LogLines => {
                self.stage = Stage::Freezing(ready.clone());
                outputs.push(Output::Freeze);
            }
            Outlook::Jobs => ready.due = now.after(JOB_PAUSE),
            Outlook::ProgramChanged => self.check(outputs),
            Outlook::Impossible(reason) => self.fail(Failure::Other(reason), outputs),
        }
    }

    fn on_froze(&mut self, now: Mono, freeze: Freeze, outputs: &mut Vec<Output>) {
        let Stage::Freezing(ready) = &mut self.stage else { return };
        match freeze {
            // A stop that is asked for at this moment must not become an upgrade.
            Freeze::Done => outputs.push(Output::Drain),
            Freeze::Busy if ready.freeze_tries < FREEZE_TRIES_MAX => {
                let freeze_tries = ready.freeze_tries + 1;
                self.stage = Stage::Ready(Ready { due: now.after(FREEZE_PAUSE), freeze_tries, ..ready.clone() });
            }
            Freeze::Busy => self.fail(Failure::ThreadsBusy, outputs),
        }
    }

    fn on_drained(&mut self, now: Mono, drain: Drain, outputs: &mut Vec<Output>) {
        let Stage::Freezing(ready) = &mut self.stage else { return };
        match drain {
            Drain::Done => outputs.push(Output::Exec),
            Drain::Jobs => {
                self.stage = Stage::Ready(Ready { due: now.after(JOB_PAUSE), ..ready.clone() });
                outputs.push(Output::Thaw);
            }
            Drain::Stopping => {
                outputs.extend([Output::TellStopping, Output::Thaw]);
                self.rest();
            }
            Drain::Ended => {
                outputs.push(Output::Thaw);
                self.rest();
            }
        }
    }

    /// The master goes on as it is.
    fn fail(&mut self, failure: Failure, outputs: &mut Vec<Output>) {
        outputs.push(Output::GiveUp { failure, version: self.version });
        self.rest();
    }

    /// Back to where it began.
    fn rest(&mut self) {
        self.stage = Stage::Idle;
        self.version = None;
        self.checks = 0;
    }
}

#[cfg(test)]
#[path = "reexec_tests.rs"]
mod tests;
