//! Judges what the pool says of what it does. Some of it is known from nowhere else: that a timer acked, that an upgrade
//! started or failed. It is believed only where the world and the ledger say that it may be so.

use std::time::Duration;

use einhyrningsins::base::{Mono, Pid, Slot};
use einhyrningsins::pool::{
    AckIgnored, AckMode, Acked, Asked, EXEC_LIMIT, Notice, Settings, TERM_GRACE, UpgradeStyle, WAIT_NOTE, Wait,
};

use crate::hold;
use crate::ledger::earlier;
use crate::run::{Cause, Run, StopSignal};
use crate::world::{Known, Process};

/// How long a worker on trial may be stopped.
const STOPPED_MAX: Duration = Duration::from_secs(5);

/// A trial allows no ack to be waited for for ever.
pub fn ack_limit(set: &Settings) -> Option<Duration> {
    let has_trial = set.early_life > Duration::ZERO && set.max_failures > 0;
    set.ack_timeout.or(has_trial.then_some(Duration::from_secs(90)))
}

impl Run {
    pub fn hear(&mut self, notice: &Notice) {
        match notice {
            Notice::LaunchingMany { count } => {
                let fleet = self.ledger.upgrading == Some(UpgradeStyle::Fleet);
                let started = self.step.cause == Cause::Started || fleet || self.step.went_back;
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
            Notice::StoppedTooLong { pid, .. } => self.hear_stopped(*pid),
            Notice::ExecStuck { pid, .. } => self.hear_exec_stuck(*pid),
            Notice::KillingLate { pid, .. } => self.hear_killing_late(*pid),
            Notice::Exited { pid, acked, asked, .. } => {
                let process = self.world.of(*pid).expect("it was reported as ended");
                let truth = (process.acked_at.is_some(), process.told);
                hold!("I8", (*acked == Acked::Yes, *asked == Asked::Yes) == truth, "{pid} is told to be otherwise");
            }
            Notice::GroupHasSurvivors { .. } | Notice::LeftElsewhere { .. } | Notice::Daemonized { .. } => {
                self.hear_of_leftovers(notice);
            }
            Notice::Lingering { pids, .. } => {
                let stays = |pid: &Pid| {
                    self.world.of(*pid).is_some_and(|process| process.told || process.known == Known::Group)
                };
                hold!("I10", !pids.is_empty() && pids.iter().all(stays), "{pids:?} are said to linger");
                self.ledger.last_linger_note = self.now;
            }
            Notice::UpgradeWaits { wait, .. } => self.hear_wait(wait),
            Notice::StageServes { .. }
            | Notice::Paused { .. }
            | Notice::Resumed { .. }
            | Notice::TrialPassed { .. } => self.hear_of_rollout(notice),
            Notice::StopDelayed { delay } => self.hear_of_delay(*delay),
            Notice::NothingServes => self.hear_of_darkness(),
            Notice::StartIsVain { .. } | Notice::SlotStaysDown { .. } => self.hear_of_final_end(notice),
            Notice::UpgradeStarted { .. }
            | Notice::UpgradeStartedOver { .. }
            | Notice::Upgraded { .. }
            | Notice::UpgradeFailed { .. }
            | Notice::UpgradeRefused { .. }
            | Notice::NotUpgradingWhileStopping
            | Notice::GaveUp { .. } => self.hear_of_upgrade(notice),
            Notice::Launched { .. }
            | Notice::LaunchBlocked(_)
            | Notice::SlotWaits { .. }
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

    fn hear_of_darkness(&mut self) {
        let dark = self.world.serving() == 0 && self.ledger.ever_acked && !self.ledger.dark;
        hold!("I36", dark, "nothing is said to serve, {} do", self.world.serving());
        self.ledger.dark = true;
    }

    /// When TERM follows, once this is known: a stop gives an upgrade up, and its settings with it.
    pub fn note_term(&mut self) {
        if self.step.stop == Some(StopSignal::GracefulThenTerm) && !self.ledger.exited {
            let patience = self.ledger.settings.signal_timeout.unwrap_or(TERM_GRACE).max(Duration::from_millis(1));
            self.ledger.term_due = earlier(self.ledger.term_due, Some(self.now.after(patience)));
        }
    }

    /// What is not reaped yet, or is found beside its worker, hears of a stop of this step when that has come to pass.
    pub fn note_stop_of_ended(&mut self) {
        let Some(stop) = self.step.stop.filter(|_| self.step.stops_told) else { return };
        let kill_at = self.ledger.stop_grace(stop).map(|grace| self.now.after(grace));
        for process in self.world.processes.iter_mut().filter(|process| process.known == Known::Ended) {
            process.last_signal = stop.signal(process.graceful);
            process.kill_at = earlier(process.kill_at, kill_at);
        }
    }

    fn hear_of_delay(&self, delay: Duration) {
        let due = self.ledger.stop_due.map(|(due, _)| due);
        hold!("I11", due == Some(self.now.after(delay)), "the workers are told at {due:?}, not in {delay:?}");
    }

    /// I43: only a long wait is told, of a worker that is as it says. Which wait it is of several, the unit tests of the pool show.
    fn hear_wait(&mut self, wait: &Wait) {
        let by = wait.worker().expect("only a wait for a worker is told");
        let process = self.world.worker_at(by.pid).map(|at| &self.world.processes[at]).expect("it is listed");
        let (acked, told) = (process.acked_at.is_some(), process.told);
        let is_so = match wait {
            Wait::Ack { .. } | Wait::Timer { .. } => !acked && !told && by.since == process.spawned_at,
            Wait::Continue { .. } => process.stopped && !told,
            Wait::Exit { .. } => told && by.since == process.told_at,
            Wait::Resume { .. } | Wait::Check | Wait::Bake { .. } | Wait::Launch { .. } => false,
        };
        hold!("I43", is_so && self.ledger.upgrading.is_some(), "{wait:?} is told, and is none");
        hold!("I43", by.since.after(WAIT_NOTE) <= self.now, "{wait:?} is told too early");
    }

    fn hear_of_leftovers(&mut self, notice: &Notice) {
        match notice {
            Notice::GroupHasSurvivors { pid } => hold!("I2", self.step.outlived == Some(*pid), "{pid} left nothing"),
            Notice::LeftElsewhere { group, .. } => {
                hold!("I2", self.step.strays.contains(group), "{group} was not left, or is told already");
            }
            Notice::Daemonized { pid, .. } => {
                let told = self.ledger.daemon_to_tell.take();
                hold!("I2", told == Some(*pid), "{pid} is said to be in the background");
            }
            other => panic!("I2 broken: {other:?} is not about what is left"),
        }
    }

    fn hear_exec_stuck(&mut self, pid: Pid) {
        let stuck = self.world.worker_at(pid).map(|at| &self.world.processes[at]).is_some_and(|process| {
            !process.execed && !process.killed && process.spawned_at.after(EXEC_LIMIT) <= self.now
        });
        hold!("I10", stuck, "{pid} is killed for its exec, too early");
        self.step.kill_announced = Some(pid);
    }

    fn hear_killing_late(&mut self, pid: Pid) {
        let late = self.world.of(pid).is_some_and(|process| {
            let known = process.known == Known::Worker || process.known == Known::Group;
            known && !process.killed && process.kill_at.is_some_and(|at| at <= self.now)
        });
        hold!("I10", late, "{pid} is killed before its time, or twice");
        self.step.kill_announced = Some(pid);
    }

    fn hear_ack_ignored(&self, pid: Pid, reason: AckIgnored) {
        let known = self.world.worker_at(pid).map(|at| &self.world.processes[at]);
        let manual = self.ledger.settings.ack == AckMode::Manual;
        let fits = match reason {
            AckIgnored::NotManual => !known.map_or(manual, |process| self.ledger.acks_by_hand(process)),
            AckIgnored::Unknown => known.is_none(),
            AckIgnored::Repeated => known.is_some() && self.ledger.acks_to_tell == 0,
        };
        hold!("I8", fits, "an ack of {pid} is ignored as {reason:?}");
    }

    fn hear_timer(&mut self, pid: Pid) {
        let at = self.world.worker_at(pid).expect("a timer acks a worker");
        let process = &self.world.processes[at];
        let set = self.ledger.set_for(process.version);
        let AckMode::Timer(timeout) = set.ack else { panic!("I25 broken: a timer acks {pid}, for which none is set") };
        let waiting = process.execed && process.acked_at.is_none() && !process.told && !process.killed;
        hold!("I8", waiting && process.spawned_at.after(timeout) <= self.now, "the timer of {pid} has not passed");
        self.coverage.acked_otherwise += u64::from(set.ack != self.ledger.settings.ack);
        self.ledger.acknowledge(&mut self.world, at, self.now);
    }

    fn hear_missed(&mut self, pid: Pid) {
        let at = self.world.worker_at(pid).expect("a worker misses its ack");
        let process = &self.world.processes[at];
        let set = self.ledger.set_for(process.version);
        let due = ack_limit(set).map(|timeout| process.spawned_at.after(timeout));
        hold!("I25", set.ack == AckMode::Manual, "{pid} misses an ack that was not expected");
        let waiting = process.acked_at.is_none() && !process.told;
        hold!("I10", waiting && due.is_some_and(|due| due <= self.now), "{pid} has not missed its ack");
        self.step.missed = Some(pid);
        let process = *process;
        self.ledger.count_failure(&process, self.now);
    }

    fn hear_stopped(&mut self, pid: Pid) {
        let process = *self.world.of(pid).expect("a worker was stopped");
        let stopped_at = self.ledger.stopped_at.get(&pid).copied();
        let is_late = stopped_at.is_some_and(|moment| moment.after(STOPPED_MAX) <= self.now);
        let on_trial = self.ledger.trial.is_some() && process.version == self.ledger.modern;
        hold!("I10", process.stopped && !process.told && is_late && on_trial, "{pid} goes, and may stay stopped");
        self.step.missed = Some(pid);
        match process.acked_at {
            None => self.ledger.count_failure(&process, self.now),
            Some(acked_at) => {
                self.ledger.note_young_death(&process, self.now);
                if stopped_at.is_some_and(|moment| acked_at > moment) {
                    self.ledger.count_against_trial(&process);
                }
            }
        }
    }

    /// Every worker and every group hears of it now, once.
    pub fn begin_stop(&mut self, stop: StopSignal) {
        (self.step.stop, self.step.stops_told) = (Some(stop), true);
        // What becomes known as left in this step hears of a stop whose time has come, too.
        let is_left = |it: &&Process| it.known == Known::Group || self.step.strays.contains(&it.pid);
        let groups = self.world.processes.iter().filter(is_left).count();
        self.step.signals_left = self.world.workers.len() + groups;
    }

    /// Whether a new worker serves in this slot.
    pub fn is_replaced(&self, slot: Slot) -> bool {
        let modern = |process: &Process| process.version == self.ledger.modern && process.slot == slot;
        self.world.workers.iter().any(|&at| modern(&self.world.processes[at]) && self.world.processes[at].serves())
    }

    pub fn modern_untold(&self) -> u32 {
        let modern = self.world.workers.iter().map(|&at| &self.world.processes[at]);
        modern.filter(|process| process.version == self.ledger.modern && !process.told).count() as u32
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
