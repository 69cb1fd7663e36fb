//! Deaths: a worker that ended, its reaping, and what it left behind in its process group and in others.

use crate::base::{Ending, Mono, Pid, Signal, earlier};
use crate::pool::action::Action;
use crate::pool::event::Group;
use crate::pool::machine::Pool;
use crate::pool::notice::{Acked, Asked, Notice};
use crate::pool::settings::{DAEMON_GRACE, EARLY_LIFE, TERM_GRACE};
use crate::pool::worker::{Elsewhere, Leftover, Worker};

impl Pool {
    /// Lets the worker go, and has it reaped: until then its pid is listed here and can belong to no other process.
    pub(in crate::pool) fn on_exit(&mut self, now: Mono, pid: Pid, ending: Ending, actions: &mut Vec<Action>) {
        let Some(at) = self.state.workers.iter().position(|worker| worker.pid == pid) else { return };
        self.note_established(now);
        let worker = self.state.workers.remove(at);
        let acked = if worker.is_acked() { Acked::Yes } else { Acked::Never };
        let asked = if worker.is_told() { Asked::Yes } else { Asked::No };
        let version = worker.version;
        actions.push(Action::Tell(Notice::Exited { pid, ending, acked, asked }));
        actions.push(Action::ReapWorker { pid });
        let final_code = self.final_code(&worker, ending, asked);
        if asked == Asked::No {
            if final_code.is_none() {
                self.note_death_in_slot(now, &worker, actions);
            }
            self.count_against_trial(version, worker.slot);
        }
        // The rest of the group does not drain once its leader died: it would only run beside the replacement for ever.
        let patience = self.patience(now);
        let has_detached = self.end_leftovers_of(now, &worker, ending, actions);
        self.state.leftovers.push(worker.clone().into_leftover(now, Some(patience)));
        match final_code {
            Some(code) => self.on_final_exit(now, &worker, acked, code, actions),
            None if asked == Asked::No && (acked == Acked::Never || has_detached) => {
                self.on_failure(now, version, actions);
            }
            None => {}
        }
    }

    /// When what is left of a worker is killed that was not told to go.
    fn patience(&self, now: Mono) -> Mono {
        now.after(self.state.settings.signal_timeout.unwrap_or(TERM_GRACE))
    }

    /// It is listed, and told to go when the end of its worker is told, which may say more of it. A group that is listed already is a
    /// worker's, or was found before.
    pub(in crate::pool) fn on_leftover_found(
        &mut self,
        now: Mono,
        group: Pid,
        elsewhere: Elsewhere,
        actions: &mut Vec<Action>,
    ) {
        let is_listed = self.state.workers.iter().any(|worker| worker.pid == group)
            || self.state.leftovers.iter().any(|leftover| leftover.pid == group);
        if is_listed {
            return;
        }
        let patience = self.patience(now);
        let worker = self.state.workers.iter().find(|worker| worker.pid == elsewhere.worker);
        if let Some(worker) = worker {
            let left = worker.clone().into_leftover(now, Some(patience));
            self.state.leftovers.push(Leftover { pid: group, elsewhere: Some(elsewhere), ..left });
            return;
        }
        let is_of_same = |left: &&Leftover| left.pid == elsewhere.worker || left.is_of(elsewhere.worker);
        let mut left = match self.state.leftovers.iter().find(is_of_same) {
            Some(same) => same.clone(),
            None => {
                let graceful = self.state.settings.graceful;
                let kill_at = Some(patience);
                Leftover {
                    pid: group,
                    signal: graceful,
                    graceful,
                    since: now,
                    reaped: true,
                    kill_at,
                    killed: false,
                    elsewhere: None,
                }
            }
        };
        (left.pid, left.elsewhere, left.killed) = (group, Some(elsewhere), false);
        tell_elsewhere(now, &mut left, actions);
        self.state.leftovers.push(left);
    }

    /// What this worker has left in other groups is told to go. Whether it has gone to the background: it left something and ended well, at once
    /// and unasked. Then there is no worker that could serve, and what is left ends soon.
    fn end_leftovers_of(&mut self, now: Mono, worker: &Worker, ending: Ending, actions: &mut Vec<Action>) -> bool {
        let is_early = now.since(worker.spawned_at) < EARLY_LIFE;
        let may_have_detached = ending == Ending::Code(0) && !worker.is_told() && is_early;
        let grace = self.state.settings.signal_timeout.map_or(DAEMON_GRACE, |timeout| timeout.min(DAEMON_GRACE));
        let mut program = None;
        for left in self.state.leftovers.iter_mut().filter(|left| left.is_of(worker.pid) && !left.reaped) {
            if may_have_detached {
                left.signal = Signal::TERM;
                left.kill_at = earlier(left.kill_at, Some(now.after(grace)));
            }
            program = left.elsewhere.as_ref().map(|elsewhere| elsewhere.program.clone());
            tell_elsewhere(now, left, actions);
        }
        let Some(program) = program.filter(|_| may_have_detached) else { return false };
        if self.state.daemonized.replace(worker.version) != Some(worker.version) {
            actions.push(Action::Tell(Notice::Daemonized { pid: worker.pid, program }));
        }
        true
    }

    /// The last process of a group is gone, or its pid was given to a new worker, which shows the same and is often known sooner.
    /// Keeping the entry would send a signal to an unrelated process.
    pub(in crate::pool) fn forget_group(&mut self, pid: Pid) {
        self.state.leftovers.retain(|leftover| leftover.pid != pid);
    }

    /// What is left in its group hears what the worker heard; its program is not to outlive it on our sockets.
    pub(in crate::pool) fn on_reaped(&mut self, now: Mono, pid: Pid, group: Group, actions: &mut Vec<Action>) {
        let Some(at) = self.state.leftovers.iter().position(|leftover| leftover.pid == pid && !leftover.reaped) else {
            return;
        };
        match group {
            Group::Empty => {
                self.state.leftovers.swap_remove(at);
            }
            Group::HasSurvivors => {
                let leftover = &mut self.state.leftovers[at];
                leftover.reaped = true;
                leftover.since = now;
                actions.push(Action::Tell(Notice::GroupHasSurvivors { pid }));
                actions.push(Action::SignalGroup { pid, signal: leftover.signal });
                leftover.killed = leftover.signal == Signal::KILL;
            }
        }
    }
}

fn tell_elsewhere(now: Mono, left: &mut Leftover, actions: &mut Vec<Action>) {
    let Some(elsewhere) = left.elsewhere.clone() else { return };
    (left.reaped, left.since, left.killed) = (true, now, left.signal == Signal::KILL);
    actions.push(Action::Tell(Notice::LeftElsewhere { group: left.pid, signal: left.signal, elsewhere }));
    actions.push(Action::SignalGroup { pid: left.pid, signal: left.signal });
}
