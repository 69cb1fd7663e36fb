//! The names in a directory. `std::fs::read_dir` panics when close(2) fails (a full disk, an I/O error), so nothing of ours uses it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::sys::errno::retry;

/// All of them or none, in the directory's order, without `.` and `..`.
///
/// # Errors
/// It is no directory, or may not be read; what close(2) says is left alone.
pub fn names(directory: impl AsRef<Path>) -> Result<Vec<OsString>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut directory = retry(|| Dir::open(directory.as_ref(), flags, Mode::empty()))?;
    let mut names = Vec::new();
    for entry in directory.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// The names that are numbers, as in /proc.
///
/// # Errors
/// As [`names`].
pub(super) fn numbers(directory: impl AsRef<Path>) -> Result<Vec<i32>, Errno> {
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
