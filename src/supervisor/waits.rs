//! What an upgrade waits for, with what only the system can tell of it: which connections an old worker holds. It waits for nothing
//! itself.

use crate::base::Pid;
use crate::output::waits::Waiting;
use crate::pool::Wait;
use crate::supervisor::master::Supervisor;
use crate::sys::{accept_queue, clock};

impl Supervisor {
    /// What the upgrade under way waits for, be it prepared or carried out. A re-exec of the master alone may wait, too.
    pub(crate) fn waits_for(&self) -> Option<Waiting> {
        if self.reexec.is_under_way() || self.facts.reload.is_preparing() {
            return Some(if self.facts.reload.is_busy() { Waiting::for_job() } else { Waiting::for_master() });
        }
        let wait = self.pool.waits_for()?;
        Some(Waiting::of(&wait, clock::now(), self.connections_of(&wait)))
    }

    /// How many clients' connections the old worker holds that is waited for. None: it is none, or that cannot be seen soon.
    pub(crate) fn connections_of(&self, wait: &Wait) -> Option<usize> {
        match wait {
            Wait::Exit { by, .. } => self.connections_held_by(by.pid),
            Wait::Resume { .. } | Wait::Check | Wait::Bake { .. } | Wait::Ack { .. } => None,
            Wait::Timer { .. } | Wait::Continue { .. } | Wait::Launch { .. } => None,
        }
    }

    fn connections_held_by(&self, pid: Pid) -> Option<usize> {
        let worker = self.pool.workers().iter().find(|worker| worker.pid == pid)?;
        let release = self.sockets.releases.get(&worker.version)?;
        let addresses: Vec<_> = release.listeners.iter().map(|listener| &listener.address).collect();
        accept_queue::held_by(pid, &addresses)
    }
}
