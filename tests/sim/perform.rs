//! Does what the pool asks for, in the model world, and judges each action at the moment it is done, in order.

use std::time::Duration;

use einhyrningsins::base::{Pid, Signal, Slot, Version, WorkerIndex};
use einhyrningsins::pool::{Action, Event, ExitReason, Manner, Settings};

use crate::hold;
use crate::ledger::earlier;
use crate::run::{Cause, Run, StopSignal};
use crate::world::{Known, Launching, Life, Process};

/// How long a worker that missed its ack timeout may take to end, at the most.
const UNACKED_GRACE: Duration = Duration::from_secs(10);

impl Run {
    pub fn perform(&mut self, action: &Action) {
        hold!("I11", !self.ledger.exited, "{action:?} after Exit");
        match action {
            Action::PrepareRelease { version } => self.prepare(*version),
            Action::KeepReleases { modern, good, earlier } => {
                let ledger = &mut self.ledger;
                let known = (*modern, *good, earlier) == (ledger.modern, ledger.good, &ledger.earlier);
                hold!("I9", known, "kept {modern}, {good} and {earlier:?}");
                ledger.releases.retain(|version| version == modern || version == good || earlier.contains(version));
                self.keep_configurations();
                let late = matches!(self.step.cause, Cause::Ready(_)) && self.ledger.stopping.is_some();
                self.coverage.found_too_late += u64::from(late);
            }
            Action::SpawnWorker { index, slot, version } => self.spawn(*index, *slot, *version),
            Action::RunCheck { version, slots } => self.run_check(*version, *slots),
            Action::SignalWorker { .. } | Action::SignalGroup { .. } if self.step.spawned => {
                panic!("I1 broken: {action:?} after a launch, whose child may have been given that pid")
            }
            Action::SignalWorker { pid, signal } => self.signal_worker(*pid, *signal),
            Action::SignalGroup { pid, signal } => self.signal_group(*pid, *signal),
            Action::ReapWorker { pid } => self.reap(*pid),
            Action::Tell(notice) => self.hear(notice),
            Action::Exit(reason) => self.exit(*reason),
        }
    }

    fn spawn(&mut self, index: WorkerIndex, slot: Slot, version: Version) {
        self.step.spawned = true;
        let ledger = &self.ledger;
        hold!("I11", ledger.stopping.is_none(), "a worker is launched while stopping");
        let of_later_stage = ledger.rollout.as_ref().is_some_and(|rollout| rollout.is_staged(ledger.settings.target));
        let is_modern = version == ledger.modern;
        let is_wanted = is_modern || version == ledger.good && of_later_stage;
        hold!("I9", is_wanted, "version {version} is launched, modern is {}", ledger.modern);
        hold!("I9", ledger.releases.contains(&version), "version {version} was forgotten and is launched");
        hold!("I44", !ledger.is_down(slot, version), "slot {slot} is filled, and no restart mends it");
        let launching = ledger.launching.len() as u32;
        let (mut modern, mut unacked, mut held) = (0, launching, 0_u128);
        for &at in &self.world.workers {
            let process = &self.world.processes[at];
            let is_modern = process.version == ledger.modern;
            let is_counted = process.told || !ledger.is_surplus(process);
            modern += u32::from(is_modern && !process.excluded_from_target && is_counted);
            unacked += u32::from(is_modern && process.acked_at.is_none() && !process.told);
            held |= 1 << process.index.0;
            let is_there = process.slot == slot
                && !process.told
                && (process.version == version || !is_modern && version == ledger.good && of_later_stage);
            hold!("I33", !is_there, "{} fills slot {slot} already", process.pid);
        }
        for launch in &ledger.launching {
            held |= 1 << launch.index.0;
            let same =
                launch.slot == slot && (launch.version == version || !is_modern && launch.version != ledger.modern);
            hold!("I33", !same, "slot {slot} is being filled already");
        }
        let Settings { target, max_upgrade_additional, max_surge, .. } = ledger.settings;
        let launching_modern = ledger.launching.iter().filter(|launch| launch.version == ledger.modern).count() as u32;
        hold!("I33", slot.0 < target, "slot {slot} is above the target {target}");
        hold!(
            "I22",
            !is_modern || modern + launching_modern < target,
            "launched with {modern} modern and {launching_modern} launching of {target}"
        );
        let index_wanted = match ledger.settings.manner {
            Manner::Einhorn => held.trailing_ones(),
            Manner::Own => slot.0,
        };
        hold!("I3", index.0 == index_wanted, "index {index} is not {index_wanted}");
        let living = self.world.workers.len() as u32 + launching;
        let room = max_upgrade_additional.is_none_or(|additional| living < target + additional);
        hold!("I6", room, "launched beside {living} living, target {target}");
        let untold = self.staying() + launching;
        let room = max_surge.is_none_or(|surge| untold < target + surge.rounded_up(target));
        hold!("I6", room, "launched beside {untold} that stay, target {target}");
        if self.step.burst > 0 {
            self.step.burst -= 1;
        } else {
            self.judge_single_launch(unacked, slot, version);
        }
        if is_modern {
            self.judge_stage(slot.0);
        }
        self.ledger.last_spinup = Some(self.now);
        self.ledger.last_asked = self.now;
        let graceful = self.ledger.set_for(version).graceful;
        self.ledger.launching.push(Launching { index, slot, version, graceful });
        let reply = self.fork(index, slot, version);
        self.replies.push_back(reply);
    }

    fn fork(&mut self, index: WorkerIndex, slot: Slot, version: Version) -> Event {
        match self.world.fork(&mut self.rng, &self.plan) {
            Some(pid) => {
                let recycled = self.world.of(pid).is_some_and(|process| process.known == Known::Group);
                self.coverage.recycled_early += u64::from(recycled);
                self.afflict(pid, slot, version);
                // One that fails for want of pids says nothing about the pool.
                self.strength.note_launch();
                Event::WorkerSpawned { pid, index, version }
            }
            None => Event::SpawnFailed { index, version },
        }
    }

    fn judge_single_launch(&self, unacked: u32, slot: Slot, version: Version) {
        let max = self.ledger.settings.max_unacked;
        hold!("I6", unacked < max || self.ledger.returning, "launched with {unacked} unacked of {max}");
        if let Some(moment) = self.ledger.not_before(slot, version) {
            let early = moment.since(self.now);
            hold!("I7", early.is_zero(), "slot {slot} is filled {early:?} too early");
        }
    }

    fn signal_worker(&mut self, pid: Pid, signal: Signal) {
        let Some(at) = self.world.worker_at(pid) else {
            panic!("I1 broken: {signal} goes to {pid}, which the pool has let go");
        };
        let first_in_step = self.step.signalled & (1 << at) == 0;
        let process = &self.world.processes[at];
        let stop = self.stop_by(process, signal).filter(|_| !process.told || self.step.stops_told);
        self.step.signalled |= 1 << at;
        if self.step.forwards_left > 0 {
            let is_forwarded = self.step.cause == Cause::Forward(signal) && self.step.is_addressed(pid);
            hold!("I11", is_forwarded && first_in_step, "{signal} goes to {pid} instead of what is passed on");
            self.step.forwards_left -= 1;
            // A stop may follow in this step, perhaps by the same signal.
            if self.step.forwards_left == 0 {
                self.step.signalled = 0;
            }
        } else if let Some(stop) = stop.filter(|_| first_in_step) {
            self.step.signals_left -= 1;
            self.note_told(at, signal, self.ledger.stop_grace(stop));
        } else {
            self.judge_cull(at, signal);
            let timeout = self.ledger.settings.signal_timeout;
            let missed = self.step.missed == Some(pid);
            let grace = if missed { Some(timeout.unwrap_or(UNACKED_GRACE).min(UNACKED_GRACE)) } else { timeout };
            self.note_told(at, signal, grace);
        }
        self.world.signal(at, signal);
    }

    /// The stop under way, if it sends this signal to this process or to what it left.
    fn stop_by(&self, process: &Process, signal: Signal) -> Option<StopSignal> {
        self.step.stop.filter(|stop| stop.signal(process.graceful) == signal)
    }

    fn note_told(&mut self, at: usize, signal: Signal, grace: Option<Duration>) {
        self.note_deafness(at);
        let process = &mut self.world.processes[at];
        if !process.told {
            process.told = true;
            process.told_at = self.now;
        }
        process.kill_at = earlier(process.kill_at, grace.map(|grace| self.now.after(grace)));
        let bit = 1 << (signal.number() - 1);
        if process.signals & bit == 0 {
            process.last_signal = signal;
        }
        process.signals |= bit;
    }

    /// A worker is told to go, and no command asked for it.
    fn judge_cull(&mut self, at: usize, signal: Signal) {
        let process = &self.world.processes[at];
        let pid = process.pid;
        let is_ending = self.ledger.stopping.is_some() && self.ledger.stop_due.is_none();
        hold!("I11", !is_ending, "{pid} is culled while stopping");
        hold!("I23", signal == process.graceful, "{pid} is culled by {signal}, not by {}", process.graceful);
        hold!("I10", !process.told, "{pid} is culled twice");
        let target = self.ledger.settings.target;
        let old = process.version != self.ledger.modern;
        let is_moving = self.ledger.rollout.as_ref().map_or(self.ledger.returning, |rollout| !rollout.is_paused());
        let unavailable = if old && is_moving { self.ledger.settings.unavailable() } else { 0 };
        if process.serves() {
            let before = self.world.serving();
            hold!("I4", before + unavailable > target, "{pid} of {before} serving is culled, target {target}");
            if old {
                let latest = &mut self.step.culled_old[usize::from(self.is_replaced(process.slot))];
                *latest = (*latest).max(Some(process.serial));
            }
        }
        if !old && self.step.missed != Some(pid) {
            let surplus = match self.ledger.settings.manner {
                Manner::Own => process.slot.0 >= target,
                Manner::Einhorn => self.modern_untold() > target,
            };
            hold!("I33", surplus, "{pid} is culled as surplus from slot {}", process.slot);
        }
    }

    fn signal_group(&mut self, pid: Pid, signal: Signal) {
        let Some(at) = self.world.at(pid) else { panic!("I1 broken: {signal} goes to an unknown group {pid}") };
        let stop = self.stop_by(&self.world.processes[at], signal);
        let process = &mut self.world.processes[at];
        let announced = self.step.kill_announced == Some(pid) && signal == Signal::KILL;
        match process.known {
            Known::Worker => {
                hold!("I10", announced, "{signal} goes to the group of {pid}, which lives");
                process.killed = true;
            }
            Known::Group => {
                hold!("I1", process.life != Life::Alive, "{signal} goes to {pid}, which is another worker by now");
                if announced {
                    process.killed = true;
                } else if self.step.outlived == Some(pid) {
                    hold!("I10", signal == process.last_signal, "what {pid} left hears {signal}");
                    process.killed = signal == Signal::KILL;
                    self.step.outlived = None;
                } else {
                    hold!("I1", stop.is_some(), "{signal} goes to what {pid} left, without a reason");
                    self.step.signals_left -= 1;
                    process.last_signal = signal;
                    let grace = stop.and_then(|stop| self.ledger.stop_grace(stop));
                    process.kill_at = earlier(process.kill_at, grace.map(|grace| self.now.after(grace)));
                }
            }
            Known::Ended if self.step.strays.contains(&pid) => {
                hold!("I10", signal == process.last_signal, "what {pid} is hears {signal}");
                process.killed = signal == Signal::KILL;
                process.known = Known::Group;
                self.step.strays.retain(|stray| *stray != pid);
            }
            Known::Ended | Known::Nothing => panic!("I1 broken: {signal} goes to the group {pid}, which is no more"),
        }
        self.step.kill_announced = None;
        self.world.signal_group(at, signal);
    }

    fn reap(&mut self, pid: Pid) {
        hold!("I2", self.step.reap == Some(pid), "{pid} is reaped and has not just ended");
        self.step.reap = None;
        let at = self.world.at(pid).expect("it was reported as ended");
        let Some(group) = self.world.reap(at) else { panic!("I2 broken: {pid} is reaped and no zombie") };
        self.replies.push_back(Event::WorkerReaped { pid, group });
    }

    fn exit(&mut self, reason: ExitReason) {
        hold!("I11", Some(reason) == self.ledger.stopping, "exit for {reason:?}, not {:?}", self.ledger.stopping);
        let left = self.world.workers.len() + self.ledger.leftover_count + self.ledger.launching.len();
        hold!("I11", left == 0, "exit with {left} left");
        let alive = self.world.processes.iter().any(|process| process.life != Life::Free);
        hold!("I11", !alive, "exit while a process lives or waits to be reaped");
        let waits = self.master.as_ref().is_some_and(|master| master.reloading.has_waiting_clients());
        hold!("I30", !waits, "exit while a client waits for the end of an upgrade");
        (self.ledger.exited, self.ledger.stop_due, self.ledger.term_due) = (true, None, None);
        self.coverage.ended += 1;
    }
}
