//! What stands in the way of a bind to a TCP port: processes that hold a socket which listens there, as /proc shows it. It looks only, and
//! for a message; what it finds may be outdated.

use std::fs;
use std::net::{IpAddr, SocketAddr};

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
    /// No socket listens, and these processes have connections at the port; none, if they are not to be seen.
    Connected(Vec<Pid>),
    /// Connections of a former listener are left, and no process has them any more.
    Lingering,
    /// /proc does not show it.
    Unknown,
}

/// What keeps a bind to this address away. A socket for all addresses of IPv6 may be one for IPv4, too, which /proc does not say.
pub fn of(address: SocketAddr) -> PortUse {
    let rows: Vec<(String, u64)> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| text.lines().filter_map(|line| row(line, address)).collect::<Vec<_>>())
        .collect();
    let (mut listening, mut connected) = (Vec::new(), Vec::new());
    for (state, inode) in rows.iter().filter(|(_, inode)| *inode != 0) {
        if state == LISTENING { listening.push(*inode) } else { connected.push(*inode) }
    }
    match (rows.is_empty(), listening.is_empty(), connected.is_empty()) {
        (true, _, _) => PortUse::Unknown,
        (false, true, true) => PortUse::Lingering,
        (false, true, false) => PortUse::Connected(holders(&connected)),
        (false, false, _) => match holders(&listening) {
            holders if holders.is_empty() => PortUse::Unknown,
            holders => PortUse::Listening(holders.into_iter().take(HOLDERS_MAX).collect()),
        },
    }
}

/// State and inode of a socket that is in the way of a bind to this address.
fn row(line: &str, wanted: SocketAddr) -> Option<(String, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = fields.get(1)?.rsplit_once(':')?;
    let (ip, port) = (ip_of(ip)?, u16::from_str_radix(port, 16).ok()?);
    let is_of_family = ip.is_ipv4() == wanted.is_ipv4();
    let overlaps = ip == wanted.ip()
        || is_of_family && wanted.ip().is_unspecified()
        || ip.is_unspecified() && (is_of_family || wanted.is_ipv4());
    (port == wanted.port() && overlaps).then_some(((*fields.get(3)?).to_owned(), fields.get(9)?.parse().ok()?))
}

/// As the kernel lists it: words of 32 bits, in the byte order of the machine. IPv4 inside of IPv6 is IPv4.
fn ip_of(digits: &str) -> Option<IpAddr> {
    let word = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().map(u32::to_ne_bytes);
    let bytes: Vec<u8> = digits.as_bytes().chunks(8).map(word).collect::<Option<Vec<_>>>()?.concat();
    if let Ok(v4) = <[u8; 4]>::try_from(bytes.as_slice()) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| IpAddr::from(v6).to_canonical())
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
    use crate::sys::testing::{LIMIT, wait_until};

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
        let PortUse::Connected(holders) = of(address) else { panic!("{:?}", of(address)) };
        assert!(holders.contains(&own), "{holders:?}");
        drop(accepted);
        // A child that another test has just forked may hold the descriptors until its exec.
        assert!(wait_until(LIMIT, || of(address) == PortUse::Lingering));
    }

    #[test]
    fn a_socket_is_in_the_way_where_its_addresses_overlap() {
        let is_in_the_way = |local: &str, wanted: &str| {
            let line = format!("0: {local} 00000000:0000 0A 0:0 0:0 0 0 0 7 1");
            row(&line, wanted.parse().unwrap()).is_some()
        };
        let v4 = |ip: [u8; 4]| format!("{:08X}:0050", u32::from_ne_bytes(ip));
        let v6 = |words: [[u8; 4]; 4]| words.map(|word| format!("{:08X}", u32::from_ne_bytes(word))).concat() + ":0050";
        let (one, any) = (v4([127, 0, 0, 1]), v4([0; 4]));
        let any_v6 = v6([[0; 4]; 4]);
        let mapped = v6([[0; 4], [0; 4], [0, 0, 0xff, 0xff], [127, 0, 0, 1]]);
        let local_v6 = v6([[0; 4], [0; 4], [0; 4], [0, 0, 0, 1]]);
        for local in [&one, &any, &any_v6, &mapped] {
            assert!(is_in_the_way(local, "127.0.0.1:80"), "{local}");
            assert!(!is_in_the_way(local, "127.0.0.1:81"), "{local}");
        }
        for (local, wanted) in
            [(&one, "0.0.0.0:80"), (&mapped, "0.0.0.0:80"), (&local_v6, "[::]:80"), (&any_v6, "[::1]:80")]
        {
            assert!(is_in_the_way(local, wanted), "{local} {wanted}");
        }
        for (local, wanted) in
            [(&one, "127.0.0.2:80"), (&any, "[::]:80"), (&local_v6, "0.0.0.0:80"), (&one, "[::1]:80")]
        {
            assert!(!is_in_the_way(local, wanted), "{local} {wanted}");
        }
    }
}
