//! How an upgrade gets on: stage by stage, with a check and a watch (the bake) between them, until every slot runs the new version. It can
//! be paused. The default is a single stage, without a check.

use crate::base::{Mono, Version, earlier};
use crate::pool::action::Action;
use crate::pool::command::UpgradeStyle;
use crate::pool::machine::Pool;
use crate::pool::notice::{Notice, UpgradeFailure};
use crate::pool::stage::{Phase, Upgrade};
use crate::pool::worker::{Worker, count};

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
                Phase::Filling | Phase::Checked | Phase::Baking { .. } | Phase::CheckedAgain
                    if !self.stage_serves() =>
                {
                    return;
                }
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

    pub(in crate::pool) fn stage_serves(&self) -> bool {
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

    /// Whether the upgrade under way is this version's and goes on with what its check says.
    pub fn waits_for_check_of(&self, version: Version) -> bool {
        let is_checking = |upgrade: &Upgrade| matches!(upgrade.phase, Phase::Checking | Phase::CheckingAgain);
        !self.is_stopping() && version == self.state.modern && self.state.upgrade.as_ref().is_some_and(is_checking)
    }

    /// A check that another image had begun is ended by this one.
    pub(in crate::pool) fn check_again(&self, actions: &mut Vec<Action>) {
        if self.waits_for_check_of(self.state.modern) {
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
