//! Walks to a directory component by component and holds it open, so that what is done in it is done there, whatever
//! becomes of its path. Judges every directory and every symbolic link on the way: can a user whom we do not trust exchange
//! what is in it? Changes nothing.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::files::path_trust::{DirectoryError, Mistrust, Shared, sharing, trust_group, trust_owner};
use crate::sys::closed_directory::{LINKS_MAX, closed_directory};
use crate::sys::errno::{errno_of, retry};
use crate::sys::fd::is_read_only;
use crate::sys::file_id::FileId;

/// Whether a directory has to pass the judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// No other user may be able to exchange what is in it, nor the directory itself.
    Trusted,
    /// It is used as it is. What is done in it is safe even so; what becomes of it later is not known.
    Any,
}

/// A directory that is held open.
#[derive(Debug)]
pub struct Directory {
    held: File,
    /// The first directory or link on the way that did not pass.
    doubt: Option<DirectoryError>,
}

impl Directory {
    /// Follows links as the kernel does.
    ///
    /// # Errors
    /// There is no such directory, or it is not trusted and has to be.
    pub fn open(path: &Path, demand: Demand) -> Result<Self, DirectoryError> {
        let found = Walk::to(path, Goal::Directory)?;
        match (demand, found.doubt) {
            (Demand::Trusted, Some(doubt)) => Err(doubt),
            (Demand::Trusted | Demand::Any, doubt) => Ok(Self { held: found.at, doubt }),
        }
    }

    /// Why it would not pass.
    pub(super) fn doubt(&self) -> Option<&DirectoryError> {
        self.doubt.as_ref()
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }
}

/// Judges the way to a file, through every link that its name is.
pub(super) fn check_way(path: &Path) -> Result<(), DirectoryError> {
    Walk::to(path, Goal::File)?.doubt.map_or(Ok(()), Err)
}

/// Whether only users who were let into its directory can have put something at this path: no directory on the way is one
/// in which all may make files, unless it is sticky and what stands there is root's or ours.
pub fn is_guarded(path: &Path) -> bool {
    let is_safe = |step: &Step| match sharing(&step.directory) {
        Shared::Private => true,
        Shared::Sticky => trust_owner(&step.next).is_ok(),
        Shared::Unprotected => false,
    };
    steps_to(path).is_some_and(|steps| steps.iter().all(is_safe))
}

/// The paths of all that this one leads through, its own last: directories, and the links to them. None if it leads nowhere.
pub(super) fn places_on(path: &Path) -> Vec<PathBuf> {
    steps_to(path).unwrap_or_default().into_iter().map(|step| step.at).collect()
}

fn steps_to(path: &Path) -> Option<Vec<Step>> {
    let walk = Walk::to(&std::path::absolute(path).ok()?, Goal::File).ok()?;
    Some(walk.steps)
}

/// The users who may change a directory on the way.
struct Owners {
    own: u32,
    /// The owner of the root directory can exchange everything below it, so there is no choice but trust. It is root, except
    /// in a user namespace in which root has no number.
    of_root_directory: u32,
}

impl Owners {
    fn known() -> Self {
        let of_root_directory = std::fs::metadata("/").map_or(0, |meta| meta.uid());
        Self { own: geteuid().as_raw(), of_root_directory }
    }

    fn include(&self, uid: u32) -> bool {
        uid == 0 || uid == self.own || uid == self.of_root_directory
    }

    /// An ordinary user's groups are that user's choice. For root, every member of a group but root's own is another user,
    /// and so is every user whom an access control list names.
    ///
    /// Nothing in a directory on a read-only mount can be exchanged here; those who have mounted it have chosen what is in it.
    fn judge(&self, shown: &Path, held: &File, meta: &Metadata) -> Option<DirectoryError> {
        if is_read_only(held) {
            return None;
        }
        let directory = || shown.to_owned();
        let mistrust = |mistrust| DirectoryError::Mistrusted { directory: directory(), mistrust };
        let is_sticky = meta.mode() & libc::S_ISVTX != 0;
        match sharing(meta) {
            Shared::Unprotected => Some(DirectoryError::Unprotected { directory: directory() }),
            Shared::Private | Shared::Sticky if !self.include(meta.uid()) => {
                Some(mistrust(Mistrust::Foreign { uid: meta.uid() }))
            }
            Shared::Private if self.own == 0 && !is_sticky => trust_group(held, meta).err().map(mistrust),
            Shared::Private | Shared::Sticky => None,
        }
    }
}

/// A name on the way: where it stands, its directory, and what it stands for, which may be a link.
struct Step {
    at: PathBuf,
    directory: Metadata,
    next: Metadata,
}

/// A path that is being followed.
struct Walk {
    at: File,
    meta: Metadata,
    steps: Vec<Step>,
    /// How errors call the directory that it has come to.
    shown: PathBuf,
    owners: Owners,
    /// What is still to be followed, the next last.
    ahead: Vec<OsString>,
    links: u32,
    goal: Goal,
    doubt: Option<DirectoryError>,
}

/// What stands at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    Directory,
    /// Anything.
    File,
}

impl Walk {
    fn to(path: &Path, goal: Goal) -> Result<Self, DirectoryError> {
        let failed = |errno| match closed_directory(path).filter(|_| errno == Errno::EACCES) {
            Some(directory) => DirectoryError::Closed { directory },
            None => DirectoryError::System { directory: path.to_owned(), errno },
        };
        let mut walk = Self::begin(path).map_err(failed)?;
        walk.goal = goal;
        walk.look_ahead(path);
        while let Some(name) = walk.ahead.pop() {
            let is_last = walk.ahead.is_empty();
            walk.step(&name).map_err(|errno| match errno {
                Errno::ENOTDIR if is_last => DirectoryError::NotADirectory { directory: path.to_owned() },
                other => failed(other),
            })?;
        }
        Ok(walk)
    }

    /// A relative path begins where this process is, which has a way of its own.
    fn begin(path: &Path) -> Result<Self, Errno> {
        if path.is_absolute() {
            return Self::at("/");
        }
        let mut walk = match Self::here() {
            Some(walk) => walk,
            None => Self::at(".")?,
        };
        // From here on as the caller writes it.
        walk.shown = PathBuf::new();
        Ok(walk)
    }

    fn at(start: &str) -> Result<Self, Errno> {
        let (at, meta) = open_directory(AT_FDCWD, OsStr::new(start))?;
        let mut walk = Self {
            at,
            meta,
            steps: Vec::new(),
            shown: PathBuf::from(start),
            owners: Owners::known(),
            ahead: Vec::new(),
            links: 0,
            goal: Goal::Directory,
            doubt: None,
        };
        walk.judge();
        Ok(walk)
    }

    /// None: no name leads to where this process is, or it may not go that way itself.
    fn here() -> Option<Self> {
        let name = std::env::current_dir().ok().filter(|name| name.is_absolute())?;
        let mut walk = Self::at("/").ok()?;
        walk.look_ahead(&name);
        while let Some(name) = walk.ahead.pop() {
            walk.step(&name).ok()?;
        }
        std::fs::metadata(".").is_ok_and(|here| FileId::of(&here) == FileId::of(&walk.meta)).then_some(walk)
    }

    fn look_ahead(&mut self, path: &Path) {
        let names = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        });
        let names: Vec<OsString> = names.collect();
        self.ahead.extend(names.into_iter().rev());
    }

    fn step(&mut self, name: &OsStr) -> Result<(), Errno> {
        match open_directory(self.at.as_fd(), name) {
            Ok((directory, meta)) => {
                if name != ".." {
                    self.note(name, &meta);
                }
                (self.at, self.meta) = (directory, meta);
                self.shown.push(name);
                self.judge();
                Ok(())
            }
            // So O_DIRECTORY with O_NOFOLLOW says of a link.
            Err(Errno::ENOTDIR | Errno::ELOOP) => self.follow(name),
            Err(errno) => Err(errno),
        }
    }

    fn note(&mut self, name: &OsStr, next: &Metadata) {
        let (at, directory) = (self.shown.join(name), self.meta.clone());
        self.steps.push(Step { at, directory, next: next.clone() });
    }

    fn judge(&mut self) {
        if self.doubt.is_none() {
            self.doubt = self.owners.judge(&self.shown, &self.at, &self.meta);
        }
    }

    /// In a directory such as /tmp every user can make a link, so that the link's owner counts as well.
    fn follow(&mut self, name: &OsStr) -> Result<(), Errno> {
        let (link, meta) = open_path(self.at.as_fd(), name, OFlag::O_NOFOLLOW)?;
        self.note(name, &meta);
        if !meta.file_type().is_symlink() {
            let is_there = self.goal == Goal::File && self.ahead.is_empty();
            return if is_there { Ok(()) } else { Err(Errno::ENOTDIR) };
        }
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::ELOOP);
        }
        if !self.owners.include(meta.uid()) && !is_read_only(&self.at) && self.doubt.is_none() {
            self.doubt = Some(DirectoryError::ForeignLink { link: self.shown.join(name), uid: meta.uid() });
        }
        let target = PathBuf::from(readlinkat(&link, "")?);
        if target.is_absolute() {
            (self.at, self.meta) = open_directory(AT_FDCWD, OsStr::new("/"))?;
            self.shown = PathBuf::from("/");
        }
        self.look_ahead(&target);
        Ok(())
    }
}

fn open_directory(at: BorrowedFd<'_>, name: &OsStr) -> Result<(File, Metadata), Errno> {
    open_path(at, name, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)
}

/// Opens it for looking alone.
fn open_path(at: BorrowedFd<'_>, name: &OsStr, flags: OFlag) -> Result<(File, Metadata), Errno> {
    let flags = flags | OFlag::O_PATH | OFlag::O_CLOEXEC;
    let file = File::from(retry(|| openat(at, name, flags, Mode::empty()))?);
    let meta = file.metadata().map_err(|error| errno_of(&error))?;
    Ok((file, meta))
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
