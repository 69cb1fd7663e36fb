//! Connections that came in at a listening socket: whether some wait to be accepted, and whether a process has accepted any.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::sock_diag;
use crate::sys::socket::LocalAddress;

/// In the tables of /proc/net, a TCP socket that listens, and a unix socket that is connected.
const TCP_LISTENS: &str = "0A";
const UNIX_CONNECTED: &str = "03";

/// What stands there for a connection that no process has accepted.
const NO_INODE: &str = "0";

/// Whether a connection waits at this listening socket to be accepted.
pub fn waits(listener: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(listener, PollFlags::POLLIN)];
    let ready = poll(&mut fds, PollTimeout::ZERO);
    ready == Ok(1) && fds[0].revents().is_some_and(|events| events == PollFlags::POLLIN)
}

/// Whether a process holds a connection that came in at this address. None: the system does not tell.
pub fn any_accepted(address: &LocalAddress) -> Option<bool> {
    match address {
        LocalAddress::Inet(address) => {
            sock_diag::any_accepted(*address).ok().or_else(|| any_accepted_in_table(*address))
        }
        LocalAddress::Unix(path) => some_line("/proc/thread-self/net/unix", |line| is_accepted_unix(line, path)),
        LocalAddress::Other => None,
    }
}

/// Where there is no sock_diag(7). The table has those that are over, too, and can be long. Another address with the same port counts.
fn any_accepted_in_table(address: SocketAddr) -> Option<bool> {
    let table = if address.is_ipv4() { "/proc/thread-self/net/tcp" } else { "/proc/thread-self/net/tcp6" };
    some_line(table, |line| is_accepted_tcp(line, address))
}

fn some_line(table: &str, mut wanted: impl FnMut(&[u8]) -> bool) -> Option<bool> {
    let mut table = BufReader::new(File::open(table).ok()?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if table.read_until(b'\n', &mut line).ok()? == 0 {
            return Some(false);
        }
        if wanted(&line) {
            return Some(true);
        }
    }
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`
fn is_accepted_tcp(line: &[u8], address: SocketAddr) -> bool {
    let text = String::from_utf8_lossy(line);
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return false };
    let port = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    port == Some(address.port()) && *state != TCP_LISTENS && *inode != NO_INODE
}

/// `Num RefCount Protocol Flags Type St Inode Path`, and the path may have blanks in it.
fn is_accepted_unix(line: &[u8], path: &Path) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty()).collect();
    let [_, _, _, _, _, state, inode, ..] = fields.as_slice() else { return false };
    let is_there = line.ends_with(&[b" ", OsStr::as_bytes(path.as_os_str())].concat());
    is_there && *state == UNIX_CONNECTED.as_bytes() && *inode != NO_INODE.as_bytes()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::sys::socket::local_address;
    use crate::sys::testing::{LIMIT, wait_until};

    #[test]
    fn a_tcp_connection_waits_until_it_is_accepted_and_is_held_until_it_is_closed() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let address = local_address(listener.as_fd()).unwrap();
            assert_eq!((waits(listener.as_fd()), any_accepted(&address)), (false, Some(false)));
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            assert!(wait_until(LIMIT, || waits(listener.as_fd())));
            assert_eq!(any_accepted(&address), Some(false));
            let (accepted, _) = listener.accept().unwrap();
            assert_eq!((waits(listener.as_fd()), any_accepted(&address)), (false, Some(true)));
            drop(accepted);
            assert_eq!(any_accepted(&address), Some(false));
        }
    }

    #[test]
    fn a_connection_to_another_address_with_the_same_port_does_not_count() {
        // No other test binds this address.
        let first = TcpListener::bind("127.0.0.78:0").unwrap();
        let second = TcpListener::bind(("127.0.0.79", first.local_addr().unwrap().port())).unwrap();
        let _client = TcpStream::connect(second.local_addr().unwrap()).unwrap();
        let _accepted = second.accept().unwrap();
        assert_eq!(any_accepted(&local_address(first.as_fd()).unwrap()), Some(false));
        assert_eq!(any_accepted(&local_address(second.as_fd()).unwrap()), Some(true));
    }

    #[test]
    fn the_table_tells_the_same() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let address = listener.local_addr().unwrap();
            let _client = TcpStream::connect(address).unwrap();
            assert_eq!(any_accepted_in_table(address), Some(false));
            let _accepted = listener.accept().unwrap();
            assert_eq!(any_accepted_in_table(address), Some(true));
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
        assert_eq!((waits(listener.as_fd()), any_accepted(&address)), (true, Some(false)));
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!((waits(listener.as_fd()), any_accepted(&address)), (false, Some(true)));
        drop(accepted);
        assert_eq!(any_accepted(&address), Some(false));
    }

    #[test]
    fn a_socket_that_was_shut_down_has_nothing_that_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        nix::sys::socket::shutdown(std::os::fd::AsRawFd::as_raw_fd(&listener), nix::sys::socket::Shutdown::Both)
            .unwrap();
        assert!(!waits(listener.as_fd()));
        assert_eq!(any_accepted(&LocalAddress::Other), None);
    }
}
