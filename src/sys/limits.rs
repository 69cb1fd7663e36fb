//! Settings of the process as a whole, and of the machine. Changes only what its callers ask for.

use std::num::NonZero;
use std::thread;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit};

use crate::base::Pid;
use crate::sys::capability::{self, SYS_NICE};

const NICE_MIN: i32 = -20;

/// Sets the nice level of the calling thread and of those that it will start: to be called before there are any.
/// Async-signal-safe: the child of a fork calls it.
///
/// # Errors
/// A level below the own one, or below what RLIMIT_NICE allows, takes CAP_SYS_NICE.
pub fn set_nice(level: i32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, level) }).map(drop)
}

/// The same for another process, or rather for its first thread.
///
/// # Errors
/// As [`set_nice`]; ESRCH: it is gone.
pub fn set_nice_of(pid: Pid, level: i32) -> Result<(), Errno> {
    let Ok(id) = u32::try_from(pid.0) else { return Err(Errno::ESRCH) };
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, id, level) }).map(drop)
}

/// The nice level of the calling thread. getpriority(2) may return -1 for success, so that only errno tells.
pub(super) fn nice() -> Result<i32, Errno> {
    Errno::clear();
    // SAFETY: no memory is passed.
    let level = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    match Errno::last_raw() {
        0 => Ok(level),
        errno => Err(Errno::from_raw(errno)),
    }
}

/// The lowest nice level that this process may give a child, once it has gone to `planned` itself, if that is anywhere.
pub fn lowest_nice(planned: Option<i32>) -> i32 {
    if capability::has(&[SYS_NICE]) {
        return NICE_MIN;
    }
    // What we are not told is no reason to refuse.
    let current = nice().unwrap_or(NICE_MIN);
    let own = planned.map_or(current, |planned| planned.max(current));
    // Its unit is 20 less the level, see getrlimit(2).
    let (allowed, _) = getrlimit(Resource::RLIMIT_NICE).unwrap_or_default();
    own.min(20 - i32::try_from(allowed).unwrap_or(40)).max(NICE_MIN)
}

/// The number below which every descriptor lies that this process can open from now on.
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}

/// How many processors this process may use; 1 when the system does not say.
pub fn cpu_count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Makes orphaned descendants our children, see prctl(2). It outlives an exec, and is not inherited by children.
///
/// # Errors
/// The system does not know the call.
pub fn set_child_subreaper() -> Result<(), Errno> {
    prctl::set_child_subreaper(true)
}

/// Takes [`set_child_subreaper`] back. Those that are our children already stay so.
///
/// # Errors
/// As [`set_child_subreaper`].
pub fn unset_child_subreaper() -> Result<(), Errno> {
    prctl::set_child_subreaper(false)
}

/// Makes the allocator give memory back when it is freed. By default glibc raises its threshold with each large block that
/// is freed, and a single hostile request would leave the master larger for ever. One arena for all threads: they hardly
/// ever allocate at the same time, and each arena keeps some memory of its own.
#[cfg(target_env = "gnu")]
pub fn keep_no_freed_memory() {
    const KEPT_MAX_BYTES: i32 = 128 * 1024;
    for (parameter, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, KEPT_MAX_BYTES), (libc::M_TRIM_THRESHOLD, KEPT_MAX_BYTES)]
    {
        // SAFETY: mallopt takes numbers; what it does not know it refuses.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Other allocators have no such habit, nor the call.
#[cfg(not(target_env = "gnu"))]
pub fn keep_no_freed_memory() {}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use nix::sys::resource::setrlimit;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, Uid, fork, geteuid, setresuid};

    use super::*;
    use crate::sys::testing::in_own_process;

    #[test]
    fn the_lowest_nice_level_is_the_one_that_the_kernel_allows() {
        in_own_process(module_path!(), "the_lowest_nice_level_is_the_one_that_the_kernel_allows", || {
            set_nice(3).unwrap();
            let (ours, hard) = getrlimit(Resource::RLIMIT_NICE).unwrap();
            for allowed in [0, 19, 25].into_iter().filter(|allowed| *allowed <= hard).chain([ours]) {
                setrlimit(Resource::RLIMIT_NICE, allowed, hard).unwrap();
                check_lowest();
                if geteuid().is_root() {
                    as_another_user(check_lowest);
                }
            }
        });
    }

    /// Each level from the top down in a process of its own, since one that went up may not come back.
    fn check_lowest() {
        for planned in [None, Some(5)] {
            let level_is_had = |level: i32| {
                // SAFETY: the child calls setpriority(2) and _exit(2) alone.
                match unsafe { fork() }.unwrap() {
                    ForkResult::Child => {
                        let outcome = planned.map_or(Ok(()), set_nice).and_then(|()| set_nice(level));
                        // SAFETY: ends the process.
                        unsafe { libc::_exit(i32::from(outcome.is_err())) }
                    }
                    ForkResult::Parent { child } => waitpid(child, None).unwrap() == WaitStatus::Exited(child, 0),
                }
            };
            let found = (-20..20).find(|level| level_is_had(*level));
            assert_eq!(found, Some(lowest_nice(planned)), "planned {planned:?}");
        }
    }

    /// In a child, since it cannot come back.
    fn as_another_user(body: fn()) {
        // SAFETY: the process has one thread that matters, and the child ends with its own exit code.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let nobody = Uid::from_raw(65534);
                setresuid(nobody, nobody, nobody).unwrap();
                let outcome = catch_unwind(body);
                // SAFETY: ends the process.
                unsafe { libc::_exit(i32::from(outcome.is_err())) }
            }
            ForkResult::Parent { child } => assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0))),
        }
    }

    #[test]
    fn there_is_a_processor() {
        assert!(cpu_count() >= 1);
    }
}
