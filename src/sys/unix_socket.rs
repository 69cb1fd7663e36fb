//! Listening unix sockets. Takes the place of a dead one's socket file, and of nothing else: what lives, and what is no
//! socket, is refused and stays as it is.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;

use crate::sys::errno::{errno_of, retry, words};
use crate::sys::fd::{Blocking, set_blocking};
use crate::sys::place::{DirectoryError, FileId, kind};
use crate::sys::socket::{bind_to, relisten};

/// The longest path that sockaddr_un holds with its final NUL, see unix(7).
pub const PATH_MAX: usize = 107;

/// Why there is no listener. The path, and the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocketError {
    pub path: PathBuf,
    pub cause: UnixSocketCause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixSocketCause {
    TooLong {
        bytes: usize,
    },
    /// Somebody listens there.
    InUse,
    NotASocket {
        kind: &'static str,
    },
    /// Another user's socket.
    Foreign {
        uid: u32,
        hint: &'static str,
    },
    Directory(DirectoryError),
    System(Errno),
}

impl fmt::Display for UnixSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot bind {}: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for UnixSocketError {}

impl fmt::Display for UnixSocketCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(f, "the path has {bytes} bytes, {PATH_MAX} are possible"),
            Self::InUse => f.write_str("in use by another process"),
            Self::NotASocket { kind } => write!(f, "there is {kind}, remove it or choose another path"),
            Self::Foreign { uid, hint } => write!(f, "there is a socket of uid {uid}, {hint}"),
            Self::Directory(error) => error.fmt(f),
            Self::System(errno) => f.write_str(&words(*errno)),
        }
    }
}

/// What stands where a socket shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occupant {
    Nobody,
    /// A socket that somebody listens on.
    Listener,
    /// A socket whose process has gone.
    Stale(FileId),
    NotASocket {
        kind: &'static str,
    },
}

/// Binds a socket file with exactly this mode, whatever the umask.
pub fn listen_unix(path: &Path, mode: u32, backlog: i32, blocking: Blocking) -> Result<OwnedFd, UnixSocketError> {
    let listen = || {
        check_length(path)?;
        let stale = match occupant(path)? {
            Occupant::Nobody => None,
            Occupant::Stale(id) => Some(id),
            Occupant::Listener => return Err(UnixSocketCause::InUse),
            Occupant::NotASocket { kind } => return Err(UnixSocketCause::NotASocket { kind }),
        };
        bind_and_listen(path, stale, mode, backlog, blocking)
    };
    listen().map_err(|cause| UnixSocketError { path: path.to_owned(), cause })
}

pub(super) fn check_length(path: &Path) -> Result<(), UnixSocketCause> {
    match path.as_os_str().len() {
        0..=PATH_MAX => Ok(()),
        bytes => Err(UnixSocketCause::TooLong { bytes }),
    }
}

/// Asks the socket itself, by a connection that is closed at once.
pub(super) fn occupant(path: &Path) -> Result<Occupant, UnixSocketCause> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nobody),
        Err(error) => return Err(UnixSocketCause::System(errno_of(&error))),
    };
    if !meta.file_type().is_socket() {
        return Ok(Occupant::NotASocket { kind: kind(meta.file_type()) });
    }
    match probe(path) {
        // A full accept queue is one that somebody has made; so is a socket of another type.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Ok(Occupant::Listener),
        Err(Errno::ECONNREFUSED) => Ok(Occupant::Stale(FileId::of(&meta))),
        Err(Errno::ENOENT) => Ok(Occupant::Nobody),
        Err(Errno::EACCES) if meta.uid() != geteuid().as_raw() => {
            Err(UnixSocketCause::Foreign { uid: meta.uid(), hint: "choose another path" })
        }
        Err(errno) => Err(UnixSocketCause::System(errno)),
    }
}

/// Makes the socket first and removes the stale file last, so that what can fail has failed before.
pub(super) fn bind_and_listen(
    path: &Path,
    stale: Option<FileId>,
    mode: u32,
    backlog: i32,
    blocking: Blocking,
) -> Result<OwnedFd, UnixSocketCause> {
    let address = unix_address(path).map_err(UnixSocketCause::System)?;
    let fd = open().map_err(UnixSocketCause::System)?;
    set_blocking(fd.as_fd(), blocking).map_err(UnixSocketCause::System)?;
    // The file takes the mode of the socket, less the umask: it is never more open than it shall be.
    fchmod(&fd, Mode::from_bits_truncate(mode)).map_err(UnixSocketCause::System)?;
    if stale.is_some_and(|id| id.stands_at(path)) {
        fs::remove_file(path).map_err(|error| UnixSocketCause::System(errno_of(&error)))?;
    }
    bind_to(&fd, &address).map_err(|errno| match errno {
        // Somebody was quicker.
        Errno::EADDRINUSE => UnixSocketCause::InUse,
        other => UnixSocketCause::System(other),
    })?;
    finish(path, &fd, mode, backlog).inspect_err(|_| {
        // The file is ours since the bind.
        let _ = fs::remove_file(path);
    })?;
    Ok(fd)
}

/// Gives back what the umask took from the mode.
fn finish(path: &Path, fd: &OwnedFd, mode: u32, backlog: i32) -> Result<(), UnixSocketCause> {
    let system = |error: io::Error| UnixSocketCause::System(errno_of(&error));
    if fs::symlink_metadata(path).map_err(system)?.mode() & 0o7777 != mode {
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(system)?;
    }
    relisten(fd.as_fd(), backlog).map_err(UnixSocketCause::System)
}

fn probe(path: &Path) -> Result<(), Errno> {
    let fd = open()?;
    set_blocking(fd.as_fd(), Blocking::NonBlocking)?;
    let address = unix_address(path)?;
    retry(|| connect(fd.as_raw_fd(), &address))
}

fn open() -> Result<OwnedFd, Errno> {
    retry(|| socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None))
}

/// Never an abstract address, which has no owner and no mode: a path has no NUL in it, and is not empty.
fn unix_address(path: &Path) -> Result<UnixAddr, Errno> {
    if path.as_os_str().is_empty() || path.as_os_str().as_bytes().contains(&0) {
        return Err(Errno::EINVAL);
    }
    UnixAddr::new(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use tempfile::TempDir;

    use super::*;
    use crate::sys::testing::{LIMIT, wait_until};

    fn place() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("web.sock");
        (dir, path)
    }

    fn leave_stale(path: &Path) {
        drop(UnixListener::bind(path).unwrap());
        // A child that another test has just forked may hold the descriptor until its exec.
        assert!(wait_until(LIMIT, || matches!(occupant(path), Ok(Occupant::Stale(_)))));
    }

    fn listen(path: &Path, mode: u32) -> Result<OwnedFd, UnixSocketError> {
        listen_unix(path, mode, 10, Blocking::Blocking)
    }

    #[test]
    fn the_mode_is_exact_whatever_the_umask() {
        for mode in [0o600, 0o666, 0o770] {
            let (_dir, path) = place();
            let _listener = listen(&path, mode).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode);
            UnixStream::connect(&path).unwrap();
        }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let (_dir, path) = place();
        leave_stale(&path);
        let living = listen(&path, 0o600).unwrap();
        let before = FileId::of(&fs::metadata(&path).unwrap());
        let refusal = listen(&path, 0o600).unwrap_err();
        assert_eq!(refusal.to_string(), format!("cannot bind {}: in use by another process", path.display()));
        assert!(before.stands_at(&path));
        drop(living);
    }

    #[test]
    fn a_listener_with_a_full_queue_is_alive() {
        let (_dir, path) = place();
        let _listener = listen_unix(&path, 0o600, 0, Blocking::Blocking).unwrap();
        let _waiting: Vec<_> = (0..1).map(|_| UnixStream::connect(&path).unwrap()).collect();
        assert!(matches!(occupant(&path), Ok(Occupant::Listener)));
    }

    #[test]
    fn a_datagram_socket_is_alive_too() {
        let (_dir, path) = place();
        let _datagram = UnixDatagram::bind(&path).unwrap();
        assert_eq!(listen(&path, 0o600).unwrap_err().cause, UnixSocketCause::InUse);
    }

    #[test]
    fn what_is_no_socket_is_refused_and_stays() {
        let (dir, path) = place();
        fs::write(&path, "precious").unwrap();
        let kind = "a regular file";
        assert_eq!(listen(&path, 0o600).unwrap_err().cause, UnixSocketCause::NotASocket { kind });
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let kind = "a symbolic link";
        assert_eq!(listen(&link, 0o600).unwrap_err().cause, UnixSocketCause::NotASocket { kind });
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(103)));
        assert_eq!(listen(&path, 0o600).unwrap_err().cause, UnixSocketCause::TooLong { bytes: 108 });
        assert_eq!(listen(Path::new(""), 0o600).unwrap_err().cause, UnixSocketCause::System(Errno::EINVAL));
    }
}
