//! Passes a descriptor to another process over a stream socket, with a record of a fixed size beside it: unix(7), SCM_RIGHTS. Neither
//! side ever waits here. What the record means is for its users.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::sys::errno::retry;

/// Short enough never to be sent in part.
pub const RECORD_BYTES: usize = 16;

pub type Record = [u8; RECORD_BYTES];

/// What came.
#[derive(Debug)]
pub enum Received {
    Passed(Record, OwnedFd),
    /// Nothing for the moment.
    Nothing,
    /// A record without its descriptor: there was no room for another one here.
    Lost,
    /// Nothing, by an error that passes.
    Failed,
    /// The other side is gone.
    End,
}

/// # Errors
/// EAGAIN: there is no room for the moment; ETOOMANYREFS: too many descriptors are on their way; EPIPE: the other side is gone.
pub fn pass(socket: BorrowedFd<'_>, record: &Record, passed: BorrowedFd<'_>) -> Result<(), Errno> {
    let fds = [passed.as_raw_fd()];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let send =
        || sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(record)], &[ControlMessage::ScmRights(&fds)], flags, None);
    match retry(send)? {
        RECORD_BYTES => Ok(()),
        _ => Err(Errno::EPIPE),
    }
}

/// Takes one record.
pub fn receive(socket: BorrowedFd<'_>) -> Received {
    let mut record = [0; RECORD_BYTES];
    match retry(|| receive_once(socket, &mut record)) {
        Err(Errno::EAGAIN) => Received::Nothing,
        Ok((RECORD_BYTES, Some(passed))) => {
            // SAFETY: the kernel has just made this descriptor, and nothing else knows its number.
            Received::Passed(record, unsafe { OwnedFd::from_raw_fd(passed) })
        }
        Ok((0, _)) | Err(Errno::ECONNRESET) => Received::End,
        Err(_) => Received::Failed,
        Ok(_) => Received::Lost,
    }
}

fn receive_once(socket: BorrowedFd<'_>, record: &mut Record) -> Result<(usize, Option<RawFd>), Errno> {
    let mut room = nix::cmsg_space!(RawFd);
    let mut parts = [IoSliceMut::new(record)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut room), flags)?;
    let passed = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    Ok((message.bytes, passed))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::fd::closes_on_exec;
    use crate::sys::socket::socket_pair;

    #[test]
    fn a_descriptor_comes_with_its_record_and_the_end_is_seen() {
        let (ours, theirs) = socket_pair().unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        assert!(matches!(receive(theirs.as_fd()), Received::Nothing));
        for record in [[1; RECORD_BYTES], [2; RECORD_BYTES]] {
            pass(ours.as_fd(), &record, reader.as_fd()).unwrap();
        }
        drop(reader);
        nix::unistd::write(&writer, b"x").unwrap();
        drop(ours);
        for expected in [[1; RECORD_BYTES], [2; RECORD_BYTES]] {
            let Received::Passed(record, passed) = receive(theirs.as_fd()) else { panic!("nothing came") };
            assert_eq!((record, closes_on_exec(passed.as_fd())), (expected, Ok(true)));
            let mut byte = [0];
            let read = if expected == [1; RECORD_BYTES] { nix::unistd::read(&passed, &mut byte) } else { Ok(0) };
            assert!(read.is_ok());
        }
        assert!(matches!(receive(theirs.as_fd()), Received::End));
    }

    #[test]
    fn a_receiver_that_does_not_read_or_is_gone_keeps_no_sender_waiting() {
        let (ours, theirs) = socket_pair().unwrap();
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        let send = || pass(ours.as_fd(), &[0; RECORD_BYTES], reader.as_fd());
        let full = (0..100_000).find_map(|_| send().err());
        assert!(matches!(full, Some(Errno::EAGAIN | Errno::ETOOMANYREFS)), "{full:?}");
        drop(theirs);
        assert_eq!(send(), Err(Errno::EPIPE));
    }

    #[test]
    fn a_record_without_its_descriptor_is_passed_over() {
        let (ours, theirs) = socket_pair().unwrap();
        nix::unistd::write(&ours, &[0; RECORD_BYTES]).unwrap();
        assert!(matches!(receive(theirs.as_fd()), Received::Lost));
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        pass(ours.as_fd(), &[7; RECORD_BYTES], reader.as_fd()).unwrap();
        assert!(matches!(receive(theirs.as_fd()), Received::Passed([7, ..], _)));
    }
}
