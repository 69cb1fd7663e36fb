//! Wakes a thread that polls: an eventfd(2). It carries no message, only that there is one elsewhere.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// Both ends of it; clones are the same.
pub struct Wakeup(OwnedFd);

impl Wakeup {
    /// Errors: no descriptor is to be had.
    pub fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self(OwnedFd::from(event)))
    }

    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Makes it readable. Never blocks: it is readable already when its counter is full.
    pub fn wake(&self) {
        let _full = nix::unistd::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable again.
    pub fn rest(&self) {
        let _empty = nix::unistd::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
