//! From one version to the next. Launching and culling follow by themselves from what is modern; the stages are in `rollout`, and the way
//! back in `trial`.

use crate::base::{Mono, Version};
use crate::pool::action::Action;
use crate::pool::command::{Terms, UpgradeStyle};
use crate::pool::machine::Pool;
use crate::pool::notice::{Notice, UpgradeFailure};
use crate::pool::settings::Settings;
use crate::pool::stage::Upgrade;
use crate::pool::state::Preparing;

impl Pool {
    /// One that is asked for while another is being prepared is prepared after it, and takes its place.
    pub(in crate::pool) fn request_upgrade(&mut self, style: UpgradeStyle, terms: Terms, actions: &mut Vec<Action>) {
        if self.is_stopping() {
            actions.push(Action::Tell(Notice::NotUpgradingWhileStopping));
            return;
        }
        if let Some(preparing) = &mut self.state.preparing {
            *preparing = Preparing { style, terms, asked_again: true, dropped: false, ..*preparing };
            return;
        }
        let version = Version(self.state.newest.0 + 1);
        self.state.preparing = Some(Preparing { version, style, terms, asked_again: false, dropped: false });
        actions.push(Action::PrepareRelease { version });
    }

    /// The settings come with the version. One that starts over goes back, if it must, to what worked before the first.
    pub(in crate::pool) fn on_release_ready(
        &mut self,
        now: Mono,
        version: Version,
        settings: Settings,
        actions: &mut Vec<Action>,
    ) {
        assert!(settings.target >= 1, "a pool has at least one worker");
        let Some(preparing) = self.take_prepared(version) else {
            if !self.is_over() {
                self.keep_releases(actions);
            }
            return self.prepare_again(version, actions);
        };
        let notice = match self.state.upgrade {
            Some(_) => Notice::UpgradeStartedOver { acked: self.acked_count(), target: self.state.settings.target },
            None => Notice::UpgradeStarted { style: preparing.style, from: self.state.modern },
        };
        actions.push(Action::Tell(notice));
        if self.state.upgrade.is_none() {
            self.begin_behind_modern();
        }
        self.state.settings = settings;
        self.state.newest = version;
        self.state.modern = version;
        self.state.last_upgraded = Some(now);
        self.state.last_style = Some(preparing.style);
        self.state.backoff = Default::default();
        self.state.slots.clear();
        self.state.down.clear();
        self.state.returning = false;
        self.state.trial = Self::trial_of(&settings);
        self.state.upgrade = Some(Upgrade::begin(now, preparing.style, preparing.terms, &settings));
        self.state.launch_at_once = preparing.style == UpgradeStyle::Fleet;
        self.keep_releases(actions);
    }

    /// What an upgrade goes back to is the version before it, if that has served in every slot, even while it is on trial; then it
    /// goes on with its trial.
    fn begin_behind_modern(&mut self) {
        if self.state.trial.take().is_some() {
            self.retire_good();
            self.state.good = self.state.modern;
            (self.state.good_is_on_trial, self.state.good_failures) = (true, 0);
        }
        self.state.fallback = self.state.settings;
    }

    pub(in crate::pool) fn on_release_refused(&mut self, version: Version, reason: String, actions: &mut Vec<Action>) {
        match self.take_prepared(version) {
            Some(_) => actions.push(Action::Tell(Notice::UpgradeRefused { reason })),
            None => self.prepare_again(version, actions),
        }
    }

    /// What was being prepared, if the answer to it answers the last request, too.
    fn take_prepared(&mut self, version: Version) -> Option<Preparing> {
        let found = self.state.preparing.take_if(|preparing| preparing.version == version && !preparing.asked_again);
        found.filter(|preparing| !preparing.dropped)
    }

    /// Once more each time that it was asked for since the last look; so it ends when the requests do.
    fn prepare_again(&mut self, version: Version, actions: &mut Vec<Action>) {
        if let Some(preparing) = self.state.preparing.as_mut().filter(|preparing| preparing.version == version) {
            preparing.asked_again = false;
            actions.push(Action::PrepareRelease { version });
        }
    }

    /// An upgrade is done when enough new workers serve; the old ones are then culled. Its version may still be on trial.
    pub(in crate::pool) fn finish_upgrade(&mut self, actions: &mut Vec<Action>) {
        // A pause may have put off the launch of all, which is no longer needed.
        (self.state.upgrade, self.state.good_failures, self.state.launch_at_once) = (None, 0, false);
        actions.push(Action::Tell(Notice::Upgraded { version: self.state.modern }));
        if self.state.trial.is_none() {
            self.prove(actions);
        }
    }

    /// A worker died before its ack, or missed it. Only those of the wanted version say something about it.
    pub(in crate::pool) fn on_failure(&mut self, now: Mono, version: Version, actions: &mut Vec<Action>) {
        if version != self.state.modern {
            return;
        }
        self.state.backoff.on_unacked_death();
        match &mut self.state.upgrade {
            Some(upgrade) => {
                upgrade.failures = upgrade.failures.saturating_add(1);
                self.judge_failures(actions);
            }
            None => self.give_up_start(now, actions),
        }
    }

    /// Too many failures in a row end an upgrade, unless the new version serves in full.
    pub(in crate::pool) fn judge_failures(&mut self, actions: &mut Vec<Action>) {
        let failures = self.upgrade_failures();
        let are_many = self.state.settings.failure_limit().is_some_and(|limit| failures >= limit);
        if self.state.upgrade.is_some() && are_many && !self.serves_in_full() {
            self.go_back(UpgradeFailure::Failures(failures), actions);
        }
    }

    /// A first start that never served is given up only if a limit was set; a service that served once never is.
    fn give_up_start(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let deaths = self.state.backoff.unacked_deaths;
        let Settings { retries, max_failures, .. } = self.state.settings;
        let used_up = retries.is_some_and(|retries| deaths >= retries) || max_failures > 0 && deaths > max_failures;
        if used_up && !self.state.ever_acked && !self.is_stopping() {
            actions.push(Action::Tell(Notice::GaveUp { deaths }));
            self.stop_after_giving_up(now, actions);
        }
    }

    /// What a stop means for an upgrade: none is left, whether it had started or not.
    pub(in crate::pool) fn abandon_upgrade(&mut self, actions: &mut Vec<Action>) {
        if self.state.preparing.take().is_some_and(|preparing| !preparing.dropped) {
            actions.push(Action::Tell(Notice::NotUpgradingWhileStopping));
        }
        if self.state.upgrade.is_some() {
            self.go_back(UpgradeFailure::Stopping, actions);
        }
        self.state.trial = None;
    }
}
