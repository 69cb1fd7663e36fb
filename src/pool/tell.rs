//! Telling workers to go, and losing patience with those that do not. Which workers are told is decided elsewhere.

use crate::pool::worker::StopSignal;
use std::time::Duration;

use crate::base::due;
use crate::base::earlier;
use crate::base::{Mono, Pid, Signal};
use crate::pool::action::Action;
use crate::pool::machine::Pool;
use crate::pool::notice::Notice;
use crate::pool::settings::LINGER_NOTE;
use crate::pool::worker::Worker;

impl Pool {
    /// Tells these workers to go. `grace` is how long they may take before they are killed; none means for ever.
    pub(in crate::pool) fn tell_to_go(
        &mut self,
        now: Mono,
        pids: &[Pid],
        stop_signal: StopSignal,
        grace: Option<Duration>,
        actions: &mut Vec<Action>,
    ) {
        let kill_at = grace.map(|grace| now.after(grace));
        for (signal, pids) in self.by_signal(pids, stop_signal) {
            self.send(now, &pids, signal, kill_at, actions);
        }
    }

    /// The signals in the order in which they are needed first, each with those who hear it, in the order given.
    fn by_signal(&self, pids: &[Pid], stop_signal: StopSignal) -> Vec<(Signal, Vec<Pid>)> {
        let mut groups: Vec<(Signal, Vec<Pid>)> = Vec::new();
        for &pid in pids {
            let Some(worker) = self.state.workers.iter().find(|worker| worker.pid == pid) else { continue };
            let signal = stop_signal.signal(worker.graceful);
            match groups.iter_mut().find(|(known, _)| *known == signal) {
                Some((_, heard)) => heard.push(pid),
                None => groups.push((signal, vec![pid])),
            }
        }
        groups
    }

    fn send(&mut self, now: Mono, pids: &[Pid], signal: Signal, kill_at: Option<Mono>, actions: &mut Vec<Action>) {
        actions.push(Action::Tell(Notice::Sending { signal, pids: pids.to_vec() }));
        for worker in self.state.workers.iter_mut().filter(|worker| pids.contains(&worker.pid)) {
            let pid = worker.pid;
            if worker.told.as_ref().is_some_and(|told| told.signals.contains(&signal)) {
                actions.push(Action::Tell(Notice::Resending { signal, pid }));
            }
            worker.tell(now, signal, kill_at);
            actions.push(Action::SignalWorker { pid, signal });
        }
        if self.state.settings.signal_timeout.is_some() {
            actions.push(Action::Tell(Notice::SentAll { signal, pids: pids.to_vec() }));
        }
    }

    /// Passes a signal on; no worker counts as told to go by it. A child that is not its program yet could only die
    /// of it.
    pub(in crate::pool) fn forward(&mut self, signal: Signal, to: impl Fn(Pid) -> bool, actions: &mut Vec<Action>) {
        let execed = self.state.workers.iter().filter(|worker| worker.execed).map(|worker| worker.pid);
        let pids: Vec<Pid> = execed.filter(|&pid| to(pid)).collect();
        if pids.is_empty() {
            return;
        }
        actions.push(Action::Tell(Notice::Sending { signal, pids: pids.clone() }));
        actions.extend(pids.into_iter().map(|pid| Action::SignalWorker { pid, signal }));
    }

    /// Kills, once, each worker that was told to go and is still there when its time is up, with its whole group.
    pub(in crate::pool) fn end_patience(&mut self, now: Mono, actions: &mut Vec<Action>) {
        for worker in &mut self.state.workers {
            if due(kill_time(worker), now) {
                let after = worker.told.as_ref().map_or(Duration::ZERO, |told| now.since(told.first_at));
                worker.killed = true;
                kill_late(worker.pid, after, actions);
            }
        }
        for leftover in &mut self.state.leftovers {
            if leftover.reaped && !leftover.killed && due(leftover.kill_at, now) {
                leftover.killed = true;
                kill_late(leftover.pid, now.since(leftover.since), actions);
            }
        }
    }

    pub(in crate::pool) fn patience_deadline(&self) -> Option<Mono> {
        let of_workers = self.state.workers.iter().map(kill_time).fold(None, earlier);
        let patient = self.state.leftovers.iter().filter(|leftover| leftover.reaped && !leftover.killed);
        patient.map(|leftover| leftover.kill_at).fold(of_workers, earlier)
    }

    /// Once a minute, names the workers that stay although they were told to go, and that nothing will kill.
    pub(in crate::pool) fn note_lingering(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let Some(note_at) = self.linger_deadline() else {
            self.state.last_linger_note = None;
            return;
        };
        if note_at > now {
            return;
        }
        let lingering = self.lingering();
        let longest = lingering.iter().map(|&(_, since)| now.since(since)).max().unwrap_or_default();
        let pids = lingering.into_iter().map(|(pid, _)| pid).collect();
        self.state.last_linger_note = Some(now);
        actions.push(Action::Tell(Notice::Lingering { pids, longest }));
    }

    pub(in crate::pool) fn linger_deadline(&self) -> Option<Mono> {
        let oldest = self.lingering().into_iter().map(|(_, since)| since).min()?;
        Some(self.state.last_linger_note.map_or(oldest, |last| last.max(oldest)).after(LINGER_NOTE))
    }

    fn lingering(&self) -> Vec<(Pid, Mono)> {
        let told = |worker: &Worker| {
            let told = worker.told.as_ref().filter(|told| told.kill_at.is_none() || worker.killed)?;
            Some((worker.pid, told.first_at))
        };
        let left = self.state.leftovers.iter().filter(|left| left.reaped && (left.kill_at.is_none() || left.killed));
        self.state.workers.iter().filter_map(told).chain(left.map(|left| (left.pid, left.since))).collect()
    }
}

fn kill_time(worker: &Worker) -> Option<Mono> {
    if worker.killed { None } else { worker.told.as_ref().and_then(|told| told.kill_at) }
}

fn kill_late(pid: Pid, after: Duration, actions: &mut Vec<Action>) {
    actions.push(Action::Tell(Notice::KillingLate { pid, after }));
    actions.push(Action::SignalGroup { pid, signal: Signal::KILL });
}
