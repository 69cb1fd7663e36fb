//! Messages with descriptors, between this process and a child: a pair of unix sockets that keep the bounds of what is sent
//! (SOCK_SEQPACKET). The sender never waits, nor does the receiver. What a message means is for its users.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair};

use crate::sys::errno::retry;

/// The longest message that is read; what is longer is cut.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    Message(Vec<u8>),
    /// Nothing for the moment.
    Nothing,
    /// The other side is gone.
    End,
}

/// Both close on exec.
///
/// # Errors
/// EMFILE, ENFILE.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    retry(|| socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC))
}

/// # Errors
/// EAGAIN: there is no room for the moment; EMSGSIZE: it is too long; ETOOMANYREFS; EPIPE: the other side is gone.
pub fn send(socket: BorrowedFd<'_>, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let rights = if numbers.is_empty() { [].as_slice() } else { rights.as_slice() };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    retry(|| sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(message)], rights, flags, None)).map(drop)
}

/// Takes one message. Descriptors that come with it are not taken.
pub fn receive(socket: BorrowedFd<'_>) -> Received {
    let mut message = vec![0; MESSAGE_BYTES_MAX];
    let mut receive_once = || {
        let mut parts = [IoSliceMut::new(&mut message)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, None, flags).map(|received| received.bytes)
    };
    match retry(&mut receive_once) {
        Err(Errno::EAGAIN) => Received::Nothing,
        Ok(0) | Err(_) => Received::End,
        Ok(length) => {
            message.truncate(length);
            Received::Message(message)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn messages_come_whole_and_the_end_is_seen() {
        let (ours, theirs) = pair().unwrap();
        assert_eq!(receive(ours.as_fd()), Received::Nothing);
        for message in [b"one".as_slice(), b"two"] {
            send(theirs.as_fd(), message, &[theirs.as_fd()]).unwrap();
        }
        assert_eq!(receive(ours.as_fd()), Received::Message(b"one".to_vec()));
        assert_eq!(receive(ours.as_fd()), Received::Message(b"two".to_vec()));
        drop(theirs);
        assert_eq!(receive(ours.as_fd()), Received::End);
        assert_eq!(send(ours.as_fd(), b"three", &[]), Err(Errno::EPIPE));
    }

    #[test]
    fn a_receiver_that_does_not_read_keeps_no_sender_waiting() {
        let (ours, theirs) = pair().unwrap();
        let full = (0..100_000).find_map(|_| send(ours.as_fd(), b"message", &[]).err());
        assert_eq!(full, Some(Errno::EAGAIN));
        drop(theirs);
    }
}
