//! A process that is no child, held by a pidfd_open(2): its end can be polled, and a signal reaches it and no other.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::base::{Mono, Pid, Signal};
use crate::sys::unix_client::wait_readable;

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

impl ProcessWatch {
    /// Whether it has ended by now.
    ///
    /// # Errors
    /// ENOMEM: the system has no answer.
    pub fn has_ended(&self, now: Mono) -> Result<bool, Errno> {
        wait_readable(&[self.as_fd()], Some(now)).map(|ended| ended.is_some())
    }

    /// pidfd_send_signal(2): to this process and never to another that has its number by now.
    ///
    /// # Errors
    /// ESRCH: it has ended and was reaped. Else as kill(2).
    pub fn send(&self, signal: Signal) -> Result<(), Errno> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a descriptor of ours; the kernel makes the information itself.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal.number(), no_info, 0) };
        Errno::result(sent).map(drop)
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
