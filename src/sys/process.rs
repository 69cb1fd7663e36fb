//! Spawns a process: fork, then exec in the child, without waiting for either. Only the main thread may, which must live
//! as long as the workers: their parent-death signal is bound to the thread that forked them. Nothing here knows what a
//! worker is.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::base::Pid;
use crate::sys::child::become_program;
use crate::sys::errno::{errno_of, retry};
use crate::sys::exec_pipe::ExecPipe;
use crate::sys::fd::lift;
use crate::sys::prepared_exec::{PreparedExec, SpawnRequest};

/// A child that may not have come to its program yet.
#[derive(Debug)]
pub struct Spawned {
    pub pid: Pid,
    pub exec: ExecPipe,
}

/// Forks and returns at once; how the exec went is for [`ExecPipe::poll`] to tell.
///
/// # Errors
/// EINVAL for a NUL byte in any string and for an impossible variable name, EAGAIN and ENOMEM when there is no room for a
/// process, EMFILE for its pipe.
pub fn spawn(request: &SpawnRequest<'_>) -> Result<Spawned, Errno> {
    let target_max = check_descriptors(request.descriptors);
    assert!(
        request.file.is_none_or(|file| file.as_raw_fd() > target_max),
        "the program's descriptor may be overwritten"
    );
    let plan = PreparedExec::lay_out(request)?;
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
