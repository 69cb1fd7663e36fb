//! Asks the kernel for TCP connections by sock_diag(7). It looks for those of one port only, which the tables in /proc/net cannot do: where
//! tens of thousands of connections have just ended, these take a large part of a second to read.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use crate::sys::errno::retry;

/// From linux/sock_diag.h and linux/netlink.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// One bit for each state, by its number in net/tcp_states.h: all but those that are over, that are no connection yet, and listeners.
const ESTABLISHED: u32 = 1 << 1;
const FIN_WAIT_1: u32 = 1 << 4;
const FIN_WAIT_2: u32 = 1 << 5;
const CLOSE_WAIT: u32 = 1 << 8;
const LAST_ACK: u32 = 1 << 9;
const CLOSING: u32 = 1 << 11;
const CONNECTED: u32 = ESTABLISHED | FIN_WAIT_1 | FIN_WAIT_2 | CLOSE_WAIT | LAST_ACK | CLOSING;

/// Lengths: of struct nlmsghdr, struct inet_diag_req_v2, struct inet_diag_msg; and where fields of the last begin.
const HEADER: usize = 16;
const REQUEST: usize = 56;
const CONNECTION: usize = 72;
const SOURCE: usize = 8;
const INODE: usize = 68;

/// What one read can hold: the kernel sends up to 32 KiB at once.
const CHUNK: usize = 32 * 1024;

/// Whether a process holds a connection whose own end has this address; an unspecified one means each with the same port.
///
/// # Errors
/// There is no such socket, or the kernel does not answer as it should.
pub fn any_accepted(address: SocketAddr) -> Result<bool, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = retry(|| socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkSockDiag))?;
    retry(|| send(fd.as_raw_fd(), &request(address), MsgFlags::empty()))?;
    let (mut chunk, mut any) = (vec![0; CHUNK], false);
    loop {
        let length = retry(|| recv(fd.as_raw_fd(), &mut chunk, MsgFlags::empty()))?;
        let mut rest = &chunk[..length];
        if rest.len() < HEADER {
            return Err(Errno::EBADMSG);
        }
        while let Some((kind, content, behind)) = next_message(rest) {
            match kind {
                NLMSG_DONE => return Ok(any),
                NLMSG_ERROR => return Err(Errno::EOPNOTSUPP),
                SOCK_DIAG_BY_FAMILY => any |= is_accepted(content, address),
                _ => {}
            }
            rest = behind;
        }
    }
}

/// All connections of this family and port, in these states.
fn request(address: SocketAddr) -> Vec<u8> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut bytes = Vec::with_capacity(HEADER + REQUEST);
    bytes.extend(u32::to_ne_bytes((HEADER + REQUEST) as u32));
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    // The number of the request, and of the sender: one socket has one.
    bytes.extend([0; 8]);
    bytes.extend([family as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    bytes.extend(CONNECTED.to_ne_bytes());
    bytes.extend(address.port().to_be_bytes());
    bytes.resize(HEADER + REQUEST, 0);
    bytes
}

/// Kind and content of the first message, and what is behind it. None: there is no whole one.
fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let content = bytes.get(HEADER..length)?;
    let behind = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, content, behind))
}

/// A connection that waits to be accepted has no inode.
fn is_accepted(connection: &[u8], address: SocketAddr) -> bool {
    let Some(bytes) = connection.get(..CONNECTION) else { return false };
    let source = |length: usize| &bytes[SOURCE..SOURCE + length];
    let is_here = match address.ip() {
        ip if ip.is_unspecified() => true,
        IpAddr::V4(ip) => source(4) == ip.octets(),
        IpAddr::V6(ip) => source(16) == ip.octets(),
    };
    is_here && bytes[INODE..CONNECTION] != [0; 4]
}
