//! The stages of an upgrade and the trial of its version, as the simulator knows them. Held:
//! - I33 a slot has one worker of a version at a time that was not told to go, none above the target is launched, and at rest the
//!   slots are 0 to the target; I34 no more slots run a new version than its stage allows, and each stage is watched as long as was
//!   asked for; nothing goes on while it is paused; I35 a stage ends, and an upgrade, only if the check passes that was asked for.
//! - I36 a version is given up when it fails more often than it may, or when nothing serves, and never while it serves in every
//!   slot; what is gone back to is launched in the same step, as far as there is room. I37 a version is good when as many
//!   of its workers as are wanted have outlived their early life, and at no other time. I38 an end by a command, a deadline or a check has that
//!   cause.

use std::time::Duration;

use einhyrningsins::base::{Mono, Stages, Version};
use einhyrningsins::pool::{Command, Event, Notice, Settings, Terms, UpgradeFailure};

use crate::deploy::Outcome;
use crate::hold;
use crate::ledger::has_trial;
use crate::plan::stages;
use crate::run::{Cause, Run};
use crate::world::Process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    None,
    Runs,
    Passed,
}

/// An upgrade under way.
#[derive(Clone, Debug)]
pub struct Rollout {
    stages: Stages,
    bake: Duration,
    deadline: Option<(Mono, Duration)>,
    /// How many stages have served, and when the last of them did.
    served: u32,
    since: Mono,
    /// The slots below it had a worker of the new version launched.
    reached: u32,
    paused: Option<Mono>,
    check: Check,
    /// How many checks have passed since the last stage served.
    passes: u32,
}

impl Rollout {
    pub fn begin(now: Mono, terms: Terms, settings: &Settings) -> Self {
        Self {
            stages: terms.stages.unwrap_or(settings.stages),
            bake: terms.bake.unwrap_or(settings.bake),
            deadline: terms.deadline.map(|limit| (now.after(limit), limit)),
            served: 0,
            since: now,
            reached: 0,
            paused: None,
            check: Check::None,
            passes: 0,
        }
    }

    pub fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Whether it waits although its workers serve.
    pub fn is_held(&self, now: Mono) -> bool {
        self.is_paused() || self.served > 0 && self.since.after(self.bake) > now
    }

    pub fn pause(&mut self, now: Mono) {
        self.paused.get_or_insert(now);
    }

    pub fn resume(&mut self, now: Mono) {
        let Some(since) = self.paused.take() else { return };
        let pause = now.since(since);
        self.since = self.since.after(pause);
        self.deadline = self.deadline.map(|(moment, limit)| (moment.after(pause), limit));
    }

    pub fn note_check(&mut self, passed: bool) {
        if self.check == Check::Runs {
            self.check = if passed { Check::Passed } else { Check::None };
            self.passes += u32::from(passed);
        }
    }

    /// Whether not all slots may run the new version by now.
    pub fn is_staged(&self, target: u32) -> bool {
        self.least_size(target) < target
    }

    /// From outside, the end of a watch cannot be seen: the stage is between these two. The later one may be the smaller.
    pub fn least_size(&self, target: u32) -> u32 {
        let of_stage = |stage| self.stages.workers(stage, target);
        let stage = of_stage(self.served.saturating_sub(1)).min(of_stage(self.served));
        let stage = if self.is_paused() { 0 } else { stage };
        stage.max(self.reached).min(target)
    }

    pub fn most_size(&self, target: u32) -> u32 {
        let of_stage = |stage| self.stages.workers(stage, target);
        of_stage(self.served.saturating_sub(1)).max(of_stage(self.served)).max(self.least_size(target))
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.deadline.filter(|_| !self.is_paused()).map(|(moment, _)| moment)
    }

    /// Whether a stage was watched for as long as it shall be.
    pub fn is_baked(&self, now: Mono) -> bool {
        self.served > 0 && self.since.after(self.bake) <= now
    }

    /// Whether a check runs.
    pub fn is_checked(&self) -> bool {
        self.check == Check::Runs
    }

    /// How long it may still go on if nothing goes wrong, beside the launches.
    pub fn watched(&self) -> Duration {
        self.bake * einhyrningsins::base::STAGES_MAX as u32
    }
}

impl Run {
    /// A worker of the new version is launched.
    pub fn judge_stage(&mut self, slot: u32) {
        let (Settings { target, has_check, .. }, now) = (self.ledger.settings, self.now);
        let Some(rollout) = &mut self.ledger.rollout else { return };
        let (least, most) = (rollout.least_size(target), rollout.most_size(target));
        hold!("I34", slot < most, "slot {slot} runs the new version, at most {most} may");
        hold!("I34", !rollout.is_paused() || slot < least, "slot {slot} runs the new version in a pause");
        if slot >= least.max(rollout.stages.workers(rollout.served.saturating_sub(1), target)) {
            let watched = rollout.since.after(rollout.bake) <= now;
            hold!("I34", !rollout.is_paused() && watched, "slot {slot} runs the new version too early");
            let checked = !has_check || rollout.served == 0 || rollout.passes > 0;
            hold!("I35", checked, "slot {slot} runs the new version, and no check has ended the watch");
        }
        rollout.reached = rollout.reached.max(slot + 1);
    }

    pub fn run_check(&mut self, version: Version, slots: u32) {
        let (modern, has_check) = (self.ledger.modern, self.ledger.settings.has_check);
        hold!("I35", has_check && version == modern, "a check runs for {version}, modern is {modern}");
        let (serving, again) = (self.modern_serving(), self.step.cause == Cause::Resumed);
        let rollout = self.ledger.rollout.as_mut().expect("a check belongs to an upgrade");
        hold!("I35", again || rollout.check != Check::Runs, "two checks run at once");
        hold!("I34", again || serving >= slots, "{slots} slots are checked, {serving} serve");
        rollout.check = Check::Runs;
    }

    /// The check may end for a version that is gone, too.
    pub fn end_version_check(&mut self) -> Option<Event> {
        let runs = self.ledger.rollout.as_ref().is_some_and(Rollout::is_checked);
        if !runs {
            return None;
        }
        let version = if self.rng.one_in(16) { Version(self.ledger.modern.0 + 1) } else { self.ledger.modern };
        let result = if self.rng.chance(self.plan.version_fails) { Err("no".to_owned()) } else { Ok(()) };
        Some(Event::CheckEnded { version, result })
    }

    /// What a client may say of it.
    pub fn terms(&mut self) -> Terms {
        if self.rng.one_in(2) {
            return Terms::default();
        }
        let ms = Duration::from_millis;
        Terms {
            stages: Some(stages(&mut self.rng)),
            bake: self.rng.pick(&[None, Some(ms(0)), Some(ms(500)), Some(ms(20_000))]),
            deadline: self.rng.pick(&[None, None, None, Some(ms(1)), Some(ms(10_000)), Some(ms(600_000))]),
        }
    }

    pub fn staged_command(&mut self) -> Command {
        match self.rng.below(4) {
            0 => Command::Pause,
            1 => Command::Resume,
            2 => Command::Abort,
            _ => {
                let version = Version(self.rng.below(self.ledger.newest.0 + 1));
                Command::RollBack(self.rng.pick(&[None, None, Some(version)]))
            }
        }
    }

    pub fn hear_of_rollout(&mut self, notice: &Notice) {
        let (target, now) = (self.ledger.settings.target, self.now);
        match notice {
            Notice::StageServes { slots, .. } => {
                let serving = self.modern_serving();
                hold!("I34", serving >= *slots && *slots < target, "{slots} of {target} are a stage, {serving} serve");
                self.take_check();
                let rollout = self.ledger.rollout.as_mut().expect("a stage belongs to an upgrade");
                hold!("I34", !rollout.is_paused(), "a stage ends in a pause");
                // Without a launch between them, several stages may end in one step.
                let watched = rollout.served == 0 || rollout.since.after(rollout.bake) <= now;
                hold!("I34", watched, "the next stage ends before the last was watched");
                (rollout.served, rollout.since) = (rollout.served + 1, now);
            }
            Notice::Paused { slots, .. } => {
                let reached = self.ledger.rollout.as_ref().map(|rollout| rollout.least_size(target));
                hold!("I34", reached == Some(*slots), "paused at {slots} slots, {reached:?} were reached");
            }
            Notice::Resumed { .. } => hold!("I34", self.ledger.rollout.is_some(), "nothing goes on"),
            Notice::TrialPassed { version } => {
                hold!("I37", *version == self.ledger.modern && self.ledger.upgrading.is_none(), "{version} is good");
                let of_age = self.of_age();
                hold!("I37", self.ledger.trial.is_some() && of_age >= target, "{of_age} of {target} are of age");
                self.ledger.prove();
                if self.plan.deploys {
                    self.coverage.outcomes.count(&Outcome::Passed);
                }
            }
            _ => {}
        }
    }

    /// The check that allows what is told now.
    pub fn take_check(&mut self) {
        let has_check = self.ledger.settings.has_check;
        let Some(rollout) = &mut self.ledger.rollout else { return };
        let check = std::mem::replace(&mut rollout.check, Check::None);
        hold!("I35", !has_check || check == Check::Passed, "it goes on, and its check: {check:?}");
        // The watch of the stage before ended with one, too.
        let (passes, wanted) = (std::mem::take(&mut rollout.passes), if rollout.served > 0 { 2 } else { 1 });
        hold!("I35", !has_check || passes == wanted, "{passes} checks have passed, not {wanted}");
    }

    /// Modern workers that serve and have outlived their early life.
    pub fn of_age(&self) -> u32 {
        let early_life = self.ledger.settings.early_life;
        let modern = self.world.workers.iter().map(|&at| &self.world.processes[at]);
        let modern = modern.filter(|process| process.version == self.ledger.modern && process.serves());
        modern.filter(|process| process.acked_at.is_some_and(|at| at.after(early_life) <= self.now)).count() as u32
    }

    /// Whether there was a reason to give the version up.
    pub fn is_given_up_justly(&self, reason: &UpgradeFailure, back_to: Version) -> bool {
        let ledger = &self.ledger;
        let is_full = self.modern_serving() >= ledger.settings.target;
        let allowed = ledger.settings.max_failures;
        match reason {
            UpgradeFailure::Failures(count) => {
                *count == ledger.failures && self.failure_limit().is_some_and(|limit| *count >= limit) && !is_full
            }
            UpgradeFailure::Stopping => ledger.stopping.is_some(),
            UpgradeFailure::TooMany(count) => {
                ledger.trial == Some(*count) && allowed > 0 && *count > allowed && !is_full
            }
            UpgradeFailure::NothingServes => {
                let failed = match ledger.upgrading {
                    None => allowed > 0 && ledger.trial.is_some_and(|failures| failures > 1),
                    Some(_) => {
                        let is_on_trial = has_trial(&ledger.fallback) && !ledger.proven.contains(&ledger.good);
                        is_on_trial && ledger.good_failures > 1
                    }
                };
                failed && self.world.serving() == 0
            }
            UpgradeFailure::CheckFailed(_) => self.step.cause == Cause::CheckFailed && ledger.settings.has_check,
            UpgradeFailure::Unfit(_) => self.step.cause == Cause::Unfit(ledger.modern),
            UpgradeFailure::DeadlinePassed(_) => {
                ledger.rollout.as_ref().and_then(Rollout::deadline).is_some_and(|moment| moment <= self.now)
            }
            UpgradeFailure::Aborted => self.step.cause == Cause::Abort,
            UpgradeFailure::RolledBack => {
                matches!(self.step.cause, Cause::RollBack(to) if to.is_none_or(|to| to == back_to))
            }
            UpgradeFailure::Final(code) => {
                let ended = ledger.final_end.map(|end| (end.version, end.code));
                ended == Some((ledger.modern, *code))
            }
        }
    }

    /// Workers that were not told to go, and are not to go as soon as those of the slots below serve.
    pub fn staying(&self) -> u32 {
        let is_surplus = |process: &Process| process.version == self.ledger.modern && self.ledger.is_surplus(process);
        let workers = self.world.workers.iter().map(|&at| &self.world.processes[at]);
        workers.filter(|process| !process.told && !is_surplus(process)).count() as u32
    }

    /// I36: when it was gone back in this step, all that is missing is on its way.
    pub fn audit_return(&self, modern: u32) {
        let Settings { target, max_upgrade_additional, max_surge, .. } = self.ledger.settings;
        let launching = self.ledger.launching.len() as u32;
        let down = self.ledger.count_down(self.ledger.modern, target);
        if !self.step.went_back || self.ledger.stopping.is_some() || modern + launching + down >= target {
            return;
        }
        let living = self.world.workers.len() as u32 + launching;
        let untold = self.staying() + launching;
        let is_full = max_upgrade_additional.is_some_and(|additional| living >= target + additional)
            || max_surge.is_some_and(|surge| untold >= target + surge.rounded_up(target));
        hold!("I36", is_full, "{modern} and {launching} of {target} are there again, and there is room");
    }
}
