//! Does what the machine of a re-exec asks for (`machines::reexec`): starts the check of the next program, stops the threads,
//! hands the state over, and becomes that program. The machine decides; nothing is decided here.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use crate::base::{Ending, Pid, Version};
use crate::config;
use crate::control::ControlPaused;
use crate::handoff::{Document, Fd};
use crate::handover::candidate::Candidate;
use crate::handover::held::Held;
use crate::handover::next_program::NextProgram;
use crate::handover::preflight::{Check, Finding, ImageKind};
use crate::logging;
use crate::machines::reexec::{
    self as machine, CheckResult, Drain, ExecFailure, Failure, Freeze, Input, MasterState, Outlook, Output,
};
use crate::pool::Event;
use crate::release::call::RETURN_VARIABLE;
use crate::supervisor::master::{Supervisor, Turn};
use crate::supervisor::next_image::{Next, StoppedThreads};
use crate::supervisor::process;
use crate::sys::errno::{errno_of, words};
use crate::sys::reexec::{self, Image, Program, ReexecError};
use crate::sys::{clock, memfd};

/// What came of an input: events for the pool, and whether the master goes on.
struct Driven {
    events: Vec<Event>,
    turn: Turn,
}

impl Supervisor {
    /// The answer to `PrepareRelease`, if it can be given at once.
    pub(crate) fn begin_upgrade(&mut self, version: Version) -> Option<Event> {
        self.reexec.find_image();
        let program = match (&self.reexec.image, &self.config().reexec_as) {
            (None, None) => machine::NextProgram::Unknown,
            (Some(_), _) | (_, Some(_)) => machine::NextProgram::Known,
        };
        self.drive(Input::Upgrade { version, program }).events.pop()
    }

    /// The command `reload`: the program is replaced, and the workers stay.
    pub(crate) fn reload(&mut self) {
        self.reexec.find_image();
        let input = Input::Reload { master: self.master_state() };
        self.drive(input);
    }

    /// Does what is due of a re-exec: at the end of a turn, when no input is half done.
    pub(crate) fn go_on_with_reexec(&mut self) -> Turn {
        if !self.reexec.is_under_way() {
            return ControlFlow::Continue(());
        }
        let input = Input::TurnEnded { master: self.master_state() };
        let Driven { events, turn } = self.drive(input);
        turn?;
        self.dispatch_all(events)
    }

    /// Whether this child is the one that checks.
    pub(crate) fn is_check(&self, pid: Pid) -> bool {
        matches!(&self.reexec.next, Next::Checking(check) if check.pid == pid)
    }

    /// It has ended, and was reaped.
    pub(crate) fn on_check_ended(&mut self, ending: Ending) -> Option<Event> {
        let Next::Checking(check) = std::mem::replace(&mut self.reexec.next, Next::Unknown) else { return None };
        let result = match check.conclude(ending) {
            Ok(Finding::Is(kind, candidate)) => {
                self.reexec.next = Next::Checked(kind, candidate);
                CheckResult::Passed
            }
            Ok(Finding::Silent(candidate)) => {
                self.reexec.next = Next::Silent(candidate);
                CheckResult::Silent
            }
            Err(reason) => CheckResult::Failed(reason),
        };
        self.drive(Input::CheckEnded(result)).events.pop()
    }

    fn master_state(&self) -> MasterState {
        match self.pool.is_stopping() {
            true => MasterState::Stopping,
            false => MasterState::Running,
        }
    }

    /// Tells the machine, and does all that it asks for.
    fn drive(&mut self, input: Input) -> Driven {
        let mut driven = Driven { events: Vec::new(), turn: ControlFlow::Continue(()) };
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut outputs = Vec::new();
            self.trace.tell(&mut self.reexec.machine, clock::now(), input, &mut outputs);
            for output in outputs {
                inputs.extend(self.perform_reexec(output, &mut driven));
            }
        }
        driven
    }

    fn perform_reexec(&mut self, output: Output, driven: &mut Driven) -> Option<Input> {
        match output {
            Output::TellBegin => log::info!("Reloading einhorn master ({})...", self.next_name()),
            Output::TellStopping => log::info!("Not reloading einhorn because we're exiting"),
            Output::GiveUp { failure, version } => driven.events.extend(self.give_up_reexec(failure, version)),
            Output::PrepareVersion(version) => driven.events.extend(self.prepare_release(version)),
            Output::RefuseVersion { version, reason } => driven.events.push(Event::ReleaseRefused { version, reason }),
            Output::StartCheck => return Some(Input::CheckStarted(self.start_check())),
            Output::AskVersion => return Some(Input::CheckStarted(self.ask_version())),
            Output::KillCheck => {
                if let Next::Checking(check) = &mut self.reexec.next {
                    check.time_out();
                }
            }
            Output::AbandonCheck => {
                self.reexec.abandon();
            }
            Output::Look => return Some(Input::Looked(self.look_before_reexec())),
            Output::Freeze => return Some(Input::Froze(self.stop_threads())),
            Output::Drain => {
                driven.turn = self.drain_inbox();
                return Some(Input::Drained(self.drain_result(&driven.turn)));
            }
            Output::Exec => return Some(Input::ExecFailed(self.hand_over_and_exec())),
            Output::Thaw => self.reexec.stopped_threads = None,
        }
        None
    }

    fn next_name(&self) -> String {
        match (&self.config().reexec_as, &self.reexec.image) {
            (Some(words), _) => words.join(" "),
            (None, Some(image)) => image.path().display().to_string(),
            (None, None) => "an unknown file".to_owned(),
        }
    }

    fn next_program(&self) -> Result<NextProgram, String> {
        NextProgram::of(self.config(), self.reexec.image.as_ref().map(Image::path), &self.facts.call.environ)
    }

    fn start_check(&mut self) -> Result<(), String> {
        let candidate = self.next_program().and_then(Candidate::open)?;
        let state = self.document(None, ImageKind::Ours)?.to_yaml();
        self.await_check(Check::start(candidate, &state, &self.facts.birth)?);
        Ok(())
    }

    fn ask_version(&mut self) -> Result<(), String> {
        let Next::Silent(candidate) = std::mem::replace(&mut self.reexec.next, Next::Unknown) else {
            return Err("no program was checked".to_owned());
        };
        self.await_check(Check::ask_version(candidate, &self.facts.birth)?);
        Ok(())
    }

    fn await_check(&mut self, check: Check) {
        self.reexec.next = Next::Checking(Box::new(check));
        self.threads.reaper.resume();
    }

    fn give_up_reexec(&mut self, failure: Failure, version: Option<Version>) -> Option<Event> {
        self.reexec.next = Next::Unknown;
        let reason = match failure {
            Failure::ProgramKeepsChanging => format!("{} is replaced again and again", self.next_name()),
            Failure::ThreadsBusy => "the threads of this master are too busy to be stopped".to_owned(),
            Failure::Other(reason) => reason,
        };
        log::error!("Can not initiate einhorn master reload safely, aborting: {reason}");
        version.map(|version| Event::ReleaseRefused { version, reason })
    }

    fn look_before_reexec(&self) -> Outlook {
        if self.facts.reload.is_busy() || self.children.loaders.are_forking() {
            return Outlook::Jobs;
        }
        match (self.next_program(), &self.reexec.next) {
            (Err(reason), _) => Outlook::Impossible(reason),
            (Ok(program), Next::Checked(_, candidate)) if candidate.is_still(&program) => {
                if logging::waiting_lines() > 0 { Outlook::LogLines } else { Outlook::Clear }
            }
            (Ok(_), _) => Outlook::ProgramChanged,
        }
    }

    pub(crate) fn stop_threads(&mut self) -> Freeze {
        let Some(signals) = self.threads.signals.pause() else { return Freeze::Busy };
        let Some(control) = self.threads.control.pause() else { return Freeze::Busy };
        let output = self.threads.output.pause();
        self.reexec.stopped_threads = Some(StoppedThreads { control, _output: output, _signals: signals });
        Freeze::Done
    }

    fn drain_result(&self, turn: &Turn) -> Drain {
        match turn {
            ControlFlow::Break(_) => Drain::Ended,
            ControlFlow::Continue(()) if self.pool.is_stopping() => Drain::Stopping,
            ControlFlow::Continue(()) if self.facts.reload.is_busy() || self.children.loaders.are_forking() => {
                Drain::Jobs
            }
            ControlFlow::Continue(()) => Drain::Done,
        }
    }

    /// Comes back only if this is still the program that it was.
    fn hand_over_and_exec(&mut self) -> ExecFailure {
        let next = std::mem::replace(&mut self.reexec.next, Next::Unknown);
        let stopped = self.reexec.stopped_threads.take();
        let (Next::Checked(kind, candidate), Some(mut stopped)) = (next, stopped) else {
            return ExecFailure::Failed("the program was not checked".to_owned());
        };
        let failure = self.become_next(kind, &candidate, &mut stopped.control);
        self.reexec.stopped_threads = Some(stopped);
        failure
    }

    /// einhorn would launch the workers with our own rights, and knows no watchdog. What else it does not know is said.
    fn what_einhorn_must_not_lose(&self) -> Option<String> {
        if self.sockets.releases.values().any(|release| release.exec_spec.identity.is_some()) {
            let name = self.next_name();
            return Some(format!("{name} is einhorn, and knows no users of workers"));
        }
        if self.service_manager.has_watchdog() {
            let name = self.next_name();
            return Some(format!("{name} is einhorn, and the service's watchdog would kill it"));
        }
        let lost = config::unknown_to_einhorn(self.config());
        if !lost.is_empty() {
            log::warn!("{} does not know these settings, they are lost: {}", self.next_name(), lost.join(", "));
        }
        None
    }

    fn become_next(&mut self, kind: ImageKind, candidate: &Candidate, control: &mut ControlPaused) -> ExecFailure {
        if kind == ImageKind::Einhorn {
            if let Some(problem) = self.what_einhorn_must_not_lose() {
                return ExecFailure::Failed(problem);
            }
            self.service_manager.end_reloading();
            // It knows nothing of lines that are half read. The relay reads what is written from now on.
            self.threads.output.finish();
            self.end_holder();
        }
        // What is not written now is lost, and counted in the document.
        logging::flush();
        self.trace.flush();
        let (state, keep) = match self.written_down(kind, control) {
            Ok(written) => written,
            Err(reason) => return ExecFailure::Failed(reason),
        };
        log::info!("About to re-exec einhorn master as {}", candidate.program.shown(state.as_raw_fd()));
        logging::flush();
        let failure = match state.try_clone() {
            Ok(spare) => self.exec(kind, candidate, [&state, &spare], keep),
            Err(error) => return ExecFailure::Failed(words(errno_of(&error))),
        };
        match failure.is_out_of_date() {
            true => ExecFailure::ProgramChanged,
            false => ExecFailure::Failed(failure.to_string()),
        }
    }

    /// The state, in a sealed file in memory, and the descriptors that it names.
    pub(crate) fn written_down(
        &self,
        kind: ImageKind,
        control: &mut ControlPaused,
    ) -> Result<(OwnedFd, Vec<RawFd>), String> {
        let state = control.describe().ok_or("the control thread is gone")?;
        let text = self.document(Some(&state), kind)?.to_yaml();
        if text.len() > Document::BYTES_MAX {
            return Err(format!(
                "the state has {} bytes, since clients do not read; the most is {}",
                text.len(),
                Document::BYTES_MAX
            ));
        }
        // The way back leads to this very image.
        let document = Document::from_yaml(&text).map_err(|error| error.to_string())?;
        let keep = match &document.ours {
            Some(ours) => Held::read(ours)?.open.descriptors().map(|(Fd(number), _)| number).collect(),
            // einhorn would pass all others on to its workers.
            None => document.einhorns_descriptors().map(|Fd(number)| number).collect(),
        };
        let file = memfd::sealed("einhyrningsins state", text.as_bytes()).map_err(|error| error.to_string())?;
        Ok((file, keep))
    }

    /// Keeps these descriptors, and the state.
    fn exec(&self, kind: ImageKind, candidate: &Candidate, state: [&OwnedFd; 2], mut keep: Vec<RawFd>) -> ReexecError {
        let [state, spare] = state;
        let mut env = candidate.program.environment.clone();
        keep.push(state.as_raw_fd());
        if let (ImageKind::Ours, Some(image)) = (kind, &self.reexec.image) {
            let numbers = [image.as_fd(), state.as_fd(), spare.as_fd()].map(|fd| fd.as_raw_fd().to_string());
            env.push((RETURN_VARIABLE.into(), numbers.join(",").into()));
            keep.push(spare.as_raw_fd());
        }
        if kind == ImageKind::Einhorn {
            process::restore_process(&self.facts.birth);
        }
        let argv: Vec<OsString> = candidate.program.argv_with_state(state.as_raw_fd());
        let error = reexec::exec(Program::Checked(&candidate.executable), &argv, &env, &keep);
        process::configure_process(&self.facts.birth);
        error
    }
}
