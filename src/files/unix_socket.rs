//! Listening unix sockets. Takes the place of a dead one's socket file, and of nothing else: what lives, and what is no
//! socket, is refused and stays as it is. Gives mode, user and group to the file of the socket that it has bound, by a descriptor,
//! and never to what stands at a path by then.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{getegid, geteuid};
use serde::{Deserialize, Serialize};

use crate::base::limits::SOCKET_PATH_MAX;
use crate::files::directory::Demand;
use crate::files::error::{FileCause, FileError};
use crate::files::path_trust::{Mistrust, kind, parent_of};
use crate::files::room::check_room;
use crate::files::spot::{Found, Spot};
use crate::sys::errno::{insist, retry};
use crate::sys::fd::{Blocking, set_blocking};
use crate::sys::file_id::FileId;
use crate::sys::socket::{bind_to, bound_file, relisten};

/// Of the mode of a directory.
const SET_GROUP_ID: u32 = 0o2000;

/// Who may connect, as the file's mode and owner say: connecting needs the right to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    pub mode: u32,
    /// None: it stays as it is.
    #[serde(default)]
    pub user: Option<u32>,
    /// None: the group that a new file has.
    pub group: Option<u32>,
}

impl Access {
    /// Ourselves and root.
    pub const OWN: Self = Self { mode: 0o600, user: None, group: None };
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
///
/// # Errors
/// The place is taken, the path is too long, its directory is not trusted, or the system refuses the socket.
pub fn listen_unix(path: &Path, wanted: Wanted) -> Result<(OwnedFd, FileId), FileError> {
    listen_unless(path, wanted, |_| Ok(()))
}

/// The same, if `check` has nothing against what stands there.
pub(super) fn listen_unless(
    path: &Path,
    wanted: Wanted,
    check: impl FnOnce(&Spot) -> Result<(), FileCause>,
) -> Result<(OwnedFd, FileId), FileError> {
    let listen = || {
        check_length(path)?;
        let spot = Spot::find(path, wanted.demand)?;
        check(&spot)?;
        let stale = vacancy(path, &spot)?;
        bind_and_listen(path, &spot, stale, wanted)
    };
    listen().map_err(|cause| FileError::new("bind", path, cause))
}

/// What can be known of the place of a socket without binding it; one that is there may be our own.
///
/// # Errors
/// As [`listen_unix`], but for another process that listens there.
pub fn check_place(path: &Path, demand: Demand) -> Result<(), FileError> {
    check_place_unless(path, demand, |_| Ok(()))
}

/// The same, if `check` has nothing against what stands there.
pub(super) fn check_place_unless(
    path: &Path,
    demand: Demand,
    check: impl FnOnce(&Spot) -> Result<(), FileCause>,
) -> Result<(), FileError> {
    let look = || {
        check_length(path)?;
        let spot = Spot::find(path, demand)?;
        match spot.look()?.map(|found| found.meta().file_type()) {
            Some(file_type) if !file_type.is_socket() => return Err(FileCause::NotASocket { kind: kind(file_type) }),
            Some(_) | None => check(&spot)?,
        }
        check_room(path, &spot)
    };
    look().map_err(|cause| FileError::new("bind", path, cause))
}

/// Changes the mode, user and group of the socket file `id`, if it still stands at the path.
///
/// # Errors
/// The system refuses the change, or does not say what stands there; or the file has a second name, which another user may have given it.
pub fn set_access(path: &Path, id: FileId, access: Access) -> io::Result<()> {
    own_file(path, id)?.map_or(Ok(()), |found| admit(&found, access))
}

/// The same of user and group alone.
///
/// # Errors
/// As [`set_access`].
pub fn set_owner(path: &Path, id: FileId, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    own_file(path, id)?.map_or(Ok(()), |found| Ok(found.set_owner(user, group)?))
}

/// None: it does not stand there any more.
fn own_file(path: &Path, id: FileId) -> io::Result<Option<Found>> {
    let Some(spot) = Spot::find_left(path)? else { return Ok(None) };
    match spot.look()?.filter(|found| found.id() == id && found.meta().file_type().is_socket()) {
        Some(found) if found.is_hard_linked() => Err(FileCause::Mistrusted(Mistrust::HardLinked).into()),
        found => Ok(found),
    }
}

/// The user and the group that a new file at this path has of itself. The mode of a directory may say that its group is that of its
/// files, see inode(7).
pub fn new_file_owner(path: &Path) -> (u32, u32) {
    let directory = std::fs::metadata(parent_of(path)).ok().filter(|meta| meta.mode() & SET_GROUP_ID != 0);
    (geteuid().as_raw(), directory.map_or(getegid().as_raw(), |meta| meta.gid()))
}

/// Removes a socket file if it still is this one; what another process has put there stays.
///
/// # Errors
/// It cannot be removed, or the system does not say what stands there.
pub fn remove_socket(path: &Path, id: FileId) -> io::Result<()> {
    insist(|| {
        let Some(spot) = Spot::find_left(path)? else { return Ok(()) };
        match spot.look()?.filter(|found| found.meta().file_type().is_socket()) {
            Some(found) if found.id() == id => Ok(spot.remove(id)?),
            Some(_) | None => Ok(()),
        }
    })
}

/// Whether it fits into a socket address.
///
/// # Errors
/// It is empty, or too long.
pub fn check_length(path: &Path) -> Result<(), FileCause> {
    match path.as_os_str().len() {
        0 => Err(Errno::EINVAL.into()),
        1..=SOCKET_PATH_MAX => Ok(()),
        bytes => Err(FileCause::TooLong { bytes }),
    }
}

/// Whether a socket can be bound there; a stale one, whose process has gone, has to go before. Asks the socket itself, by a
/// connection that is closed at once.
pub(super) fn vacancy(path: &Path, spot: &Spot) -> Result<Option<FileId>, FileCause> {
    let Some(found) = spot.look()? else { return Ok(None) };
    let meta = found.meta();
    if !meta.file_type().is_socket() {
        return Err(FileCause::NotASocket { kind: kind(meta.file_type()) });
    }
    match probe(path, &found) {
        // A full accept queue shows a listener; so does a socket of another type.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Err(FileCause::InUse),
        Err(Errno::ECONNREFUSED) => Ok(Some(found.id())),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::EACCES) if meta.uid() != geteuid().as_raw() => {
            Err(FileCause::ForeignSocket { uid: meta.uid(), hint: "choose another path" })
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Makes the socket first and removes the stale file last, so that what can fail has failed before.
///
/// bind(2) is given the path, so that the socket has the name that all know. It makes a file, and never touches one that is
/// there; where it has made it is looked at afterwards.
fn bind_and_listen(
    path: &Path,
    spot: &Spot,
    stale: Option<FileId>,
    wanted: Wanted,
) -> Result<(OwnedFd, FileId), FileCause> {
    let address = UnixAddr::new(path)?;
    let fd = open()?;
    set_blocking(fd.as_fd(), wanted.blocking)?;
    // The file takes the mode of the socket, less the umask: it is never more open than it shall be.
    let first = if wanted.access.group.is_some() { Access::OWN.mode } else { wanted.access.mode };
    fchmod(&fd, Mode::from_bits_truncate(first))?;
    if let Some(id) = stale {
        spot.remove(id)?;
    }
    bind_to(&fd, &address).map_err(|errno| match errno {
        // Another process was quicker.
        Errno::EADDRINUSE => FileCause::InUse,
        other => other.into(),
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
    if let Err(error) = admit(&found, wanted.access).and_then(|()| Ok(relisten(fd.as_fd(), wanted.backlog)?)) {
        // No client may find a socket there that is never served.
        let _it_stays = spot.remove(found.id());
        return Err(error.into());
    }
    Ok((fd, found.id()))
}

/// The file of a socket that was just bound. If the system does not tell, it is what stands there, as far as that can be ours:
/// in a directory that is trusted it is, and in another it may be another socket of our own in such a directory.
fn file_of(fd: &OwnedFd, spot: &Spot) -> Result<Found, FileCause> {
    let there = spot.look();
    let Some(bound) = bound_file(fd.as_fd()) else {
        return there?.filter(Found::is_own_socket).ok_or(FileCause::Exchanged);
    };
    let found = Found::new(bound)?;
    if there?.is_some_and(|there| there.id() == found.id()) {
        return Ok(found);
    }
    remove_stray(&found);
    Err(FileCause::Exchanged)
}

/// The file of a socket that was just bound and could not be looked at. What another process has put in its place stays.
fn remove_unseen(spot: &Spot, cause: &FileCause) {
    if *cause != FileCause::Exchanged && spot.look().is_ok_and(|found| found.is_some_and(|file| file.is_own_socket())) {
        // It was looked at just now; to do so again would take one descriptor more.
        let _it_stays = spot.unlink();
    }
}

/// A directory was exchanged during the bind, and the file is in another one, or has been moved there.
fn remove_stray(found: &Found) {
    if let Ok(place) = std::fs::read_link(found.path()) {
        let _it_stays = remove_socket(&place, found.id());
    }
}

/// The group comes before the mode, which must not be meant for another group even for a moment. The user comes last: it takes more
/// than CAP_CHOWN to change the mode of another user's file.
fn admit(found: &Found, access: Access) -> io::Result<()> {
    if let Some(group) = access.group {
        found.set_mode(Access::OWN.mode)?;
        found.set_owner(None, Some(group))?;
    }
    // Gives back what the umask took from it.
    found.set_mode(access.mode)?;
    match access.user {
        Some(user) => Ok(found.set_owner(Some(user), None)?),
        None => Ok(()),
    }
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
    let address = UnixAddr::new(path)?;
    retry(|| connect(fd.as_raw_fd(), &address))
}

fn open() -> Result<OwnedFd, Errno> {
    retry(|| socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::sys::testing::{LIMIT, wait_until};

    fn place() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("web.sock");
        (dir, path)
    }

    fn vacancy_at(path: &Path) -> Result<Option<FileId>, FileCause> {
        vacancy(path, &Spot::find(path, Demand::Trusted).unwrap())
    }

    fn leave_stale(path: &Path) {
        drop(UnixListener::bind(path).unwrap());
        // A child that another test has just forked may hold the descriptor until its exec.
        assert!(wait_until(LIMIT, || matches!(vacancy_at(path), Ok(Some(_)))));
    }

    fn wanted(mode: u32) -> Wanted {
        let access = Access { mode, ..Access::OWN };
        Wanted { access, backlog: 10, blocking: Blocking::Blocking, demand: Demand::Trusted }
    }

    fn listen(path: &Path, mode: u32) -> Result<OwnedFd, FileError> {
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
    fn a_socket_with_two_names_is_not_changed() {
        let (dir, path) = place();
        let (_listener, id) = listen_unix(&path, wanted(0o600)).unwrap();
        let set = |mode| set_access(&path, id, Access { mode, ..Access::OWN }).map_err(|error| error.to_string());
        fs::hard_link(&path, dir.path().join("second")).unwrap();
        assert_eq!(set(0o666), Err("it has more than one name".to_owned()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        fs::remove_file(dir.path().join("second")).unwrap();
        assert_eq!((set(0o666), fs::metadata(&path).unwrap().mode() & 0o7777), (Ok(()), 0o666));
    }

    #[test]
    fn a_listener_with_a_full_queue_is_alive() {
        let (_dir, path) = place();
        let _listener = listen_unix(&path, Wanted { backlog: 0, ..wanted(0o600) }).unwrap();
        let _waiting: Vec<_> = (0..1).map(|_| UnixStream::connect(&path).unwrap()).collect();
        assert_eq!(vacancy_at(&path), Err(FileCause::InUse));
    }

    #[test]
    fn a_datagram_socket_is_alive_too() {
        let (_dir, path) = place();
        let _datagram = UnixDatagram::bind(&path).unwrap();
        assert_eq!(listen(&path, 0o600).unwrap_err().cause, FileCause::InUse);
    }

    #[test]
    fn what_is_no_socket_is_refused_and_stays() {
        let (dir, path) = place();
        fs::write(&path, "precious").unwrap();
        let kind = "a regular file";
        assert_eq!(listen(&path, 0o600).unwrap_err().cause, FileCause::NotASocket { kind });
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let kind = "a symbolic link";
        assert_eq!(listen(&link, 0o600).unwrap_err().cause, FileCause::NotASocket { kind });
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(103)));
        assert_eq!(listen(&path, 0o600).unwrap_err().cause, FileCause::TooLong { bytes: 108 });
        assert_eq!(listen(Path::new(""), 0o600).unwrap_err().cause, FileCause::System(Errno::EINVAL));
    }
}

#[cfg(test)]
#[path = "swap_race_tests.rs"]
mod swap_race;
