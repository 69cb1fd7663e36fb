//! Sockets that no worker accepts on any more, because the configuration has lost their bind, while old workers still hold them:
//! their clients would wait until the last of these workers has ended. So such a socket is shut down for all who hold it; and
//! listened on again when the bind is back. Never touches a socket that a worker may still accept on.

use std::sync::Arc;
use std::time::Duration;

use crate::base::Mono;
use crate::release::listeners::Listener;
use crate::supervisor::master::Supervisor;
use crate::sys::clock;

/// How long after its last worker was told to go a socket is shut down. A worker that is still in accept(2) then gets an error from
/// it, which some take for a reason to die; so each has time to hear the signal, and to serve what is queued.
const LEAVE_TAKING: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Closes our own descriptors once a stop has told the workers: the kernel refuses new clients as soon as the workers have closed
    /// theirs. What waits in the queue by then is for the workers.
    pub(crate) fn close_when_stopping(&self) {
        if !self.pool.is_accepting() {
            self.sockets.listeners.iter().for_each(|listener| listener.close());
        }
    }

    /// Closes those that no version needs, neither for new workers nor because one of its workers is still there.
    pub(crate) fn close_unneeded_listeners(&mut self) {
        self.sockets.listeners.retain(|listener| {
            let is_needed = Arc::strong_count(listener) > 1;
            if !is_needed {
                log::info!("Closing {}, no worker needs it any more", listener.bind);
                // What a worker has left behind may hold it still.
                listener.shut();
            }
            is_needed
        });
    }

    /// Listens again where a worker has shut a shared socket down, or has shortened its queue.
    pub(crate) fn relisten(&self) {
        let served = self.sockets.listeners.iter().filter(|listener| self.is_served(listener));
        served.for_each(|listener| listener.mend(self.config().backlog));
    }

    /// Whether a worker accepts on this socket, or may be launched to do so.
    pub(crate) fn is_served(&self, listener: &Arc<Listener>) -> bool {
        self.left_at(listener).is_none()
    }

    /// The moment at which the last worker that may have accepted on this socket was told to go.
    fn left_at(&self, listener: &Arc<Listener>) -> Option<Mono> {
        let has_it = |others: &[Arc<Listener>]| others.iter().any(|other| Arc::ptr_eq(other, listener));
        let versions = self.sockets.releases.iter().filter(|(_, release)| has_it(&release.listeners));
        let moments = versions.map(|(version, _)| self.pool.leaving_since(*version));
        let adopted = has_it(&self.sockets.left).then(|| self.adopted_leaving_since());
        let moments = moments.chain(adopted);
        moments.collect::<Option<Vec<Mono>>>()?.into_iter().max()
    }

    /// When the last adopted worker was told to go; the beginning of time, if there is none. None: one was not told.
    fn adopted_leaving_since(&self) -> Option<Mono> {
        let adopted = self.pool.workers().iter().filter(|worker| self.children.adopted.contains(worker.pid));
        let told = adopted.map(|worker| worker.told.as_ref().map(|told| told.first_at));
        told.collect::<Option<Vec<Mono>>>()?.into_iter().max().or(Some(Mono::from_nanos(0)))
    }

    /// When the next socket is to be shut down. While a version is being prepared none is, since it may need a socket that is
    /// there.
    pub(crate) fn removed_binds_deadline(&self) -> Option<Mono> {
        if self.facts.reload.is_preparing() {
            return None;
        }
        let open = self.sockets.listeners.iter().filter(|listener| !listener.is_shut());
        open.filter_map(|listener| self.left_at(listener)).min().map(|moment| moment.after(LEAVE_TAKING))
    }

    /// Shuts down what is due.
    pub(crate) fn shut_removed_binds(&self) {
        let now = clock::now();
        if self.removed_binds_deadline().is_none_or(|due| due > now) {
            return;
        }
        for listener in self.sockets.listeners.iter().filter(|listener| !listener.is_shut()) {
            if self.left_at(listener).is_some_and(|moment| moment.after(LEAVE_TAKING) <= now) {
                listener.shut();
            }
        }
    }

    /// Listens again on those of the sockets of a version to come that were shut down, by this image or one before.
    ///
    /// # Errors
    /// The first that cannot be had. Without SO_REUSEADDR, a connection that an old worker still has stands in the way.
    pub(crate) fn reopen(&self, listeners: &[Arc<Listener>]) -> Result<(), String> {
        listeners.iter().try_for_each(|listener| listener.reopen(self.config().backlog))
    }
}
