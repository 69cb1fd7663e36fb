//! Settings of the process as a whole, and of the machine. Changes only what its callers ask for.

use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::thread;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{AccessFlags, Group, eaccess, geteuid};

use crate::sys::place::{Shared, sharing};

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

/// The user whose rights this process has.
pub fn own_uid() -> u32 {
    geteuid().as_raw()
}

/// The number of a group by its name, or by its number.
pub fn group_id(name: &str) -> Option<u32> {
    match Group::from_name(name) {
        Ok(Some(group)) => Some(group.gid.as_raw()),
        Ok(None) | Err(_) => name.parse().ok(),
    }
}

/// Whether Ruby's `Dir.tmpdir` would take this directory: one that we may write, and in which others cannot replace our
/// files.
pub fn usable_tmpdir(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_dir() && sharing(&meta) != Shared::Unprotected)
        && eaccess(path, AccessFlags::W_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_shared_directory_needs_its_sticky_bit() {
        let dir = tempfile::tempdir().unwrap();
        let set_mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        for (mode, usable) in [(0o700, true), (0o1777, true), (0o777, false)] {
            set_mode(mode);
            assert_eq!(usable_tmpdir(dir.path()), usable, "{mode:o}");
        }
        assert!(!usable_tmpdir(&dir.path().join("none")));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(!usable_tmpdir(&file));
    }

    #[test]
    fn there_is_a_processor() {
        assert!(cpu_count() >= 1);
    }
}
