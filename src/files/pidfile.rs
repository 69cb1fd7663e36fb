//! The file that tells others the master's pid. It is locked for as long as its master lives, which shows it to a master with
//! another lock but the same pid file. All users may read the file, so its lock is one that no reader can take. Never written in
//! place, and only removed while it still is ours.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags};

use crate::base::Pid;
use crate::files::directory::Demand;
use crate::files::error::{FileCause, FileError};
use crate::files::lockfile::read_pid;
use crate::files::path_trust::trust;
use crate::files::room::check_room;
use crate::files::spot::{RACES_MAX, Spot};
use crate::sys::errno::insist;
use crate::sys::file_id::FileId;
use crate::sys::file_lock::{is_write_locked, take_write_lock, try_flock};
use crate::sys::wakeup;

/// How many names of temporary files may be taken by leftovers of dead masters.
const LEFTOVERS_MAX: u32 = 100;

/// How long to wait for another process that has the flock(2) of a file that no master has: a master that replaces it is done
/// at once, and any other process keeps no master away.
const RACE_PAUSE: Duration = Duration::from_millis(10);

/// What became of a pid file that something may have happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    Intact,
    Written,
}

/// A pid file of ours.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Puts a file with the bare pid, as einhorn writes it, at the path, in the place of one that no living master holds.
    ///
    /// # Errors
    /// A living master holds the file there, or no master would have left it; or the system refuses a new one.
    pub fn write(path: &Path, pid: Pid) -> Result<Self, FileError> {
        let file = write(path, pid).map_err(|cause| FileError::new("write pid file", path, cause))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// What can be known of it without writing it.
    ///
    /// # Errors
    /// As [`PidFile::write`], but for a living master.
    pub fn check(path: &Path) -> Result<(), FileError> {
        let look = || {
            let spot = Spot::find(path, Demand::Trusted)?;
            spot.look()?.map_or(Ok(()), |found| trust(found.meta()))?;
            check_room(path, &spot)
        };
        look().map_err(|cause| FileError::new("write pid file", path, cause))
    }

    /// Holds the file at the path from now on if it has this pid in it, and no other process holds it: another program has
    /// written it in our name.
    pub fn find(path: &Path, pid: Pid) -> Option<Self> {
        let spot = Spot::find(path, Demand::Any).ok()?;
        let mut file = claim(&spot).ok()??;
        (read_pid(&mut file) == Some(pid.0)).then(|| Self::adopt(path.to_owned(), file.into()))
    }

    /// Goes on holding a pid file that came with a re-exec. An older version than this one has only flock(2) on it.
    pub fn adopt(path: PathBuf, fd: OwnedFd) -> Self {
        let file = fd.into();
        let _a_reader_may_be_in_the_way = take_write_lock(&file);
        Self { path, file }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is still there, and says what it was written for.
    pub fn is_intact(&self, pid: Pid) -> bool {
        let is_said = || std::fs::read(&self.path).is_ok_and(|text| text == pid.to_string().as_bytes());
        self.stands_at_its_path() && is_said()
    }

    fn stands_at_its_path(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| FileId::of(&meta).stands_at(&self.path))
    }

    /// Writes the file anew if it is gone, is another one, or says something else.
    ///
    /// # Errors
    /// As of [`PidFile::write`].
    pub fn restore(&mut self, pid: Pid) -> Result<Restored, FileError> {
        if self.is_intact(pid) {
            return Ok(Restored::Intact);
        }
        if !self.stands_at_its_path() {
            *self = Self::write(&self.path, pid)?;
            return Ok(Restored::Written);
        }
        // In place: another file would be without the lock for a moment.
        let rewrite = || self.file.set_len(0).and_then(|()| self.file.write_all_at(pid.to_string().as_bytes(), 0));
        rewrite().map_err(|error| FileError::new("write pid file", &self.path, error.into()))?;
        Ok(Restored::Written)
    }

    /// Removes the file, but not another one that has taken its place.
    ///
    /// # Errors
    /// It cannot be removed, or the system does not say what stands there.
    pub fn remove(self) -> io::Result<()> {
        insist(|| {
            let id = FileId::of(&self.file.metadata()?);
            Spot::find_left(&self.path)?.map_or(Ok(()), |spot| Ok(spot.remove(id)?))
        })
    }
}

impl AsFd for PidFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn write(path: &Path, pid: Pid) -> Result<File, FileCause> {
    let spot = Spot::find(path, Demand::Trusted)?;
    // Refused before anything is made.
    let mut predecessor = claim(&spot)?;
    let temporary = Temporary::make(&spot, pid)?;
    for _ in 0..RACES_MAX {
        let put = match &predecessor {
            Some(_) => temporary.replace(&spot),
            None => temporary.place(&spot),
        };
        match put {
            Ok(()) => return Ok(temporary.file),
            Err(Errno::EEXIST) => predecessor = claim(&spot)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(FileCause::Unstable)
}

/// The file at the path, which no living master holds; None if there is none. We lock it so that no other master replaces it
/// meanwhile, unless a process that may only read it keeps a lock on it for longer than a master would.
fn claim(spot: &Spot) -> Result<Option<File>, FileCause> {
    for attempt in 1..=RACES_MAX {
        let Some(mut file) = open(spot)? else { return Ok(None) };
        let locked = try_flock(&file);
        if is_write_locked(&file) {
            return Err(FileCause::OfAnotherMaster { pid: read_pid(&mut file) });
        }
        match locked {
            Err(Errno::EWOULDBLOCK) if attempt < RACES_MAX => {
                wakeup::rest(RACE_PAUSE);
                continue;
            }
            Ok(()) | Err(Errno::EWOULDBLOCK) => {}
            Err(errno) => return Err(errno.into()),
        }
        if file.metadata().is_ok_and(|meta| spot.holds(FileId::of(&meta))) {
            return Ok(Some(file));
        }
    }
    Err(FileCause::Unstable)
}

/// For writing, as the lock needs it, unless the file is one of root's that an ordinary user may only read. None: there is none.
fn open(spot: &Spot) -> Result<Option<File>, FileCause> {
    let opened = spot.open_trusted(OFlag::O_RDWR, 0).or_else(|_| spot.open_trusted(OFlag::O_RDONLY, 0));
    match opened {
        Ok((file, _)) => Ok(Some(file)),
        Err(FileCause::System(Errno::ENOENT)) => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// A file under a name of its own beside the path, locked and written; it goes away unless it is renamed.
struct Temporary {
    file: File,
    name: Name,
}

struct Name(Spot);

impl Drop for Name {
    fn drop(&mut self) {
        // After the rename there is nothing of this name.
        let _ = self.0.unlink();
    }
}

impl Temporary {
    fn make(spot: &Spot, pid: Pid) -> io::Result<Self> {
        let (mut file, name) = create(spot, pid)?;
        // For masters of an older version, which look for this one.
        let _a_reader_may_have_it = try_flock(&file);
        write!(file, "{pid}")?;
        Ok(Self { file, name })
    }

    /// Over the file at the path, which we have locked.
    fn replace(&self, spot: &Spot) -> Result<(), Errno> {
        self.name.0.rename(spot, RenameFlags::empty())
    }

    /// Where there was no file; EEXIST if there is one now. Some file systems cannot promise that.
    fn place(&self, spot: &Spot) -> Result<(), Errno> {
        match self.name.0.rename(spot, RenameFlags::RENAME_NOREPLACE) {
            Err(Errno::EINVAL | Errno::ENOSYS) => self.replace(spot),
            result => result,
        }
    }
}

/// Makes it and locks it. Masters in containers share their pids, so that a dead one's temporary file may have the first name; and
/// a reader may have been quicker to put a lock of its own on the file.
fn create(spot: &Spot, pid: Pid) -> io::Result<(File, Name)> {
    let mut attempt = 0;
    loop {
        let mut name = OsString::from(".");
        name.push(spot.name());
        name.push(format!(".{pid}.{attempt}"));
        let beside = spot.beside(name);
        // O_EXCL follows no symbolic link either.
        match beside.open(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL, 0o644) {
            Err(Errno::EEXIST) if attempt < LEFTOVERS_MAX => attempt += 1,
            Err(errno) => return Err(errno.into()),
            Ok(file) => match (take_write_lock(&file), Name(beside)) {
                (Err(Errno::EAGAIN | Errno::EACCES), _goes_away) if attempt < LEFTOVERS_MAX => attempt += 1,
                // A file system without such locks: another master does not see that this one lives.
                (Ok(()) | Err(_), name) => return Ok((file, name)),
            },
        }
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
    use crate::files::path_trust::{DirectoryError, Mistrust};
    use crate::sys::testing::{LIMIT, is_root, wait_until};

    fn place() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("einhorn.pid");
        (dir, path)
    }

    fn refusal(path: &Path) -> FileCause {
        PidFile::write(path, Pid(42)).unwrap_err().cause
    }

    fn names(dir: &TempDir) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_file_holds_the_bare_pid_and_nothing_else_is_left() {
        let (dir, path) = place();
        let file = PidFile::write(&path, Pid(42)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "42");
        assert_eq!(names(&dir), ["einhorn.pid"]);
        file.remove().unwrap();
        assert!(names(&dir).is_empty());
    }

    #[test]
    fn a_dead_masters_file_is_replaced_and_a_living_ones_is_not() {
        let (dir, path) = place();
        fs::write(&path, "17").unwrap();
        fs::write(dir.path().join(".einhorn.pid.42.0"), "").unwrap();
        let living = PidFile::write(&path, Pid(42)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "42");
        assert_eq!(refusal(&path), FileCause::OfAnotherMaster { pid: Some(42) });
        assert_eq!(fs::read_to_string(&path).unwrap(), "42");
        assert_eq!(names(&dir), [".einhorn.pid.42.0", "einhorn.pid"]);
        let passed_on = PidFile::adopt(path.clone(), living.as_fd().try_clone_to_owned().unwrap());
        drop(living);
        assert_eq!(refusal(&path), FileCause::OfAnotherMaster { pid: Some(42) });
        drop(passed_on);
        // A child that another test has just forked may hold the descriptor until its exec.
        assert!(wait_until(LIMIT, || PidFile::write(&path, Pid(43)).is_ok()));
    }

    #[test]
    fn no_reader_keeps_a_dead_masters_file_where_it_is() {
        let (_dir, path) = place();
        fs::write(&path, "17").unwrap();
        let reader = File::open(&path).unwrap();
        try_flock(&reader).unwrap();
        let living = PidFile::write(&path, Pid(42)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "42");
        assert_eq!(refusal(&path), FileCause::OfAnotherMaster { pid: Some(42) });
        // Nor one that has waited for the death of the master.
        let reader = File::open(&path).unwrap();
        drop(living);
        assert!(wait_until(LIMIT, || try_flock(&reader).is_ok()));
        let found = PidFile::find(&path, Pid(42)).unwrap();
        assert_eq!(refusal(&path), FileCause::OfAnotherMaster { pid: Some(42) });
        drop(found);
        assert!(wait_until(LIMIT, || PidFile::write(&path, Pid(43)).is_ok()));
    }

    #[test]
    fn anothers_file_is_not_removed() {
        let (_dir, path) = place();
        let file = PidFile::write(&path, Pid(42)).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "17").unwrap();
        file.remove().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "17");
    }

    #[test]
    fn links_and_what_is_no_file_are_refused_and_stay() {
        let (dir, path) = place();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        assert_eq!(refusal(&path), FileCause::Mistrusted(Mistrust::NotRegular { kind: "a symbolic link" }));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_eq!(refusal(&path), FileCause::Mistrusted(Mistrust::NotRegular { kind: "a FIFO" }));
        assert_eq!(names(&dir), ["einhorn.pid", "victim"]);
    }

    #[test]
    fn a_hard_link_is_replaced_without_touching_its_victim() {
        let (dir, path) = place();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        fs::hard_link(&victim, &path).unwrap();
        PidFile::write(&path, Pid(42)).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    }

    #[test]
    fn another_users_file_is_refused() {
        if !is_root() {
            return;
        }
        let (dir, path) = place();
        fs::write(&path, "17").unwrap();
        chown(&path, Some(Uid::from_raw(12345)), None).unwrap();
        let refused = PidFile::write(&path, Pid(42)).unwrap_err();
        assert_eq!(refused.to_string(), format!("cannot write pid file {}: it belongs to uid 12345", path.display()));
        assert_eq!(names(&dir), ["einhorn.pid"]);
    }

    #[test]
    fn an_unprotected_directory_is_refused() {
        let (dir, path) = place();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(refusal(&path), FileCause::Directory(DirectoryError::Unprotected { .. })));
        assert!(names(&dir).is_empty());
    }

    #[test]
    fn of_many_at_once_one_wins() {
        let (dir, path) = place();
        let written: Vec<_> = std::thread::scope(|scope| {
            let path = &path;
            let threads: Vec<_> = (100..108).map(|n| scope.spawn(move || PidFile::write(path, Pid(n)).ok())).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(written.len(), 1);
        assert_eq!(names(&dir), ["einhorn.pid"]);
    }
}
