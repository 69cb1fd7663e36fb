//! The holder (`handover::holder`), from the master's side: there is one as long as it is of use to a next master, and it has the sockets
//! that this one has. A stop ends it, so that the kernel refuses clients once the workers have closed theirs. It is a child that is no
//! worker: the pool does not know of it.

use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;

use crate::base::{Pid, Signal};
use crate::handover::held::Holder;
use crate::handover::holder::FIRST_FD;
use crate::handover::process::Process;
use crate::release::listeners::Listener;
use crate::supervisor::adopted::watch;
use crate::supervisor::master::Supervisor;
use crate::sys::errno::words;
use crate::sys::{procfs, wait};

impl Supervisor {
    /// Lets it have what it shall.
    pub(crate) fn tend_holder(&mut self) {
        // That of a killed master has what this one has now.
        if !self.children.needs_holder {
            return self.end_holder();
        }
        let listeners = self.listeners_to_hold();
        let inodes: Vec<u64> = listeners.iter().filter_map(|listener| listener.inode()).collect();
        if self.facts.holder.as_ref().map_or(&[][..], |holder| &holder.inodes) == inodes {
            return;
        }
        let process = if listeners.is_empty() { None } else { self.start_holder(&listeners) };
        self.end_holder();
        // One that could not be started is not tried again with the same sockets.
        self.facts.holder = Some(Holder { process, inodes });
    }

    fn listeners_to_hold(&self) -> Vec<Arc<Listener>> {
        if !self.pool.is_accepting() {
            return Vec::new();
        }
        self.sockets.listeners.iter().filter(|listener| !listener.is_shut()).cloned().collect()
    }

    fn start_holder(&self, listeners: &[Arc<Listener>]) -> Option<Process> {
        let descriptors: Vec<(BorrowedFd<'_>, RawFd)> =
            listeners.iter().map(|listener| listener.fd.as_fd()).zip(FIRST_FD..).collect();
        let started = self.spawn_itself("--holder", &descriptors).and_then(|pid| {
            self.threads.reaper.resume();
            Ok(Process { pid, began: procfs::began(pid).ok_or(Errno::ESRCH)? })
        });
        started
            .inspect_err(|errno| {
                log::warn!("cannot start the process that holds the sockets if the master is killed: {}", words(*errno))
            })
            .ok()
    }

    /// At the end, too.
    pub(crate) fn end_holder(&mut self) {
        let Some(process) = self.facts.holder.take().and_then(|holder| holder.process) else { return };
        if let Ok(watch) = watch(process) {
            let _gone_already = watch.send(Signal::KILL);
        }
        if wait::is_child(process.pid) {
            let _reaped = wait::reap_killed(process.pid);
        }
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
