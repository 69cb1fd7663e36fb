//! Whether a new version is good, and the way back if it is not. A version is on trial from its first worker until each slot has had one
//! that served through its early life. If it fails too often meanwhile, or nothing serves any more, the last good version is launched
//! again at once. The line of versions that can be gone back to is `earlier`, then `good`.

use std::time::Duration;

use crate::base::{Mono, Slot, Version, due, earlier};
use crate::pool::action::Action;
use crate::pool::machine::Pool;
use crate::pool::notice::{Notice, UpgradeFailure};
use crate::pool::settings::Settings;
use crate::pool::state::{Earlier, Trial};
use crate::pool::worker::{Worker, count};

/// So many failures do not give a version up although nothing serves: a single death may be an accident, and the next worker is
/// launched at once.
const ACCIDENTS: u32 = 1;

/// How long a worker of a version on trial may be stopped by a signal. Then it goes: a stopped worker does not end by itself, and a
/// version whose workers stop would stay on trial for ever.
const STOPPED_MAX: Duration = Duration::from_secs(5);

/// How many versions are kept that can be gone back to, beside the last good one.
pub const EARLIER_MAX: usize = 3;

impl Pool {
    /// A trial for the version that begins, if there is one.
    pub(in crate::pool) fn trial_of(settings: &Settings) -> Option<Trial> {
        settings.has_trial().then(Trial::default)
    }

    /// A worker failed, in a slot that is wanted. It counts if its version is on trial, even when the next upgrade is under way.
    pub(in crate::pool) fn count_against_trial(&mut self, version: Version, slot: Slot) {
        if !self.is_in_place(slot, self.state.settings.target) {
            return;
        }
        let state = &mut self.state;
        if version == state.modern {
            state.trial.iter_mut().for_each(|trial| trial.failures = trial.failures.saturating_add(1));
        } else if version == state.good && state.good_is_on_trial && state.upgrade.is_some() {
            state.good_failures = state.good_failures.saturating_add(1);
        }
    }

    /// Nothing serves in an upgrade whose old version is on trial and fails, too. There is a better one to go back to; so the new
    /// version is not waited for.
    fn is_dark_between_trials(&self) -> bool {
        let is_old_on_trial = self.state.good_is_on_trial && self.state.fallback.has_trial();
        let is_old_failing = is_old_on_trial && self.state.good_failures > ACCIDENTS;
        self.state.upgrade.is_some() && is_old_failing && self.serving_count() == 0
    }

    /// Ends the trial, one way or the other.
    pub(in crate::pool) fn judge_trial(&mut self, now: Mono, actions: &mut Vec<Action>) {
        if self.is_stopping() {
            return;
        }
        self.judge_failures(actions);
        if self.is_dark_between_trials() {
            let failures = self.state.good_failures;
            self.go_back(UpgradeFailure::NothingServes, actions);
            self.state.trial.iter_mut().for_each(|trial| trial.failures = failures);
        }
        let Some(trial) = self.state.trial else { return };
        // Settings that came since may say that no failure counts.
        let allowed = self.state.settings.max_failures;
        let (counts, is_done) = (allowed > 0, self.state.upgrade.is_none());
        if counts && trial.failures > allowed && !self.serves_in_full() {
            self.go_back(UpgradeFailure::TooMany(trial.failures), actions);
        } else if counts && is_done && trial.failures > ACCIDENTS && self.serving_count() == 0 {
            self.go_back(UpgradeFailure::NothingServes, actions);
        } else if self.trial_deadline().is_some_and(|moment| moment <= now) {
            self.state.trial = None;
            actions.push(Action::Tell(Notice::TrialPassed { version: self.state.modern }));
            self.prove(actions);
        }
    }

    /// Whether as many of the modern version serve as are wanted.
    pub(in crate::pool) fn serves_in_full(&self) -> bool {
        let modern = |worker: &Worker| worker.version == self.state.modern && worker.serves();
        count(&self.state.workers, modern) >= self.state.settings.target
    }

    /// Workers on trial that have been stopped for too long are told to go. Those that served then count as failures since they were stopped.
    pub(in crate::pool) fn end_stopped(&mut self, now: Mono, actions: &mut Vec<Action>) {
        for at in 0..self.state.workers.len() {
            if !due(self.stopped_limit(&self.state.workers[at]), now) {
                continue;
            }
            let Worker { pid, version, slot, acked_at, stopped_at, .. } = self.state.workers[at];
            actions.push(Action::Tell(Notice::StoppedTooLong { pid, after: STOPPED_MAX }));
            // A timer may have acked it meanwhile.
            if acked_at.is_none_or(|acked_at| stopped_at.is_none_or(|stopped_at| acked_at > stopped_at)) {
                self.count_against_trial(version, slot);
            }
            self.dismiss(now, at, actions);
        }
    }

    pub(in crate::pool) fn stopped_deadline(&self) -> Option<Mono> {
        self.state.workers.iter().map(|worker| self.stopped_limit(worker)).fold(None, earlier)
    }

    fn stopped_limit(&self, worker: &Worker) -> Option<Mono> {
        let counts = self.state.trial.is_some() && worker.version == self.state.modern && !worker.is_told();
        worker.stopped_at.filter(|_| counts).map(|stopped_at| stopped_at.after(STOPPED_MAX))
    }

    /// It was seen that a version does not serve. If it can be given up, it is, at once.
    pub(in crate::pool) fn on_unfit(&mut self, version: Version, reason: String, actions: &mut Vec<Action>) {
        if version == self.state.modern && self.can_be_given_up() {
            self.go_back(UpgradeFailure::Unfit(reason), actions);
        }
    }

    /// When the trial ends if nothing fails: the youngest of as many workers as are wanted comes of age. None: no trial, or not as many
    /// serve.
    pub fn trial_deadline(&self) -> Option<Mono> {
        if self.state.trial.is_none() || self.state.upgrade.is_some() || self.is_stopping() {
            return None;
        }
        let serving = |worker: &&Worker| worker.version == self.state.modern && worker.serves();
        let serving = self.state.workers.iter().filter(serving);
        let mut of_age: Vec<Mono> =
            serving.filter_map(|worker| Some(worker.acked_at?.after(self.state.settings.early_life))).collect();
        of_age.sort_unstable();
        of_age.get(self.state.settings.target as usize - 1).copied()
    }

    /// The modern version is good from now on.
    pub(in crate::pool) fn prove(&mut self, actions: &mut Vec<Action>) {
        self.retire_good();
        self.state.good = self.state.modern;
        self.state.fallback = self.state.settings;
        self.keep_releases(actions);
    }

    /// The version that was good can still be gone back to, after the one that takes its place, if it is known what it ran.
    pub(in crate::pool) fn retire_good(&mut self) {
        let proven = !std::mem::take(&mut self.state.good_is_on_trial);
        if self.state.good == self.state.modern || self.state.adopted == Some(self.state.good) {
            return;
        }
        let good = Earlier { version: self.state.good, settings: self.state.fallback, proven };
        let earlier = &mut self.state.earlier;
        earlier.push(good);
        if earlier.len() > EARLIER_MAX {
            // The last one that is proven stays: all after it may be bad.
            let oldest_is_last_proven = earlier.iter().rposition(|earlier| earlier.proven) == Some(0);
            earlier.remove(usize::from(oldest_is_last_proven));
        }
    }

    /// Goes back to what worked, settings and all. The new workers are now the old ones: they go as theirs did, when others serve. A
    /// version that had not come through its trial goes on with it, if its settings have one.
    pub(in crate::pool) fn go_back(&mut self, reason: UpgradeFailure, actions: &mut Vec<Action>) {
        let state = &mut self.state;
        (state.upgrade, state.trial, state.good_failures) = (None, None, 0);
        let version = std::mem::replace(&mut state.modern, state.good);
        state.settings = state.fallback;
        if std::mem::take(&mut state.good_is_on_trial) && state.settings.has_trial() {
            if let Some(earlier) = state.earlier.pop() {
                state.trial = Self::trial_of(&state.settings);
                (state.good, state.fallback, state.good_is_on_trial) =
                    (earlier.version, earlier.settings, !earlier.proven);
            }
        }
        let back_to = state.modern;
        for worker in state.workers.iter_mut().filter(|worker| worker.version == back_to && worker.is_told()) {
            worker.excluded_from_target = true;
        }
        state.backoff = Default::default();
        state.slots.clear();
        state.down.clear();
        (state.launch_at_once, state.returning) = (true, true);
        actions.push(Action::Tell(Notice::UpgradeFailed { version, back_to, reason }));
        self.keep_releases(actions);
    }

    /// Goes back to this version, or to the last good one before the modern one.
    pub(in crate::pool) fn roll_back(&mut self, to: Option<Version>, actions: &mut Vec<Action>) {
        let Some(version) = self.return_target(to).filter(|_| !self.is_stopping()) else { return };
        if let Some(at) = self.state.earlier.iter().position(|earlier| earlier.version == version) {
            let Earlier { version, settings, proven } = self.state.earlier[at];
            self.state.earlier.truncate(at);
            (self.state.good, self.state.fallback, self.state.good_is_on_trial) = (version, settings, !proven);
        }
        self.go_back(UpgradeFailure::RolledBack, actions);
    }

    /// Where a rollback leads. None: there is nothing to go back to, or not this version.
    pub fn return_target(&self, wanted: Option<Version>) -> Option<Version> {
        let mut known = self.return_targets();
        match wanted {
            Some(version) => known.find(|known| *known == version),
            None => known.next(),
        }
    }

    /// The versions that can be gone back to, the latest first.
    pub fn return_targets(&self) -> impl Iterator<Item = Version> {
        let good = Some(self.state.good).filter(|good| *good != self.state.modern);
        good.into_iter().chain(self.state.earlier.iter().rev().map(|earlier| earlier.version))
    }

    /// Ends the upgrade or the trial under way.
    pub(in crate::pool) fn abort(&mut self, actions: &mut Vec<Action>) {
        if let Some(preparing) = self.state.preparing.as_mut().filter(|preparing| !preparing.dropped) {
            (preparing.dropped, preparing.asked_again) = (true, false);
            actions.push(Action::Tell(Notice::UpgradeRefused { reason: ABORTED.to_owned() }));
        }
        if self.can_be_given_up() {
            self.go_back(UpgradeFailure::Aborted, actions);
        }
    }

    /// Whether the modern version is being rolled out, or has not come through its trial.
    pub fn is_on_trial(&self) -> bool {
        self.state.upgrade.is_some() || self.state.trial.is_some()
    }

    /// Whether it is, and there is another to go back to.
    pub fn can_be_given_up(&self) -> bool {
        self.is_on_trial() && self.state.good != self.state.modern && !self.is_stopping()
    }

    /// Every version that is needed, the modern one first.
    pub fn known_versions(&self) -> Vec<Version> {
        std::iter::once(self.state.modern).chain(self.return_targets()).collect()
    }

    pub(in crate::pool) fn keep_releases(&self, actions: &mut Vec<Action>) {
        actions.push(Action::KeepReleases {
            modern: self.state.modern,
            good: self.state.good,
            earlier: self.earlier(),
        });
    }

    fn earlier(&self) -> Vec<Version> {
        self.state.earlier.iter().map(|earlier| earlier.version).collect()
    }
}

/// Why an upgrade does not begin.
const ABORTED: &str = "it was aborted";

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
