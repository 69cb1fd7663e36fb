//! Why a file was not locked, written, bound or read, in words that are the same for all of them.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use thiserror::Error;

use crate::base::exit_code::{BAD_OPTION, CANNOT_START, Problem};
use crate::base::limits::SOCKET_PATH_MAX;
use crate::files::path_trust::{DirectoryError, Mistrust};
use crate::sys::closed_directory::{closed, closed_directory, unwritable_directory};
use crate::sys::errno::{errno_of, exit_code, words};

/// What was tried, the path as it was given, and the cause.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot {attempt} {}: {cause}", path.display())]
pub struct FileError {
    pub attempt: &'static str,
    pub path: PathBuf,
    pub cause: FileCause,
}

impl FileError {
    pub(crate) fn new(attempt: &'static str, path: &Path, cause: FileCause) -> Self {
        let in_the_way = match cause {
            FileCause::System(Errno::EACCES | Errno::EROFS) => {
                closed_directory(path).map(|directory| FileCause::Closed { directory }).or_else(|| {
                    unwritable_directory(path).map(|(directory, errno)| FileCause::Unwritable { directory, errno })
                })
            }
            _ => None,
        };
        Self { attempt, path: path.to_owned(), cause: in_the_way.unwrap_or(cause) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileCause {
    /// A living master has the lock.
    #[error("held by another master{}", in_brackets(*pid))]
    Held { pid: Option<i32> },
    /// A living master has the pid file.
    #[error("in use by another master{}", in_brackets(*pid))]
    OfAnotherMaster { pid: Option<i32> },
    #[error(transparent)]
    Mistrusted(#[from] Mistrust),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("others keep replacing the file")]
    Unstable,
    #[error("the path has {bytes} bytes, {SOCKET_PATH_MAX} are possible")]
    TooLong { bytes: usize },
    /// Another process listens on the socket.
    #[error("in use by another process")]
    InUse,
    #[error("there is {kind}, remove it or choose another path")]
    NotASocket { kind: &'static str },
    #[error("there is a socket of uid {uid}, {hint}")]
    ForeignSocket { uid: u32, hint: &'static str },
    /// Another process has put another file in the place of the one that was just bound.
    #[error("another process has exchanged the file meanwhile")]
    Exchanged,
    #[error("it is larger than {max_mib} MiB")]
    TooLarge { max_mib: u64 },
    /// Where the first byte stands that is none, from 1; columns are characters.
    #[error("it is not UTF-8 at line {line}, column {column}")]
    NotUtf8 { line: usize, column: usize },
    /// A directory on the way is closed to us.
    #[error("{}", closed(directory))]
    Closed { directory: PathBuf },
    /// There is no file, and we may make none.
    #[error("no file can be made in {}: {}", directory.display(), words(*errno))]
    Unwritable { directory: PathBuf, errno: Errno },
    #[error("it is a file of another kind")]
    OfAnotherKind,
    #[error("{}", words(*.0))]
    System(#[from] Errno),
}

impl FileCause {
    /// How a start ends for want of the file. What another process has may be free when that has ended.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Held { .. }
            | Self::OfAnotherMaster { .. }
            | Self::Unstable
            | Self::InUse
            | Self::ForeignSocket { .. }
            | Self::Exchanged => CANNOT_START,
            Self::Mistrusted(_)
            | Self::TooLong { .. }
            | Self::NotASocket { .. }
            | Self::TooLarge { .. }
            | Self::NotUtf8 { .. }
            | Self::Closed { .. }
            | Self::OfAnotherKind => BAD_OPTION,
            Self::Directory(error) => error.exit_code(),
            Self::Unwritable { errno, .. } | Self::System(errno) => exit_code(*errno),
        }
    }
}

impl From<FileError> for Problem {
    fn from(error: FileError) -> Self {
        Self { code: error.cause.exit_code(), message: error.to_string() }
    }
}

impl From<FileCause> for io::Error {
    fn from(cause: FileCause) -> Self {
        match cause {
            FileCause::System(errno) => errno.into(),
            other => Self::other(other),
        }
    }
}

impl From<io::Error> for FileCause {
    fn from(error: io::Error) -> Self {
        Self::System(errno_of(&error))
    }
}

/// A holder's pid, if its file says it.
fn in_brackets(pid: Option<i32>) -> String {
    pid.map_or(String::new(), |pid| format!(" (pid {pid})"))
}
