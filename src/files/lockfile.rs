//! The lock that keeps a second master away: a flock(2) held for life, passed on over a re-exec, and never inherited by a
//! worker. A refused start changes nothing: the file is never removed, and only truncated by its holder.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::files::directory::Demand;
use crate::files::error::{FileCause, FileError};
use crate::files::path_trust::Mistrust;
use crate::files::room::check_writable;
use crate::files::spot::{RACES_MAX, Spot};
use crate::sys::file_id::FileId;
use crate::sys::file_lock::try_flock;

/// How long a start that adopts waits for the lock: a killed master lets go of it when its last thread has ended.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

const PAUSE: Duration = Duration::from_millis(20);
const PAUSES_MAX: u128 = RELEASE_LIMIT.as_millis() / PAUSE.as_millis();

/// A held lock; closing it releases it.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock, makes its file if need be, and writes our pid into it so that a refusal can name the holder.
    ///
    /// # Errors
    /// Another master has it, or the file or its directory cannot be had or is not trusted.
    pub fn acquire(path: &Path) -> Result<Self, FileError> {
        let file = acquire(path).map_err(|cause| FileError::new("lock", path, cause))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// The same, after the end of a master that has been killed just now.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub fn acquire_of_dying(path: &Path) -> Result<Self, FileError> {
        let mut pauses_left = PAUSES_MAX;
        loop {
            match Self::acquire(path) {
                Err(error @ FileError { cause: FileCause::Held { .. }, .. }) if pauses_left > 0 => {
                    if pauses_left == PAUSES_MAX {
                        log::info!("{error}; waiting for its end");
                    }
                }
                result => return result,
            }
            pauses_left -= 1;
            pause();
        }
    }

    /// What can be known of it without taking it.
    ///
    /// # Errors
    /// As [`Lock::acquire`], but for another master.
    pub fn check(path: &Path) -> Result<(), FileError> {
        check_writable(path).map_err(|cause| FileError::new("lock", path, cause))
    }

    /// Goes on holding a lock that came with a re-exec: the old image's end has not released it.
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

fn acquire(path: &Path) -> Result<File, FileCause> {
    let spot = Spot::find(path, Demand::Trusted)?;
    for _ in 0..RACES_MAX {
        // No O_TRUNC: the file is not ours yet.
        let (mut file, meta) = spot.open_trusted(OFlag::O_RDWR | OFlag::O_CREAT, 0o600)?;
        if meta.nlink() > 1 {
            return Err(Mistrust::HardLinked.into());
        }
        match try_flock(&file) {
            Err(Errno::EWOULDBLOCK) => return Err(FileCause::Held { pid: read_pid(&mut file) }),
            result => result?,
        }
        // A process that removed the file between open and flock has left us a lock on nothing.
        if spot.holds(FileId::of(&meta)) {
            write_own_pid(&mut file);
            return Ok(file);
        }
    }
    Err(FileCause::Unstable)
}

#[expect(clippy::disallowed_methods, reason = "there is no loop yet, and the end of a lock is no event")]
fn pause() {
    std::thread::sleep(PAUSE);
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
    use crate::files::path_trust::DirectoryError;
    use crate::sys::testing::{LIMIT, is_root, wait_until};

    fn place() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("einhorn.lock");
        (dir, path)
    }

    fn refusal(path: &Path) -> FileCause {
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
        assert!(matches!(refusal(&path), FileCause::Held { .. }));
        assert_eq!(passed_on.path(), path);
    }

    #[test]
    fn planted_links_are_refused_and_their_victims_stay_whole() {
        let (dir, path) = place();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        assert_eq!(refusal(&path), FileCause::Mistrusted(Mistrust::NotRegular { kind: "a symbolic link" }));
        fs::remove_file(&path).unwrap();
        fs::hard_link(&victim, &path).unwrap();
        assert_eq!(refusal(&path), FileCause::Mistrusted(Mistrust::HardLinked));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let (_dir, path) = place();
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_eq!(refusal(&path), FileCause::Mistrusted(Mistrust::NotRegular { kind: "a FIFO" }));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(refusal(&path), FileCause::Mistrusted(Mistrust::NotRegular { kind: "a directory" }));
    }

    #[test]
    fn another_users_file_is_refused_unread() {
        if !is_root() {
            return;
        }
        let (_dir, path) = place();
        fs::write(&path, "42").unwrap();
        chown(&path, Some(Uid::from_raw(12345)), None).unwrap();
        assert_eq!(refusal(&path), FileCause::Mistrusted(Mistrust::Foreign { uid: 12345 }));
        assert_eq!(fs::read_to_string(&path).unwrap(), "42");
    }

    #[test]
    fn a_lock_in_an_unprotected_directory_is_refused_before_it_is_made() {
        let (dir, path) = place();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(refusal(&path), FileCause::Directory(DirectoryError::Unprotected { .. })));
        assert!(!path.exists());
    }

    #[test]
    fn rubbish_in_the_file_names_no_holder() {
        let (_dir, path) = place();
        let first = Lock::acquire(&path).unwrap();
        fs::write(&path, "-5 or so").unwrap();
        assert_eq!(refusal(&path), FileCause::Held { pid: None });
        drop(first);
    }
}
