//! A lock on a file that everybody may read, as a sign that its owner lives. flock(2) would not do: whoever can read a file can
//! take such a lock on it. This one takes the right to write (F_OFD_SETLK of fcntl(2)), and it is looked for in a way that no
//! lock of a mere reader changes. It belongs to the open file description, so that it is passed on over a re-exec.

use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::sys::errno::retry;

/// Takes it without waiting, for as long as the file is open. The file has to be open for writing.
///
/// Errors: EAGAIN, another process has a lock of any kind on it; or the system has no such locks.
pub(super) fn take(file: &File) -> Result<(), Errno> {
    retry(|| fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK)))).map(drop)
}

/// Whether another open file description has it. Not if the system does not say.
pub(super) fn is_held(file: &File) -> bool {
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
        assert!(!is_held(&writer));
        assert_eq!(take(&writer), Err(Errno::EAGAIN));
        drop(reader);
        take(&writer).unwrap();
        assert!(!is_held(&writer), "by another");
        let other = OpenOptions::new().read(true).open(&path).unwrap();
        assert!(is_held(&other));
        assert!(take(&other).is_err(), "it is not open for writing");
        drop(writer);
        assert!(!is_held(&other));
    }
}
