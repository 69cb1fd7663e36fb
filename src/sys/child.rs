//! The child between fork and exec. Only async-signal-safe calls: no allocation, no lock, no panic, no log; another thread
//! of the master may have held any lock at the fork. What fails is told over the pipe, and the child ends.

use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

use libc::{c_int, c_long, time_t};
use nix::errno::Errno;

use crate::sys::birth::Birth;
use crate::sys::errno::retry;
use crate::sys::exec_pipe::{Stage, encode};
use crate::sys::fd::cloexec_range;
use crate::sys::identity::Identity;
use crate::sys::prepared_exec::{PID_ROOM, PreparedExec, StringArray};
use crate::sys::resource_limit::ResourceLimit;
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
    // SAFETY: the record is readable for its whole length. If nobody reads it, nobody wants to know.
    unsafe { libc::write(error_pipe, record.as_ptr().cast(), record.len()) };
    // SAFETY: ends the process without running anything of the master's.
    unsafe { libc::_exit(EXIT_NOT_RUN) }
}

fn prepare(plan: &PreparedExec) -> Result<(), (Stage, Errno)> {
    join_own_group().map_err(|errno| (Stage::ProcessGroup, errno))?;
    reset_dispositions();
    place_descriptors(&plan.descriptors).map_err(|errno| (Stage::Descriptors, errno))?;
    restore_birth(&plan.birth);
    set_nice(plan).map_err(|errno| (Stage::Nice, errno))?;
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

/// The master does the same, so that the group is there whoever comes first.
fn join_own_group() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::setpgid(0, 0) }).map(drop)
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
    // SAFETY: no memory is passed; it always succeeds.
    unsafe { libc::umask(birth.umask) };
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and of the right type.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0 {
        // Somebody may have lowered the hard limit since.
        limit.rlim_cur = birth.nofile_soft.min(limit.rlim_max);
        // SAFETY: `limit` is readable and of the right type.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    }
}

/// Going back to the birth level needs a privilege when the master has made itself nicer, and is only tried.
fn set_nice(plan: &PreparedExec) -> Result<(), Errno> {
    match plan.nice {
        Some(level) => setpriority(level),
        None => {
            let _ = setpriority(plan.birth.nice);
            Ok(())
        }
    }
}

fn setpriority(level: c_int) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, level) }).map(drop)
}

/// After the descriptors are placed, which may stand above the new limit of them, and after the birth's limit is restored,
/// which gives way to one that was asked for.
fn set_limits(limits: &[ResourceLimit]) -> Result<(), (Stage, Errno)> {
    for limit in limits {
        limit.apply().map_err(|errno| (Stage::Limit(limit.resource), errno))?;
    }
    Ok(())
}

fn enter_directory(plan: &PreparedExec) -> Result<(), Errno> {
    match &plan.directory {
        // SAFETY: a C string of the prepared exec.
        Some(directory) => Errno::result(unsafe { libc::chdir(directory.as_ptr()) }).map(drop),
        None => Ok(()),
    }
}

/// The digits go where the prepared exec has left room, followed by a NUL. (The environment's other strings are as laid out.)
fn write_own_pid(plan: &PreparedExec) {
    let Some(slot) = plan.pid_slot else { return };
    // SAFETY: no memory is passed; it always succeeds.
    let pid = unsafe { libc::getpid() };
    let digits = decimal(pid.unsigned_abs());
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
/// set, nobody is left to be told: the worker that nobody watches ends here.
fn arm_parent_death(plan: &PreparedExec) -> Result<(), Errno> {
    let Some(signal) = plan.parent_death else { return Ok(()) };
    // SAFETY: PR_SET_PDEATHSIG takes a number.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })?;
    // SAFETY: no memory is passed; it always succeeds.
    let parent = unsafe { libc::getppid() };
    if parent != plan.master_pid {
        // SAFETY: ends the process without running anything of the master's.
        unsafe { libc::_exit(EXIT_NOT_RUN) };
    }
    Ok(())
}

/// A script's interpreter would find a descriptor closed, and the kernel refuses to start it (ENOENT): a script is run by its path.
fn exec(plan: &PreparedExec) -> Result<Infallible, Errno> {
    let any = || Ok(());
    match plan.file.map(|file| exec_file(file, &plan.argv, &plan.envp, any)) {
        None | Some(Err(Errno::ENOENT)) => exec_path(&plan.path, &plan.argv, &plan.envp, any),
        Some(result) => result,
    }
}

/// execve(2), again and again while the program is open for writing, each time after this check. Async-signal-safe if the check is.
pub(super) fn exec_path(
    path: &CStr,
    argv: &StringArray,
    envp: &StringArray,
    mut check: impl FnMut() -> Result<(), Errno>,
) -> Result<Infallible, Errno> {
    retry_while_busy(|| {
        check()?;
        // SAFETY: a C string and two null-terminated arrays of C strings, which the caller's references keep.
        unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
        Err(Errno::last())
    })
}

/// The same with the file that a descriptor leads to, fexecve(3).
///
/// Errors: ENOENT also for a script behind a descriptor that closes on exec.
pub(super) fn exec_file(
    file: RawFd,
    argv: &StringArray,
    envp: &StringArray,
    mut check: impl FnMut() -> Result<(), Errno>,
) -> Result<Infallible, Errno> {
    retry_while_busy(|| {
        check()?;
        // SAFETY: a number and two null-terminated arrays of C strings, which the caller's references keep.
        unsafe { libc::fexecve(file, argv.as_ptr(), envp.as_ptr()) };
        Err(Errno::last())
    })
}

/// Calls an execve(2) again while its program is open for writing, for about a second. Async-signal-safe if the call is.
fn retry_while_busy(mut call: impl FnMut() -> Result<Infallible, Errno>) -> Result<Infallible, Errno> {
    for _ in 0..BUSY_RETRIES_MAX {
        match call() {
            Err(Errno::ETXTBSY) => pause(),
            result => return result,
        }
    }
    call()
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
