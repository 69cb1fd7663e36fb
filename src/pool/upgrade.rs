//! From one version to the next, and back when the next one does not work. Launching and culling follow by themselves
//! from what is modern.

use crate::pool::state::{Preparing, Upgrade};

use crate::base::{Mono, Version};
use crate::pool::action::Action;
use crate::pool::command::UpgradeStyle;
use crate::pool::machine::Pool;
use crate::pool::notice::{Notice, UpgradeFailure};
use crate::pool::settings::Settings;
use crate::pool::worker::{Worker, count};

impl Pool {
    /// One that is asked for while another is being prepared is prepared after it, and takes its place.
    pub(in crate::pool) fn request_upgrade(&mut self, style: UpgradeStyle, actions: &mut Vec<Action>) {
        if self.is_stopping() {
            actions.push(Action::Tell(Notice::NotUpgradingWhileStopping));
            return;
        }
        if let Some(preparing) = &mut self.state.preparing {
            preparing.style = style;
            preparing.asked_again = true;
            return;
        }
        let version = Version(self.state.newest.0 + 1);
        self.state.preparing = Some(Preparing { version, style, asked_again: false });
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
            self.forget_releases(actions);
            return self.prepare_again(version, actions);
        };
        let notice = match self.state.upgrade {
            Some(_) => Notice::UpgradeStartedOver { acked: self.acked_count(), target: self.state.settings.target },
            None => Notice::UpgradeStarted { style: preparing.style, from: self.state.modern },
        };
        actions.push(Action::Tell(notice));
        if self.state.upgrade.is_none() {
            self.state.fallback = self.state.settings;
        }
        self.state.settings = settings;
        self.state.newest = version;
        self.state.modern = version;
        self.state.last_upgraded = Some(now);
        self.state.last_style = Some(preparing.style);
        self.state.backoff = Default::default();
        self.state.upgrade = Some(Upgrade { style: preparing.style, failures: 0 });
        self.state.launch_at_once = preparing.style == UpgradeStyle::Fleet;
    }

    pub(in crate::pool) fn on_release_refused(&mut self, version: Version, reason: String, actions: &mut Vec<Action>) {
        match self.take_prepared(version) {
            Some(_) => actions.push(Action::Tell(Notice::UpgradeRefused { reason })),
            None => self.prepare_again(version, actions),
        }
    }

    /// What was being prepared, if the answer to it answers the last request, too.
    fn take_prepared(&mut self, version: Version) -> Option<Preparing> {
        self.state.preparing.take_if(|preparing| preparing.version == version && !preparing.asked_again)
    }

    /// Once more each time that it was asked for since the last look; so it ends when the requests do.
    fn prepare_again(&mut self, version: Version, actions: &mut Vec<Action>) {
        if let Some(preparing) = self.state.preparing.as_mut().filter(|preparing| preparing.version == version) {
            preparing.asked_again = false;
            actions.push(Action::PrepareRelease { version });
        }
    }

    /// Has dropped what was found in vain. After the end nothing is asked for any more.
    fn forget_releases(&self, actions: &mut Vec<Action>) {
        if !self.is_over() {
            actions.push(Action::KeepReleases { modern: self.state.modern, good: self.state.good });
        }
    }

    /// An upgrade is done when enough new workers serve; the old ones are then culled.
    pub(in crate::pool) fn conclude_upgrade(&mut self, actions: &mut Vec<Action>) {
        let modern = |worker: &Worker| worker.version == self.state.modern && worker.serves();
        if self.state.upgrade.is_none() || count(&self.state.workers, modern) < self.state.settings.target {
            return;
        }
        self.state.upgrade = None;
        self.state.good = self.state.modern;
        self.state.fallback = self.state.settings;
        actions.push(Action::Tell(Notice::Upgraded { version: self.state.modern }));
        actions.push(Action::KeepReleases { modern: self.state.modern, good: self.state.good });
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
                let failures = upgrade.failures;
                if self.state.settings.failure_limit().is_some_and(|limit| failures >= limit) {
                    self.give_up_upgrade(UpgradeFailure::Failures(failures), actions);
                }
            }
            None => self.give_up_start(now, actions),
        }
    }

    /// Goes back to what worked, settings and all. The new workers are now the old ones: they go as theirs did, when others serve.
    pub(in crate::pool) fn give_up_upgrade(&mut self, reason: UpgradeFailure, actions: &mut Vec<Action>) {
        if self.state.upgrade.take().is_none() {
            return;
        }
        let version = std::mem::replace(&mut self.state.modern, self.state.good);
        self.state.settings = self.state.fallback;
        for worker in
            self.state.workers.iter_mut().filter(|worker| worker.version == self.state.good && worker.is_told())
        {
            worker.excluded_from_target = true;
        }
        self.state.backoff = Default::default();
        actions.push(Action::Tell(Notice::UpgradeFailed { version, back_to: self.state.good, reason }));
        actions.push(Action::KeepReleases { modern: self.state.modern, good: self.state.good });
    }

    /// A first start that never served is given up only if the retries were set; a service that served once never is.
    fn give_up_start(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let deaths = self.state.backoff.unacked_deaths;
        let used_up = self.state.settings.retries.is_some_and(|retries| deaths >= retries);
        if used_up && !self.state.ever_acked && !self.is_stopping() {
            actions.push(Action::Tell(Notice::GaveUp { deaths }));
            self.stop_after_giving_up(now, actions);
        }
    }

    /// What a stop means for an upgrade: none is left, whether it had started or not.
    pub(in crate::pool) fn abandon_upgrade(&mut self, actions: &mut Vec<Action>) {
        if self.state.preparing.take().is_some() {
            actions.push(Action::Tell(Notice::NotUpgradingWhileStopping));
        }
        self.give_up_upgrade(UpgradeFailure::Stopping, actions);
    }
}
