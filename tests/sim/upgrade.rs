//! Upgrades: answers what the pool asks for before one, and judges what it says of it, from the start to the end.

use einhyrningsins::base::Version;
use einhyrningsins::pool::{Event, ExitReason, Notice, Settings, UpgradeFailure};

use crate::deploy::Outcome;
use crate::hold;
use crate::plan::settings;
use crate::run::{Cause, Run, StopSignal};

/// How many failures in a row end an upgrade when only an ack timeout is set.
const RETRIES_WITH_ACK_TIMEOUT: u32 = 3;

impl Run {
    pub fn prepare(&mut self, version: Version) {
        hold!("I11", self.ledger.stopping.is_none(), "an upgrade is prepared while stopping");
        hold!("I9", version > self.ledger.newest, "version {version} is given again");
        // One that was aborted is prepared again by the next image, and dropped there.
        let again = self.step.cause == Cause::Resumed;
        hold!("L3", again || self.ledger.asked.is_some(), "an upgrade is prepared without a request");
        hold!("I18", self.ledger.outstanding.is_none(), "two releases are prepared at once");
        self.ledger.outstanding = Some(version);
        self.ledger.prepared_after = self.ledger.request_count;
        self.coverage.prepared_again += u64::from(matches!(self.step.cause, Cause::Ready(_) | Cause::Refused));
        if self.master.is_some() {
            self.ask_master(version);
        } else if self.rng.chance(self.plan.release_at_once) {
            let answer = self.answer_release();
            self.replies.extend(answer);
        }
    }

    pub fn answer_release(&mut self) -> Option<Event> {
        if self.master.is_some() {
            return self.end_job();
        }
        let version = self.ledger.outstanding?;
        if self.rng.chance(self.plan.refused) {
            return Some(Event::ReleaseRefused { version, reason: String::new() });
        }
        Some(Event::ReleaseReady { version, settings: self.next_settings() })
    }

    /// Those in force, or what was written for the new version.
    pub fn next_settings(&mut self) -> Settings {
        let current = self.ledger.settings;
        if !self.rng.chance(self.plan.renews) {
            return current;
        }
        let renewed = settings(&mut self.rng, self.plan.target_max);
        let renewed = Settings { manner: current.manner, ..renewed };
        let renewed = self.plan.adapt(renewed);
        if self.plan.keeps_target { Settings { target: current.target, ..renewed } } else { renewed }
    }

    pub fn hear_of_upgrade(&mut self, notice: &Notice) {
        self.follow_upgrade(notice);
        match notice {
            Notice::UpgradeStarted { style, from } => {
                hold!("L3", self.ledger.upgrading.is_none(), "an upgrade starts in another");
                hold!("L3", self.ledger.asked == Some(*style), "{style:?} starts, {:?} was asked", self.ledger.asked);
                hold!("I9", *from == self.ledger.modern, "the upgrade starts from {from}");
                self.begin_upgrade();
            }
            Notice::UpgradeStartedOver { acked, .. } => {
                hold!("L3", self.ledger.upgrading.is_some(), "no upgrade starts over");
                hold!("I8", *acked == self.modern_acked(), "{acked} are told as acked");
                self.begin_upgrade();
            }
            Notice::Upgraded { version } => {
                hold!("I9", *version == self.ledger.modern && self.ledger.upgrading.is_some(), "{version} is not new");
                let (serving, target) = (self.modern_serving(), self.ledger.settings.target);
                hold!("I4", serving >= target, "upgraded with {serving} serving of {target}");
                self.take_check();
                self.ledger.finish_upgrade();
            }
            Notice::UpgradeFailed { version, back_to, reason } => self.hear_upgrade_failed(*version, *back_to, reason),
            Notice::UpgradeRefused { .. } => {
                let is_refused = self.step.cause == Cause::Refused;
                hold!("L3", is_refused || self.step.cause == Cause::Abort, "an upgrade is refused that was not");
                if is_refused {
                    self.judge_freshness();
                }
                self.ledger.asked = None;
            }
            Notice::NotUpgradingWhileStopping => {
                hold!("L3", self.ledger.stopping.is_some(), "an upgrade is refused for a stop");
                hold!("L3", self.ledger.asked.is_some(), "a refusal is told twice");
                self.ledger.asked = None;
            }
            Notice::GaveUp { deaths } => {
                let ledger = &self.ledger;
                let Settings { retries, max_failures, .. } = ledger.settings;
                let used_up =
                    retries.is_some_and(|retries| *deaths >= retries) || max_failures > 0 && *deaths > max_failures;
                let just = used_up && *deaths == ledger.deaths && !ledger.ever_acked && ledger.upgrading.is_none();
                hold!("I11", just && ledger.stopping.is_none(), "given up after {deaths} deaths");
                self.begin_giving_up();
            }
            _ => {}
        }
    }

    /// The pool stops by itself.
    pub fn begin_giving_up(&mut self) {
        self.ledger.stopping = Some(ExitReason::GaveUp);
        self.step.stop = Some(StopSignal::Graceful);
        self.step.signalled = 0;
        self.step.signals_left = self.world.workers.iter().filter(|&&at| !self.world.processes[at].told).count();
    }

    /// I26: a deploy may have come between two requests, and nothing that was found before it answers the second.
    fn judge_freshness(&self) {
        let late = self.ledger.request_count - self.ledger.prepared_after;
        hold!("I26", late == 0, "{late} requests are answered by what was found before them");
    }

    fn begin_upgrade(&mut self) {
        let Cause::Ready(version) = self.step.cause else { panic!("L3 broken: an upgrade starts by itself") };
        self.judge_freshness();
        hold!("I9", version > self.ledger.newest, "version {version} is given again");
        let now = self.now;
        self.ledger.begin_upgrade(now, version);
        self.count_on_sound_workers();
        self.draw_release(version);
    }

    fn hear_upgrade_failed(&mut self, version: Version, back_to: Version, reason: &UpgradeFailure) {
        let ledger = &self.ledger;
        let can_go_back =
            back_to == ledger.good || ledger.earlier.contains(&back_to) && *reason == UpgradeFailure::RolledBack;
        hold!("I9", version == ledger.modern && can_go_back, "back from {version} to {back_to}");
        let is_on_trial = ledger.upgrading.is_some() || ledger.trial.is_some();
        hold!("I9", is_on_trial || *reason == UpgradeFailure::RolledBack, "{version} failed, and is good");
        self.judge_giving_up(reason);
        let just = self.is_given_up_justly(reason, back_to);
        let counts = (ledger.failures, ledger.trial);
        hold!("I38", just, "the upgrade failed for {reason:?}, with {counts:?} failures counted");
        self.coverage.given_back += u64::from(ledger.settings != ledger.fallback);
        if self.plan.deploys {
            self.coverage.outcomes.count(&Outcome::of(reason));
        }
        let is_between_trials = *reason == UpgradeFailure::NothingServes && ledger.upgrading.is_some();
        let failures = ledger.good_failures;
        if let UpgradeFailure::Final(_) = reason {
            self.ledger.final_end = None;
        }
        self.ledger.go_back(back_to);
        self.ledger.trial.iter_mut().filter(|_| is_between_trials).for_each(|trial| *trial = failures);
        self.step.went_back = true;
        // Those that were culled before are to be judged by what was old then, and that is no longer known.
        self.step.culled_old = [None; 2];
        for &at in &self.world.workers {
            let process = &mut self.world.processes[at];
            process.excluded_from_target |= process.version == self.ledger.modern && process.told;
        }
    }

    pub fn failure_limit(&self) -> Option<u32> {
        let settings = &self.ledger.settings;
        settings.retries.or(settings.ack_timeout.map(|_| RETRIES_WITH_ACK_TIMEOUT))
    }
}
