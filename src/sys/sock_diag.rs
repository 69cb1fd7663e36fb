//! The open TCP connections of this machine, as sock_diag(7) tells them. Where many connections end in a minute, /proc/net/tcp is too
//! long to be read often: it lists those that are over, too.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use crate::sys::errno::retry;

/// From linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h.
const HEADER_BYTES: usize = 16;
const DONE: u16 = 3;
const BY_FAMILY: u16 = 20;
const REQUEST_DUMP: u16 = 0x301;
/// Established ones, and those that the far end has closed: a bit for each state of tcp(7).
const OPEN: u32 = 1 << 1 | 1 << 8;

/// What the kernel recommends for its messages, and more.
const BUFFER_BYTES: usize = 64 * 1024;

/// One of them.
pub(super) struct Connection<'a> {
    /// 0 if no process has accepted it.
    pub(super) inode: u64,
    /// Both of its ends.
    pub(super) ends: &'a [u8],
}

/// Calls `take` for each that has this address at its own end; an address that stands for all is any with this port.
///
/// # Errors
/// The system has no such socket for us, or answers otherwise than it should.
pub(super) fn each_open_tcp(address: SocketAddr, mut take: impl FnMut(&Connection<'_>)) -> Result<(), Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let diag = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
    retry(|| send(diag.as_raw_fd(), &request(address), MsgFlags::empty()))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    while take_message(&diag, &mut buffer, address, &mut take)? {}
    Ok(())
}

/// Returns whether there are more.
fn take_message(
    diag: &OwnedFd,
    buffer: &mut [u8],
    address: SocketAddr,
    take: &mut impl FnMut(&Connection<'_>),
) -> Result<bool, Errno> {
    // The kernel has its answer ready.
    let length = retry(|| recv(diag.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT))?;
    let mut rest = buffer.get(..length).ok_or(Errno::EBADMSG)?;
    while !rest.is_empty() {
        let length = u32_at(rest, 0).ok_or(Errno::EBADMSG)? as usize;
        let body = rest.get(HEADER_BYTES..length).ok_or(Errno::EBADMSG)?;
        match u16::from_ne_bytes([rest[4], rest[5]]) {
            BY_FAMILY => connection(body, address).iter().for_each(&mut *take),
            DONE => return Ok(false),
            _ => return Err(Errno::EBADMSG),
        }
        // Messages begin at multiples of four.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(address: SocketAddr) -> Vec<u8> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let mut body = vec![family as u8, libc::IPPROTO_TCP as u8, 0, 0];
    body.extend(OPEN.to_ne_bytes());
    body.extend(address.port().to_be_bytes());
    // Any far end, any address, any interface, any cookie.
    body.extend([0; 2 + 16 + 16 + 4]);
    body.extend([0xff; 8]);
    let length = (HEADER_BYTES + body.len()) as u32;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    // Number and sender.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// From `struct inet_diag_msg`; none if it is at another address.
fn connection(body: &[u8], address: SocketAddr) -> Option<Connection<'_>> {
    let port = body.get(4..6)?;
    let wanted = match address.ip() {
        ip if ip.is_unspecified() => Vec::new(),
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let is_ours = port == address.port().to_be_bytes() && body.get(8..24)?.starts_with(&wanted);
    // Its own address stands between port and address of the far end.
    let (inode, ends) = (u32_at(body, 68)?.into(), body.get(6..40)?);
    is_ours.then_some(Connection { inode, ends })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
