//! The threads and children that are traced, and what is known of each. It calls the system only to interrupt them.

use std::collections::BTreeMap;

use libc::c_long;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// Something that is traced.
pub struct Tracee {
    pub name: String,
    /// Of the master's; else a child's.
    pub is_thread: bool,
    /// The call that it made last.
    pub call: c_long,
    /// What is to be done at the call's exit.
    pub at_exit: Option<AtExit>,
    /// The call gives the thread a name.
    pub names_itself: bool,
}

/// What a call that fails has still to come.
#[derive(Clone, Copy)]
pub enum AtExit {
    /// Its caller sees this error.
    Fail(Errno),
    /// Its first argument becomes what it was.
    Restore(u64),
}

impl Tracee {
    pub fn thread(name: String) -> Self {
        Self { name, is_thread: true, call: -1, at_exit: None, names_itself: false }
    }

    pub fn child() -> Self {
        Self { is_thread: false, ..Self::thread("child".to_owned()) }
    }
}

#[derive(Default)]
pub struct Tracees(BTreeMap<Pid, Tracee>);

impl Tracees {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, pid: Pid) -> bool {
        self.0.contains_key(&pid)
    }

    pub fn add(&mut self, pid: Pid, tracee: Tracee) {
        self.0.insert(pid, tracee);
    }

    pub fn remove(&mut self, pid: Pid) {
        self.0.remove(&pid);
    }

    pub fn get_mut(&mut self, pid: Pid) -> Option<&mut Tracee> {
        self.0.get_mut(&pid)
    }

    /// After an exec, the only one left of its process; children stay.
    pub fn keep_only(&mut self, first: Pid) {
        self.0.retain(|pid, tracee| *pid == first || !tracee.is_thread);
    }

    pub fn set_name(&mut self, pid: Pid, name: String) {
        if let Some(tracee) = self.get_mut(pid) {
            tracee.name = name;
        }
    }

    /// It was stopped in the middle of this call, and may go on with it under the name of restart_syscall(2).
    pub fn note_call(&mut self, pid: Pid, call: nix::Result<(c_long, [i32; 2])>) {
        if let (Some(tracee), Ok((number, _))) = (self.get_mut(pid), call) {
            if number != libc::SYS_restart_syscall {
                tracee.call = number;
            }
        }
    }

    /// One whose call was skipped would be told that there is no such call.
    pub fn may_go(&self, pid: Pid) -> bool {
        self.0.get(&pid).is_none_or(|tracee| tracee.at_exit.is_none())
    }

    pub fn interrupt_all(&self) {
        for pid in self.0.keys() {
            let _gone = ptrace::interrupt(*pid);
        }
    }
}
