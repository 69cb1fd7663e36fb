//! The lock that keeps a second master away: a flock(2) held for life, passed on over a re-exec, and never inherited by a
//! worker. A refused start changes nothing: the file is never removed, and only truncated by its holder.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::files::directory::Demand;
use crate::files::path_trust::{DirectoryError, Mistrust, trust};
use crate::files::spot::Spot;
use crate::sys::errno::{errno_of, words};
use crate::sys::file_id::FileId;
use crate::sys::file_lock::try_flock;

/// How often another process may remove or replace the file while we lock it.
const RACES_MAX: u32 = 10;

/// A held lock; closing it lets go.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

/// Why there is no lock. The path, and the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockError {
    pub path: PathBuf,
    pub cause: LockCause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockCause {
    /// By whom, if the file tells.
    Held {
        pid: Option<i32>,
    },
    Mistrusted(Mistrust),
    Directory(DirectoryError),
    /// Others keep replacing the file.
    Unstable,
    System(Errno),
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot lock {}: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for LockError {}

impl fmt::Display for LockCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { pid: Some(pid) } => write!(f, "held by another master (pid {pid})"),
            Self::Held { pid: None } => f.write_str("held by another master"),
            Self::Mistrusted(mistrust) => mistrust.fmt(f),
            Self::Directory(error) => error.fmt(f),
            Self::Unstable => f.write_str("others keep replacing the file"),
            Self::System(errno) => f.write_str(&words(*errno)),
        }
    }
}

impl Lock {
    /// Takes the lock, makes its file if need be, and writes our pid into it so that a refusal can name the holder.
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let file = acquire(path).map_err(|cause| LockError { path: path.to_owned(), cause })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Goes on holding a lock that came with a re-exec: closing the descriptor of the old image has not let it go.
    pub fn adopt(path: PathBuf, fd: OwnedFd) -> Self {
        Self { path, file: fd.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn acquire(path: &Path) -> Result<File, LockCause> {
    let spot = Spot::find(path, Demand::Trusted).map_err(LockCause::Directory)?;
    for _ in 0..RACES_MAX {
        let mut file = open(&spot)?;
        let meta = file.metadata().map_err(|error| LockCause::System(errno_of(&error)))?;
        trust(&meta).map_err(LockCause::Mistrusted)?;
        if meta.nlink() > 1 {
            return Err(LockCause::Mistrusted(Mistrust::HardLinked));
        }
        match try_flock(&file) {
            Ok(()) => {}
            Err(Errno::EWOULDBLOCK) => return Err(LockCause::Held { pid: read_pid(&mut file) }),
            Err(errno) => return Err(LockCause::System(errno)),
        }
        // Whoever removed the file between open and flock has left us a lock on nothing.
        if spot.holds(FileId::of(&meta)) {
            write_own_pid(&mut file);
            return Ok(file);
        }
    }
    Err(LockCause::Unstable)
}

/// O_NONBLOCK for a FIFO, which would keep us waiting; no O_TRUNC, since the file is not ours yet.
fn open(spot: &Spot) -> Result<File, LockCause> {
    let opened = spot.open(OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NONBLOCK, 0o600);
    opened.map_err(|errno| match spot.look() {
        Ok(Some(found)) => match trust(found.meta()) {
            // A symbolic link, a directory, another user's file: the errno alone would not say so.
            Err(mistrust) => LockCause::Mistrusted(mistrust),
            Ok(()) => LockCause::System(errno),
        },
        Ok(None) | Err(_) => LockCause::System(errno),
    })
}

/// The pid in a lock or pid file; what else may stand there says nothing.
pub(super) fn read_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

/// For the reader only: a full disk does not weaken the lock.
fn write_own_pid(file: &mut File) {
    if file.set_len(0).is_ok() {
        let _ = write!(file, "{}", nix::unistd::getpid());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::sys::stat::Mode;
    use nix::unistd::{Uid, chown, mkfifo};
    use tempfile::TempDir;

    use super::*;
    use crate::sys::testing::{LIMIT, is_root, wait_until};

    fn place() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("einhorn.lock");
        (dir, path)
    }

    fn refusal(path: &Path) -> LockCause {
        Lock::acquire(path).unwrap_err().cause
    }

    #[test]
    fn the_second_is_refused_and_told_the_first() {
        let (_dir, path) = place();
        let first = Lock::acquire(&path).unwrap();
        let pid = nix::unistd::getpid().as_raw();
        let second = Lock::acquire(&path).unwrap_err();
        assert_eq!(second.to_string(), format!("cannot lock {}: held by another master (pid {pid})", path.display()));
        assert_eq!(fs::read_to_string(&path).unwrap(), pid.to_string());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(first);
        // A child that another test has just forked may hold the descriptor until its exec.
        assert!(wait_until(LIMIT, || Lock::acquire(&path).is_ok()));
    }

    #[test]
    fn of_many_at_once_one_wins() {
        let (_dir, path) = place();
        let held: Vec<Lock> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Lock::acquire(&path).ok())).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(held.len(), 1);
    }

    #[test]
    fn a_lock_outlives_the_first_of_its_descriptors() {
        let (_dir, path) = place();
        let first = Lock::acquire(&path).unwrap();
        let passed_on = Lock::adopt(path.clone(), first.as_fd().try_clone_to_owned().unwrap());
        drop(first);
        assert!(matches!(refusal(&path), LockCause::Held { .. }));
        assert_eq!(passed_on.path(), path);
    }

    #[test]
    fn planted_links_are_refused_and_their_victims_stay_whole() {
        let (dir, path) = place();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        assert_eq!(refusal(&path), LockCause::Mistrusted(Mistrust::NotRegular { kind: "a symbolic link" }));
        fs::remove_file(&path).unwrap();
        fs::hard_link(&victim, &path).unwrap();
        assert_eq!(refusal(&path), LockCause::Mistrusted(Mistrust::HardLinked));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let (_dir, path) = place();
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_eq!(refusal(&path), LockCause::Mistrusted(Mistrust::NotRegular { kind: "a FIFO" }));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(refusal(&path), LockCause::Mistrusted(Mistrust::NotRegular { kind: "a directory" }));
    }

    #[test]
    fn another_users_file_is_refused_unread() {
        if !is_root() {
            return;
        }
        let (_dir, path) = place();
        fs::write(&path, "42").unwrap();
        chown(&path, Some(Uid::from_raw(12345)), None).unwrap();
        assert_eq!(refusal(&path), LockCause::Mistrusted(Mistrust::Foreign { uid: 12345 }));
        assert_eq!(fs::read_to_string(&path).unwrap(), "42");
    }

    #[test]
    fn a_lock_in_an_unprotected_directory_is_refused_before_it_is_made() {
        let (dir, path) = place();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(refusal(&path), LockCause::Directory(DirectoryError::Unprotected { .. })));
        assert!(!path.exists());
    }

    #[test]
    fn rubbish_in_the_file_names_no_holder() {
        let (_dir, path) = place();
        let first = Lock::acquire(&path).unwrap();
        fs::write(&path, "-5 or so").unwrap();
        assert_eq!(refusal(&path), LockCause::Held { pid: None });
        drop(first);
    }
}
