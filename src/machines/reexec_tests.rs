//! Unit tests of the re-exec machine: each step, each way in which it fails, and what comes next.

use super::*;

const VERSION: Version = Version(4);

/// A machine, its clock, and what it has asked for.
struct Play {
    machine: Reexec,
    now: Mono,
    outputs: Vec<Output>,
}

impl Play {
    fn new(origin: Origin) -> Self {
        Self { machine: Reexec::new(origin), now: Mono::from_nanos(1), outputs: Vec::new() }
    }

    /// The outputs of this one input.
    fn tell(&mut self, input: Input) -> Vec<Output> {
        self.outputs.clear();
        self.machine.handle(self.now, input, &mut self.outputs);
        self.outputs.clone()
    }

    fn end_turn(&mut self) -> Vec<Output> {
        self.tell(Input::TurnEnded { master: MasterState::Running })
    }

    /// Goes on to when the machine wants to be asked.
    fn wait(&mut self) {
        self.now = self.machine.deadline().expect("it waits for a moment");
    }

    /// An upgrade was commanded, and its check runs.
    fn checking() -> Self {
        let mut play = Self::new(Origin::Elsewhere);
        let upgrade = Input::Upgrade { version: VERSION, program: NextProgram::Known };
        assert_eq!(play.tell(upgrade), [Output::TellBegin]);
        assert_eq!(play.end_turn(), [Output::StartCheck]);
        assert_eq!(play.tell(Input::CheckStarted(Ok(()))), []);
        play
    }

    fn checked() -> Self {
        let mut play = Self::checking();
        assert_eq!(play.tell(Input::CheckEnded(CheckResult::Passed)), []);
        assert_eq!(play.end_turn(), [Output::Look]);
        play
    }

    fn frozen() -> Self {
        let mut play = Self::checked();
        assert_eq!(play.tell(Input::Looked(Outlook::Clear)), [Output::Freeze]);
        assert_eq!(play.tell(Input::Froze(Freeze::Done)), [Output::Drain]);
        play
    }

    fn is_at_rest(&self) -> bool {
        !self.machine.is_under_way() && self.machine.deadline().is_none()
    }
}

fn given_up(reason: &str) -> Output {
    Output::GiveUp { failure: Failure::Other(reason.to_owned()), version: Some(VERSION) }
}

#[test]
fn reexec_takes_its_steps_in_order() {
    let mut play = Play::frozen();
    assert_eq!(play.tell(Input::Drained(Drain::Done)), [Output::Exec]);
    assert!(play.machine.is_under_way());
}

#[test]
fn new_image_prepares_the_version_that_asked_for_it_once() {
    let mut play = Play::new(Origin::Upgrade);
    let upgrade = || Input::Upgrade { version: VERSION, program: NextProgram::Known };
    assert_eq!(play.tell(upgrade()), [Output::PrepareVersion(VERSION)]);
    assert_eq!(play.tell(upgrade()), [Output::TellBegin], "the next upgrade begins with a re-exec again");
}

#[test]
fn image_that_was_gone_back_to_refuses_the_version_once() {
    let mut play = Play::new(Origin::Return("it is broken".to_owned()));
    let upgrade = || Input::Upgrade { version: VERSION, program: NextProgram::Known };
    let refused = Output::RefuseVersion { version: VERSION, reason: "it is broken".to_owned() };
    assert_eq!(play.tell(upgrade()), [refused]);
    assert_eq!(play.tell(upgrade()), [Output::TellBegin]);
}

#[test]
fn unknown_program_is_no_obstacle_to_an_upgrade_of_the_workers() {
    let mut play = Play::new(Origin::Elsewhere);
    let upgrade = Input::Upgrade { version: VERSION, program: NextProgram::Unknown };
    assert_eq!(play.tell(upgrade), [Output::PrepareVersion(VERSION)]);
    assert!(play.is_at_rest());
}

#[test]
fn second_command_is_part_of_the_first_one() {
    let mut play = Play::new(Origin::Elsewhere);
    let reload = || Input::Reload { master: MasterState::Running };
    assert_eq!(play.tell(reload()), [Output::TellBegin]);
    assert_eq!(play.tell(reload()), []);
    assert_eq!(play.tell(Input::Upgrade { version: VERSION, program: NextProgram::Known }), []);
    play.end_turn();
    let failed = Input::CheckStarted(Err("no memory".to_owned()));
    assert_eq!(play.tell(failed), [given_up("no memory")], "the upgrade waited for the reload");
}

#[test]
fn stopping_master_begins_nothing() {
    let mut play = Play::new(Origin::Elsewhere);
    assert_eq!(play.tell(Input::Reload { master: MasterState::Stopping }), [Output::TellStopping]);
    play.tell(Input::Reload { master: MasterState::Running });
    assert_eq!(play.tell(Input::TurnEnded { master: MasterState::Stopping }), []);
    assert!(play.is_at_rest());
}

#[test]
fn stop_during_the_check_abandons_it() {
    let mut play = Play::checking();
    let outputs = play.tell(Input::TurnEnded { master: MasterState::Stopping });
    assert_eq!(outputs, [Output::AbandonCheck, Output::TellStopping]);
    assert!(play.is_at_rest());
}

#[test]
fn check_that_hangs_is_killed_once() {
    let mut play = Play::checking();
    let end = play.now.after(CHECK_LIMIT);
    assert_eq!(play.machine.deadline(), Some(end));
    assert_eq!(play.end_turn(), []);
    play.wait();
    assert_eq!(play.end_turn(), [Output::KillCheck]);
    assert_eq!(play.end_turn(), [], "its end is awaited");
    let ended = Input::CheckEnded(CheckResult::Failed("it took too long".to_owned()));
    assert_eq!(play.tell(ended), [given_up("it took too long")]);
    assert!(play.is_at_rest());
}

#[test]
fn silent_program_is_asked_for_its_version_with_a_time_of_its_own() {
    let mut play = Play::checking();
    play.now = play.now.after(CHECK_LIMIT / 2);
    assert_eq!(play.tell(Input::CheckEnded(CheckResult::Silent)), [Output::AskVersion]);
    play.tell(Input::CheckStarted(Ok(())));
    assert_eq!(play.machine.deadline(), Some(play.now.after(CHECK_LIMIT)));
    play.tell(Input::CheckEnded(CheckResult::Passed));
    assert_eq!(play.end_turn(), [Output::Look]);
}

#[test]
fn jobs_are_awaited_before_and_behind_the_freeze() {
    let mut play = Play::checked();
    assert_eq!(play.tell(Input::Looked(Outlook::Jobs)), []);
    assert_eq!(play.end_turn(), []);
    play.wait();
    assert_eq!(play.end_turn(), [Output::Look]);
    play.tell(Input::Looked(Outlook::Clear));
    play.tell(Input::Froze(Freeze::Done));
    assert_eq!(play.tell(Input::Drained(Drain::Jobs)), [Output::Thaw]);
    assert_eq!(play.end_turn(), []);
    play.wait();
    assert_eq!(play.end_turn(), [Output::Look]);
}

#[test]
fn unread_log_lines_delay_the_exec_for_a_limited_time() {
    let mut play = Play::checked();
    let begun = play.now;
    for _ in 0..1000 {
        let outputs = play.tell(Input::Looked(Outlook::LogLines));
        if outputs == [Output::Freeze] {
            break;
        }
        assert_eq!(outputs, []);
        play.wait();
        assert_eq!(play.end_turn(), [Output::Look]);
    }
    assert_eq!(play.now.since(begun), LOG_PATIENCE);
}

#[test]
fn busy_threads_are_asked_a_limited_number_of_times() {
    let mut play = Play::checked();
    for _ in 0..FREEZE_TRIES_MAX {
        assert_eq!(play.tell(Input::Looked(Outlook::Clear)), [Output::Freeze]);
        assert_eq!(play.tell(Input::Froze(Freeze::Busy)), []);
        assert_eq!(play.end_turn(), [], "they get time");
        play.wait();
        assert_eq!(play.end_turn(), [Output::Look]);
    }
    play.tell(Input::Looked(Outlook::Clear));
    let outputs = play.tell(Input::Froze(Freeze::Busy));
    assert_eq!(outputs, [Output::GiveUp { failure: Failure::ThreadsBusy, version: Some(VERSION) }]);
}

#[test]
fn program_that_keeps_changing_is_given_up() {
    let mut play = Play::checked();
    for _ in 1..CHECKS_MAX {
        assert_eq!(play.tell(Input::Looked(Outlook::ProgramChanged)), [Output::StartCheck]);
        play.tell(Input::CheckStarted(Ok(())));
        play.tell(Input::CheckEnded(CheckResult::Passed));
        assert_eq!(play.end_turn(), [Output::Look]);
    }
    let outputs = play.tell(Input::Looked(Outlook::ProgramChanged));
    assert_eq!(outputs, [Output::GiveUp { failure: Failure::ProgramKeepsChanging, version: Some(VERSION) }]);
    assert_eq!(play.tell(Input::Reload { master: MasterState::Running }), [Output::TellBegin]);
    assert_eq!(play.end_turn(), [Output::StartCheck], "the next command counts anew");
}

#[test]
fn stop_or_end_that_came_before_the_exec_is_obeyed() {
    for (drain, outputs) in
        [(Drain::Stopping, vec![Output::TellStopping, Output::Thaw]), (Drain::Ended, vec![Output::Thaw])]
    {
        let mut play = Play::frozen();
        assert_eq!(play.tell(Input::Drained(drain)), outputs, "{drain:?}");
        assert!(play.is_at_rest(), "{drain:?}");
    }
}

#[test]
fn upgrade_commanded_before_the_exec_is_handed_on_or_refused() {
    let mut play = Play::frozen();
    let later = Version(5);
    assert_eq!(play.tell(Input::Upgrade { version: later, program: NextProgram::Known }), []);
    play.tell(Input::Drained(Drain::Done));
    let outputs = play.tell(Input::ExecFailed(ExecFailure::Failed("no memory".to_owned())));
    let failure = Failure::Other("no memory".to_owned());
    assert_eq!(outputs, [Output::Thaw, Output::GiveUp { failure, version: Some(later) }]);
}

#[test]
fn failed_exec_thaws_the_threads_first() {
    let mut play = Play::frozen();
    play.tell(Input::Drained(Drain::Done));
    let outputs = play.tell(Input::ExecFailed(ExecFailure::ProgramChanged));
    assert_eq!(outputs, [Output::Thaw, Output::StartCheck]);
}
