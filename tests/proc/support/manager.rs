//! A service manager as far as sd_notify(3) goes: hears what a master says, in its order, and from which process each message came.

use std::ffi::OsString;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, recvmsg,
    setsockopt, socket, sockopt,
};

use crate::support::master::Master;
use crate::support::wait::{LIMIT, holds_within};

/// What a message must be shorter than.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Messages are lines here, one for each variable.
pub struct Manager {
    fd: OwnedFd,
    name: OsString,
    heard: Vec<String>,
    senders: Vec<i32>,
}

impl Manager {
    pub fn at(path: &Path) -> Self {
        Self::bound_to(&UnixAddr::new(path).unwrap(), path.into())
    }

    pub fn abstract_named(name: &str) -> Self {
        Self::bound_to(&UnixAddr::new_abstract(name.as_bytes()).unwrap(), format!("@{name}").into())
    }

    fn bound_to(address: &UnixAddr, name: OsString) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Datagram, flags, None).unwrap();
        setsockopt(&fd, sockopt::PassCred, &true).unwrap();
        bind(fd.as_raw_fd(), address).unwrap();
        Self { fd, name, heard: Vec::new(), senders: Vec::new() }
    }

    /// For NOTIFY_SOCKET.
    pub fn name(&self) -> &str {
        self.name.to_str().unwrap()
    }

    /// Everything that was said until now.
    pub fn heard(&mut self) -> &[String] {
        while self.hear_one() {}
        &self.heard
    }

    /// What was said of this variable, without its name.
    pub fn values(&mut self, variable: &str) -> Vec<String> {
        let begin = format!("{variable}=");
        self.heard().iter().filter_map(|line| line.strip_prefix(&begin)).map(str::to_owned).collect()
    }

    pub fn count(&mut self, line: &str) -> usize {
        self.heard().iter().filter(|heard| *heard == line).count()
    }

    /// Waits until `count` lines are this one.
    #[track_caller]
    pub fn wait_for(&mut self, line: &str, count: usize, master: &Master) {
        let came = holds_within(LIMIT, || self.count(line) >= count);
        assert!(came, "waited for {count} times {line}; heard {:?}; the log:\n{}", self.heard, master.log());
    }

    /// Whether every message came from this process.
    pub fn is_told_by_alone(&self, pid: i32) -> bool {
        self.senders.iter().all(|sender| *sender == pid)
    }

    /// The states alone: what is said of the beginning, the end and the exchanges.
    pub fn states(&mut self) -> Vec<String> {
        let states = ["READY=1", "RELOADING=1", "STOPPING=1"];
        self.heard().iter().filter(|line| states.contains(&line.as_str())).cloned().collect()
    }

    fn hear_one(&mut self) -> bool {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let mut space = nix::cmsg_space!(UnixCredentials);
        let message = recvmsg::<()>(self.fd.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty());
        let (length, sender) = match message {
            Ok(message) => {
                let sender = message.cmsgs().unwrap().find_map(|control| match control {
                    ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.pid()),
                    _ => None,
                });
                (message.bytes, sender)
            }
            Err(Errno::EAGAIN) => return false,
            Err(errno) => panic!("cannot hear: {errno}"),
        };
        let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
        self.heard.extend(lines_of(&message).unwrap_or_else(|| panic!("systemd would drop this message: {message:?}")));
        self.senders.extend(sender);
        true
    }
}

/// The lines of a message as systemd has them: a backslash goes, and takes the meaning of what stands behind it. None: it drops a message
/// that ends with one, or is of 4 KiB.
fn lines_of(message: &str) -> Option<Vec<String>> {
    let (mut lines, mut chars) = (vec![String::new()], message.chars());
    while let Some(char) = chars.next() {
        match char {
            '\n' => lines.push(String::new()),
            '\\' => lines.last_mut()?.push(chars.next()?),
            _ => lines.last_mut()?.push(char),
        }
    }
    (message.len() < MESSAGE_BYTES_MAX).then_some(lines)
}
