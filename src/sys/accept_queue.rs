//! Connections that came in at a listening socket: which wait to be accepted, and whether a process holds any.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::base::Pid;
use crate::sys::procfs;
use crate::sys::sock_diag;
use crate::sys::socket::LocalAddress;

/// In /proc/net/unix, sockets that wait to be accepted, or are connected.
const UNIX_OPEN: [&[u8]; 2] = [b"02", b"03"];

/// How many descriptors are looked at to find which process holds what: a look at each is a system call.
const DESCRIPTORS_MAX: usize = 1024;

/// The inode of a connection that no process has accepted.
const NO_INODE: u64 = 0;

/// Whether a connection waits at this listening socket to be accepted.
pub fn waits(listener: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(listener, PollFlags::POLLIN)];
    let ready = poll(&mut fds, PollTimeout::ZERO);
    ready == Ok(1) && fds[0].revents().is_some_and(|events| events == PollFlags::POLLIN)
}

/// What the kernel shows of the connections that came in at a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incoming {
    /// Those that wait to be accepted, by names that are theirs alone; of a unix socket this takes the right to see the kernel's addresses,
    /// and otherwise all have the same.
    pub waiting: BTreeSet<Vec<u8>>,
    /// Whether a process holds one.
    pub is_any_held: bool,
}

impl Incoming {
    fn add(&mut self, inode: u64, name: &[u8]) {
        match inode {
            NO_INODE => drop(self.waiting.insert(name.to_vec())),
            _ => self.is_any_held = true,
        }
    }
}

/// Those that came in at this address; at one that stands for all, those that came in at its port. None: the kernel does not tell.
pub fn incoming(address: &LocalAddress) -> Option<Incoming> {
    let mut found = Incoming::default();
    each(address, |inode, name| found.add(inode, name))?;
    Some(found)
}

/// Calls `take` for each, with its inode and its name.
fn each(address: &LocalAddress, mut take: impl FnMut(u64, &[u8])) -> Option<()> {
    match address {
        LocalAddress::Inet(address) => {
            sock_diag::each_open_tcp(*address, |connection| take(connection.inode, connection.ends)).ok()
        }
        LocalAddress::Unix(path) => {
            let table = fs::read("/proc/thread-self/net/unix").ok()?;
            let lines = table.split(|byte| *byte == b'\n');
            lines.filter_map(|line| unix(line, path)).for_each(|(inode, name)| take(inode, name));
            Some(())
        }
        LocalAddress::Other => None,
    }
}

/// How many connections that came in at these addresses a process and its descendants hold. None: that cannot be seen, or not soon.
pub fn held_by(pid: Pid, addresses: &[&LocalAddress]) -> Option<usize> {
    let pids: Vec<Pid> = std::iter::once(pid).chain(procfs::descendants(pid)).collect();
    let held = procfs::sockets(&pids, DESCRIPTORS_MAX)?;
    let mut found = BTreeSet::new();
    for address in addresses {
        each(address, |inode, _| found.extend(Some(inode).filter(|inode| held.contains(inode))))?;
    }
    Some(found.len())
}

/// The inode and the name, from `Num RefCount Protocol Flags Type St Inode Path`; the path may have blanks in it.
fn unix<'a>(line: &'a [u8], path: &Path) -> Option<(u64, &'a [u8])> {
    let rest = line.strip_suffix(OsStr::as_bytes(path.as_os_str()))?.strip_suffix(b" ")?;
    let fields: Vec<&[u8]> = rest.split(|byte| *byte == b' ').filter(|field| !field.is_empty()).collect();
    let [name, _, _, _, _, state, inode] = fields.as_slice() else { return None };
    let inode = std::str::from_utf8(inode).ok()?.parse().ok()?;
    UNIX_OPEN.contains(state).then_some((inode, *name))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::sys::socket::local_address;
    use crate::sys::testing::{LIMIT, wait_until};

    /// How many wait, and whether any is held.
    fn counted(address: &LocalAddress) -> (usize, bool) {
        let incoming = incoming(address).unwrap();
        (incoming.waiting.len(), incoming.is_any_held)
    }

    #[test]
    fn a_tcp_connection_waits_until_it_is_accepted_and_is_held_until_it_is_closed() {
        for address in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let address = local_address(listener.as_fd()).unwrap();
            assert_eq!((waits(listener.as_fd()), counted(&address)), (false, (0, false)));
            let clients = [(); 2].map(|()| TcpStream::connect(listener.local_addr().unwrap()).unwrap());
            assert!(wait_until(LIMIT, || waits(listener.as_fd()) && counted(&address) == (2, false)));
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!((waits(listener.as_fd()), counted(&address)), (true, (1, true)));
            let LocalAddress::Inet(own) = address else { panic!("{address:?}") };
            let other = LocalAddress::Inet(SocketAddr::from(([127, 0, 0, 2], own.port())));
            assert_eq!(counted(&other), (0, false), "another address with the same port");
            drop(accepted);
            drop(clients);
            assert!(wait_until(LIMIT, || counted(&address) == (1, false)), "one that its client has closed waits on");
        }
    }

    #[test]
    fn a_unix_connection_waits_until_it_is_accepted_and_is_held_until_it_is_closed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let _other = UnixListener::bind(directory.path().join("app.sock")).unwrap();
        let address = local_address(listener.as_fd()).unwrap();
        let _client = UnixStream::connect(&path).unwrap();
        assert_eq!((waits(listener.as_fd()), counted(&address)), (true, (1, false)));
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!((waits(listener.as_fd()), counted(&address)), (false, (0, true)));
        drop(accepted);
        assert_eq!(counted(&address), (0, false));
    }

    #[test]
    fn a_socket_that_was_shut_down_has_nothing_that_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        nix::sys::socket::shutdown(std::os::fd::AsRawFd::as_raw_fd(&listener), nix::sys::socket::Shutdown::Both)
            .unwrap();
        assert!(!waits(listener.as_fd()));
        assert_eq!(incoming(&LocalAddress::Other), None);
    }
}
