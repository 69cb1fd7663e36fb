//! A name in a directory that is held open: the place of one file. Everything is done to that name in that directory, or to
//! the file that was found at it, by a descriptor: a path that another user changes meanwhile leads to no other file. Never
//! follows a symbolic link at the name.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, Gid, Uid, UnlinkatFlags, faccessat, fchownat, geteuid, unlinkat};

use crate::files::directory::{Demand, Directory};
use crate::files::error::FileCause;
use crate::files::path_trust::{DirectoryError, parent_of, trust};
use crate::sys::errno::{errno_of, retry};
use crate::sys::fd::fchmod_any;
use crate::sys::file_id::FileId;

/// How often another process may remove or replace a file while it is claimed.
pub(super) const RACES_MAX: u32 = 10;

/// The place of one file.
#[derive(Clone, Debug)]
pub struct Spot {
    directory: Rc<Directory>,
    name: OsString,
}

impl Spot {
    /// The place that `path` leads to now.
    ///
    /// # Errors
    /// There is no such directory, or it is not trusted and has to be.
    pub fn find(path: &Path, demand: Demand) -> Result<Self, DirectoryError> {
        // A path without a last name, such as `/`, is a directory, which stands in itself.
        let (parent, name) = match path.file_name() {
            Some(name) => (parent_of(path), name),
            None => (path, OsStr::new(".")),
        };
        Ok(Self { directory: Rc::new(Directory::open(parent, demand)?), name: name.to_owned() })
    }

    /// The same, to put something away. None: the directory has gone, and with it what was in it.
    pub(super) fn find_left(path: &Path) -> io::Result<Option<Self>> {
        match Self::find(path, Demand::Any) {
            Ok(spot) => Ok(Some(spot)),
            Err(DirectoryError::System { errno: Errno::ENOENT | Errno::ENOTDIR, .. }) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Why the directory is not trusted, if it is not.
    pub fn doubt(&self) -> Option<&DirectoryError> {
        self.directory.doubt()
    }

    /// Another name in the same directory.
    pub(super) fn beside(&self, name: OsString) -> Self {
        Self { directory: Rc::clone(&self.directory), name }
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// What stands here; None: nothing.
    ///
    /// # Errors
    /// The system does not say.
    pub fn look(&self) -> Result<Option<Found>, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match retry(|| openat(&*self.directory, self.name.as_os_str(), flags, Mode::empty())) {
            Ok(fd) => Found::new(fd).map(Some),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Whether a file can be made here.
    pub(super) fn check_room(&self) -> Result<(), Errno> {
        let flags = AccessFlags::W_OK | AccessFlags::X_OK;
        retry(|| faccessat(&*self.directory, ".", flags, AtFlags::AT_EACCESS))
    }

    /// Whether what stands here, which is no link, may be used so.
    pub(super) fn check_access(&self, flags: AccessFlags) -> Result<(), Errno> {
        retry(|| faccessat(&*self.directory, self.name.as_os_str(), flags, AtFlags::AT_EACCESS))
    }

    /// Whether this file stands here now.
    pub fn holds(&self, id: FileId) -> bool {
        self.look().is_ok_and(|found| found.is_some_and(|found| found.id() == id))
    }

    /// open(2) with O_NOFOLLOW, and with the mode for a file that it makes.
    pub(super) fn open(&self, flags: OFlag, mode: u32) -> Result<File, Errno> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(mode);
        retry(|| openat(&*self.directory, self.name.as_os_str(), flags, mode)).map(File::from)
    }

    /// Opens a regular file of ours or of root's, if it can be made sure that it is one: judged by name first, for nothing else
    /// may be opened, and again once it is open, when it cannot be exchanged any more. O_NONBLOCK: a FIFO would keep us waiting.
    pub(super) fn open_trusted(&self, flags: OFlag, mode: u32) -> Result<(File, Metadata), FileCause> {
        if let Some(found) = self.look()? {
            trust(found.meta())?;
        }
        let file = self.open(flags | OFlag::O_NONBLOCK, mode)?;
        let meta = file.metadata()?;
        trust(&meta)?;
        Ok((file, meta))
    }

    /// Removes this file; one that has taken its place stays. In the moment between the look and the removal the place can
    /// only be changed by a user who may remove what is here anyway.
    ///
    /// # Errors
    /// It cannot be removed, or the system does not say what stands here.
    pub fn remove(&self, id: FileId) -> Result<(), Errno> {
        match self.look()? {
            Some(found) if found.id() == id => self.unlink(),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn unlink(&self) -> Result<(), Errno> {
        retry(|| unlinkat(&*self.directory, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir))
    }

    /// rename(2) of what stands here.
    pub(super) fn rename(&self, to: &Self, flags: RenameFlags) -> Result<(), Errno> {
        let (from_name, to_name) = (self.name.as_os_str(), to.name.as_os_str());
        retry(|| renameat2(&*self.directory, from_name, &*to.directory, to_name, flags))
    }
}

/// A file apart from its name, whatever kind it is. It is not open for reading or writing (O_PATH).
#[derive(Debug)]
pub struct Found {
    file: File,
    meta: Metadata,
}

impl Found {
    pub(super) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let file = File::from(fd);
        let meta = file.metadata().map_err(|error| errno_of(&error))?;
        Ok(Self { file, meta })
    }

    pub fn meta(&self) -> &Metadata {
        &self.meta
    }

    pub fn id(&self) -> FileId {
        FileId::of(&self.meta)
    }

    pub(super) fn is_hard_linked(&self) -> bool {
        self.meta.nlink() > 1
    }

    /// Whether it is a socket that has one name. Another user can link a socket of ours to a second name, where the system
    /// lets them, but not take the first from it.
    pub(super) fn is_sole_socket(&self) -> bool {
        self.meta.file_type().is_socket() && !self.is_hard_linked()
    }

    /// The same, of one that we have made.
    pub(super) fn is_own_socket(&self) -> bool {
        self.is_sole_socket() && self.meta.uid() == geteuid().as_raw()
    }

    /// A path that leads to this very file, whatever its name is now. It takes a /proc.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        match fchmod_any(self.file.as_fd(), mode) {
            // Before Linux 6.6, and where a sandbox does not know the call.
            Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL) => {
                std::fs::set_permissions(self.path(), Permissions::from_mode(mode))
            }
            result => Ok(result?),
        }
    }

    /// None: it stays as it is.
    pub(super) fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        retry(|| fchownat(self.file.as_fd(), c"", uid, gid, AtFlags::AT_EMPTY_PATH))
    }
}
