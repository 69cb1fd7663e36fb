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
        if (acked, asked) == (Acked::Yes, Asked::No) {
            self.state.backoff.on_acked_death(now, &worker, &self.state.workers);
        }
        // The rest of the group does not drain once its leader died: it would only run beside the replacement for ever.
        let patience = now.after(self.state.settings.signal_timeout.unwrap_or(TERM_GRACE));
        self.state.remnants.push(worker.into_remnant(now, Some(patience)));
        if (acked, asked) == (Acked::Never, Asked::No) {
            self.on_failure(now, version, actions);
        }
    }

    /// The last process of a group is gone, or its pid was given to a new worker, which shows the same and is often known sooner.
    /// Keeping the entry would send a signal to an unrelated process.
    pub(in crate::pool) fn forget_group(&mut self, pid: Pid) {
        self.state.remnants.retain(|remnant| remnant.pid != pid);
    }

    /// What is left in its group hears what the worker heard; its program is not to outlive it on our sockets.
    pub(in crate::pool) fn on_reaped(&mut self, now: Mono, pid: Pid, group: Group, actions: &mut Vec<Action>) {
        let Some(at) = self.state.remnants.iter().position(|remnant| remnant.pid == pid && !remnant.reaped) else {
            return;
        };
        match group {
            Group::Empty => {
                self.state.remnants.swap_remove(at);
            }
            Group::Outlived => {
                let remnant = &mut self.state.remnants[at];
                remnant.reaped = true;
                remnant.since = now;
                actions.push(Action::Tell(Notice::GroupOutlived { pid }));
                actions.push(Action::SignalGroup { pid, signal: remnant.signal });
                remnant.killed = remnant.signal == Signal::KILL;
            }
        }
    }
}
