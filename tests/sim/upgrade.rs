//! Upgrades: answers what the pool asks for before one, and judges what it says of it, from the start to the end.

use einhyrningsins::base::Version;
use einhyrningsins::pool::{Event, ExitReason, Notice, Settings, UpgradeFailure};

use crate::hold;
use crate::plan::settings;
use crate::run::{Cause, Run, StopSignal};

/// How many failures in a row end an upgrade when only an ack timeout is set.
const RETRIES_WITH_ACK_TIMEOUT: u32 = 3;

impl Run {
    pub fn prepare(&mut self, version: Version) {
        hold!("I11", self.ledger.stopping.is_none(), "an upgrade is prepared while stopping");
        hold!("I9", version > self.ledger.newest, "version {version} is given again");
        hold!("L3", self.ledger.asked.is_some(), "an upgrade is prepared without a request");
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
    fn next_settings(&mut self) -> Settings {
        let current = self.ledger.settings;
        if !self.rng.chance(self.plan.renews) {
            return current;
        }
        let renewed = settings(&mut self.rng, self.plan.target_max);
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
                self.ledger.finish_upgrade();
            }
            Notice::UpgradeFailed { version, back_to, reason } => self.hear_upgrade_failed(*version, *back_to, reason),
            Notice::UpgradeRefused { .. } => {
                hold!("L3", self.step.cause == Cause::Refused, "an upgrade is refused that was not");
                self.judge_freshness();
                self.ledger.asked = None;
            }
            Notice::NotUpgradingWhileStopping => {
                hold!("L3", self.ledger.stopping.is_some(), "an upgrade is refused for a stop");
                hold!("L3", self.ledger.asked.is_some(), "a refusal is told twice");
                self.ledger.asked = None;
            }
            Notice::GaveUp { deaths } => {
                let ledger = &self.ledger;
                let used_up = ledger.settings.retries.is_some_and(|retries| *deaths >= retries);
                let just = used_up && *deaths == ledger.deaths && !ledger.ever_acked && ledger.upgrading.is_none();
                hold!("I11", just && ledger.stopping.is_none(), "given up after {deaths} deaths");
                self.ledger.stopping = Some(ExitReason::GaveUp);
                self.step.stop = Some(StopSignal::Graceful);
                self.step.signalled = 0;
                self.step.signals_left =
                    self.world.workers.iter().filter(|&&at| !self.world.processes[at].told).count();
            }
            _ => {}
        }
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
        self.ledger.begin_upgrade(version);
    }

    fn hear_upgrade_failed(&mut self, version: Version, back_to: Version, reason: &UpgradeFailure) {
        let ledger = &self.ledger;
        hold!("I9", (version, back_to) == (ledger.modern, ledger.good), "back from {version} to {back_to}");
        hold!("I9", ledger.upgrading.is_some(), "an upgrade failed, and none was under way");
        let just = match reason {
            UpgradeFailure::Failures(count) => {
                *count == ledger.failures && self.failure_limit().is_some_and(|limit| *count >= limit)
            }
            UpgradeFailure::Stopping => self.ledger.stopping.is_some(),
        };
        hold!("I9", just, "the upgrade failed for {reason:?}, with {} failures counted", self.ledger.failures);
        self.coverage.given_back += u64::from(self.ledger.settings != self.ledger.fallback);
        self.ledger.give_up_upgrade();
        for &at in &self.world.workers {
            let process = &mut self.world.processes[at];
            process.excluded_from_target |= process.version == self.ledger.good && process.told;
        }
    }

    pub fn failure_limit(&self) -> Option<u32> {
        let settings = &self.ledger.settings;
        settings.retries.or(settings.ack_timeout.map(|_| RETRIES_WITH_ACK_TIMEOUT))
    }
}
