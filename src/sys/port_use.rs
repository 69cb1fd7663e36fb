//! What stands in the way of a bind to a TCP port: processes that hold a socket which listens there, as /proc shows it. It looks only, and
//! for a message; what it finds may be outdated.

use std::fs;
use std::net::SocketAddr;

use crate::base::Pid;
use crate::sys::{directory, procfs};

/// The state of a listening socket in /proc/net/tcp.
const LISTENING: &str = "0A";

/// How many processes are named.
const HOLDERS_MAX: usize = 8;

/// What is in the way at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortUse {
    /// These processes listen there.
    Listening(Vec<Pid>),
    /// No socket listens: connections of a former one are left.
    Lingering,
    /// /proc does not show it.
    Unknown,
}

/// Of the port alone, whichever the address is: a bind to all addresses is in the way of each.
pub fn of(address: SocketAddr) -> PortUse {
    let rows: Vec<(String, u64)> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| text.lines().filter_map(|line| row(line, address.port())).collect::<Vec<_>>())
        .collect();
    let inodes: Vec<u64> = rows.iter().filter(|(state, _)| state == LISTENING).map(|(_, inode)| *inode).collect();
    match (rows.is_empty(), inodes.is_empty()) {
        (true, _) => PortUse::Unknown,
        (false, true) => PortUse::Lingering,
        (false, false) => match holders(&inodes) {
            holders if holders.is_empty() => PortUse::Unknown,
            holders => PortUse::Listening(holders.into_iter().take(HOLDERS_MAX).collect()),
        },
    }
}

/// State and inode of a socket at this local port.
fn row(line: &str, port: u16) -> Option<(String, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local = fields.get(1)?.rsplit_once(':')?.1;
    let is_it = u16::from_str_radix(local, 16) == Ok(port);
    is_it.then_some(((*fields.get(3)?).to_owned(), fields.get(9)?.parse().ok()?))
}

/// The processes that have one of these sockets open, as far as we may see.
pub fn holders(inodes: &[u64]) -> Vec<Pid> {
    let pids = directory::numbers("/proc").unwrap_or_default();
    pids.into_iter().map(Pid).filter(|pid| procfs::holds_socket(*pid, inodes)).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_port_is_held_by_those_who_listen_and_then_by_what_lingers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let own = Pid(nix::unistd::getpid().as_raw());
        let PortUse::Listening(holders) = of(address) else { panic!("{:?}", of(address)) };
        assert!(holders.contains(&own), "{holders:?}");
        let _client = TcpStream::connect(address).unwrap();
        let accepted = listener.accept().unwrap();
        drop(listener);
        assert_eq!(of(address), PortUse::Lingering);
        drop(accepted);
    }
}
