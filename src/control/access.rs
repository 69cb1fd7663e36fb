//! What a client may ask for on the control socket: decided by what the kernel says of the other end when it connected, before its
//! first byte is read. A worker that runs as our own user is no boundary; one of another user is.

use std::os::fd::BorrowedFd;

use crate::protocol::{Peer, Role};
use crate::sys::peer;

/// Which users the configuration lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The master's own user.
    pub(crate) own_uid: u32,
    /// These users may do everything, too.
    pub(crate) users: Vec<u32>,
    /// And so may members of these groups.
    pub(crate) groups: Vec<u32>,
    /// How many connections there may be, workers' own (`-g`) aside.
    pub(crate) connections_max: usize,
}

/// The other end of a connection.
///
/// # Errors
/// The kernel does not tell it, so that the connection must be refused.
pub(crate) fn authenticate(connection: BorrowedFd<'_>, policy: &Policy) -> Result<Peer, nix::errno::Errno> {
    let found = peer::credentials(connection)?;
    let role = role(found.uid, found.gid, || peer::groups(connection).unwrap_or_default(), policy);
    Ok(Peer { pid: found.pid, uid: found.uid, role })
}

/// `further` groups are asked for only if they matter.
fn role(uid: u32, gid: u32, further: impl FnOnce() -> Vec<u32>, policy: &Policy) -> Role {
    let known = |group: &u32| policy.groups.contains(group);
    let admin = uid == 0
        || uid == policy.own_uid
        || policy.users.contains(&uid)
        || known(&gid)
        || (!policy.groups.is_empty() && further().iter().any(known));
    if admin { Role::Admin } else { Role::Guest }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::base::Pid;
    use crate::sys::account;
    use crate::sys::socket::socket_pair;

    const POLICY: Policy = Policy { own_uid: 33, users: Vec::new(), groups: Vec::new(), connections_max: 16 };

    #[test]
    fn root_and_our_own_user_may_do_everything_and_others_little() {
        let roles = |uid| role(uid, 100, || unreachable!("groups do not matter"), &POLICY);
        assert_eq!([0, 33, 34].map(roles), [Role::Admin, Role::Admin, Role::Guest]);
    }

    #[test]
    fn a_configured_user_may_do_everything() {
        let policy = Policy { users: vec![34], ..POLICY };
        assert_eq!([34, 35].map(|uid| role(uid, 100, Vec::new, &policy)), [Role::Admin, Role::Guest]);
    }

    #[test]
    fn membership_counts_as_first_group_and_as_a_further_one() {
        let policy = Policy { groups: vec![7], ..POLICY };
        assert_eq!(role(34, 7, Vec::new, &policy), Role::Admin);
        assert_eq!(role(34, 100, || vec![1, 7], &policy), Role::Admin);
        assert_eq!(role(34, 100, || vec![1, 8], &policy), Role::Guest);
        assert_eq!(role(34, 7, || vec![7], &POLICY), Role::Guest);
    }

    #[test]
    fn the_kernel_says_who_is_at_the_other_end() {
        let (ours, _theirs) = socket_pair().unwrap();
        let (own_pid, own_uid) = (nix::unistd::getpid().as_raw(), account::own_uid());
        let peer = authenticate(ours.as_fd(), &Policy { own_uid, ..POLICY }).unwrap();
        assert_eq!(peer, Peer { pid: Pid(own_pid), uid: own_uid, role: Role::Admin });
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(authenticate(file.as_fd(), &POLICY).is_err());
    }
}
