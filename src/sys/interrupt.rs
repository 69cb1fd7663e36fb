//! Ctrl-C as something that can be polled, for a program that waits and wants to say a last word. The master has no use for
//! it: its signal thread hears SIGINT.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::SIGINT;
use signal_hook::low_level::pipe;

/// Readable once a SIGINT has come. From the making of the first one on, SIGINT no longer ends the process.
pub struct Interrupts(UnixStream);

impl Interrupts {
    /// # Errors
    /// No descriptors are to be had.
    pub fn listen() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        pipe::register(SIGINT, writer)?;
        Ok(Self(reader))
    }

    #[cfg(any(test, fuzzing))]
    pub fn from_socket(socket: UnixStream) -> Self {
        Self(socket)
    }
}

impl AsFd for Interrupts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
