//! Which process is at the other end of a unix socket, as the kernel saw it at connect(2). Trusts nothing that the peer says, and
//! decides nothing about what it may do.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};

use crate::base::Pid;
use crate::sys::errno::retry;

/// NGROUPS_MAX: no user is in more groups.
const GROUPS_MAX: usize = 65_536;

/// The peer's process, user and group. For a socketpair these are its maker's, whichever process holds the other end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub pid: Pid,
    pub uid: u32,
    pub gid: u32,
}

/// SO_PEERCRED, see unix(7). The pid is in our own pid namespace, 0 when the peer has none there.
///
/// # Errors
/// It is no unix socket.
pub fn credentials(fd: BorrowedFd<'_>) -> Result<Credentials, Errno> {
    let found = retry(|| getsockopt(&fd, sockopt::PeerCredentials))?;
    Ok(Credentials { pid: Pid(found.pid()), uid: found.uid(), gid: found.gid() })
}

/// SO_PEERGROUPS: the peer's supplementary groups.
///
/// # Errors
/// It is no unix socket.
pub fn groups(fd: BorrowedFd<'_>) -> Result<Vec<u32>, Errno> {
    let mut groups: Vec<libc::gid_t> = vec![0; GROUPS_MAX];
    let mut length = libc::socklen_t::try_from(size_of_val(groups.as_slice())).unwrap_or(0);
    // SAFETY: the kernel writes at most `length` bytes into `groups`, which has as many, and says how many in `length`.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    groups.truncate(usize::try_from(length).unwrap_or(0) / size_of::<libc::gid_t>());
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::socket::socket_pair;

    #[test]
    fn a_pair_shows_its_maker() {
        let (ours, _theirs) = socket_pair().unwrap();
        let peer = credentials(ours.as_fd()).unwrap();
        assert_eq!(peer.pid.0, nix::unistd::getpid().as_raw());
        assert_eq!((peer.uid, peer.gid), (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw()));
    }

    #[test]
    fn what_is_no_socket_has_no_peer() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(credentials(file.as_fd()), Err(Errno::ENOTSOCK));
    }
}
