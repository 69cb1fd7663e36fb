//! Listening unix sockets. Takes the place of a dead one's socket file, and of nothing else: what lives, and what is no
//! socket, is refused and stays as it is. Gives mode and group to the file of the socket that it has bound, by a descriptor,
//! and never to what stands at a path by then.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::files::directory::Demand;
use crate::files::path_trust::{DirectoryError, kind};
use crate::files::spot::{Found, Spot};
use crate::sys::errno::{errno_of, insist, retry, words};
use crate::sys::fd::{Blocking, set_blocking};
use crate::sys::file_id::FileId;
use crate::sys::socket::{bind_to, bound_file, relisten};

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
    /// Somebody has put another file in the place of the one that was just bound.
    Exchanged,
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
            Self::Exchanged => f.write_str("another process has exchanged the file meanwhile"),
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

/// Who may connect, as the file's mode and group say: connecting needs the right to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    pub mode: u32,
    /// None: the group that a new file has.
    pub group: Option<u32>,
}

impl Access {
    /// Ourselves and root.
    pub const OWN: Self = Self { mode: 0o600, group: None };
}

/// How a socket shall be made.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub access: Access,
    pub backlog: i32,
    pub blocking: Blocking,
    pub demand: Demand,
}

/// Binds a socket file with exactly this mode, whatever the umask, and says which file it is.
pub fn listen_unix(path: &Path, wanted: Wanted) -> Result<(OwnedFd, FileId), UnixSocketError> {
    let listen = || {
        check_length(path)?;
        let spot = Spot::find(path, wanted.demand).map_err(UnixSocketCause::Directory)?;
        let stale = vacancy(path, &spot)?;
        bind_and_listen(path, &spot, stale, wanted)
    };
    listen().map_err(|cause| UnixSocketError { path: path.to_owned(), cause })
}

/// Changes the mode and group of the socket file `id`, if it still stands at the path.
pub fn set_access(path: &Path, id: FileId, access: Access) -> io::Result<()> {
    let Some(spot) = Spot::find_left(path)? else { return Ok(()) };
    match spot.look()?.filter(|found| found.id() == id && found.is_sole_socket()) {
        Some(found) => admit(&found, access),
        None => Ok(()),
    }
}

/// Removes a socket file if it still is this one; what another process has put there stays.
pub fn remove_socket(path: &Path, id: FileId) -> io::Result<()> {
    insist(|| {
        let Some(spot) = Spot::find_left(path)? else { return Ok(()) };
        match spot.look()?.filter(|found| found.meta().file_type().is_socket()) {
            Some(found) if found.id() == id => Ok(spot.remove(id)?),
            Some(_) | None => Ok(()),
        }
    })
}

pub(super) fn check_length(path: &Path) -> Result<(), UnixSocketCause> {
    match path.as_os_str().len() {
        0 => Err(UnixSocketCause::System(Errno::EINVAL)),
        1..=PATH_MAX => Ok(()),
        bytes => Err(UnixSocketCause::TooLong { bytes }),
    }
}

/// Whether a socket can be bound there; a stale one has to go before.
pub(super) fn vacancy(path: &Path, spot: &Spot) -> Result<Option<FileId>, UnixSocketCause> {
    match occupant(path, spot)? {
        Occupant::Nobody => Ok(None),
        Occupant::Stale(id) => Ok(Some(id)),
        Occupant::Listener => Err(UnixSocketCause::InUse),
        Occupant::NotASocket { kind } => Err(UnixSocketCause::NotASocket { kind }),
    }
}

/// Asks the socket itself, by a connection that is closed at once.
pub(super) fn occupant(path: &Path, spot: &Spot) -> Result<Occupant, UnixSocketCause> {
    let Some(found) = spot.look().map_err(UnixSocketCause::System)? else { return Ok(Occupant::Nobody) };
    let meta = found.meta();
    if !meta.file_type().is_socket() {
        return Ok(Occupant::NotASocket { kind: kind(meta.file_type()) });
    }
    match probe(path, &found) {
        // A full accept queue is one that somebody has made; so is a socket of another type.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Ok(Occupant::Listener),
        Err(Errno::ECONNREFUSED) => Ok(Occupant::Stale(found.id())),
        Err(Errno::ENOENT) => Ok(Occupant::Nobody),
        Err(Errno::EACCES) if meta.uid() != geteuid().as_raw() => {
            Err(UnixSocketCause::Foreign { uid: meta.uid(), hint: "choose another path" })
        }
        Err(errno) => Err(UnixSocketCause::System(errno)),
    }
}

/// Makes the socket first and removes the stale file last, so that what can fail has failed before.
///
/// bind(2) is given the path, so that the socket has the name that everybody knows. It makes a file, and never touches one
/// that is there; where it has made it is looked at afterwards.
pub(super) fn bind_and_listen(
    path: &Path,
    spot: &Spot,
    stale: Option<FileId>,
    wanted: Wanted,
) -> Result<(OwnedFd, FileId), UnixSocketCause> {
    let system = UnixSocketCause::System;
    let address = unix_address(path).map_err(system)?;
    let fd = open().map_err(system)?;
    set_blocking(fd.as_fd(), wanted.blocking).map_err(system)?;
    // The file takes the mode of the socket, less the umask: it is never more open than it shall be.
    let first = if wanted.access.group.is_some() { Access::OWN.mode } else { wanted.access.mode };
    fchmod(&fd, Mode::from_bits_truncate(first)).map_err(system)?;
    if let Some(id) = stale {
        spot.remove(id).map_err(system)?;
    }
    bind_to(&fd, &address).map_err(|errno| match errno {
        // Somebody was quicker.
        Errno::EADDRINUSE => UnixSocketCause::InUse,
        other => system(other),
    })?;
    let found = match file_of(&fd, spot) {
        Ok(found) => found,
        Err(cause) => {
            // Its descriptor is one to look at the file with, where that failed for want of one.
            drop(fd);
            remove_unseen(spot, &cause);
            return Err(cause);
        }
    };
    let finish = || {
        admit(&found, wanted.access).map_err(|error| system(errno_of(&error)))?;
        relisten(fd.as_fd(), wanted.backlog).map_err(system)
    };
    if let Err(cause) = finish() {
        // No client may find a socket there that is never served.
        let _it_stays = spot.remove(found.id());
        return Err(cause);
    }
    Ok((fd, found.id()))
}

/// The file of a socket that was just bound. If the system does not tell, it is what stands there, as far as that can be ours:
/// in a directory that is trusted it is, and in another it may be another socket of our own in such a directory.
fn file_of(fd: &OwnedFd, spot: &Spot) -> Result<Found, UnixSocketCause> {
    let system = UnixSocketCause::System;
    if let Some(bound) = bound_file(fd.as_fd()) {
        let found = Found::new(bound).map_err(system)?;
        let is_it = |there: &Found| there.id() == found.id();
        if spot.look().map_err(system)?.as_ref().is_some_and(is_it) {
            return Ok(found);
        }
        remove_stray(&found);
        return Err(UnixSocketCause::Exchanged);
    }
    let found = spot.look().map_err(system)?;
    found.filter(Found::is_own_socket).ok_or(UnixSocketCause::Exchanged)
}

/// The file of a socket that was just bound and could not be looked at. What another process has put in its place stays.
fn remove_unseen(spot: &Spot, cause: &UnixSocketCause) {
    if matches!(cause, UnixSocketCause::Exchanged) {
        return;
    }
    if let Ok(Some(found)) = spot.look() {
        if found.is_own_socket() {
            // It was looked at just now; to do so again would take one descriptor more.
            let _it_stays = spot.unlink();
        }
    }
}

/// A directory was exchanged during the bind, and the file is where nobody wants it, or has been moved there.
fn remove_stray(found: &Found) {
    if let Ok(place) = std::fs::read_link(found.path()) {
        let _it_stays = remove_socket(&place, found.id());
    }
}

/// The group comes before the mode, which must not be meant for another group even for a moment.
fn admit(found: &Found, access: Access) -> io::Result<()> {
    if let Some(group) = access.group {
        found.set_mode(Access::OWN.mode)?;
        found.set_group(group)?;
    }
    // Gives back what the umask took from it.
    found.set_mode(access.mode)
}

/// By the descriptor; by the path where there is no /proc.
fn probe(path: &Path, found: &Found) -> Result<(), Errno> {
    match probe_at(&found.path()) {
        Err(Errno::ENOENT) => probe_at(path),
        result => result,
    }
}

fn probe_at(path: &Path) -> Result<(), Errno> {
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
    use std::fs;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use tempfile::TempDir;

    use super::*;
    use crate::sys::testing::{LIMIT, wait_until};

    fn place() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("web.sock");
        (dir, path)
    }

    fn occupant_of(path: &Path) -> Occupant {
        occupant(path, &Spot::find(path, Demand::Trusted).unwrap()).unwrap()
    }

    fn leave_stale(path: &Path) {
        drop(UnixListener::bind(path).unwrap());
        // A child that another test has just forked may hold the descriptor until its exec.
        assert!(wait_until(LIMIT, || matches!(occupant_of(path), Occupant::Stale(_))));
    }

    fn wanted(mode: u32) -> Wanted {
        let access = Access { mode, group: None };
        Wanted { access, backlog: 10, blocking: Blocking::Blocking, demand: Demand::Trusted }
    }

    fn listen(path: &Path, mode: u32) -> Result<OwnedFd, UnixSocketError> {
        listen_unix(path, wanted(mode)).map(|(fd, _)| fd)
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
        let _listener = listen_unix(&path, Wanted { backlog: 0, ..wanted(0o600) }).unwrap();
        let _waiting: Vec<_> = (0..1).map(|_| UnixStream::connect(&path).unwrap()).collect();
        assert_eq!(occupant_of(&path), Occupant::Listener);
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

#[cfg(test)]
#[path = "swap_race_tests.rs"]
mod swap_race;
