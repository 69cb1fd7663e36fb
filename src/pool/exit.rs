//! Deaths: a worker that ended, its reaping, and what it left behind in its process group.

use crate::base::{Ending, Mono, Pid, Signal};
use crate::pool::action::Action;
use crate::pool::event::Group;
use crate::pool::machine::Pool;
use crate::pool::notice::{Acked, Asked, Notice};
use crate::pool::settings::TERM_GRACE;

impl Pool {
    /// Lets the worker go, and has it reaped: until then its pid is listed here and can belong to no other process.
    pub(in crate::pool) fn on_exit(&mut self, now: Mono, pid: Pid, ending: Ending, actions: &mut Vec<Action>) {
        let Some(at) = self.state.workers.iter().position(|worker| worker.pid == pid) else { return };
        let worker = self.state.workers.remove(at);
        let acked = if worker.is_acked() { Acked::Yes } else { Acked::Never };
        let asked = if worker.is_told() { Asked::Yes } else { Asked::No };
        let version = worker.version;
        actions.push(Action::Tell(Notice::Exited { pid, ending, acked, asked }));
        actions.push(Action::ReapWorker { pid });
        if asked == Asked::No {
            self.note_death_in_slot(now, &worker, actions);
            self.count_against_trial(version, worker.slot);
        }
        // The rest of the group does not drain once its leader died: it would only run beside the replacement for ever.
        let patience = now.after(self.state.settings.signal_timeout.unwrap_or(TERM_GRACE));
        self.state.leftovers.push(worker.into_leftover(now, Some(patience)));
        if (acked, asked) == (Acked::Never, Asked::No) {
            self.on_failure(now, version, actions);
        }
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
