//! The socket on which a service manager hears its service, see sd_notify(3): one datagram a message, to a path or to an abstract
//! name, with a descriptor beside it where the manager shall keep one. It never waits for room in the other side's queue, and knows nothing of what the messages mean.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, sendto, socket,
};
use thiserror::Error;

use crate::sys::errno::{retry, words};

const FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

/// Our end. It belongs to no connection, so that it does not matter whether the other side is there yet, or again.
#[derive(Debug)]
pub struct NotifySocket {
    /// Made with the first message: a system that has no descriptor to give now may have one later.
    fd: OnceCell<OwnedFd>,
    address: UnixAddr,
}

/// What NOTIFY_SOCKET says cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotifySocketError {
    /// Neither an absolute path nor a name behind `@`.
    #[error("NOTIFY_SOCKET is {0:?}, need an absolute path or a name behind @")]
    Name(String),
    #[error("cannot use NOTIFY_SOCKET: {}", words(*.0))]
    System(Errno),
}

impl NotifySocket {
    /// `name` as NOTIFY_SOCKET has it: `/run/systemd/notify`, or `@name` for an abstract one.
    ///
    /// # Errors
    /// It is no such name.
    pub fn open(name: &OsStr) -> Result<Self, NotifySocketError> {
        let address = match name.as_bytes() {
            [b'/', _, ..] => UnixAddr::new(name),
            [b'@', name @ ..] if !name.is_empty() => UnixAddr::new_abstract(name),
            _ => return Err(NotifySocketError::Name(name.to_string_lossy().into_owned())),
        };
        Ok(Self { fd: OnceCell::new(), address: address.map_err(NotifySocketError::System)? })
    }

    /// # Errors
    /// EAGAIN when the other side has not read enough of what was sent before; ENOENT and ECONNREFUSED when there is no other
    /// side; EMFILE and others when there is no socket to be had.
    pub fn send(&self, message: &str) -> Result<(), Errno> {
        let fd = self.fd()?.as_raw_fd();
        retry(|| sendto(fd, message.as_bytes(), &self.address, FLAGS)).map(drop)
    }

    /// The same with a copy of a descriptor, which belongs to the other side from then on.
    ///
    /// # Errors
    /// As [`Self::send`], and ETOOMANYREFS when too many descriptors are on their way.
    pub fn send_with(&self, message: &str, passed: BorrowedFd<'_>) -> Result<(), Errno> {
        let fd = self.fd()?.as_raw_fd();
        let (text, passed) = ([IoSlice::new(message.as_bytes())], [passed.as_raw_fd()]);
        let passed = [ControlMessage::ScmRights(&passed)];
        retry(|| sendmsg(fd, &text, &passed, FLAGS, Some(&self.address))).map(drop)
    }

    fn fd(&self) -> Result<&OwnedFd, Errno> {
        if let Some(fd) = self.fd.get() {
            return Ok(fd);
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = retry(|| socket(AddressFamily::Unix, SockType::Datagram, flags, None))?;
        Ok(self.fd.get_or_init(|| fd))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, FromRawFd};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use nix::sys::socket::{ControlMessageOwned, recvmsg};

    use super::*;

    fn read(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_message_comes_to_a_path_and_to_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        NotifySocket::open(path.as_os_str()).unwrap().send("READY=1").unwrap();
        assert_eq!(read(&manager), "READY=1");

        let name = format!("einhyrningsins-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        NotifySocket::open(OsStr::new(&format!("@{name}"))).unwrap().send("STATUS=x").unwrap();
        assert_eq!(read(&manager), "STATUS=x");
    }

    #[test]
    fn a_descriptor_comes_with_its_message() {
        let dir = tempfile::tempdir().unwrap();
        let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let socket = NotifySocket::open(dir.path().join("notify").as_os_str()).unwrap();
        socket.send_with("FDSTORE=1", writer.as_fd()).unwrap();
        drop(writer);
        let mut space = nix::cmsg_space!(std::os::fd::RawFd);
        let mut text = [0; 100];
        let mut parts = [std::io::IoSliceMut::new(&mut text)];
        let message = recvmsg::<()>(manager.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).unwrap();
        let passed = message.cmsgs().unwrap().find_map(|control| match control {
            ControlMessageOwned::ScmRights(passed) => passed.first().copied(),
            _ => None,
        });
        assert_eq!(message.bytes, "FDSTORE=1".len());
        // SAFETY: it came with this message, and nothing else knows its number.
        let passed = unsafe { OwnedFd::from_raw_fd(passed.unwrap()) };
        nix::unistd::write(&passed, b"x").unwrap();
        assert_eq!(nix::unistd::read(&reader, &mut [0; 2]), Ok(1));
    }

    #[test]
    fn a_manager_that_does_not_read_or_is_gone_blocks_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = NotifySocket::open(path.as_os_str()).unwrap();
        assert_eq!(socket.send("READY=1"), Err(Errno::ENOENT));
        let manager = UnixDatagram::bind(&path).unwrap();
        let full = (0..100_000).find_map(|_| socket.send("STATUS=x").err());
        assert_eq!(full, Some(Errno::EAGAIN));
        while read(&manager) != "READY=1" {
            // One place is free now.
            let _still_full = socket.send("READY=1");
        }
        drop(manager);
        assert_eq!(socket.send("READY=1"), Err(Errno::ECONNREFUSED));
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        for name in ["", "/", "@", "notify", "vsock:2:1234"] {
            let error = NotifySocket::open(OsStr::new(name)).unwrap_err();
            assert_eq!(error, NotifySocketError::Name(name.to_owned()));
        }
        let long = format!("/{}", "x".repeat(200));
        assert!(NotifySocket::open(OsStr::new(&long)).unwrap_err().to_string().contains("too long"));
    }
}
