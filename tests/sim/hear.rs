//! Judges what the pool says of what it does. Some of it is known from nowhere else: that a timer acked, that an upgrade
//! started or failed. It is believed only where the world and the ledger say that it may be so.

use std::time::Duration;

use einhyrningsins::pool::{AckIgnored, AckMode, Acked, Asked, EXEC_LIMIT, ExitReason, Mono, Notice, Pid};
use einhyrningsins::pool::{UpgradeFailure, UpgradeStyle, Version};

use crate::hold;
use crate::run::{Cause, Farewell, Run};
use crate::world::Known;

/// How many failures in a row end an upgrade when only an ack timeout is set.
const RETRIES_WITH_ACK_TIMEOUT: u32 = 3;

impl Run {
    pub fn hear(&mut self, notice: &Notice) {
        match notice {
            Notice::LaunchingMany { count } => {
                let fleet = self.ledger.upgrading == Some(UpgradeStyle::Fleet);
                let started = matches!(self.step.cause, Cause::Ready(_)) && fleet || self.step.cause == Cause::Started;
                hold!("I7", started && *count > 0, "{count} are launched at once, without a reason");
                self.step.burst = *count;
            }
            Notice::Relaunching { deaths, .. } => {
                hold!("I7", *deaths == self.ledger.deaths, "{deaths} deaths told, {} counted", self.ledger.deaths);
            }
            Notice::AckIgnored { pid, reason } => self.hear_ack_ignored(*pid, *reason),
            Notice::TimerPassed { pid, .. } => self.hear_timer(*pid),
            Notice::UpTo { acked, target, broken_streak } => {
                hold!("I8", self.ledger.acks_to_tell == 1, "an ack is told that did not come");
                self.ledger.acks_to_tell = 0;
                let told = (*acked, *target, *broken_streak);
                let counted = (self.modern_acked(), self.ledger.settings.target, self.ledger.broken_streak);
                hold!("I8", told == counted, "up to {told:?} is told, {counted:?} counted");
            }
            Notice::AckMissed { pid, .. } => self.hear_missed(*pid),
            Notice::ExecStuck { pid, .. } => {
                let stuck = self.world.worker_at(*pid).map(|at| &self.world.processes[at]).is_some_and(|process| {
                    !process.execed && !process.killed && process.spawned_at.after(EXEC_LIMIT) <= self.now
                });
                hold!("I10", stuck, "{pid} is killed for its exec, too early");
                self.step.kill_announced = Some(*pid);
            }
            Notice::KillingLate { pid, .. } => {
                let late = self.world.of(*pid).is_some_and(|process| {
                    let known = process.known == Known::Worker || process.known == Known::Group;
                    known && !process.killed && process.kill_at.is_some_and(|at| at <= self.now)
                });
                hold!("I10", late, "{pid} is killed before its time, or twice");
                self.step.kill_announced = Some(*pid);
            }
            Notice::Exited { pid, acked, asked, .. } => {
                let process = self.world.of(*pid).expect("it was reported as ended");
                let truth = (process.acked_at.is_some(), process.told);
                hold!("I8", (*acked == Acked::Yes, *asked == Asked::Yes) == truth, "{pid} is told to be otherwise");
            }
            Notice::GroupOutlived { pid } => hold!("I2", self.step.outlived == Some(*pid), "{pid} left nothing"),
            Notice::Lingering { pids, .. } => {
                let stays = |pid: &Pid| {
                    self.world.of(*pid).is_some_and(|process| process.told || process.known == Known::Group)
                };
                hold!("I10", !pids.is_empty() && pids.iter().all(stays), "{pids:?} are said to linger");
                self.ledger.last_linger_note = self.now;
            }
            Notice::UpgradeStarted { .. }
            | Notice::UpgradeStartedOver { .. }
            | Notice::Upgraded { .. }
            | Notice::UpgradeFailed { .. }
            | Notice::UpgradeRefused { .. }
            | Notice::NotUpgradingWhileStopping
            | Notice::GaveUp { .. } => self.hear_of_upgrade(notice),
            Notice::Launched { .. }
            | Notice::LaunchBlocked(_)
            | Notice::AckReceived { .. }
            | Notice::Sending { .. }
            | Notice::Resending { .. }
            | Notice::SentAll { .. }
            | Notice::CullingOld { .. }
            | Notice::CullingGradually { .. }
            | Notice::CullingStale { .. }
            | Notice::CullingSurplus { .. } => {}
        }
    }

    fn hear_ack_ignored(&self, pid: Pid, reason: AckIgnored) {
        let known = self.world.worker_at(pid).is_some();
        let fits = match reason {
            AckIgnored::NotManual => self.ledger.settings.ack != AckMode::Manual,
            AckIgnored::Unknown => !known,
            AckIgnored::Repeated => known && self.ledger.acks_to_tell == 0,
        };
        hold!("I8", fits, "an ack of {pid} is ignored as {reason:?}");
    }

    fn hear_timer(&mut self, pid: Pid) {
        let AckMode::Timer(timeout) = self.ledger.settings.ack else { panic!("I8 broken: a timer acks {pid}") };
        let at = self.world.worker_at(pid).expect("a timer acks a worker");
        let process = &self.world.processes[at];
        let waiting = process.execed && process.acked_at.is_none() && !process.told && !process.killed;
        hold!("I8", waiting && process.spawned_at.after(timeout) <= self.now, "the timer of {pid} has not passed");
        self.ledger.acknowledge(&mut self.world, at, self.now);
    }

    fn hear_missed(&mut self, pid: Pid) {
        let at = self.world.worker_at(pid).expect("a worker misses its ack");
        let process = &self.world.processes[at];
        let due = self.ledger.settings.ack_timeout.map(|timeout| process.spawned_at.after(timeout));
        let waiting = self.ledger.settings.ack == AckMode::Manual && process.acked_at.is_none() && !process.told;
        hold!("I10", waiting && due.is_some_and(|due| due <= self.now), "{pid} has not missed its ack");
        self.step.missed = Some(pid);
        if process.version == self.ledger.modern {
            self.ledger.count_failure();
        }
    }

    fn hear_of_upgrade(&mut self, notice: &Notice) {
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
                self.ledger.upgrading = None;
                self.ledger.good = self.ledger.modern;
            }
            Notice::UpgradeFailed { version, back_to, reason } => self.hear_upgrade_failed(*version, *back_to, reason),
            Notice::UpgradeRefused { .. } => {
                hold!("L3", self.step.cause == Cause::Refused, "an upgrade is refused that was not");
                self.ledger.asked = None;
            }
            Notice::NotUpgradingWhileStopping => {
                hold!("L3", self.ledger.stopping.is_some(), "an upgrade is refused for a stop");
                self.ledger.asked = None;
            }
            Notice::GaveUp { deaths } => {
                let ledger = &self.ledger;
                let used_up = ledger.settings.retries.is_some_and(|retries| *deaths >= retries);
                let just = used_up && *deaths == ledger.deaths && !ledger.ever_acked && ledger.upgrading.is_none();
                hold!("I11", just && ledger.stopping.is_none(), "given up after {deaths} deaths");
                self.ledger.stopping = Some(ExitReason::GaveUp);
                self.step.stop = Some(Farewell::Graceful);
                self.step.signalled = 0;
                self.step.signals_left =
                    self.world.workers.iter().filter(|&&at| !self.world.processes[at].told).count();
            }
            _ => {}
        }
    }

    fn begin_upgrade(&mut self) {
        let Cause::Ready(version) = self.step.cause else { panic!("L3 broken: an upgrade starts by itself") };
        hold!("I9", version > self.ledger.newest, "version {version} is given again");
        self.ledger.newest = version;
        self.ledger.modern = version;
        self.ledger.upgrading = self.ledger.asked.take();
        self.forget_failures();
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
        self.ledger.upgrading = None;
        self.ledger.modern = self.ledger.good;
        for &at in &self.world.workers {
            let process = &mut self.world.processes[at];
            process.written_off |= process.version == self.ledger.good && process.told;
        }
        self.forget_failures();
    }

    fn forget_failures(&mut self) {
        self.ledger.deaths = 0;
        self.ledger.failures = 0;
        self.ledger.failed_launches = 0;
    }

    pub fn failure_limit(&self) -> Option<u32> {
        let settings = &self.ledger.settings;
        settings.retries.or(settings.ack_timeout.map(|_| RETRIES_WITH_ACK_TIMEOUT))
    }

    /// Every worker and every group hears of it now, once.
    pub fn begin_stop(&mut self, stop: Farewell) {
        self.step.stop = Some(stop);
        let groups = self.world.processes.iter().filter(|process| process.known == Known::Group).count();
        self.step.signals_left = self.world.workers.len() + groups;
    }

    pub fn modern_acked(&self) -> u32 {
        let modern = self.world.workers.iter().map(|&at| &self.world.processes[at]);
        let modern = modern.filter(|process| process.version == self.ledger.modern);
        modern.filter(|process| process.acked_at.is_some() && !process.told).count() as u32
    }

    pub fn modern_serving(&self) -> u32 {
        let modern = self.world.workers.iter().map(|&at| &self.world.processes[at]);
        modern.filter(|process| process.version == self.ledger.modern && process.serves()).count() as u32
    }

    pub fn moment(&self, nanos_ahead: u64) -> Mono {
        self.now.after(Duration::from_nanos(nanos_ahead))
    }
}
