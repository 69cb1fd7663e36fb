//! The users and groups that may connect to the control socket and speak on it, and whose the files of unix binds are, worked out from
//! names. Looks up users and groups, and changes nothing.

use serde::{Deserialize, Serialize};

use crate::base::exit_code::Problem;
use crate::config::Config;
use crate::control::access::Policy;
use crate::files::control_socket::Access;
use crate::release::socket_options::{self, BindOwner};
use crate::sys::identity::Identity;
use crate::sys::{account, limits};

/// For its members to do everything, and for workers of that group to ack.
const GROUP_MODE: u32 = 0o660;
/// All users may connect where several are let in: what a client may say depends on the user that the kernel names.
const OPEN_MODE: u32 = 0o666;

/// How many connections to the control socket there may be, at the least and at the most.
const CONNECTIONS_MIN: usize = 16;
const CONNECTIONS_MAX: usize = 256;

/// How many descriptors are not for connections: sockets, log, lock and what a launch needs.
const DESCRIPTORS_RESERVED: usize = 24;

/// The users and groups that are let in, by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccessControl {
    /// Which processes may connect.
    pub(crate) access: Access,
    /// Users that may do everything, beside root and our own user.
    pub(crate) users: Vec<u32>,
    pub(crate) groups: Vec<u32>,
    /// Whose the file of each bind shall be, in the order of the binds.
    #[serde(default)]
    pub(crate) bind_owners: Vec<BindOwner>,
}

impl AccessControl {
    /// Only root and our own user.
    pub(crate) fn closed() -> Self {
        Self { access: Access::OWN, users: Vec::new(), groups: Vec::new(), bind_owners: Vec::new() }
    }

    /// Which client may speak as what. Half of the descriptors stay for workers, and what is to be opened for them.
    pub(crate) fn policy(&self) -> Policy {
        let descriptors = usize::try_from(limits::descriptor_limit()).unwrap_or(usize::MAX);
        let connections_max = descriptors.saturating_sub(DESCRIPTORS_RESERVED) / 2;
        Policy {
            own_uid: account::own_uid(),
            users: self.users.clone(),
            groups: self.groups.clone(),
            connections_max: connections_max.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX),
        }
    }
}

/// `workers` is the identity of the workers, which have to be able to ack.
///
/// # Errors
/// Each user or group that is not known, or that no file of ours can be given to.
pub(crate) fn resolve(config: &Config, workers: Option<&Identity>) -> Result<AccessControl, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut each = |key: &str, names: &[String], find: fn(&str) -> Result<u32, String>| {
        let (mut found, mut causes) = (Vec::new(), Vec::new());
        for (index, name) in names.iter().enumerate() {
            match find(name) {
                Ok(number) => found.push(number),
                Err(cause) => causes.push((index, cause)),
            }
        }
        problems.extend(config.blame_items(key, causes).into_iter().map(Problem::of_option));
        found
    };
    let group = |name: &str| account::find_group(name).map_err(|error| error.to_string());
    let user = |name: &str| account::find_user(name).map(|user| user.uid).map_err(|error| error.to_string());
    let own_group = each("socket-group", config.socket_group.as_slice(), group).first().copied();
    let allowed = each("control.allow-groups", &config.control.allow_groups, group);
    let users = each("control.allow-users", &config.control.allow_users, user);
    let groups: Vec<u32> = own_group.into_iter().chain(allowed).collect();
    let bind_owners = socket_options::owners(config).unwrap_or_else(|found| {
        problems.extend(found);
        Vec::new()
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    let several = !users.is_empty() || !config.control.allow_groups.is_empty();
    let access = access(config.socket_mode, own_group, several, workers);
    Ok(AccessControl { access, users, groups, bind_owners })
}

/// Workers of another user come by their group, unless the socket has one already: then the configuration has to
/// give a mode, or to pass each worker its connection.
fn access(mode: Option<u32>, own_group: Option<u32>, several: bool, workers: Option<&Identity>) -> Access {
    let foreign = workers.filter(|identity| identity.uid != account::own_uid()).map(|identity| identity.gid);
    let group = own_group.or(foreign);
    let by_default = if several {
        OPEN_MODE
    } else if group.is_some() {
        GROUP_MODE
    } else {
        Access::OWN.mode
    };
    Access { mode: mode.unwrap_or(by_default), group, ..Access::OWN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_as_open_as_those_need_it_who_are_let_in() {
        let stranger = Identity { uid: account::own_uid() + 1, gid: 7, groups: vec![7] };
        let ourselves = Identity { uid: account::own_uid(), gid: 7, groups: vec![7] };
        let closed = Access::OWN;
        assert_eq!(access(None, None, false, None), closed);
        assert_eq!(access(None, None, false, Some(&ourselves)), closed);
        assert_eq!(access(None, None, false, Some(&stranger)), Access { mode: 0o660, group: Some(7), ..closed });
        assert_eq!(access(None, Some(9), false, Some(&stranger)), Access { mode: 0o660, group: Some(9), ..closed });
        assert_eq!(access(None, None, true, None), Access { mode: 0o666, ..closed });
        assert_eq!(
            access(Some(0o600), Some(9), true, Some(&stranger)),
            Access { mode: 0o600, group: Some(9), ..closed }
        );
    }
}
