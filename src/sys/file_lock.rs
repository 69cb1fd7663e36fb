//! Locks on files. Both kinds belong to the open file description, so that a re-exec passes them on. A user who can read a file
//! can take a flock(2) on it; a write lock (F_OFD_SETLK of fcntl(2)) takes the right to write, and no reader's lock hides it.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::sys::errno::retry;

/// flock(2), exclusive, without waiting. Closing lets go, and so does the end of the process; nothing of ours unlocks it
/// explicitly, which would free it for all that share the description.
///
/// # Errors
/// EWOULDBLOCK when another description has it; or the file system has no locks.
pub fn try_flock(file: &File) -> Result<(), Errno> {
    // SAFETY: a descriptor that we own, and no memory.
    retry(|| Errno::result(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) })).map(drop)
}

/// Takes the write lock without waiting, for as long as the file is open. The file has to be open for writing.
///
/// # Errors
/// EAGAIN, another process has a lock of any kind on it; or the system has no such locks.
pub fn take_write_lock(file: &File) -> Result<(), Errno> {
    retry(|| fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK)))).map(drop)
}

/// Whether another open file description has the write lock. Not if the system does not say.
pub fn is_write_locked(file: &File) -> bool {
    // A lock of a reader's is in the way of a writer's only.
    let mut found = whole_file(libc::F_RDLCK);
    let asked = retry(|| fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)));
    asked.is_ok() && i32::from(found.l_type) == libc::F_WRLCK
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    let (l_type, l_whence) = (kind.try_into().unwrap_or_default(), libc::SEEK_SET.try_into().unwrap_or_default());
    libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn a_lock_of_a_reader_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        fcntl(&reader, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_RDLCK))).unwrap();
        assert!(!is_write_locked(&writer));
        assert_eq!(take_write_lock(&writer), Err(Errno::EAGAIN));
        drop(reader);
        take_write_lock(&writer).unwrap();
        assert!(!is_write_locked(&writer), "by another");
        let other = OpenOptions::new().read(true).open(&path).unwrap();
        assert!(is_write_locked(&other));
        assert!(take_write_lock(&other).is_err(), "it is not open for writing");
        drop(writer);
        assert!(!is_write_locked(&other));
    }
}
