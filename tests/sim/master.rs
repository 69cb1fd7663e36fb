//! The master around the pool: the machine of the re-exec (`machines::reexec`), in a world where each of its steps can fail,
//! hang, or be overtaken by a command, a death or a stop. What the pool wants prepared goes through it, and from it to the machine
//! of the reload (`reload`). Held after every output:
//! - I27 a version is prepared or refused only while the pool waits for it, and each step is asked for when the one before it
//!   is done: one check at a time, threads stopped once and let go once, no exec without a check that passed.
//! - I28 no exec while the master stops, or while a job is under way.

use std::collections::VecDeque;

use einhyrningsins::base::{Mono, Version};
use einhyrningsins::machines::reexec::{
    CheckResult, Drain, ExecFailure, Freeze, Input, MasterState, NextProgram, Origin, Outlook, Output, Reexec,
};
use einhyrningsins::pool::Event;

use crate::hold;
use crate::reload::Reloading;
use crate::run::Run;

/// How many events at most come in between the moment at which the threads stop and the exec.
const DRAINED_MAX: u64 = 4;

/// The model of the master beside its pool.
pub struct Master {
    machine: Reexec,
    check: Check,
    threads: Threads,
    /// Jobs, configurations and who waits.
    pub reloading: Reloading,
}

/// The program that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    None,
    Runs,
    Hangs,
    Killed,
    Silent,
    Passed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threads {
    Run,
    Stopped,
}

impl Master {
    pub fn new(origin: Origin, reloading: Reloading) -> Self {
        Self { machine: Reexec::new(origin), check: Check::None, threads: Threads::Run, reloading }
    }

    pub fn is_under_way(&self) -> bool {
        self.machine.is_under_way()
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.machine.deadline().into_iter().chain(self.reloading.deadline()).min()
    }

    /// Whether a check is there whose end nothing but time delays.
    pub fn check_can_end(&self) -> bool {
        matches!(self.check, Check::Runs | Check::Killed)
    }
}

impl Run {
    /// The pool wants this version.
    pub fn ask_master(&mut self, version: Version) {
        let program =
            if self.rng.chance(self.plan.program_unknown) { NextProgram::Unknown } else { NextProgram::Known };
        self.drive(Input::Upgrade { version, program });
    }

    /// The command `reload`.
    pub fn reload_master(&mut self) {
        let master = self.master_state();
        self.drive(Input::Reload { master });
    }

    /// At the end of each turn.
    pub fn end_turn(&mut self) {
        if self.ledger.exited {
            return;
        }
        self.note_slow_job();
        if self.master().is_under_way() {
            let master = self.master_state();
            self.drive(Input::TurnEnded { master });
        }
    }

    /// The child that checks ends.
    pub fn end_check(&mut self) -> bool {
        let Some(master) = &mut self.master else { return false };
        let result = match master.check {
            Check::Killed => CheckResult::Failed("it took too long".to_owned()),
            Check::Runs if self.rng.chance(self.plan.check_fails) => CheckResult::Failed("it fails".to_owned()),
            Check::Runs if self.rng.chance(self.plan.check_silent) => CheckResult::Silent,
            Check::Runs => CheckResult::Passed,
            Check::None | Check::Hangs | Check::Silent | Check::Passed => return false,
        };
        master.check = match result {
            CheckResult::Passed => Check::Passed,
            CheckResult::Silent => Check::Silent,
            CheckResult::Failed(_) => Check::None,
        };
        self.drive(Input::CheckEnded(result));
        true
    }

    /// At the beginning of an image.
    pub fn record_state(&mut self) {
        match &self.master {
            Some(master) => self.trace.state(self.now, &self.pool, &master.machine),
            None => self.trace.state(self.now, &self.pool, &Reexec::new(Origin::Elsewhere)),
        }
    }

    fn master_state(&self) -> MasterState {
        if self.ledger.stopping.is_some() { MasterState::Stopping } else { MasterState::Running }
    }

    pub fn master(&mut self) -> &mut Master {
        self.master.as_mut().expect("only a run with a master drives it")
    }

    fn drive(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.trace.line(|| format!("         master: {input:?}"));
            let (mut outputs, now) = (Vec::new(), self.now);
            let master = self.master.as_mut().expect("only a run with a master drives it");
            self.trace.tell(&mut master.machine, now, input, &mut outputs);
            for output in outputs {
                self.trace.line(|| format!("         master -> {output:?}"));
                inputs.extend(self.perform_output(output));
            }
        }
    }

    fn perform_output(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::TellBegin => self.coverage.reexecs_begun += 1,
            Output::TellStopping => {
                hold!("I27", self.ledger.stopping.is_some(), "a stop is told that there is none of")
            }
            Output::GiveUp { version: None, .. } => self.give_up(),
            Output::GiveUp { version: Some(version), .. } => {
                self.give_up();
                self.refuse(version);
            }
            Output::RefuseVersion { version, .. } => {
                self.coverage.went_back += 1;
                self.refuse(version);
            }
            Output::PrepareVersion(version) => self.prepare_here(version),
            Output::StartCheck => return Some(self.start_check(Check::Passed)),
            Output::AskVersion => return Some(self.start_check(Check::Silent)),
            Output::KillCheck | Output::AbandonCheck => self.kill_check(&output),
            Output::Look => return Some(Input::Looked(self.outlook())),
            Output::Freeze => return Some(Input::Froze(self.freeze_threads())),
            Output::Drain => return Some(Input::Drained(self.drain())),
            Output::Exec => return self.exec_next().map(Input::ExecFailed),
            Output::Thaw => {
                hold!("I27", self.master().threads == Threads::Stopped, "threads go on that were not stopped");
                self.master().threads = Threads::Run;
            }
        }
        None
    }

    fn give_up(&mut self) {
        hold!("I27", self.master().threads == Threads::Run, "given up while the threads stand still");
        self.coverage.reexecs_given_up += 1;
        self.master().check = Check::None;
    }

    /// The pool drops it, if it has begun to wait for another one or stops.
    fn refuse(&mut self, version: Version) {
        self.replies.push_back(Event::ReleaseRefused { version, reason: String::new() });
    }

    fn start_check(&mut self, before: Check) -> Input {
        let check = self.master().check;
        let is_free = check == Check::None || check == before;
        hold!("I27", is_free, "a check begins, and one {check:?} already");
        if self.rng.chance(self.plan.check_starts_not) {
            self.master().check = Check::None;
            return Input::CheckStarted(Err("no memory".to_owned()));
        }
        self.coverage.checks += 1;
        self.master().check = if self.rng.chance(self.plan.check_hangs) { Check::Hangs } else { Check::Runs };
        Input::CheckStarted(Ok(()))
    }

    fn kill_check(&mut self, output: &Output) {
        let check = self.master().check;
        hold!("I27", matches!(check, Check::Runs | Check::Hangs | Check::Killed), "a check that {check:?} is killed");
        self.coverage.checks_killed += 1;
        self.master().check = if *output == Output::KillCheck { Check::Killed } else { Check::None };
    }

    fn outlook(&mut self) -> Outlook {
        hold!("I27", self.master().check == Check::Passed, "a program is looked at that did not pass");
        match () {
            () if self.master().reloading.is_busy() => {
                self.coverage.waited_for_jobs += 1;
                Outlook::Jobs
            }
            () if self.rng.chance(self.plan.program_changes) => Outlook::ProgramChanged,
            () if self.rng.chance(self.plan.log_unread) => Outlook::LogLines,
            () if self.rng.chance(self.plan.handover_fails) => Outlook::Impossible("no program".to_owned()),
            () => Outlook::Clear,
        }
    }

    fn freeze_threads(&mut self) -> Freeze {
        hold!("I27", self.master().threads == Threads::Run, "threads are stopped twice");
        if self.rng.chance(self.plan.threads_busy) {
            return Freeze::Busy;
        }
        self.master().threads = Threads::Stopped;
        Freeze::Done
    }

    /// What was said before the threads stopped is acted on only now.
    fn drain(&mut self) -> Drain {
        hold!("I27", self.master().threads == Threads::Stopped, "drained while the threads run");
        for _ in 0..self.rng.below(1 + DRAINED_MAX) {
            let is_calm = self.plan.steps == 0 || self.plan.deploys;
            if self.ledger.exited || is_calm {
                break;
            }
            let kind = self.rng.pick(&self.plan.kinds);
            let Some(event) = self.happen(kind) else { continue };
            self.coverage.drained += 1;
            self.deliver_in_turn(event);
        }
        if self.rng.below(1_024) < self.plan.stops {
            let stop = self.stop();
            self.deliver_in_turn(Event::CommandGiven(stop));
        }
        let is_busy = self.master().reloading.is_busy();
        match self.ledger.stopping {
            _ if self.ledger.exited => Drain::Ended,
            Some(_) => {
                self.coverage.stopped_late += 1;
                Drain::Stopping
            }
            None if is_busy => {
                self.coverage.jobs_before_exec += 1;
                Drain::Jobs
            }
            None => Drain::Done,
        }
    }

    /// None: the next image has taken over, or it has gone back to this one.
    fn exec_next(&mut self) -> Option<ExecFailure> {
        let master = self.master();
        let is_ready = (master.check, master.threads) == (Check::Passed, Threads::Stopped);
        hold!("I27", is_ready, "an exec of a program that {:?}, threads {:?}", master.check, master.threads);
        hold!("I28", self.ledger.stopping.is_none(), "an exec while the master stops");
        hold!("I28", !self.master().reloading.has_jobs(), "an exec while a job is under way");
        if self.rng.chance(self.plan.handover_fails) {
            return Some(ExecFailure::Failed("no memory".to_owned()));
        }
        if self.rng.chance(self.plan.program_changes) {
            return Some(ExecFailure::ProgramChanged);
        }
        let returns = self.rng.chance(self.plan.goes_back);
        let is_preparing = self.ledger.outstanding.is_some();
        let origin = match (is_preparing, returns) {
            (false, _) => Origin::Elsewhere,
            (true, false) => Origin::Upgrade,
            (true, true) => Origin::Return("it cannot go on".to_owned()),
        };
        if let Some(Master { mut reloading, .. }) = self.master.take() {
            reloading.hand_on();
            self.master = Some(Master::new(origin, reloading));
        }
        self.reexec();
        None
    }
}
