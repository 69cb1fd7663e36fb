//! Taking a connection from a non-blocking listener.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, accept4};

use crate::sys::errno::retry;

/// How many that were given up may be passed over in a row: should the system say nothing else, the caller has to pause.
const ABORTED_MAX: usize = 64;

/// The next connection, non-blocking; none while no client waits. One that was given up before it was taken is passed over
/// (failure mode 64).
///
/// # Errors
/// No descriptor or no memory for it, or nothing but such ones.
pub fn accept(listener: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let mut aborted = 0;
    loop {
        match retry(|| accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)) {
            // SAFETY: accept4 has just made this descriptor, and nothing else knows of it.
            Ok(fd) => return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::ECONNABORTED | Errno::EPROTO) if aborted < ABORTED_MAX => aborted += 1,
            Err(errno) => return Err(errno),
        }
    }
}
