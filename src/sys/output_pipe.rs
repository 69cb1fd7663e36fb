//! The pipe that a process writes its standard output and standard error to. Our end never waits; the process's does, as any pipe
//! does that is full.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, fchown, pipe2};

use crate::sys::errno::retry;
use crate::sys::fd::{Blocking, set_blocking};
use crate::sys::identity::Identity;

/// Both ends; close-on-exec.
#[derive(Debug)]
pub struct OutputPipe {
    pub reader: OwnedFd,
    pub writer: OwnedFd,
}

/// What a look at a pipe finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// So many bytes, which were read.
    Bytes(usize),
    /// Nothing for the moment.
    Nothing,
    /// It is empty, and no process can write to it any more.
    End,
}

impl OutputPipe {
    /// # Errors
    /// EMFILE, ENFILE: no descriptor is to be had.
    pub fn new() -> Result<Self, Errno> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        set_blocking(reader.as_fd(), Blocking::NonBlocking)?;
        Ok(Self { reader, writer })
    }

    /// Gives it to this user, whose processes can open `/dev/stdout` and `/dev/stderr` then: their permissions are the pipe's own.
    ///
    /// # Errors
    /// EPERM: it takes CAP_CHOWN.
    pub fn give_to(&self, owner: &Identity) -> Result<(), Errno> {
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        retry(|| fchown(&self.writer, Some(uid), Some(gid)))
    }
}

/// Reads what is there, and never waits.
pub fn read_some(reader: &impl AsFd, buffer: &mut [u8]) -> Found {
    match retry(|| nix::unistd::read(reader, buffer)) {
        Ok(0) => Found::End,
        Ok(length) => Found::Bytes(length),
        // Whatever else a system may say of a pipe (ENOMEM) passes. To take it for the end would leave the process with a pipe that
        // is full and never read.
        Err(_) => Found::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::fd::AsRawFd;

    use nix::sys::stat::fstat;

    use super::*;
    use crate::sys::account;

    #[test]
    fn what_is_written_is_read_to_its_end_and_no_read_waits() {
        let OutputPipe { reader, writer } = OutputPipe::new().unwrap();
        let mut buffer = [0; 4];
        assert_eq!(read_some(&reader, &mut buffer), Found::Nothing);
        nix::unistd::write(&writer, b"hello").unwrap();
        assert_eq!(
            [(); 3].map(|()| read_some(&reader, &mut buffer)),
            [Found::Bytes(4), Found::Bytes(1), Found::Nothing]
        );
        drop(writer);
        assert_eq!(read_some(&reader, &mut buffer), Found::End);
    }

    /// As a process does that opens `/dev/stderr`.
    #[test]
    fn the_pipe_is_its_owners() {
        let (uid, gid) = match (account::own_uid(), account::own_gid()) {
            (0, _) => (65_534, 65_534),
            own => own,
        };
        let owner = Identity { uid, gid, groups: vec![] };
        let pipe = OutputPipe::new().unwrap();
        pipe.give_to(&owner).unwrap();
        let OutputPipe { writer, .. } = pipe;
        let stat = fstat(&writer).unwrap();
        assert_eq!((stat.st_uid, stat.st_gid), (owner.uid, owner.gid));
        OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", writer.as_raw_fd())).unwrap();
    }
}
