//! Who may speak on the control socket, and as what: judged by what the kernel says of the other end when it connected,
//! before its first byte is read. A worker that runs as our own user is no boundary; one of another user is.

use std::os::fd::BorrowedFd;

use crate::pool::Pid;
use crate::sys::peer;

/// Whom the configuration lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The master's own user.
    pub own_uid: u32,
    /// Members of these groups may do everything, too.
    pub groups: Vec<u32>,
    /// How many connections there may be, workers' own (`-g`) aside.
    pub connections_max: usize,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who connected; 0 if it is in a pid namespace that we cannot see into.
    pub pid: Pid,
    pub uid: u32,
    pub role: Role,
}

/// What it may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything: root, our own user, members of the configured groups.
    Admin,
    /// Acks and pings for itself, if it is a worker.
    Guest,
    /// The same, and it is this worker: the connection was made for it (`-g`).
    Worker(Pid),
}

/// Who is at the other end.
///
/// Errors: the kernel does not say, so nobody is let in.
pub(in crate::threads) fn judge(connection: BorrowedFd<'_>, policy: &Policy) -> Result<Peer, nix::errno::Errno> {
    let found = peer::credentials(connection)?;
    let (pid, uid) = (found.pid, found.uid);
    let in_group = |groups: &[u32]| groups.iter().any(|group| policy.groups.contains(group));
    let admin = uid == 0
        || uid == policy.own_uid
        || in_group(&[found.gid])
        || (!policy.groups.is_empty() && peer::groups(connection).is_ok_and(|groups| in_group(&groups)));
    Ok(Peer { pid, uid, role: if admin { Role::Admin } else { Role::Guest } })
}

/// The end of a connection that the master made for a worker.
pub(in crate::threads) fn made_for(worker: Pid) -> Peer {
    Peer { pid: worker, uid: 0, role: Role::Worker(worker) }
}
