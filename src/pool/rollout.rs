//! How an upgrade gets on: stage by stage, with a check and a watch (the bake) between them, until every slot runs the new version. It can
//! be paused. The default is a single stage, without a check.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Mono, Stages, Version, earlier};
use crate::pool::action::Action;
use crate::pool::command::{Terms, UpgradeStyle};
use crate::pool::machine::Pool;
use crate::pool::notice::{Notice, UpgradeFailure};
use crate::pool::settings::Settings;
use crate::pool::worker::{Worker, count};

/// An upgrade under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    pub style: UpgradeStyle,
    /// New workers that died or missed their ack since the last that acked.
    pub failures: u32,
    #[serde(default)]
    pub stages: Stages,
    /// How long each stage but the last is watched.
    #[serde(default)]
    pub bake: Duration,
    /// When it is given up if it is not done; for how long it may take stands beside it.
    #[serde(default)]
    pub deadline: Option<(Mono, Duration)>,
    /// From 0.
    #[serde(default)]
    pub stage: u32,
    #[serde(default)]
    pub phase: Phase,
    /// A worker of the new version was launched in each slot below this one; none of them is taken from it again.
    #[serde(default)]
    pub reached: u32,
    /// Since when it is paused.
    #[serde(default)]
    pub paused: Option<Mono>,
}

/// Where in its stage an upgrade is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The slots of the stage are being filled.
    #[default]
    Filling,
    /// They are, and the check runs.
    Checking,
    /// It has passed; meanwhile a worker may have died.
    Checked,
    /// They are watched.
    Baking {
        until: Mono,
    },
    /// The watch is over, and the check runs once more.
    CheckingAgain,
    CheckedAgain,
}

impl Upgrade {
    pub(in crate::pool) fn begin(now: Mono, style: UpgradeStyle, terms: Terms, settings: &Settings) -> Self {
        Self {
            style,
            failures: 0,
            stages: terms.stages.unwrap_or(settings.stages),
            bake: terms.bake.unwrap_or(settings.bake),
            deadline: terms.deadline.map(|limit| (now.after(limit), limit)),
            stage: 0,
            phase: Phase::Filling,
            reached: 0,
            paused: None,
        }
    }

    /// One that Ruby's einhorn began: it has one stage, and no slots.
    pub fn of_ruby(style: UpgradeStyle) -> Self {
        Self::begin(Mono::from_nanos(0), style, Terms::default(), &Settings::default())
    }

    /// How many slots the stage has, of `target`.
    pub(in crate::pool) fn stage_size(&self, target: u32) -> u32 {
        let wanted = if self.paused.is_some() { 0 } else { self.stages.workers(self.stage, target) };
        wanted.max(self.reached).min(target)
    }

    fn end(&self) -> Option<Mono> {
        self.deadline.filter(|_| self.paused.is_none()).map(|(moment, _)| moment)
    }

    /// What was to come is put off by the pause.
    fn resume(&mut self, now: Mono) {
        let Some(since) = self.paused.take() else { return };
        let pause = now.since(since);
        if let Phase::Baking { until } = &mut self.phase {
            *until = until.after(pause);
        }
        if let Some((moment, _)) = &mut self.deadline {
            *moment = moment.after(pause);
        }
    }
}

impl Pool {
    /// As far as it can go now.
    pub(in crate::pool) fn advance_upgrade(&mut self, now: Mono, actions: &mut Vec<Action>) {
        while let Some(upgrade) = self.state.upgrade.filter(|upgrade| upgrade.paused.is_none()) {
            if let Some((_, limit)) = upgrade.deadline.filter(|(moment, _)| *moment <= now) {
                return self.go_back(UpgradeFailure::DeadlinePassed(limit), actions);
            }
            match upgrade.phase {
                Phase::Checking | Phase::CheckingAgain => return,
                Phase::Baking { until } if until > now => return,
                _ if !self.stage_serves() => return,
                Phase::Filling if self.state.settings.has_check => return self.begin_check(Phase::Checking, actions),
                Phase::Filling | Phase::Checked => self.end_stage(now, actions),
                Phase::Baking { .. } if self.state.settings.has_check => {
                    return self.begin_check(Phase::CheckingAgain, actions);
                }
                Phase::Baking { .. } | Phase::CheckedAgain => self.begin_stage(upgrade.stage + 1),
            }
        }
    }

    /// When it can go on, or is given up, without an event.
    pub(in crate::pool) fn upgrade_deadline(&self) -> Option<Mono> {
        let upgrade = self.state.upgrade.as_ref().filter(|upgrade| upgrade.paused.is_none())?;
        let baked = match upgrade.phase {
            Phase::Baking { until } if self.stage_serves() => Some(until),
            Phase::Baking { .. } | Phase::Filling => None,
            Phase::Checking | Phase::Checked | Phase::CheckingAgain | Phase::CheckedAgain => None,
        };
        earlier(baked, upgrade.end())
    }

    fn stage_serves(&self) -> bool {
        let modern = |worker: &Worker| worker.version == self.state.modern && worker.serves();
        count(&self.state.workers, modern) >= self.stage_size()
    }

    fn begin_check(&mut self, phase: Phase, actions: &mut Vec<Action>) {
        let slots = self.stage_size();
        if let Some(upgrade) = &mut self.state.upgrade {
            upgrade.phase = phase;
            actions.push(Action::RunCheck { version: self.state.modern, slots });
        }
    }

    /// What comes of the check, if it is the one that is waited for.
    pub(in crate::pool) fn on_check_ended(
        &mut self,
        version: Version,
        result: Result<(), String>,
        actions: &mut Vec<Action>,
    ) {
        let Some(upgrade) = self.state.upgrade.as_mut().filter(|_| version == self.state.modern) else { return };
        upgrade.phase = match (upgrade.phase, result) {
            (Phase::Checking | Phase::CheckingAgain, Err(why)) => {
                return self.go_back(UpgradeFailure::CheckFailed(why), actions);
            }
            (Phase::Checking, Ok(())) => Phase::Checked,
            (Phase::CheckingAgain, Ok(())) => Phase::CheckedAgain,
            (other, _) => other,
        };
    }

    /// Its slots serve, and the check has nothing against it.
    fn end_stage(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let (slots, target) = (self.stage_size(), self.state.settings.target);
        let Some(upgrade) = &mut self.state.upgrade else { return };
        if slots >= target {
            return self.finish_upgrade(actions);
        }
        let bake = upgrade.bake;
        upgrade.phase = Phase::Baking { until: now.after(bake) };
        actions.push(Action::Tell(Notice::StageServes { slots, target, bake }));
    }

    fn begin_stage(&mut self, stage: u32) {
        let Some(upgrade) = &mut self.state.upgrade else { return };
        upgrade.stage = stage;
        upgrade.phase = Phase::Filling;
        self.state.launch_at_once |= upgrade.style == UpgradeStyle::Fleet;
    }

    /// A check that another image had begun ended with it.
    pub(in crate::pool) fn check_again(&self, actions: &mut Vec<Action>) {
        let is_checking = |upgrade: &Upgrade| matches!(upgrade.phase, Phase::Checking | Phase::CheckingAgain);
        if self.state.upgrade.as_ref().is_some_and(is_checking) {
            actions.push(Action::RunCheck { version: self.state.modern, slots: self.stage_size() });
        }
    }

    /// Launches no more of the new version than there are.
    pub(in crate::pool) fn pause(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let (target, modern) = (self.state.settings.target, self.state.modern);
        let Some(upgrade) = self.state.upgrade.as_mut().filter(|upgrade| upgrade.paused.is_none()) else { return };
        upgrade.paused = Some(now);
        actions.push(Action::Tell(Notice::Paused { version: modern, slots: upgrade.stage_size(target), target }));
    }

    pub(in crate::pool) fn resume(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let Some(upgrade) = self.state.upgrade.as_mut().filter(|upgrade| upgrade.paused.is_some()) else { return };
        upgrade.resume(now);
        self.state.launch_at_once |= upgrade.style == UpgradeStyle::Fleet;
        actions.push(Action::Tell(Notice::Resumed { version: self.state.modern }));
    }

    /// Whether an upgrade is under way that waits for `resume`.
    pub fn is_paused(&self) -> bool {
        self.state.upgrade.is_some_and(|upgrade| upgrade.paused.is_some())
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
