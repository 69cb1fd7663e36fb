//! The names in a directory. `std::fs::read_dir` panics when close(2) fails (a full disk, an I/O error), so nothing of ours uses it;
//! `nix::dir` loses the descriptor when fdopendir(3) fails.

use std::ffi::{CStr, CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::ptr::NonNull;

use nix::errno::Errno;

use crate::sys::errno::retry;

/// All of them or none, in the directory's order, without `.` and `..`.
///
/// # Errors
/// It is no directory, or may not be read; what close(2) says is left alone.
pub fn names(directory: impl AsRef<Path>) -> Result<Vec<OsString>, Errno> {
    let mut stream = Stream::open(directory.as_ref())?;
    let mut names = Vec::new();
    while let Some(name) = stream.next()? {
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// An open directory of the C library, which closes on exec.
struct Stream(NonNull<libc::DIR>);

impl Stream {
    fn open(directory: &Path) -> Result<Self, Errno> {
        let path = CString::new(directory.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the path ends with a zero byte, and lives until the call is over.
        retry(|| NonNull::new(unsafe { libc::opendir(path.as_ptr()) }).ok_or_else(Errno::last)).map(Self)
    }

    /// None at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Errno> {
        Errno::clear();
        // SAFETY: the stream is open, and this thread's alone.
        let entry = unsafe { libc::readdir(self.0.as_ptr()) };
        let Some(entry) = NonNull::new(entry) else {
            return match Errno::last() {
                Errno::UnknownErrno => Ok(None),
                errno => Err(errno),
            };
        };
        // SAFETY: the entry is good until the next call of readdir(3), and its name ends with a zero byte. It may be shorter than its
        // type says, so that no reference to the whole of it is made.
        let name = unsafe { CStr::from_ptr((&raw const (*entry.as_ptr()).d_name).cast()) };
        Ok(Some(name.to_bytes().to_vec()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: it is open, and used no more. The descriptor is closed, whatever the call says.
        unsafe { libc::closedir(self.0.as_ptr()) };
    }
}

/// The names that are numbers, as in /proc.
///
/// # Errors
/// As [`names`].
pub fn numbers(directory: impl AsRef<Path>) -> Result<Vec<i32>, Errno> {
    Ok(names(directory)?.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_directory_alone() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a", "7", ".hidden"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let mut found = names(directory.path()).unwrap();
        found.sort();
        assert_eq!(found, [".hidden", "7", "a"]);
        assert_eq!(numbers(directory.path()), Ok(vec![7]));
        assert_eq!(names(directory.path().join("a")), Err(Errno::ENOTDIR));
        assert_eq!(names(directory.path().join("missing")), Err(Errno::ENOENT));
    }
}
