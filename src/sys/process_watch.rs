//! The end of a process that is no child, as something that can be polled: pidfd_open(2). Sends it nothing.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::base::Pid;

/// Readable once the process has ended, reaped or not.
pub struct ProcessWatch(OwnedFd);

impl ProcessWatch {
    /// # Errors
    /// There is no such process, or the kernel is older than 5.3, or does not allow it in this sandbox.
    pub fn of(pid: Pid) -> Result<Self, Errno> {
        // SAFETY: no memory is passed.
        let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) })?;
        let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
        // SAFETY: the kernel has just opened it for us, and it closes on exec.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

impl AsFd for ProcessWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::Signal;
    use crate::sys::clock;
    use crate::sys::testing::{LIMIT, in_own_process, reap, sleeper};
    use crate::sys::unix_client::wait_readable;

    #[test]
    fn an_end_is_seen_before_anything_has_reaped_it() {
        in_own_process(module_path!(), "an_end_is_seen_before_anything_has_reaped_it", || {
            let child = sleeper(|_| {});
            let watch = ProcessWatch::of(child).unwrap();
            let soon = clock::now().after(Duration::from_millis(20));
            assert_eq!(wait_readable(&[watch.as_fd()], Some(soon)), Ok(None));
            crate::sys::signal::send(child, Signal::KILL).unwrap();
            assert_eq!(wait_readable(&[watch.as_fd()], Some(clock::now().after(LIMIT))), Ok(Some(0)));
            reap(child);
            assert!(ProcessWatch::of(child).is_err());
        });
    }
}
