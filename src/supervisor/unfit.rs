//! Looks for what the deaths of workers do not show: that a version on trial takes no connections, or stops its master. The pool then
//! gives it up.

use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::base::Mono;
use crate::pool::{Command, Event};
use crate::release::listeners::Listener;
use crate::supervisor::master::{Supervisor, Turn};
use crate::supervisor::signals;
use crate::sys::signal::Received;
use crate::sys::{accept_queue, clock};

impl Supervisor {
    /// What a signal means for the pool. A release that stops its master would take the service down, although the one before it can
    /// run: stops by a version on trial, or by one that is not wanted any more, are not obeyed.
    pub(crate) fn hear(&mut self, received: Received) -> Option<Event> {
        let Received { signal, sender } = received;
        let command = signals::command(signal)?;
        let is_stop = matches!(command, Command::Stop(_) | Command::StopGracefully);
        let worker = sender.filter(|_| is_stop).and_then(|sender| self.worker_above(sender));
        let worker = worker.and_then(|pid| self.pool.workers().iter().find(|worker| worker.pid == pid));
        if let Some((pid, version)) = worker.map(|worker| (worker.pid, worker.version)) {
            if version == self.pool.modern() && self.pool.can_be_given_up() {
                let reason = format!("its worker {pid} sent SIG{signal} to the master");
                return Some(Event::VersionUnfit { version, reason });
            }
            if !self.pool.known_versions().contains(&version) {
                log::warn!("Ignoring SIG{signal} from worker {pid}: its version {version} is not wanted any more");
                return None;
            }
        }
        self.record_signal(signal, &command);
        Some(Event::CommandGiven(command))
    }

    /// Looks whether connections wait that no worker of the version on trial takes. Listens again on what its workers have shut down.
    pub(crate) fn watch_queues(&mut self) -> Turn {
        if !self.pool.can_be_given_up() {
            self.children.queues.rest();
            return ControlFlow::Continue(());
        }
        let (version, now) = (self.pool.modern(), clock::now());
        if !self.children.queues.is_due(version, now) {
            return ControlFlow::Continue(());
        }
        let listeners: Vec<Arc<Listener>> = self.modern_listeners().to_vec();
        listeners.iter().for_each(|listener| listener.mend(self.config().backlog));
        let waits: Vec<bool> = listeners.iter().map(|listener| accept_queue::waits(listener.fd.as_fd())).collect();
        let late = self.children.queues.look(&waits, self.pool.settings().ack, now);
        let serves = self.pool.workers().iter().any(|worker| worker.version == version && worker.serves());
        if !serves {
            // The queues may be the fault of the version before.
            self.children.queues.excuse(now);
        }
        let Some((at, waited)) = late.filter(|_| serves) else { return ControlFlow::Continue(()) };
        if accept_queue::any_accepted(&listeners[at].address) != Some(false) {
            self.children.queues.excuse(now);
            return ControlFlow::Continue(());
        }
        let bind = &listeners[at].bind;
        let reason = format!("no worker accepts at {bind}, where connections have waited for {}s", waited.as_secs());
        self.dispatch(Event::VersionUnfit { version, reason })
    }

    pub(crate) fn queue_watch_deadline(&self) -> Option<Mono> {
        self.children.queues.deadline()
    }
}
