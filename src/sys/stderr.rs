//! Writing to standard error, whatever it is: it may be a full pipe, or non-blocking because another process shares it. Only the
//! log thread may wait here, and the end of an image.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::unistd::dup2_stderr;

use crate::sys::errno::retry;

/// Writes what fits, waiting until something does; says how much.
///
/// # Errors
/// There is no reader any more, or no room on the disk.
pub fn write(bytes: &[u8]) -> io::Result<usize> {
    let stderr = io::stderr();
    loop {
        match retry(|| nix::unistd::write(&stderr, bytes)) {
            Ok(written) => return Ok(written),
            Err(Errno::EAGAIN) => {
                let mut room = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
                retry(|| poll(&mut room, PollTimeout::NONE))?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Whether a write of PIPE_BUF bytes, pipe(7), would not wait now: there is room, or it would fail. (Another writer to the same pipe may take the
/// room first.)
pub fn has_room() -> bool {
    has_room_within(Duration::ZERO)
}

/// The same; waits so long for it.
pub fn has_room_within(patience: Duration) -> bool {
    let stderr = io::stderr();
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    let mut room = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    retry(|| poll(&mut room, timeout)) != Ok(0)
}

/// Another descriptor of what it is.
///
/// # Errors
/// EMFILE: no descriptor is to be had.
pub fn duplicate() -> io::Result<OwnedFd> {
    io::stderr().as_fd().try_clone_to_owned()
}

/// Makes it the same as this descriptor, for children, too.
///
/// # Errors
/// EBUSY: the kernel is opening descriptor 2 at this moment.
pub fn send_to(fd: &impl AsFd) -> Result<(), Errno> {
    retry(|| dup2_stderr(fd))
}

/// Whether it is the socket of the journal that `stream` names, JOURNAL_STREAM of systemd.exec(5): `DEVICE:INODE`. It may have been
/// sent elsewhere on the way to us.
pub fn is_journal(stream: &OsStr) -> bool {
    let stat = fstat(io::stderr());
    stat.is_ok_and(|stat| stream == OsStr::new(&format!("{}:{}", stat.st_dev, stat.st_ino)))
}

#[cfg(test)]
mod tests {
    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    use super::*;
    use crate::sys::testing::in_own_process;

    #[test]
    fn a_full_pipe_has_no_room_and_one_without_a_reader_fails_at_once() {
        in_own_process(module_path!(), "a_full_pipe_has_no_room_and_one_without_a_reader_fails_at_once", || {
            let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
            let own = nix::unistd::dup(io::stderr()).unwrap();
            nix::unistd::dup2_stderr(&writer).unwrap();
            let empty = has_room();
            while nix::unistd::write(&writer, &[b'x'; 4096]).is_ok() {}
            let full = has_room();
            drop(reader);
            let broken = has_room();
            nix::unistd::dup2_stderr(&own).unwrap();
            assert_eq!((empty, full, broken), (true, false, true));
        });
    }

    #[test]
    fn the_journal_is_what_the_variable_names() {
        let stat = fstat(io::stderr()).unwrap();
        assert!(is_journal(OsStr::new(&format!("{}:{}", stat.st_dev, stat.st_ino))));
        for other in ["", "8:1", &format!("{}:{}", stat.st_dev, stat.st_ino + 1)] {
            assert!(!is_journal(OsStr::new(other)));
        }
    }
}
