//! The end of a listening socket that other processes hold, too: what waits in its accept queue is let go at once, and nothing
//! gets in any more. Never blocks, whether the socket does or not.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};

use crate::sys::accept::accept;
use crate::sys::errno::retry;
use crate::sys::socket::{LocalAddress, relisten};

/// How many connections are taken from a queue: more than net.core.somaxconn allows on any sane system.
const QUEUE_MAX: usize = 1 << 17;

/// Shuts a listening socket down for all that hold it. The file of a unix socket should be gone by then.
///
/// TCP: the kernel resets what is queued, and refuses what comes; listen(2) undoes it. Unix: nothing undoes it, and what is
/// queued would wait for the last holder's close(2), so it is accepted and closed here.
///
/// # Errors
/// None that leaves the socket open; but without a descriptor or memory the queue of a unix socket is not emptied.
pub fn refuse_all(listener: BorrowedFd<'_>, address: &LocalAddress) -> Result<(), Errno> {
    match retry(|| shutdown(listener.as_raw_fd(), Shutdown::Both)) {
        // Another process has shut it down.
        Ok(()) | Err(Errno::ENOTCONN) => {}
        Err(errno) => return Err(errno),
    }
    match address {
        LocalAddress::Inet(_) => Ok(()),
        LocalAddress::Unix(_) | LocalAddress::Other => {
            wake_those_without_room(listener)?;
            empty(listener)
        }
    }
}

/// A connect(2) that waits for room in the queue is not woken by shutdown(2), but by a longer queue; it is then refused.
fn wake_those_without_room(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    relisten(listener, 0)?;
    relisten(listener, 1)
}

fn empty(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    for _ in 0..QUEUE_MAX {
        match accept(listener) {
            Ok(Some(connection)) => drop(connection),
            // After shutdown(2), accept(2) says so of an empty queue, at once.
            Ok(None) | Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::sys::socket::{local_address, mend};

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn queued_tcp_clients_are_reset_and_new_ones_refused_until_it_listens_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other_holder = listener.try_clone().unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = TcpStream::connect(address).unwrap();
        queued.set_read_timeout(Some(LIMIT)).unwrap();
        let local = local_address(listener.as_fd()).unwrap();
        refuse_all(listener.as_fd(), &local).unwrap();
        assert_eq!(queued.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        refuse_all(listener.as_fd(), &local).unwrap();
        mend(listener.as_fd(), &local, 5).unwrap();
        let again = TcpStream::connect(address).unwrap();
        assert_eq!(other_holder.accept().unwrap().1, again.local_addr().unwrap());
    }

    /// More clients than a queue has room for; so most of them wait in connect(2).
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a thread of the test's own, for each client")]
    fn unix_clients_with_and_without_room_in_the_queue_are_let_go() {
        const CLIENTS: usize = 12;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let _other_holder = listener.try_clone().unwrap();
        relisten(listener.as_fd(), 1).unwrap();
        let (sender, ends) = mpsc::channel();
        for _ in 0..CLIENTS {
            let (sender, path) = (sender.clone(), path.clone());
            thread::spawn(move || {
                let read = UnixStream::connect(path).and_then(|mut stream| {
                    sender.send(None).unwrap();
                    stream.read(&mut [0])
                });
                sender.send(Some(read.map_err(|error| error.kind()))).unwrap();
            });
        }
        // Two have room: the queue is as long as its backlog and one more.
        for _ in 0..2 {
            assert_eq!(ends.recv_timeout(LIMIT).unwrap(), None);
        }
        refuse_all(listener.as_fd(), &local_address(listener.as_fd()).unwrap()).unwrap();
        for _ in 0..CLIENTS {
            let end = ends.recv_timeout(LIMIT).unwrap().expect("no client gets in any more");
            assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset)), "{end:?}");
        }
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
