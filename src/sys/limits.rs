//! Settings of the process as a whole, and of the machine. Changes only what its callers ask for.

use std::num::NonZero;
use std::thread;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

/// Sets the nice level of the calling thread and of those that it will start: to be called before there are any.
pub fn set_nice(level: i32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, level) }).map(drop)
}

/// The number below which every descriptor lies that this process can open from now on.
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}

/// How many processors this process may use; 1 when nobody can tell.
pub fn cpu_count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Makes orphaned descendants our children, see prctl(2). It outlives an exec, and is not inherited by children.
pub fn set_child_subreaper() -> Result<(), Errno> {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes a number.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1_u64, 0_u64, 0_u64, 0_u64) }).map(drop)
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
    use super::*;

    #[test]
    fn there_is_a_processor() {
        assert!(cpu_count() >= 1);
    }
}
