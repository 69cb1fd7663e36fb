//! What is wrong with a file or directory that other users may have made or may exchange, and the rules that a single one is
//! judged by. `directory` walks to one and judges the whole way. Looks only.

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::geteuid;
use thiserror::Error;

use crate::base::exit_code::BAD_OPTION;
use crate::sys::access_list::lets_others_write;
use crate::sys::closed_directory::closed;
use crate::sys::errno::{exit_code, words};

/// Which other users may make and replace files in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// Not all.
    Private,
    /// All may make files, but not replace another user's: /tmp.
    Sticky,
    /// All may replace any file.
    Unprotected,
}

pub fn sharing(directory: &Metadata) -> Shared {
    match (directory.mode() & libc::S_IWOTH != 0, directory.mode() & libc::S_ISVTX != 0) {
        (false, _) => Shared::Private,
        (true, true) => Shared::Sticky,
        (true, false) => Shared::Unprotected,
    }
}

/// Why no file of ours may be made in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DirectoryError {
    #[error("directory {} is writable by all users and not sticky", directory.display())]
    Unprotected { directory: PathBuf },
    /// A user whom we do not trust could exchange what is in it.
    #[error("directory {}: {mistrust}", directory.display())]
    Mistrusted { directory: PathBuf, mistrust: Mistrust },
    /// A symbolic link on the way that such a user has made.
    #[error("symbolic link {} belongs to uid {uid}", link.display())]
    ForeignLink { link: PathBuf, uid: u32 },
    #[error("{} is not a directory", directory.display())]
    NotADirectory { directory: PathBuf },
    /// We may not pass it.
    #[error("{}", closed(directory))]
    Closed { directory: PathBuf },
    #[error("directory {}: {}", directory.display(), words(*errno))]
    System { directory: PathBuf, errno: Errno },
}

impl DirectoryError {
    /// How a start ends for want of the directory.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Unprotected { .. }
            | Self::Mistrusted { .. }
            | Self::ForeignLink { .. }
            | Self::NotADirectory { .. }
            | Self::Closed { .. } => BAD_OPTION,
            Self::System { errno, .. } => exit_code(*errno),
        }
    }

    /// Whether there is a directory that could be used, though it is not trusted.
    pub fn is_doubt(&self) -> bool {
        match self {
            Self::Unprotected { .. } | Self::Mistrusted { .. } | Self::ForeignLink { .. } => true,
            Self::NotADirectory { .. } | Self::Closed { .. } | Self::System { .. } => false,
        }
    }
}

/// The directory of a path, `.` for a bare name.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

/// Why a file that is there is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Mistrust {
    #[error("it is {kind}")]
    NotRegular { kind: &'static str },
    #[error("it belongs to uid {uid}")]
    Foreign { uid: u32 },
    #[error("it has more than one name")]
    HardLinked,
    #[error("it is writable by others, its mode is {mode:04o}")]
    WritableByOthers { mode: u32 },
    #[error("it is writable by the group with gid {gid}")]
    WritableByGroup { gid: u32 },
    /// By users other than root, or groups other than root's; or the list cannot be read.
    #[error("its access control list lets others write to it")]
    WritableByList,
}

/// Accepts a regular file of our own or of root's. `meta` must not come through a symbolic link.
pub(super) fn trust(meta: &Metadata) -> Result<(), Mistrust> {
    if !meta.is_file() {
        return Err(Mistrust::NotRegular { kind: kind(meta.file_type()) });
    }
    trust_owner(meta)
}

/// Accepts a file of any kind of our own or of root's.
pub(super) fn trust_owner(meta: &Metadata) -> Result<(), Mistrust> {
    if meta.uid() == geteuid().as_raw() || meta.uid() == 0 {
        return Ok(());
    }
    Err(Mistrust::Foreign { uid: meta.uid() })
}

/// Accepts a file that root alone can write.
pub(super) fn trust_for_root(file: &File, meta: &Metadata) -> Result<(), Mistrust> {
    if meta.uid() != 0 {
        return Err(Mistrust::Foreign { uid: meta.uid() });
    }
    if meta.mode() & libc::S_IWOTH != 0 {
        return Err(Mistrust::WritableByOthers { mode: meta.mode() & 0o7777 });
    }
    trust_group(file, meta)
}

/// Accepts a file that its group cannot write, nor those whom an access control list names. Group 0 is root's.
pub(super) fn trust_group(file: &File, meta: &Metadata) -> Result<(), Mistrust> {
    if meta.mode() & libc::S_IWGRP == 0 {
        return Ok(());
    }
    if meta.gid() != 0 {
        return Err(Mistrust::WritableByGroup { gid: meta.gid() });
    }
    match lets_others_write(file) {
        Ok(false) => Ok(()),
        Ok(true) | Err(_) => Err(Mistrust::WritableByList),
    }
}

/// The user who has what stands there, if it is not ours.
pub fn other_owner(path: &Path) -> Option<u32> {
    let owner = path.symlink_metadata().ok()?.uid();
    (owner != geteuid().as_raw()).then_some(owner)
}

/// Whether this is a directory, and no link to one, in which only root can have made anything.
pub fn is_roots_alone(directory: &Path) -> bool {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(directory);
    let known = opened.and_then(|held| Ok((held.metadata()?, held)));
    known.is_ok_and(|(meta, held)| meta.is_dir() && trust_for_root(&held, &meta).is_ok())
}

/// The kind of a file with its article.
pub(super) fn kind(file_type: FileType) -> &'static str {
    if file_type.is_file() {
        "a regular file"
    } else if file_type.is_dir() {
        "a directory"
    } else if file_type.is_symlink() {
        "a symbolic link"
    } else if file_type.is_fifo() {
        "a FIFO"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_roots_alone_if_no_other_user_may_write_to_it() {
        assert!(is_roots_alone(Path::new("/usr")));
        assert!(!is_roots_alone(Path::new("/tmp")) && !is_roots_alone(Path::new("/nowhere")));
        assert!(!is_roots_alone(Path::new("/etc/passwd")));
    }

    #[test]
    fn a_bare_name_lies_in_the_current_directory() {
        assert_eq!(parent_of(Path::new("x.lock")), Path::new("."));
        assert_eq!(parent_of(Path::new("/x.lock")), Path::new("/"));
    }
}
