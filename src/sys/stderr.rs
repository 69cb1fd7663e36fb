//! Writing to standard error, whatever it is: it may be a full pipe, or non-blocking because somebody shares it. Only the
//! log thread may wait here.

use std::io;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::errno::retry;

/// Writes what fits, waiting until something does; says how much.
///
/// Errors: there is nobody to read it any more, or no room on the disk.
pub fn write(bytes: &[u8]) -> io::Result<usize> {
    let stderr = io::stderr();
    loop {
        match retry(|| nix::unistd::write(&stderr, bytes)) {
            Ok(written) => return Ok(written),
            Err(Errno::EAGAIN) => {
                let mut room = [PollFd::new(std::os::fd::AsFd::as_fd(&stderr), PollFlags::POLLOUT)];
                retry(|| poll(&mut room, PollTimeout::NONE))?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}
