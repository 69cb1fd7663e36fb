//! The holder (`handover::holder`), from the master's side: there is one as long as it is of use to a next master, and it has the sockets
//! that this one has. A stop ends it, so that the kernel refuses clients once the workers have closed theirs. It is a child that is no
//! worker: the pool does not know of it.

use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use crate::base::{Mono, Pid, Signal};
use crate::handover::held::Holder;
use crate::handover::holder::FIRST_FD;
use crate::handover::process::Process;
use crate::release::listeners::Listener;
use crate::supervisor::adopted::watch;
use crate::supervisor::master::Supervisor;
use crate::supervisor::process::own_pid;
use crate::sys::errno::words;
use crate::sys::{clock, procfs, signal, wait};

/// How much time is between two starts with the same sockets, at least.
const START_PAUSE: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Lets it have what it shall, and writes down who it is. A master that dies in between leaves one to the next that the journal names.
    pub(crate) fn tend_holder(&mut self) {
        // That of a killed master has what this one has now.
        let listeners = if self.children.needs_holder { self.listeners_to_hold() } else { Vec::new() };
        let inodes: Vec<u64> = listeners.iter().filter_map(|listener| listener.inode()).collect();
        let (process, held) = match &self.facts.holder {
            Some(Holder { process, inodes }) => (*process, inodes.as_slice()),
            None => (None, [].as_slice()),
        };
        let is_missing = process.is_none() && !inodes.is_empty() && self.holder_deadline().is_none();
        if held == inodes && !is_missing {
            return;
        }
        let next = if listeners.is_empty() { None } else { self.start_holder(&listeners) };
        self.facts.holder = Some(Holder { process: next, inodes }).filter(|_| !listeners.is_empty());
        self.journal.keep(&self.pool, &self.sockets, next);
        process.into_iter().for_each(end);
    }

    fn listeners_to_hold(&self) -> Vec<Arc<Listener>> {
        if !self.pool.is_accepting() {
            return Vec::new();
        }
        self.sockets.listeners.iter().filter(|listener| !listener.is_shut()).cloned().collect()
    }

    /// When one that is missing is to be started again, if not yet.
    pub(crate) fn holder_deadline(&self) -> Option<Mono> {
        let holder = self.facts.holder.as_ref()?;
        let due = self.children.holder_tried_at?.after(START_PAUSE);
        (holder.process.is_none() && due > clock::now()).then_some(due)
    }

    fn start_holder(&mut self, listeners: &[Arc<Listener>]) -> Option<Process> {
        self.children.holder_tried_at = Some(clock::now());
        let started = self.spawn_holder(listeners);
        self.threads.reaper.resume();
        started
            .inspect_err(|errno| {
                let cause = words(*errno);
                log::warn!("cannot start the process that holds the sockets if the master is killed: {cause}");
            })
            .ok()
    }

    fn spawn_holder(&self, listeners: &[Arc<Listener>]) -> Result<Process, Errno> {
        let descriptors: Vec<(BorrowedFd<'_>, RawFd)> =
            listeners.iter().map(|listener| listener.fd.as_fd()).zip(FIRST_FD..).collect();
        let began = |pid| procfs::began(pid).ok_or(Errno::ESRCH);
        let own = [own_pid().to_string(), began(own_pid())?.to_string()];
        let pid = self.spawn_itself(&["--holder", &own[0], &own[1]], &descriptors)?;
        Ok(Process { pid, began: began(pid)? })
    }

    /// At the end, too.
    pub(crate) fn end_holder(&mut self) {
        self.facts.holder.take().and_then(|holder| holder.process).into_iter().for_each(end);
    }

    pub(crate) fn is_holder(&self, pid: Pid) -> bool {
        self.holder_process().is_some_and(|process| process.pid == pid)
    }

    pub(crate) fn holder_process(&self) -> Option<Process> {
        self.facts.holder.as_ref()?.process
    }

    /// It has ended, which it should not have.
    pub(crate) fn on_holder_ended(&mut self, pid: Pid) {
        let _reaped = wait::reap(pid);
        log::warn!("Process {pid}, which holds the sockets if the master is killed, has ended");
        self.facts.holder.iter_mut().for_each(|holder| holder.process = None);
    }
}

/// The number of a child is its own until it is reaped. That of a killed master's is no child.
fn end(holder: Process) {
    if wait::is_child(holder.pid) {
        if signal::send(holder.pid, Signal::KILL).is_ok() {
            let _reaped = wait::reap_killed(holder.pid);
        }
    } else if let Ok(watch) = watch(holder) {
        let _gone_already = watch.send(Signal::KILL);
    }
}
