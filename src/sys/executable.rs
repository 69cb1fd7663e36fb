//! The file of a program, opened once: the file that is checked is the file that is run, whatever is put at its path meanwhile.
//! Only looks; [`crate::sys::process`] and [`crate::sys::reexec`] run it.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::fstat;

use crate::sys::errno::errno_of;
use crate::sys::fd::lift;
use crate::sys::file_id::FileId;

/// The descriptor stands here or above: a child's own descriptors, which are put at low numbers, do not overwrite it.
const FIRST_NUMBER: RawFd = 16;

/// Which file stands at a path, and in which state: whether it still is the one that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFingerprint {
    file: FileId,
    bytes: u64,
    modified: (i64, i64),
    /// Unlike the time of the last modification, a writer of the file cannot set it back.
    changed: (i64, i64),
}

impl FileFingerprint {
    /// Of what links lead to. None: nothing that we may look at.
    pub fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|meta| Self::of_metadata(&meta))
    }

    fn of_metadata(meta: &fs::Metadata) -> Self {
        Self {
            file: FileId::of(meta),
            bytes: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A program's file. The descriptor is close-on-exec; a binary is run by it. A script cannot be: its interpreter would find the
/// descriptor closed, so that a script is run by its path.
#[derive(Debug)]
pub struct Executable {
    path: PathBuf,
    file: OwnedFd,
    fingerprint: FileFingerprint,
}

impl Executable {
    /// What stands at this path, or where a link there leads. To be run, a file need not be readable.
    ///
    /// # Errors
    /// What open(2) and fcntl(2) say.
    pub fn open(path: &Path) -> Result<Self, Errno> {
        let open = || {
            let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
            let fingerprint = FileFingerprint::of_metadata(&file.metadata()?);
            Ok(Self { path: path.to_owned(), file: lift(File::into(file), FIRST_NUMBER)?, fingerprint })
        };
        open().map_err(|error: std::io::Error| errno_of(&error))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still leads to this file, and nothing was written into it.
    pub fn is_unchanged(&self) -> bool {
        FileFingerprint::of(&self.path) == Some(self.fingerprint)
    }

    /// Whether nothing was written into this file, wherever it is by now: to move, link or remove a file changes its last time alone.
    pub fn is_unwritten(&self) -> bool {
        let Ok(now) = fstat(&self.file) else { return false };
        let bytes = u64::try_from(now.st_size);
        bytes == Ok(self.fingerprint.bytes) && (now.st_mtime, now.st_mtime_nsec) == self.fingerprint.modified
    }
}

impl AsFd for Executable {
    /// For running it; it cannot be read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::{UtimensatFlags, utimensat};
    use nix::sys::time::TimeSpec;
    use tempfile::TempDir;

    use super::*;
    use crate::sys::fd::closes_on_exec;

    #[test]
    fn a_file_is_known_again_until_it_is_replaced_or_written() {
        let dir = TempDir::new().unwrap();
        let (path, link) = (dir.path().join("program"), dir.path().join("link"));
        fs::write(&path, "one").unwrap();
        symlink(&path, &link).unwrap();
        let open = || Executable::open(&link).unwrap();
        let program = open();
        assert!(program.is_unchanged());
        fs::write(&path, "longer").unwrap();
        assert!(!program.is_unchanged());
        let program = open();
        let other = dir.path().join("other");
        fs::copy(&path, &other).unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!program.is_unchanged());
        let program = open();
        fs::remove_file(&path).unwrap();
        assert!(!program.is_unchanged());
        assert_eq!(Executable::open(&link).unwrap_err(), Errno::ENOENT);
    }

    #[test]
    fn only_what_is_written_into_a_file_counts_as_written() {
        let dir = TempDir::new().unwrap();
        let (path, other) = (dir.path().join("program"), dir.path().join("other"));
        fs::write(&path, "one").unwrap();
        let program = Executable::open(&path).unwrap();
        fs::rename(&path, &other).unwrap();
        fs::write(&path, "another file").unwrap();
        assert!(program.is_unwritten());
        fs::write(&other, "longer").unwrap();
        assert!(!program.is_unwritten());
    }

    #[test]
    fn a_time_that_is_set_back_hides_no_change() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, "one").unwrap();
        let program = Executable::open(&path).unwrap();
        let meta = fs::metadata(&path).unwrap();
        let modified = TimeSpec::new(meta.mtime(), meta.mtime_nsec());
        // The clock of a file system goes in steps of some milliseconds.
        let changed = crate::sys::testing::wait_until(crate::sys::testing::LIMIT, || {
            fs::write(&path, "two").unwrap();
            utimensat(nix::fcntl::AT_FDCWD, &path, &modified, &modified, UtimensatFlags::FollowSymlink).unwrap();
            fs::metadata(&path).unwrap().ctime_nsec() != meta.ctime_nsec()
        });
        assert!(changed && fs::metadata(&path).unwrap().modified().unwrap() == meta.modified().unwrap());
        assert!(!program.is_unchanged());
    }

    #[test]
    fn its_descriptor_has_a_high_number() {
        let program = Executable::open(Path::new("/bin/sh")).unwrap();
        assert_eq!(closes_on_exec(program.as_fd()), Ok(true));
        assert!(program.as_fd().as_raw_fd() >= FIRST_NUMBER);
    }
}
