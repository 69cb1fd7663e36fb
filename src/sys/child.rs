//! The child between fork and exec. Only async-signal-safe calls: no allocation, no lock, no panic, no log; another thread
//! of the master may have held any lock at the fork. A failure is reported over the pipe, and the child ends.

use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

use libc::{c_int, c_long, time_t};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, chdir, getpid, getppid, setpgid};

use crate::base::ResourceLimit;
use crate::sys::birth::Birth;
use crate::sys::errno::retry;
use crate::sys::exec_pipe::{Stage, encode};
use crate::sys::fd::cloexec_range;
use crate::sys::identity::Identity;
use crate::sys::limits::set_nice;
use crate::sys::prepared_exec::{PID_ROOM, PreparedExec, StringArray};
use crate::sys::processors::set_affinity;
use crate::sys::resource_limit::apply;
use crate::sys::signal::{reset_dispositions, unblock_all};

/// A program that is open for writing is tried again every 50 ms for a second: a deploy may be copying it just now.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
const BUSY_RETRIES_MAX: u32 = 20;

/// What a shell answers for a program that it cannot run.
const EXIT_NOT_RUN: c_int = 127;

/// Becomes the program, or says why not and ends.
pub(super) fn become_program(plan: &PreparedExec, error_pipe: RawFd) -> ! {
    let Err((stage, errno)) = prepare(plan).and_then(|()| exec(plan).map_err(|errno| (Stage::Exec, errno)));
    let record = encode(stage, errno as c_int);
    // SAFETY: the record is readable for its whole length. Without a reader there is nothing to tell.
    unsafe { libc::write(error_pipe, record.as_ptr().cast(), record.len()) };
    // SAFETY: ends the process without running anything of the master's.
    unsafe { libc::_exit(EXIT_NOT_RUN) }
}

fn prepare(plan: &PreparedExec) -> Result<(), (Stage, Errno)> {
    join_own_group().map_err(|errno| (Stage::ProcessGroup, errno))?;
    reset_dispositions();
    place_descriptors(&plan.descriptors).map_err(|errno| (Stage::Descriptors, errno))?;
    restore_birth(&plan.birth);
    adjust_nice(plan).map_err(|errno| (Stage::Nice, errno))?;
    plan.cpus.as_ref().map_or(Ok(()), set_affinity).map_err(|errno| (Stage::Processors, errno))?;
    set_limits(&plan.limits)?;
    // The rest is done with the program's rights; the limits above may need the master's.
    plan.identity.as_ref().map_or(Ok(()), Identity::assume)?;
    enter_directory(plan).map_err(|errno| (Stage::Directory, errno))?;
    write_own_pid(plan);
    // After the identity: its change disarms the signal.
    arm_parent_death(plan).map_err(|errno| (Stage::ParentDeath, errno))?;
    // Only now: a signal that came meanwhile finds the default disposition.
    unblock_all();
    Ok(())
}

/// The master does the same, so that the group is there whichever comes first.
fn join_own_group() -> Result<(), Errno> {
    setpgid(Pid::from_raw(0), Pid::from_raw(0))
}

/// First everything from 3 up is marked, in case the master has overlooked one; then the targets are made, which stay open.
fn place_descriptors(descriptors: &[(RawFd, RawFd)]) -> Result<(), Errno> {
    // Kernels that cannot do it are no reason not to serve: what the master opens is close-on-exec already.
    let _ = cloexec_range(3, u32::MAX);
    for &(source, target) in descriptors {
        // SAFETY: both are numbers only; the master has checked that the target is neither a source nor the error pipe.
        retry(|| Errno::result(unsafe { libc::dup2(source, target) }))?;
    }
    Ok(())
}

/// A limit that cannot be restored is no reason not to serve either.
fn restore_birth(birth: &Birth) {
    umask(Mode::from_bits_truncate(birth.umask));
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // The hard limit may have been lowered since.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, birth.nofile_soft.min(hard), hard);
    }
}

/// Going back to the birth level needs a privilege when the master has made itself nicer, and is only tried.
fn adjust_nice(plan: &PreparedExec) -> Result<(), Errno> {
    match plan.nice {
        Some(level) => set_nice(level),
        None => {
            let _ = set_nice(plan.birth.nice);
            Ok(())
        }
    }
}

/// After the descriptors are placed, which may stand above the new limit of them, and after the birth's limit is restored,
/// which gives way to one that was asked for.
fn set_limits(limits: &[ResourceLimit]) -> Result<(), (Stage, Errno)> {
    for limit in limits {
        apply(limit).map_err(|errno| (Stage::Limit(limit.resource), errno))?;
    }
    Ok(())
}

fn enter_directory(plan: &PreparedExec) -> Result<(), Errno> {
    plan.directory.as_deref().map_or(Ok(()), chdir)
}

/// The digits go where the prepared exec has left room, followed by a NUL. (The environment's other strings are as laid out.)
fn write_own_pid(plan: &PreparedExec) {
    let Some(slot) = plan.pid_slot else { return };
    let digits = decimal(getpid().as_raw().unsigned_abs());
    // SAFETY: the prepared exec has reserved PID_ROOM bytes at the slot, and nothing else refers to them.
    unsafe { ptr::copy_nonoverlapping(digits.as_ptr(), slot, PID_ROOM) };
}

/// The number in digits without leading zeros, then NULs.
fn decimal(number: u32) -> [u8; PID_ROOM] {
    let mut digits = [0; PID_ROOM];
    let mut count = 1;
    let mut rest = number;
    while rest > 9 {
        rest /= 10;
        count += 1;
    }
    rest = number;
    for digit in digits.iter_mut().take(count).rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

/// The signal is for the death of the master's main thread, the one that forked us. If the master died before it was
/// set, no master is left to be told: a worker without one ends here.
fn arm_parent_death(plan: &PreparedExec) -> Result<(), Errno> {
    let Some(signal) = plan.parent_death else { return Ok(()) };
    // SAFETY: PR_SET_PDEATHSIG takes a number.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })?;
    if getppid().as_raw() != plan.master_pid {
        // SAFETY: ends the process without running anything of the master's.
        unsafe { libc::_exit(EXIT_NOT_RUN) };
    }
    Ok(())
}

/// A script's interpreter would find a descriptor closed, and the kernel refuses to start it (ENOENT): a script is run by its path.
fn exec(plan: &PreparedExec) -> Result<Infallible, Errno> {
    let any = || Ok(());
    match plan.file.map(|file| exec_target(Target::File(file), &plan.argv, &plan.envp, any)) {
        None | Some(Err(Errno::ENOENT)) => exec_target(Target::Path(&plan.path), &plan.argv, &plan.envp, any),
        Some(result) => result,
    }
}

/// What is run.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    Path(&'a CStr),
    /// The file that a descriptor leads to, fexecve(3). ENOENT also for a script behind a descriptor that closes on exec.
    File(RawFd),
}

/// execve(2), again and again for about a second while the program is open for writing, each time after this check.
/// Async-signal-safe if the check is.
pub(super) fn exec_target(
    target: Target<'_>,
    argv: &StringArray,
    envp: &StringArray,
    mut check: impl FnMut() -> Result<(), Errno>,
) -> Result<Infallible, Errno> {
    for _ in 0..BUSY_RETRIES_MAX {
        check()?;
        match exec_once(target, argv, envp) {
            Errno::ETXTBSY => pause(),
            errno => return Err(errno),
        }
    }
    check()?;
    Err(exec_once(target, argv, envp))
}

fn exec_once(target: Target<'_>, argv: &StringArray, envp: &StringArray) -> Errno {
    match target {
        // SAFETY: a C string and two null-terminated arrays of C strings, which the references keep.
        Target::Path(path) => unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) },
        // SAFETY: a number, and arrays as above.
        Target::File(file) => unsafe { libc::fexecve(file, argv.as_ptr(), envp.as_ptr()) },
    };
    Errno::last()
}

/// A shorter pause, because of a signal, does no harm.
fn pause() {
    let span = libc::timespec { tv_sec: BUSY_PAUSE.as_secs() as time_t, tv_nsec: BUSY_PAUSE.subsec_nanos() as c_long };
    // SAFETY: the span is readable, and the rest of it is not asked for.
    unsafe { libc::nanosleep(&span, ptr::null_mut()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        for number in [0, 7, 10, 4_194_304, u32::MAX] {
            let digits = decimal(number);
            let text: Vec<u8> = digits.iter().copied().take_while(|digit| *digit != 0).collect();
            assert_eq!(String::from_utf8(text).unwrap(), number.to_string());
            assert_eq!(digits.last(), Some(&0));
        }
    }
}
