//! The connecting side of a unix socket, and waiting for what comes over it: with a limit everywhere, since the other side
//! may be stopped. Looks at no byte.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::stat::{Mode, fstat};
use nix::sys::time::{TimeSpec, TimeVal};
use nix::unistd::geteuid;

use crate::base::Mono;
use crate::sys::clock;
use crate::sys::errno::retry;

/// A connection to a listening socket. `patience` is how long connecting may take while the accept queue is full, and
/// later each write while the other side does not read.
///
/// # Errors
/// EAGAIN when `patience` did not suffice, and what socket(2) and connect(2) say.
pub fn connect_unix(path: &Path, patience: Duration) -> Result<OwnedFd, Errno> {
    connect_as(SockType::Stream, path, patience)
}

/// A socket whose datagrams go there. `patience` is how long each may wait for room in the other side's queue; EAGAIN says
/// that it did not suffice.
///
/// # Errors
/// EPROTOTYPE when the other side takes connections, and what socket(2) and connect(2) say.
pub fn connect_datagram(path: &Path, patience: Duration) -> Result<OwnedFd, Errno> {
    connect_as(SockType::Datagram, path, patience)
}

/// Why there is no connection to what stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// It is a symbolic link of a user who is neither root nor we: it may lead to any socket.
    Planted {
        uid: u32,
    },
    System(Errno),
}

impl From<Errno> for ConnectError {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

/// As [`connect_unix`], to a path that others may have put something at. What is looked at is what is connected to, even if
/// another file stands there a moment later. (Without /proc, it is looked at and then looked up again.)
///
/// # Errors
/// As [`connect_unix`]; or another user's link stands there.
pub fn connect_unix_unplanted(path: &Path, patience: Duration) -> Result<OwnedFd, ConnectError> {
    // The length counts for the path as it was given.
    UnixAddr::new(path)?;
    let seen = retry(|| open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()))?;
    let stat = fstat(&seen)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFLNK {
        let is_trusted = stat.st_uid == 0 || stat.st_uid == geteuid().as_raw();
        return if is_trusted {
            Ok(connect_unix(path, patience)?)
        } else {
            Err(ConnectError::Planted { uid: stat.st_uid })
        };
    }
    match connect_unix(Path::new(&format!("/proc/self/fd/{}", seen.as_raw_fd())), patience) {
        Err(Errno::ENOENT) => Ok(connect_unix(path, patience)?),
        connected => Ok(connected?),
    }
}

fn connect_as(kind: SockType, path: &Path, patience: Duration) -> Result<OwnedFd, Errno> {
    let address = UnixAddr::new(path)?;
    let fd = retry(|| socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None))?;
    setsockopt(&fd, sockopt::SendTimeout, &timeval(patience))?;
    retry(|| connect(fd.as_raw_fd(), &address))?;
    Ok(fd)
}

/// Waits until one of these can be read, has ended or is broken, and says which, the first first. `None` when `until` has
/// passed, or when there is nothing to wait for.
///
/// # Errors
/// The system has no memory.
pub fn wait_readable(fds: &[BorrowedFd<'_>], until: Option<Mono>) -> Result<Option<usize>, Errno> {
    if fds.is_empty() && until.is_none() {
        return Ok(None);
    }
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    loop {
        let left = until.map(|moment| moment.since(clock::now()));
        match ppoll(&mut polled, left.map(TimeSpec::from_duration), None) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(0) if left.is_none_or(|left| !left.is_zero()) => {}
            Ok(_) => return Ok(polled.iter().position(|fd| fd.any().unwrap_or(true))),
        }
    }
}

/// Zero would mean for ever.
fn timeval(span: Duration) -> TimeVal {
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    TimeVal::new(seconds, i64::from(span.subsec_micros()).max(i64::from(seconds == 0)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;
    use crate::sys::socket::relisten;

    #[test]
    fn a_full_queue_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("full.sock");
        let listener = UnixListener::bind(&path).unwrap();
        relisten(listener.as_fd(), 0).unwrap();
        let patience = Duration::from_millis(20);
        let _first = connect_unix(&path, patience).unwrap();
        assert_eq!(connect_unix(&path, patience).unwrap_err(), Errno::EAGAIN);
        assert_eq!(connect_unix(&dir.path().join("none"), patience).unwrap_err(), Errno::ENOENT);
    }

    #[test]
    fn a_side_that_does_not_read_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deaf.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let fd = connect_unix(&path, Duration::from_millis(20)).unwrap();
        let error = UnixStream::from(fd).write_all(&vec![b'x'; 16 << 20]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
    }

    #[test]
    fn a_datagram_does_not_wait_for_room_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("full.sock");
        let reader = UnixDatagram::bind(&path).unwrap();
        let writer = UnixDatagram::from(connect_datagram(&path, Duration::from_millis(20)).unwrap());
        let error = (0..1_000_000).find_map(|_| writer.send(b"x").err()).unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
        reader.recv(&mut [0; 1]).unwrap();
        writer.send(b"x").unwrap();
        let stream = dir.path().join("stream.sock");
        let _listener = UnixListener::bind(&stream).unwrap();
        assert_eq!(connect_datagram(&stream, Duration::from_millis(20)).unwrap_err(), Errno::EPROTOTYPE);
    }

    #[test]
    fn waiting_ends_with_a_byte_or_with_the_time() {
        let (mut one, other) = UnixStream::pair().unwrap();
        let (_third, quiet) = UnixStream::pair().unwrap();
        let soon = clock::now().after(Duration::from_millis(10));
        assert_eq!(wait_readable(&[quiet.as_fd(), other.as_fd()], Some(soon)), Ok(None));
        assert!(clock::now() >= soon);
        one.write_all(b"x").unwrap();
        assert_eq!(wait_readable(&[quiet.as_fd(), other.as_fd()], None), Ok(Some(1)));
        assert_eq!(wait_readable(&[], None), Ok(None));
    }
}
