//! Walks to a directory component by component and holds it open, so that what is done in it is done there, whatever
//! becomes of its path. Judges every directory and every symbolic link on the way by one question: can a user whom we do
//! not trust exchange what is in it? Changes nothing.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::files::path_trust::{DirectoryError, Mistrust, Shared, sharing, trust_group};
use crate::sys::errno::{errno_of, retry};
use crate::sys::file_id::FileId;

/// As many as the kernel follows in one path, see path_resolution(7).
const LINKS_MAX: u32 = 40;

/// Whether a directory has to pass the judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nobody else may be able to exchange what is in it, nor the directory itself.
    Trusted,
    /// It is used as it is. What is done in it is safe all the same; what becomes of it later is not known.
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
    /// Errors: there is no such directory, or it is not trusted and has to be.
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

/// The users who may change a directory on the way.
struct Owners {
    own: u32,
    /// Who owns the root directory can exchange everything below it, and is trusted for want of a choice. That is root,
    /// except in a user namespace in which root has no number.
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

    /// An ordinary user's groups are that user's choice. For root, every member of a group but root's own is another
    /// user, and so is whoever is named by an access control list.
    fn judge(&self, shown: &Path, held: &File, meta: &Metadata) -> Option<DirectoryError> {
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

/// A path that is being followed.
struct Walk {
    at: File,
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
        let failed = |errno| DirectoryError::System { directory: path.to_owned(), errno };
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
        let at = open_directory(AT_FDCWD, OsStr::new(start))?;
        let (shown, owners) = (PathBuf::from(start), Owners::known());
        let mut walk = Self { at, shown, owners, ahead: Vec::new(), links: 0, goal: Goal::Directory, doubt: None };
        walk.judge()?;
        Ok(walk)
    }

    /// None: no name leads to where this process is, or it may not go that way itself.
    fn here() -> Option<Self> {
        let id = |meta: std::io::Result<Metadata>| meta.ok().as_ref().map(FileId::of);
        let name = std::env::current_dir().ok().filter(|name| name.is_absolute())?;
        let mut walk = Self::at("/").ok()?;
        walk.look_ahead(&name);
        while let Some(name) = walk.ahead.pop() {
            walk.step(&name).ok()?;
        }
        (id(walk.at.metadata()) == id(std::fs::metadata("."))).then_some(walk)
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
            Ok(directory) => {
                self.at = directory;
                self.shown.push(name);
                self.judge()
            }
            // So O_DIRECTORY with O_NOFOLLOW says of a link.
            Err(Errno::ENOTDIR | Errno::ELOOP) => self.follow(name),
            Err(errno) => Err(errno),
        }
    }

    fn judge(&mut self) -> Result<(), Errno> {
        if self.doubt.is_none() {
            let meta = self.at.metadata().map_err(|error| errno_of(&error))?;
            self.doubt = self.owners.judge(&self.shown, &self.at, &meta);
        }
        Ok(())
    }

    /// In a directory such as /tmp anybody can have made a link, so that its owner counts as well.
    fn follow(&mut self, name: &OsStr) -> Result<(), Errno> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let link = File::from(retry(|| openat(&self.at, name, flags, Mode::empty()))?);
        let meta = link.metadata().map_err(|error| errno_of(&error))?;
        if !meta.file_type().is_symlink() {
            let is_there = self.goal == Goal::File && self.ahead.is_empty();
            return if is_there { Ok(()) } else { Err(Errno::ENOTDIR) };
        }
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::ELOOP);
        }
        if !self.owners.include(meta.uid()) && self.doubt.is_none() {
            self.doubt = Some(DirectoryError::ForeignLink { link: self.shown.join(name), uid: meta.uid() });
        }
        let target = PathBuf::from(readlinkat(&link, "")?);
        if target.is_absolute() {
            self.at = open_directory(AT_FDCWD, OsStr::new("/"))?;
            self.shown = PathBuf::from("/");
        }
        self.look_ahead(&target);
        Ok(())
    }
}

fn open_directory(at: BorrowedFd<'_>, name: &OsStr) -> Result<File, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    retry(|| openat(at, name, flags, Mode::empty())).map(File::from)
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
