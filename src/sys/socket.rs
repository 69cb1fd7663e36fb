//! TCP listeners, and what all sockets have in common. Every socket closes on exec; no name is looked up but on demand.

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage, bind,
    getsockname, getsockopt, setsockopt, socket, socketpair, sockopt,
};
use thiserror::Error;

use crate::sys::errno::{retry, words};
use crate::sys::fd::{Blocking, set_blocking};

/// SO_REUSEADDR: binds although connections of a former listener that had it, too, are still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReuseAddr {
    Yes,
    No,
}

/// Where a socket is bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LocalAddress {
    Inet(SocketAddr),
    Unix(PathBuf),
    /// An abstract or unnamed unix socket, or another family.
    Other,
}

/// Why there is no TCP listener: the step that failed, as a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("cannot {step} {address}: {}", words(*errno))]
pub struct ListenError {
    pub address: SocketAddr,
    pub step: &'static str,
    pub errno: Errno,
}

/// Opens, binds and listens. The kernel caps the backlog at net.core.somaxconn.
///
/// # Errors
/// The step that the system refuses.
pub fn listen_tcp(
    address: SocketAddr,
    reuse: ReuseAddr,
    blocking: Blocking,
    backlog: i32,
) -> Result<OwnedFd, ListenError> {
    let failed = |step| move |errno| ListenError { address, step, errno };
    let fd = open_tcp(address, reuse).map_err(failed("open a socket for"))?;
    bind_inet(&fd, address).map_err(failed("bind"))?;
    relisten(fd.as_fd(), backlog).map_err(failed("listen on"))?;
    set_blocking(fd.as_fd(), blocking).map_err(failed("open a socket for"))?;
    Ok(fd)
}

/// Whether SO_REUSEADDR would have let a bind pass that found the address in use.
pub fn could_bind_with_reuse(address: SocketAddr) -> bool {
    open_tcp(address, ReuseAddr::Yes).and_then(|fd| bind_inet(&fd, address)).is_ok()
}

/// The addresses of a host name, in the resolver's order. It may ask the network, and take its time.
///
/// # Errors
/// The resolver knows no such host, or cannot be asked.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// getsockname(2).
///
/// # Errors
/// It is no socket.
pub fn local_address(fd: BorrowedFd<'_>) -> Result<LocalAddress, Errno> {
    let found = retry(|| getsockname::<SockaddrStorage>(fd.as_raw_fd()))?;
    if let Some(v4) = found.as_sockaddr_in() {
        return Ok(LocalAddress::Inet(SocketAddrV4::from(*v4).into()));
    }
    if let Some(v6) = found.as_sockaddr_in6() {
        return Ok(LocalAddress::Inet(SocketAddrV6::from(*v6).into()));
    }
    match found.as_unix_addr().and_then(|unix| unix.path()) {
        Some(path) => Ok(LocalAddress::Unix(path.to_owned())),
        None => Ok(LocalAddress::Other),
    }
}

/// Whether the socket listens: a worker that calls shutdown(2) on it ends that for all that share it.
///
/// # Errors
/// It is no socket.
pub fn is_accepting(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    retry(|| getsockopt(&fd, sockopt::AcceptConn))
}

/// Mends what [`is_accepting`] finds. After a shutdown(2), a TCP socket that was bound to port 0 has lost its port, though
/// getsockname(2) still tells it, and would get another from listen(2). So it is bound to `address` again, its own before. A second
/// shutdown(2) marks the socket itself, and each connection that it accepts from then on, as shut down: that mark goes first.
///
/// # Errors
/// The address is in use by now, or the system has no memory.
pub fn mend(fd: BorrowedFd<'_>, address: &LocalAddress, backlog: i32) -> Result<(), Errno> {
    match address {
        LocalAddress::Inet(inet) => {
            disconnect(fd)?;
            match bind_inet(&fd, *inet) {
                // It has its port still.
                Ok(()) | Err(Errno::EINVAL) => {}
                Err(errno) => return Err(errno),
            }
        }
        LocalAddress::Unix(_) | LocalAddress::Other => {}
    }
    relisten(fd, backlog)
}

/// connect(2) to no address: the socket is as it was before it listened.
fn disconnect(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let none = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    let length = size_of_val(&none) as libc::socklen_t;
    // SAFETY: a descriptor that the caller lends, and an address of that length, which is only read.
    retry(|| Errno::result(unsafe { libc::connect(fd.as_raw_fd(), &raw const none, length) })).map(drop)
}

/// listen(2), as often as one likes: it changes the backlog of a socket that listens already.
///
/// # Errors
/// The address is in use, or it is no socket that can listen.
pub fn relisten(fd: BorrowedFd<'_>, backlog: i32) -> Result<(), Errno> {
    // SAFETY: a descriptor that the caller lends, and no memory.
    retry(|| Errno::result(unsafe { libc::listen(fd.as_raw_fd(), backlog) })).map(drop)
}

/// How long the accept queue of a TCP socket that listens may get. None: it is no such socket, or the system does not say.
pub fn queue_limit(fd: BorrowedFd<'_>) -> Option<u32> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
    let got = retry(|| {
        let room = info.as_mut_ptr().cast();
        // SAFETY: a descriptor that the caller lends, and room of that length, which outlives the call.
        Errno::result(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, room, &raw mut length) })
    });
    got.ok()?;
    // SAFETY: numbers alone, all of which were set at least to zero.
    let info = unsafe { info.assume_init() };
    // Of a socket that listens, tcp_get_info() of the kernel has it there.
    Some(info.tcpi_sacked)
}

/// Two connected stream sockets; blocking.
///
/// # Errors
/// No descriptor is to be had.
pub fn socket_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    retry(|| socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC))
}

fn open_tcp(address: SocketAddr, reuse: ReuseAddr) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd = retry(|| socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp))?;
    match reuse {
        ReuseAddr::Yes => setsockopt(&fd, sockopt::ReuseAddr, &true)?,
        ReuseAddr::No => {}
    }
    if address.is_ipv6() {
        // `[::]` leaves IPv4 to a socket on `0.0.0.0`.
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    Ok(fd)
}

fn bind_inet(fd: &impl AsRawFd, address: SocketAddr) -> Result<(), Errno> {
    match address {
        SocketAddr::V4(v4) => bind_to(fd, &SockaddrIn::from(v4)),
        SocketAddr::V6(v6) => bind_to(fd, &SockaddrIn6::from(v6)),
    }
}

/// bind(2).
///
/// # Errors
/// The address is in use, is not ours, or may not be bound.
pub fn bind_to(fd: &impl AsRawFd, address: &impl SockaddrLike) -> Result<(), Errno> {
    retry(|| bind(fd.as_raw_fd(), address))
}

/// The file that the socket was bound to (O_PATH), wherever it is: SIOCUNIXFILE of unix(7), since Linux 4.20. None: the system
/// does not have it, or does not grant it; it takes CAP_NET_ADMIN.
pub fn bound_file(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    const SIOCUNIXFILE: libc::Ioctl = 0x89e0;
    // SAFETY: a descriptor that we own, and a request that takes no argument.
    let file = retry(|| Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), SIOCUNIXFILE, 0) })).ok()?;
    // SAFETY: the call has just made this descriptor, and nothing else knows of it.
    Some(unsafe { OwnedFd::from_raw_fd(file) })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    fn listen(address: SocketAddr) -> Result<OwnedFd, ListenError> {
        listen_tcp(address, ReuseAddr::No, Blocking::Blocking, 10)
    }

    fn any_port() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    fn inet(fd: &OwnedFd) -> SocketAddr {
        match local_address(fd.as_fd()).unwrap() {
            LocalAddress::Inet(address) => address,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_listener_accepts_and_tells_its_address() {
        let fd = listen(any_port()).unwrap();
        let address = inet(&fd);
        assert!(address.ip().is_loopback() && address.port() != 0);
        assert!(is_accepting(fd.as_fd()).unwrap());
        let client = TcpStream::connect(address).unwrap();
        let (_, peer) = TcpListener::from(fd).accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[test]
    fn what_is_no_socket_does_not_accept() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(is_accepting(file.as_fd()), Err(Errno::ENOTSOCK));
        assert_eq!(is_accepting(socket_pair().unwrap().0.as_fd()), Ok(false));
    }

    #[test]
    fn a_taken_address_is_named() {
        let first = listen(any_port()).unwrap();
        let refusal = listen(inet(&first)).unwrap_err();
        assert_eq!(refusal.to_string(), format!("cannot bind {}: address already in use", inet(&first)));
    }

    #[test]
    fn both_wildcards_share_a_port() {
        let Ok(v6) = listen((Ipv6Addr::UNSPECIFIED, 0).into()) else {
            return; // A machine without IPv6.
        };
        listen((Ipv4Addr::UNSPECIFIED, inet(&v6).port()).into()).unwrap();
    }

    #[test]
    fn a_socket_that_was_shut_down_can_be_mended() {
        // With port 0 it would lose its port. No other test takes this one: they bind 127.0.0.1 only.
        let free = inet(&listen(any_port()).unwrap()).port();
        let fd = listen((Ipv4Addr::new(127, 0, 0, 77), free).into()).unwrap();
        let address = inet(&fd);
        nix::sys::socket::shutdown(fd.as_raw_fd(), nix::sys::socket::Shutdown::Both).unwrap();
        assert!(!is_accepting(fd.as_fd()).unwrap());
        relisten(fd.as_fd(), 5).unwrap();
        assert!(is_accepting(fd.as_fd()).unwrap());
        assert_eq!(inet(&fd), address);
        TcpStream::connect(address).unwrap();
    }

    #[test]
    fn a_socket_that_was_shut_down_twice_serves_once_mended() {
        let fd = listen(any_port()).unwrap();
        let address = inet(&fd);
        for _ in 0..2 {
            let _not_connected = nix::sys::socket::shutdown(fd.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        }
        mend(fd.as_fd(), &LocalAddress::Inet(address), 5).unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let (mut accepted, _) = TcpListener::from(fd).accept().unwrap();
        accepted.write_all(b"an answer").unwrap();
        drop(accepted);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "an answer");
    }

    #[test]
    fn a_listener_waits_only_if_it_shall() {
        let fd = listen_tcp(any_port(), ReuseAddr::Yes, Blocking::NonBlocking, 10).unwrap();
        assert_eq!(TcpListener::from(fd).accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_pair_has_no_address() {
        let (one, _other) = socket_pair().unwrap();
        assert_eq!(local_address(one.as_fd()), Ok(LocalAddress::Other));
        assert_eq!(is_accepting(one.as_fd()), Ok(false));
    }
}
