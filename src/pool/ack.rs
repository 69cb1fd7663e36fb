//! When a worker counts as serving, and what happens to one that never does.

use std::time::Duration;

use crate::base::{AckMode, Mono, Pid, Signal, due, earlier};
use crate::pool::action::Action;
use crate::pool::machine::Pool;
use crate::pool::notice::{AckIgnored, Notice};
use crate::pool::settings::{EXEC_LIMIT, Settings, UNACKED_GRACE};
use crate::pool::worker::{Ping, StopSignal, Worker};

impl Pool {
    pub(in crate::pool) fn on_execed(&mut self, pid: Pid) {
        self.change(pid, |worker| worker.execed = true);
    }

    /// A manual ack. Late, repeated and foreign ones change nothing.
    pub(in crate::pool) fn on_ack(&mut self, now: Mono, pid: Pid, actions: &mut Vec<Action>) {
        let known = self.state.workers.iter().position(|worker| worker.pid == pid);
        let settings = known.map_or(&self.state.settings, |at| self.settings_of(&self.state.workers[at]));
        if settings.ack != AckMode::Manual {
            return ignore(pid, AckIgnored::NotManual, actions);
        }
        actions.push(Action::Tell(Notice::AckReceived { pid }));
        match known {
            None => ignore(pid, AckIgnored::Unknown, actions),
            Some(at) if self.state.workers[at].is_acked() => ignore(pid, AckIgnored::Repeated, actions),
            Some(at) => self.acknowledge(now, at, actions),
        }
    }

    pub(in crate::pool) fn on_ping(&mut self, pid: Pid, ping: Ping, actions: &mut Vec<Action>) {
        let Some(worker) = self.state.workers.iter_mut().find(|worker| worker.pid == pid) else {
            return ignore(pid, AckIgnored::Unknown, actions);
        };
        worker.ping = Some(ping);
    }

    /// Acks whose timer has run out, and the end of waiting for those that will not come.
    pub(in crate::pool) fn run_ack_timers(&mut self, now: Mono, actions: &mut Vec<Action>) {
        for at in 0..self.state.workers.len() {
            if let Some((after, _)) = self.ack_timer(&self.state.workers[at]).filter(|&(_, moment)| moment <= now) {
                actions.push(Action::Tell(Notice::TimerPassed { pid: self.state.workers[at].pid, after }));
                self.acknowledge(now, at, actions);
            }
            if due(exec_limit(&self.state.workers[at]), now) {
                self.kill_stuck(now, at, actions);
            }
            if due(self.ack_limit(&self.state.workers[at]), now) {
                self.miss_ack(now, at, actions);
            }
        }
    }

    pub(in crate::pool) fn ack_deadline(&self) -> Option<Mono> {
        let of = |worker| {
            let timer = self.ack_timer(worker).map(|(_, moment)| moment);
            earlier(earlier(timer, exec_limit(worker)), self.ack_limit(worker))
        };
        self.state.workers.iter().map(of).fold(None, earlier)
    }

    /// By whose settings a worker is judged: an old one is another program, to which those of the new version mean nothing.
    pub(in crate::pool) fn settings_of(&self, worker: &Worker) -> &Settings {
        if worker.version == self.state.modern { &self.state.settings } else { &self.state.fallback }
    }

    /// Whether an ack is still expected. No ack of an abandoned version is: its settings are gone, and `cull` stops its workers
    /// in this step. If a stop with a delay has given the version up, they are told with all others when the delay is over.
    fn is_awaited(&self, worker: &Worker) -> bool {
        let wanted = worker.version == self.state.modern || worker.version == self.state.good;
        wanted && !worker.is_acked() && !worker.is_told()
    }

    /// After how long, and when, the timer acks it. A child that hangs before its program is no worker yet, and is not acked.
    fn ack_timer(&self, worker: &Worker) -> Option<(Duration, Mono)> {
        let AckMode::Timer(timeout) = self.settings_of(worker).ack else { return None };
        let waiting = worker.execed && !worker.killed && self.is_awaited(worker);
        waiting.then(|| (timeout, worker.spawned_at.after(timeout)))
    }

    /// When its manual ack is overdue.
    pub(in crate::pool) fn ack_limit(&self, worker: &Worker) -> Option<Mono> {
        let settings = self.settings_of(worker);
        let timeout = settings.ack_limit()?;
        let waiting = settings.ack == AckMode::Manual && self.is_awaited(worker);
        waiting.then(|| worker.spawned_at.after(timeout))
    }

    fn acknowledge(&mut self, now: Mono, at: usize, actions: &mut Vec<Action>) {
        let worker = &mut self.state.workers[at];
        worker.acked_at = Some(now);
        worker.execed = true;
        let mut broken_streak = 0;
        if worker.version == self.state.modern {
            broken_streak = self.state.backoff.on_ack();
            if let Some(upgrade) = &mut self.state.upgrade {
                upgrade.failures = 0;
            }
        }
        let Worker { slot, version, .. } = self.state.workers[at];
        self.note_ack_in_slot(slot, version);
        self.state.ever_acked = true;
        let notice = Notice::UpTo { acked: self.acked_count(), target: self.state.settings.target, broken_streak };
        actions.push(Action::Tell(notice));
    }

    fn miss_ack(&mut self, now: Mono, at: usize, actions: &mut Vec<Action>) {
        let Worker { pid, version, slot, spawned_at, .. } = self.state.workers[at];
        actions.push(Action::Tell(Notice::AckMissed { pid, after: now.since(spawned_at) }));
        self.count_against_trial(version, slot);
        self.dismiss(now, at, actions);
    }

    /// The worker is told to go because it does not serve, and counts as dead now: when it ends, it will have been asked to.
    pub(in crate::pool) fn dismiss(&mut self, now: Mono, at: usize, actions: &mut Vec<Action>) {
        let dismissed = self.state.workers[at].clone();
        let grace = self.state.settings.signal_timeout.map_or(UNACKED_GRACE, |timeout| timeout.min(UNACKED_GRACE));
        self.tell_to_go(now, &[dismissed.pid], StopSignal::Graceful, Some(grace), actions);
        self.note_death_in_slot(now, &dismissed, actions);
        if !dismissed.is_acked() {
            self.on_failure(now, dismissed.version, actions);
        }
    }

    fn kill_stuck(&mut self, now: Mono, at: usize, actions: &mut Vec<Action>) {
        let worker = &mut self.state.workers[at];
        worker.killed = true;
        let pid = worker.pid;
        actions.push(Action::Tell(Notice::ExecStuck { pid, after: now.since(worker.spawned_at) }));
        actions.push(Action::SignalGroup { pid, signal: Signal::KILL });
    }
}

fn exec_limit(worker: &Worker) -> Option<Mono> {
    (!worker.execed && !worker.killed).then(|| worker.spawned_at.after(EXEC_LIMIT))
}

fn ignore(pid: Pid, reason: AckIgnored, actions: &mut Vec<Action>) {
    actions.push(Action::Tell(Notice::AckIgnored { pid, reason }));
}
