//! A service manager as far as sd_notify(3) goes: hears what a master says, in its order, and from which process each message came. It keeps
//! the descriptors that it is given, and starts the next master with them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind,
    recvmsg, sendmsg, setsockopt, socket, sockopt,
};

use crate::support::master::Master;
use crate::support::setup::Setup;
use crate::support::wait::{LIMIT, holds_within};

/// What a message must be shorter than.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Takes descriptors from a unix socket, and becomes the program behind that with them, as sd_listen_fds(3) has it.
const TAKE_AND_EXEC: &str = r#"
import fcntl, os, socket, sys
giver = socket.socket(socket.AF_UNIX)
giver.connect(sys.argv[1])
_, taken, _, _ = socket.recv_fds(giver, 1, 64)
giver.close()
high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in taken]
for fd in taken:
    os.close(fd)
for place, fd in enumerate(high, 3):
    os.dup2(fd, place)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// Messages are lines here, one for each variable.
pub struct Manager {
    fd: OwnedFd,
    name: OsString,
    heard: Vec<String>,
    senders: Vec<i32>,
    /// By their names.
    stored: BTreeMap<String, Vec<Kept>>,
}

/// A descriptor that came with a message.
struct Kept(RawFd);

impl Drop for Kept {
    fn drop(&mut self) {
        let _it_is_ours = nix::unistd::close(self.0);
    }
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
        Self { fd, name, heard: Vec::new(), senders: Vec::new(), stored: BTreeMap::new() }
    }

    /// For NOTIFY_SOCKET.
    pub fn name(&self) -> &str {
        self.name.to_str().unwrap()
    }

    /// How many descriptors it keeps now.
    pub fn stored_count(&mut self) -> usize {
        self.heard();
        self.stored.values().map(Vec::len).sum()
    }

    /// Starts a master with what it keeps, the last first: a manager does not keep their order.
    #[track_caller]
    pub fn start(&mut self, setup: Setup) -> Master {
        self.heard();
        let path = setup.directory().join("giver");
        let _former = std::fs::remove_file(&path);
        let giver = UnixListener::bind(&path).unwrap();
        let kept = || self.stored.iter().rev().flat_map(|(name, fds)| fds.iter().map(move |fd| (name.as_str(), fd)));
        let names: Vec<&str> = kept().map(|(name, _)| name).collect();
        let fds: Vec<RawFd> = kept().map(|(_, fd)| fd.0).collect();
        let setup = setup.env("NOTIFY_SOCKET", self.name()).env("LISTEN_FDS", &fds.len().to_string());
        let setup = setup.env("LISTEN_FDNAMES", &names.join(":"));
        let master = setup.through(&["python3", "-c", TAKE_AND_EXEC, path.to_str().unwrap()]).start();
        let (taker, _) = giver.accept().unwrap();
        let passed = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(taker.as_raw_fd(), &[IoSlice::new(b"x")], &passed, MsgFlags::empty(), None).unwrap();
        master
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
        let mut space = nix::cmsg_space!(UnixCredentials, RawFd);
        let message = recvmsg::<()>(self.fd.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC);
        let message = match message {
            Ok(message) => message,
            Err(Errno::EAGAIN) => return false,
            Err(errno) => panic!("cannot hear: {errno}"),
        };
        let (length, mut given) = (message.bytes, Vec::new());
        for control in message.cmsgs().unwrap() {
            match control {
                ControlMessageOwned::ScmCredentials(credentials) => self.senders.push(credentials.pid()),
                ControlMessageOwned::ScmRights(fds) => given.extend(fds.into_iter().map(Kept)),
                other => panic!("what is {other:?}?"),
            }
        }
        let message = String::from_utf8(bytes[..length].to_vec()).unwrap();
        let lines = lines_of(&message).unwrap_or_else(|| panic!("systemd would drop this message: {message:?}"));
        self.store(&lines, given);
        self.heard.extend(lines);
        true
    }

    fn store(&mut self, lines: &[String], given: Vec<Kept>) {
        let is_said = |line: &str| lines.iter().any(|said| said == line);
        let name = lines.iter().find_map(|line| line.strip_prefix("FDNAME="));
        assert_eq!(is_said("FDSTORE=1"), !given.is_empty(), "{lines:?}");
        match name {
            Some(name) if is_said("FDSTORE=1") => self.stored.entry(name.to_owned()).or_default().extend(given),
            Some(name) if is_said("FDSTOREREMOVE=1") => drop(self.stored.remove(name)),
            _ => assert!(given.is_empty(), "{lines:?}"),
        }
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
