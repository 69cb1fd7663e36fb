//! Workers that another master has started, and that this one looks after since that was killed: no children, so that wait(2) does not
//! tell of their ends, and only their pidfd says that a number still means them. Where there is none, nothing is sent.

use std::sync::Arc;

use nix::errno::Errno;

use crate::base::{Pid, Signal};
use crate::handover::process::Process;
use crate::release::environment::MASTER_PID;
use crate::sys::process_watch::ProcessWatch;
use crate::sys::{clock, directory, procfs, signal};

/// With those that have ended, until nothing is left in their groups.
#[derive(Default)]
pub(crate) struct Adopted(Vec<Entry>);

struct Entry {
    process: Process,
    /// None: there was no descriptor for it, or the process is gone.
    watch: Option<Arc<ProcessWatch>>,
    has_ended: bool,
}

impl Adopted {
    pub(crate) fn of(processes: &[Process]) -> Self {
        let entry = |process: &Process| Entry {
            process: *process,
            watch: watch(*process).ok().map(Arc::new),
            has_ended: false,
        };
        Self(processes.iter().map(entry).collect())
    }

    /// Whether it is one of these, and its end was not told.
    pub(crate) fn contains(&self, pid: Pid) -> bool {
        self.find(pid).is_some_and(|entry| !entry.has_ended)
    }

    /// The same, ended or not.
    pub(crate) fn knows(&self, pid: Pid) -> bool {
        self.find(pid).is_some()
    }

    pub(crate) fn forget(&mut self, pid: Pid) {
        self.0.retain(|entry| entry.process.pid != pid);
    }

    /// For the thread that waits for their ends.
    pub(crate) fn watches(&self) -> Vec<Arc<ProcessWatch>> {
        self.0.iter().filter_map(|entry| entry.watch.clone()).collect()
    }

    /// Whether that thread does not know of some: they have to be looked at.
    pub(crate) fn is_unwatched(&self) -> bool {
        self.0.iter().any(|entry| !entry.has_ended && entry.watch.is_none())
    }

    fn find(&self, pid: Pid) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.process.pid == pid)
    }

    /// None: it is none of these.
    pub(crate) fn send(&self, pid: Pid, signal: Signal) -> Option<Result<(), Errno>> {
        self.find(pid).map(|entry| entry.send(signal))
    }

    /// To each process of the group of one of these. None: it is none of these.
    pub(crate) fn send_to_group(&self, group: Pid, signal: Signal) -> Option<Result<(), Errno>> {
        let entry = self.find(group)?;
        let watches = entry.members().into_iter().filter_map(|pid| Some((pid, ProcessWatch::of(pid).ok()?)));
        // It may have got its number since the first look.
        let sent = watches.filter(|(pid, _)| entry.has_member(*pid)).map(|(_, watch)| watch.send(signal));
        Some(sent.fold(Err(Errno::ESRCH), Result::or))
    }

    /// Whether a process is in the group of one of these. None: it is none of these.
    pub(crate) fn group_lives(&self, group: Pid) -> Option<bool> {
        self.find(group).map(|entry| !entry.members().is_empty())
    }

    /// Those that have ended since the last look.
    pub(crate) fn take_ended(&mut self) -> Vec<Pid> {
        let ended = self.0.iter_mut().filter(|entry| !entry.has_ended && entry.is_over());
        ended
            .map(|entry| {
                entry.has_ended = true;
                entry.process.pid
            })
            .collect()
    }
}

impl Entry {
    fn is_over(&self) -> bool {
        let ended = self.watch.as_ref().and_then(|watch| watch.has_ended(clock::now()).ok());
        ended.unwrap_or_else(|| is_gone(&self.process))
    }

    fn send(&self, signal: Signal) -> Result<(), Errno> {
        match &self.watch {
            Some(watch) => watch.send(signal),
            None => watch(self.process)?.send(signal),
        }
    }

    fn members(&self) -> Vec<Pid> {
        let pids = directory::numbers("/proc").unwrap_or_default().into_iter().map(Pid);
        pids.filter(|pid| self.has_member(*pid)).collect()
    }

    /// The number of a group is given to no other while a process is in it. When the last was is not known, so that of what is there after the
    /// worker's end only what has a worker's environment counts.
    fn has_member(&self, pid: Pid) -> bool {
        let is_ours = || !self.has_ended || procfs::variable(pid, MASTER_PID).is_some();
        procfs::group(pid) == Some(self.process.pid) && procfs::is_living(pid) && is_ours()
    }
}

/// Opened first, and looked at then: the process that it holds is the one that began at that time.
///
/// # Errors
/// ESRCH: it is gone. Else it cannot be seen whether the number means it.
pub(crate) fn watch(process: Process) -> Result<ProcessWatch, Errno> {
    let watch = ProcessWatch::of(process.pid)?;
    if is_gone(&process) {
        return Err(Errno::ESRCH);
    }
    if procfs::began(process.pid) == Some(process.began) { Ok(watch) } else { Err(Errno::EAGAIN) }
}

/// Whether that is certain: it has ended, or its number means another.
pub(crate) fn is_gone(process: &Process) -> bool {
    match procfs::began(process.pid) {
        Some(began) => began != process.began || !procfs::is_living(process.pid),
        // /proc may hide the processes of other users (hidepid): what may not be told anything is none of ours.
        None => !signal::may_send(process.pid),
    }
}
