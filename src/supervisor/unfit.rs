//! Looks for what the deaths of workers do not show: that a version on trial takes no connections, or stops its master. The pool then
//! gives it up.

use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Mono, Pid, Version};
use crate::pool::{Command, Event};
use crate::release::listeners::Listener;
use crate::supervisor::master::{Descendant, Supervisor, Turn, Unheard};
use crate::sys::accept_queue::Incoming;
use crate::sys::signal::{Received, Sender};
use crate::sys::{accept_queue, clock, procfs};

/// How long after the end of a child a signal of it may be read: the signal thread has got no time until then.
const UNHEARD_FOR: Duration = Duration::from_secs(10);

/// Where a signal comes from.
enum Origin {
    Elsewhere,
    /// From a worker of the version that can be given up.
    OnTrial {
        pid: Pid,
        version: Version,
    },
    /// From a worker of a version that was given up, or from what an ended worker has left in its group.
    Unwanted {
        pid: Pid,
    },
}

impl Supervisor {
    /// What a signal means for the pool. A release that stops its master would take the service down, although the one before it can
    /// run: stops by a version on trial, or by one that is not wanted any more, are not obeyed.
    pub(crate) fn hear(&mut self, received: Received, lineage: &[Pid]) -> Option<Event> {
        let signal = received.signal;
        let command = self.command_of(received)?;
        let origin = match (&command, received.sender) {
            (Command::Stop(_) | Command::StopGracefully | Command::StopGracefullyThenTerm, Sender::Process(pid)) => {
                self.origin_of(pid, lineage)
            }
            _ => Origin::Elsewhere,
        };
        match origin {
            Origin::Elsewhere => {
                self.record_signal(signal, &command);
                Some(Event::CommandGiven(command))
            }
            Origin::OnTrial { pid, version } => {
                let reason = format!("its worker {pid} sent SIG{signal} to the master");
                Some(Event::VersionUnfit { version, reason })
            }
            Origin::Unwanted { pid } => {
                log::warn!("Ignoring SIG{signal}: it comes from worker {pid}, which is not wanted any more");
                None
            }
        }
    }

    /// To be called at the end of a child: a signal that it has sent to the master may be read only later.
    pub(crate) fn note_unheard(&mut self, pid: Pid) {
        let now = clock::now();
        let origin = self.origin_of(pid, &[]);
        self.children.unheard.retain(|it| it.until > now);
        match origin {
            Origin::OnTrial { pid: worker, .. } | Origin::Unwanted { pid: worker } => {
                let process = Descendant { worker, pid, began: procfs::began(pid) };
                self.children.unheard.push(Unheard { process, until: now.after(UNHEARD_FOR) });
            }
            Origin::Elsewhere => {}
        }
    }

    /// The lineage is that of the sender when its signal was taken.
    fn origin_of(&self, sender: Pid, lineage: &[Pid]) -> Origin {
        // It may have died since, of what its worker was told. A living one of another age has its number by chance.
        let began = procfs::began(sender);
        let is_sender = |it: &&Descendant| it.pid == sender && (began.is_none() || began == it.began);
        let noted = self.children.descendants.iter().find(is_sender).map(|it| it.worker);
        let taken = lineage.iter().copied().find(|&pid| self.is_worker(pid));
        let above = self.worker_above(sender).or(taken).or_else(|| noted.filter(|worker| self.is_worker(*worker)));
        let Some(pid) = above else {
            let now = clock::now();
            let ended = self.children.unheard.iter().filter(|it| it.until > now).map(|it| &it.process);
            let mut above = ended.filter(|it| is_sender(it) || lineage.contains(&it.pid));
            if let Some(ended) = above.next() {
                return Origin::Unwanted { pid: ended.worker };
            }
            let group = procfs::group(sender).or(noted);
            let left_by = self.pool.leftovers().iter().find(|leftover| Some(leftover.pid) == group);
            let is_judged = self.pool.settings().has_trial();
            return left_by
                .filter(|_| is_judged)
                .map_or(Origin::Elsewhere, |left_by| Origin::Unwanted { pid: left_by.pid });
        };
        let worker = self.pool.workers().iter().find(|worker| worker.pid == pid);
        match worker.map(|worker| worker.version) {
            Some(version) if version == self.pool.modern() && self.pool.can_be_given_up() => {
                Origin::OnTrial { pid, version }
            }
            Some(version) if !self.pool.known_versions().contains(&version) => Origin::Unwanted { pid },
            Some(_) | None => Origin::Elsewhere,
        }
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
        let found = listeners.iter().map(|listener| look_at(listener)).collect();
        let late = self.children.queues.note(found, self.pool.settings().ack, now, clock::now());
        if !self.pool.workers().iter().any(|worker| worker.version == version && worker.serves()) {
            // The version before may be at fault.
            self.children.queues.excuse();
            return ControlFlow::Continue(());
        }
        let Some((at, idle_for)) = late else { return ControlFlow::Continue(()) };
        let bind = &listeners[at].bind;
        let reason = format!("no worker accepts at {bind}, where connections have waited for {}s", idle_for.as_secs());
        self.dispatch(Event::VersionUnfit { version, reason })
    }

    pub(crate) fn queue_watch_deadline(&self) -> Option<Mono> {
        self.children.queues.deadline()
    }
}

/// The kernel is asked for all connections only if one waits.
fn look_at(listener: &Listener) -> Option<Incoming> {
    match accept_queue::waits(listener.fd.as_fd()) {
        true => accept_queue::incoming(&listener.address),
        false => Some(Incoming::default()),
    }
}
