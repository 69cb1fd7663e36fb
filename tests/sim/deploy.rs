//! Deploys of good and bad releases, with every command at any moment, where nothing else goes wrong: no process is killed from outside, no
//! launch is refused, and time moves only when nothing else can happen. Held at the end:
//! - I41 whatever was commanded last (abort, rollback, a pause and what ends it, or nothing), one version serves in every slot and nothing
//!   is under way, within bounded steps and time, as long as the last version that came through its trial is sound. If it is not, an upgrade
//!   to a sound one leads there.

use std::time::Duration;

use einhyrningsins::pool::{Command, Event, Terms, UpgradeFailure, UpgradeStyle};

use crate::hold;
use crate::release::Fault;
use crate::rollout::Rollout;
use crate::run::Run;

/// How a version ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failures,
    TooMany,
    NothingServes,
    CheckFailed,
    Unfit,
    DeadlinePassed,
    Aborted,
    RolledBack,
    Final,
}

impl Outcome {
    pub fn of(reason: &UpgradeFailure) -> Self {
        match reason {
            UpgradeFailure::Failures(_) => Self::Failures,
            UpgradeFailure::TooMany(_) => Self::TooMany,
            UpgradeFailure::NothingServes => Self::NothingServes,
            UpgradeFailure::CheckFailed(_) => Self::CheckFailed,
            UpgradeFailure::Unfit(_) => Self::Unfit,
            UpgradeFailure::DeadlinePassed(_) => Self::DeadlinePassed,
            UpgradeFailure::Aborted => Self::Aborted,
            UpgradeFailure::RolledBack => Self::RolledBack,
            UpgradeFailure::Final(_) => Self::Final,
            UpgradeFailure::Stopping => panic!("no deploy ends with a stop"),
        }
    }
}

/// What is commanded at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastWord {
    None,
    Abort,
    RollBack,
    RollBackTo,
    PauseResume,
    PauseAbort,
    PauseRollBack,
}

const LAST_WORDS: [LastWord; 7] = [
    LastWord::None,
    LastWord::Abort,
    LastWord::RollBack,
    LastWord::RollBackTo,
    LastWord::PauseResume,
    LastWord::PauseAbort,
    LastWord::PauseRollBack,
];

/// How many turns at most lie between a pause and what ends it.
const PAUSE_TURNS: u64 = 50;

/// Each step back may lead to a version that is on trial again, and one launch of each trial may take as long as a bad worker lives.
const STEPS_BACK: u32 = 6;
const LIVES_S: u64 = 400;

impl Run {
    pub fn deploy(&mut self) {
        self.record_state();
        self.deliver(Event::Started);
        self.converge();
        // A first start that is given up is the end of the master.
        if self.ledger.exited {
            return;
        }
        while self.step_count < self.plan.steps {
            let stuck = self.is_stuck();
            hold!(
                "I39",
                !stuck || !self.is_short() || self.is_any_stopped(),
                "too few serve, and nothing is waited for"
            );
            if stuck || self.rng.chance(self.plan.commands) {
                let command = self.operate();
                self.deliver(Event::CommandGiven(command));
            } else {
                self.calm_once();
            }
        }
        self.say_last_word();
        self.converge();
        self.coverage.settled += 1;
    }

    fn operate(&mut self) -> Command {
        self.measure_strength_anew();
        match self.rng.below(16) {
            0..=4 => self.upgrade(UpgradeStyle::Smooth),
            5..=8 => self.upgrade(UpgradeStyle::Fleet),
            9 => self.set_target(),
            10 | 11 => Command::Resume,
            _ => self.staged_command(),
        }
    }

    fn say_last_word(&mut self) {
        let word = self.rng.pick(&LAST_WORDS);
        self.coverage.last_words.count(&word);
        self.trace.line(|| format!("         the last word: {word:?}"));
        let known = self.pool.known_versions();
        let known = self.rng.pick(&known);
        match word {
            LastWord::None => {}
            LastWord::Abort => self.give(Command::Abort),
            LastWord::RollBack => self.give(Command::RollBack(None)),
            LastWord::RollBackTo => self.give(Command::RollBack(Some(known))),
            LastWord::PauseResume => self.pause_until(Command::Resume),
            LastWord::PauseAbort => self.pause_until(Command::Abort),
            LastWord::PauseRollBack => self.pause_until(Command::RollBack(None)),
        }
    }

    fn give(&mut self, command: Command) {
        self.measure_strength_anew();
        self.deliver(Event::CommandGiven(command));
    }

    fn pause_until(&mut self, command: Command) {
        self.give(Command::Pause);
        for _ in 0..self.rng.below(PAUSE_TURNS) {
            self.calm_once();
        }
        self.give(command);
    }

    /// What would wait for ever is called off, as an operator would.
    fn converge(&mut self) {
        let (steps, time) = (self.step_bound() * u64::from(STEPS_BACK), self.time_to_converge());
        let (steps_max, ends_at) = (self.step_count + steps, self.now.after(time));
        let mut is_mended = false;
        while !self.is_at_rest() || self.is_lost() {
            is_mended &= self.is_sound_coming();
            match () {
                // The old workers may be bad ones, which die on for as long as it lasts.
                () if self.is_paused() => self.give(Command::Abort),
                () if self.is_lost() && !is_mended => {
                    is_mended = true;
                    self.deploy_sound();
                }
                () if self.is_stuck() && self.is_waited_for() => self.launch_down_slots(),
                () if self.is_stuck() => {
                    is_mended = false;
                    self.call_off();
                }
                () => self.calm_once(),
            }
            hold!("I41", self.step_count < steps_max, "not at rest after {steps} steps");
            hold!("I41", self.now < ends_at, "not at rest after {time:?}");
        }
        hold!("I41", self.next_moment().is_none(), "at rest, and a deadline is named");
    }

    fn call_off(&mut self) {
        hold!("I39", !self.is_short() || self.is_any_stopped(), "too few serve, and nothing is waited for");
        if self.is_lost() && self.let_stopped_go_on() {
            return;
        }
        hold!("I41", self.ledger.upgrading.is_some() || self.is_lost(), "not at rest, and waiting for nothing");
        self.give(Command::Abort);
    }

    /// Nothing takes the place of a stopped worker that is not on trial, until it goes on.
    fn is_any_stopped(&self) -> bool {
        self.world.workers.iter().any(|&at| self.world.processes[at].stopped && !self.world.processes[at].told)
    }

    fn is_paused(&self) -> bool {
        self.ledger.rollout.as_ref().is_some_and(Rollout::is_paused)
    }

    /// A bad version has come through its trial: its faults come late, or seldom.
    fn deploy_sound(&mut self) {
        (self.plan.bad_releases, self.plan.refused, self.plan.version_fails) = (0, 0, 0);
        self.give(Command::Upgrade { style: UpgradeStyle::Smooth, terms: Terms::default() });
    }

    /// An upgrade to one may end in the version before, when the one between fails, too.
    fn is_sound_coming(&self) -> bool {
        let is_deploying = self.ledger.upgrading.is_some() || self.pool.is_preparing();
        is_deploying || self.releases.fault(self.ledger.modern) == Fault::Sound
    }

    /// Nothing can happen, and nothing is due.
    fn is_stuck(&self) -> bool {
        self.next_moment().is_none() && self.next_fate().is_none() && !self.something_can_happen()
    }

    fn time_to_converge(&self) -> Duration {
        let lives = Duration::from_secs(LIVES_S) * (self.plan.target_max + 21);
        (self.time_bound() + lives) * STEPS_BACK
    }
}
