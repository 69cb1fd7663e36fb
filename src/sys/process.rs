//! Spawns a process: fork, then exec in the child, without waiting for either. Only the main thread may, which must live
//! as long as the workers: their parent-death signal is bound to the thread that forked them. Nothing here knows what a
//! worker is.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::base::{Pid, Signal};
use crate::sys::birth::Birth;
use crate::sys::blueprint::Blueprint;
use crate::sys::child::become_program;
use crate::sys::errno::{errno_of, retry};
use crate::sys::exec_pipe::ExecPipe;
use crate::sys::fd::lift;
use crate::sys::identity::Identity;
use crate::sys::resource_limit::ResourceLimit;

/// What to run, and with what. The child gets a process group of its own, default dispositions, an empty signal mask, the
/// master's descriptors 0 to 2, and nothing else that is not named here.
pub struct SpawnRequest<'a> {
    /// No search in PATH. A relative path is looked up from `directory`.
    pub path: &'a Path,
    /// The file of a program that was opened before, which is run by this descriptor. Only what cannot be run so, a script, is
    /// run by `path`. None: `path` alone.
    pub file: Option<BorrowedFd<'a>>,
    /// With the program's name first.
    pub argv: &'a [OsString],
    /// The whole environment.
    pub env: &'a [(OsString, OsString)],
    /// One more variable, in which the child writes its own pid (LISTEN_PID).
    pub own_pid_variable: Option<&'a OsStr>,
    /// None: the master's.
    pub directory: Option<&'a Path>,
    /// Which descriptors of ours at which numbers of the child's. Every one must stand above all those numbers, see
    /// [`crate::sys::fd::lift`]: then none is overwritten before it is used.
    pub descriptors: &'a [(BorrowedFd<'a>, RawFd)],
    pub birth: &'a Birth,
    /// None: the birth's.
    pub umask: Option<u32>,
    /// An absolute nice level; None: the birth's.
    pub nice: Option<i32>,
    /// What is not named here is as the master has it, but for the birth's number of descriptors.
    pub limits: &'a [ResourceLimit],
    /// Whose rights it has, also when it enters its directory; None: the master's. One that [`Identity::is_own`] changes
    /// nothing, the supplementary groups included.
    pub identity: Option<&'a Identity>,
    /// Sent to the child when the thread that spawned it ends.
    pub parent_death: Option<Signal>,
}

/// A child that may not have come to its program yet.
#[derive(Debug)]
pub struct Spawned {
    pub pid: Pid,
    pub exec: ExecPipe,
}

/// Forks and returns at once; how the exec went is for [`ExecPipe::poll`] to tell. EINVAL for a NUL byte in any string and
/// for an impossible variable name, EAGAIN and ENOMEM when there is no room for a process, EMFILE for its pipe.
pub fn spawn(request: &SpawnRequest<'_>) -> Result<Spawned, Errno> {
    let target_max = check_descriptors(request.descriptors);
    assert!(
        request.file.is_none_or(|file| file.as_raw_fd() > target_max),
        "the program's descriptor may be overwritten"
    );
    let plan = Blueprint::lay_out(request)?;
    let (reader, writer) = error_pipe(target_max).map_err(|error| errno_of(&error))?;
    // SAFETY: the child calls only `become_program`, which keeps to async-signal-safe calls and never returns.
    match Errno::result(unsafe { libc::fork() })? {
        0 => become_program(&plan, writer.as_raw_fd()),
        pid => {
            // Closed before the next fork, so that no other child can hold this one's pipe open.
            drop(writer);
            join_own_group(pid);
            Ok(Spawned { pid: Pid(pid), exec: ExecPipe::new(reader) })
        }
    }
}

/// The highest target, at least 2. A source among the targets would be a mistake of ours.
fn check_descriptors(descriptors: &[(BorrowedFd<'_>, RawFd)]) -> RawFd {
    let target_max = descriptors.iter().map(|(_, target)| *target).max().unwrap_or(2).max(2);
    for (index, (source, target)) in descriptors.iter().enumerate() {
        assert!(source.as_raw_fd() > target_max, "descriptor {} may be overwritten", source.as_raw_fd());
        assert!(*target >= 0, "{target} is no descriptor");
        assert!(descriptors.iter().skip(index + 1).all(|(_, other)| other != target), "two descriptors for {target}");
    }
    target_max
}

fn error_pipe(target_max: RawFd) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    Ok((reader, lift(writer, target_max + 1)?))
}

/// The child does the same. EACCES: it was first, and has exec'd; ESRCH: it is gone already.
fn join_own_group(pid: libc::pid_t) {
    let pid = nix::unistd::Pid::from_raw(pid);
    let _ = retry(|| nix::unistd::setpgid(pid, pid));
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
