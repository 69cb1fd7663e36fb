//! Workers that another master has started, and that this one looks after since that was killed: no children, so that wait(2) does not
//! tell of their ends, and only their pidfd says that a number still means them.

use std::io;

use nix::errno::Errno;

use crate::base::{Pid, Signal};
use crate::handover::process::Process;
use crate::sys::process_watch::ProcessWatch;
use crate::sys::{clock, directory, procfs};

/// Those that have not ended.
#[derive(Default)]
pub(crate) struct Adopted(Vec<(Process, ProcessWatch)>);

impl Adopted {
    /// Those of these processes that are still there.
    pub(crate) fn of(processes: &[Process]) -> Self {
        let watch = |process: &Process| Some((*process, watch(*process)?));
        Self(processes.iter().filter_map(watch).collect())
    }

    pub(crate) fn contains(&self, pid: Pid) -> bool {
        self.watch(pid).is_some()
    }

    /// For the thread that waits for their ends.
    ///
    /// # Errors
    /// There is no room for a descriptor.
    pub(crate) fn watches(&self) -> io::Result<Vec<ProcessWatch>> {
        self.0.iter().map(|(_, watch)| watch.duplicate()).collect()
    }

    fn watch(&self, pid: Pid) -> Option<&ProcessWatch> {
        self.0.iter().find(|(process, _)| process.pid == pid).map(|(_, watch)| watch)
    }

    /// None: it is none of these.
    pub(crate) fn send(&self, pid: Pid, signal: Signal) -> Option<Result<(), Errno>> {
        self.watch(pid).map(|watch| watch.send(signal))
    }

    /// To each process of the group of one of these. None: it is none of these.
    pub(crate) fn send_to_group(&self, group: Pid, signal: Signal) -> Option<Result<(), Errno>> {
        self.watch(group)?;
        let pids = directory::numbers("/proc").unwrap_or_default().into_iter().map(Pid);
        let members = pids.filter(|pid| procfs::group(*pid) == Some(group));
        let watches = members.filter_map(|pid| Some((pid, ProcessWatch::of(pid).ok()?)));
        // It may have got its number since the first look.
        let sent = watches.filter(|(pid, _)| procfs::group(*pid) == Some(group)).map(|(_, watch)| watch.send(signal));
        Some(sent.fold(Err(Errno::ESRCH), Result::or))
    }

    /// Those that have ended since the last look; they are none of these any more.
    pub(crate) fn take_ended(&mut self) -> Vec<Pid> {
        let now = clock::now();
        let (ended, living) = std::mem::take(&mut self.0).into_iter().partition(|(_, watch)| watch.has_ended(now));
        self.0 = living;
        let ended: Vec<(Process, ProcessWatch)> = ended;
        ended.into_iter().map(|(process, _)| process.pid).collect()
    }
}

/// Opened first, and looked at then: the process that it holds is the one that began at that time.
pub(crate) fn watch(process: Process) -> Option<ProcessWatch> {
    let watch = ProcessWatch::of(process.pid).ok()?;
    (procfs::began(process.pid) == Some(process.began) && procfs::is_living(process.pid)).then_some(watch)
}
