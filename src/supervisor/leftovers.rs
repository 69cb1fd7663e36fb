//! Finds what ended workers have left outside of their process groups. The master is a subreaper, so that it is a child of ours by then;
//! whose it was is known by its descent when the worker was told something, by its environment, or by our sockets, which it holds.
//! The pool decides what becomes of it.

use std::collections::BTreeSet;

use crate::base::{Pid, WorkerIndex, printable};
use crate::pool::{Elsewhere, Event, Notice};
use crate::release::environment::{CHILD_INDEX, MASTER_PID};
use crate::release::preload::LOADER_FD;
use crate::supervisor::master::{Descendant, Supervisor};
use crate::supervisor::process::own_pid;
use crate::sys::{procfs, wait};

/// The children that are neither workers nor helpers, beside all children.
pub(crate) struct Strangers {
    children: Vec<Pid>,
    strangers: Vec<Pid>,
}

impl Supervisor {
    /// The children of this moment. What has ended by now has left all that it will leave.
    pub(crate) fn strangers(&self) -> Strangers {
        let children = procfs::children().unwrap_or_default();
        let workers: BTreeSet<Pid> = self.pool.workers().iter().map(|worker| worker.pid).collect();
        let is_ours = |pid: &Pid| workers.contains(pid) || self.is_helper(*pid) || self.is_being_forked(*pid);
        let strangers = children.iter().copied().filter(|pid| !is_ours(pid)).collect();
        Strangers { children, strangers }
    }

    /// One for each group in which a worker that ended has left something. `ended`: that of which this is about to be told, or from which
    /// the orphan came that has just ended.
    pub(crate) fn find_leftovers(&self, strangers: &Strangers, ended: Option<Pid>) -> Vec<Event> {
        let Strangers { strangers, children } = strangers;
        if strangers.is_empty() {
            return Vec::new();
        }
        let mut met = self.listed_groups();
        let wrapper = ended.map(procfs::names).and_then(|names| names.into_iter().next());
        let mut found = Vec::new();
        for &pid in strangers {
            let Some(group) = own_group(pid, children).filter(|group| !met.contains(group)) else { continue };
            let Some(worker) = self.left_by(pid, ended) else { continue };
            met.insert(group);
            let names = procfs::names(pid);
            let program = names.first().cloned().unwrap_or_default();
            if names.iter().any(|name| self.config().worker.leave.contains(name)) {
                log::debug!("worker {worker} leaves {} ({pid}) behind, as it may", printable::line(&program));
                continue;
            }
            let wrapper = wrapper.clone().filter(|_| Some(worker) == ended).unwrap_or_default();
            let elsewhere = Elsewhere { worker, wrapper, program };
            found.push(Event::LeftoverFound { group, elsewhere });
        }
        found
    }

    /// The worker that what is in this group was left by.
    pub(crate) fn origin_of_group(&self, group: Pid) -> Option<Pid> {
        let leftover = self.pool.leftovers().iter().find(|leftover| leftover.pid == group)?;
        Some(leftover.elsewhere.as_ref().map_or(group, |elsewhere| elsewhere.worker))
    }

    /// Before they are told something, of which they may die: what descends from them now is known as theirs later.
    pub(crate) fn note_descendants(&mut self, notice: &Notice) {
        let workers = match notice {
            Notice::Sending { pids, .. } => pids.as_slice(),
            Notice::KillingLate { pid, .. } => std::slice::from_ref(pid),
            _ => return,
        };
        let listed: BTreeSet<Pid> = self.pool.workers().iter().map(|worker| worker.pid).collect();
        let known = &mut self.children.descendants;
        known.retain(|it| wait::is_child(it.pid) || listed.contains(&it.worker) && !workers.contains(&it.worker));
        for &worker in workers.iter().filter(|pid| listed.contains(pid)) {
            let descendants = procfs::descendants(worker).into_iter();
            known.extend(descendants.map(|pid| Descendant { worker, pid, began: procfs::began(pid) }));
        }
    }

    /// What descends from an adopted worker that has ended is no child of ours, and is left alone where it is in another group.
    pub(crate) fn name_what_adopted_left(&self, worker: Pid) {
        let left = self.children.descendants.iter().filter(|it| it.worker == worker);
        for pid in left.filter(|it| it.began.is_some() && it.began == procfs::began(it.pid)).map(|it| it.pid) {
            if procfs::is_living(pid) && procfs::group(pid) != Some(worker) {
                let name = procfs::names(pid).into_iter().next().unwrap_or_default();
                let name = printable::line(&name);
                log::warn!(
                    "Worker {worker}, which was adopted, has left {name} ({pid}) in a group of its own: it is not told to go"
                );
            }
        }
    }

    /// A child that is no worker.
    pub(crate) fn is_helper(&self, pid: Pid) -> bool {
        self.is_relay(pid)
            || self.is_holder(pid)
            || self.is_loader(pid)
            || self.is_check(pid)
            || self.is_version_check(pid)
    }

    /// Perhaps: a worker that a loader has forked, and of which it has not told yet.
    fn is_being_forked(&self, pid: Pid) -> bool {
        self.children.loaders.are_forking() && procfs::variable(pid, LOADER_FD).is_some()
    }

    fn listed_groups(&self) -> BTreeSet<Pid> {
        let leftovers = self.pool.leftovers().iter().map(|leftover| leftover.pid);
        self.pool.workers().iter().map(|worker| worker.pid).chain(leftovers).collect()
    }

    /// The ended worker that has left this child to us. None: it may be a living worker's, or its origin is unknown.
    fn left_by(&self, pid: Pid, ended: Option<Pid>) -> Option<Pid> {
        let lives = |worker: Pid| self.pool.workers().iter().any(|it| it.pid == worker && Some(worker) != ended);
        if let Some(worker) = self.ancestor_of(pid) {
            return Some(worker).filter(|worker| !lives(*worker));
        }
        let ended = ended?;
        let is_left = match born_with(pid) {
            Some(index) => {
                let began = procfs::began(pid);
                let alike = self.pool.workers().iter().filter(|it| it.pid != ended && it.index == index);
                !alike.into_iter().any(|it| procfs::began(it.pid) <= began)
            }
            None => procfs::holds_socket(pid, &self.socket_inodes()),
        };
        is_left.then_some(ended)
    }

    fn ancestor_of(&self, pid: Pid) -> Option<Pid> {
        let mut known = self.children.descendants.iter().filter(|it| it.pid == pid);
        known.find(|it| it.began.is_some() && it.began == procfs::began(pid)).map(|it| it.worker)
    }

    fn socket_inodes(&self) -> Vec<u64> {
        self.sockets.listeners.iter().filter_map(|listener| listener.inode()).collect()
    }
}

/// The index of the worker that it descends from, as it stands in its environment; some wrappers leave nothing there, and some programs write
/// their title over it.
fn born_with(pid: Pid) -> Option<WorkerIndex> {
    let is_own = procfs::variable(pid, MASTER_PID).is_some_and(|master| master == own_pid().to_string());
    procfs::variable(pid, CHILD_INDEX).filter(|_| is_own)?.parse().ok().map(WorkerIndex)
}

/// The process group of a child that is a stranger, if a signal to it can reach no other: a leader is still there that is no child of ours only
/// where the child has gone to another's group in our own session. No process can enter another session.
fn own_group(pid: Pid, children: &[Pid]) -> Option<Pid> {
    if !procfs::is_living(pid) {
        return None;
    }
    let (group, session) = (procfs::group(pid)?, procfs::session(pid)?);
    let is_foreign = || {
        let shares_session = Some(session) == procfs::session(own_pid());
        shares_session && !children.contains(&group) && procfs::is_living(group)
    };
    (group.0 > 1 && Some(group) != procfs::group(own_pid()) && !is_foreign()).then_some(group)
}
