//! What the service manager gives a start by sd_listen_fds(3): the sockets that a killed master of ours has had it keep
//! (`output::fd_store`), and those that a .socket unit has opened, which are not used. Only a first image looks: a later one has the same
//! pid and the same environment, and its descriptors come with the handoff.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use crate::output::fd_store::NAME_BEGIN;
use crate::output::systemd::forget_sockets;
use crate::release::environment::Environment;
use crate::supervisor::process::own_pid;
use crate::sys::fd;

/// For whom descriptors were opened, how many, and their names; the first stands at [`FIRST`].
const LISTEN_PID: &str = "LISTEN_PID";
const LISTEN_FDS: &str = "LISTEN_FDS";
const LISTEN_FDNAMES: &str = "LISTEN_FDNAMES";
const FIRST: RawFd = 3;

/// What came.
#[derive(Default)]
pub(crate) struct Given {
    /// By their inodes. What is not taken out closes.
    pub(crate) sockets: BTreeMap<u64, OwnedFd>,
    /// How many others there are.
    pub(crate) other_count: usize,
}

/// To be called once, and before anything else is opened.
pub(crate) fn take(environ: &Environment) -> Given {
    let value = |wanted: &str| environ.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| value.to_str());
    let mut given = Given::default();
    if value(LISTEN_PID) != Some(&own_pid().to_string()) {
        return given;
    }
    let count = value(LISTEN_FDS).and_then(|count| count.parse::<u16>().ok()).unwrap_or_default();
    let mut names = value(LISTEN_FDNAMES).unwrap_or_default().split(':');
    for number in (FIRST..).take(count.into()) {
        match names.next().and_then(|name| name.strip_prefix(NAME_BEGIN)) {
            Some(_) => given.sockets.extend(socket(number)),
            None => given.other_count += 1,
        }
    }
    given
}

impl Given {
    /// Closes what was not taken out, in the manager, too: no start of ours could use it.
    pub(crate) fn give_back(self, environ: &Environment) {
        forget_sockets(environ, self.sockets.keys().copied());
    }
}

/// The name has the inode, too; what stands there is asked.
fn socket(number: RawFd) -> Option<(u64, OwnedFd)> {
    let socket = fd::adopt(number).ok()?;
    let inode = fd::inode(socket.as_fd()).ok()?;
    Some((inode, socket))
}
