//! What a bind says of its socket beside its address, with users and groups by number. Looks up users and groups, and changes nothing.

use serde::{Deserialize, Serialize};

use crate::base::exit_code::Problem;
use crate::config::{Bind, Config};
use crate::sys::account::{self, AccountError};
use crate::sys::birth::Birth;
use crate::sys::fd::Blocking;

/// What of a bind is in force on its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SocketOptions {
    pub(crate) nonblock: bool,
    /// Of a unix socket's file.
    pub(crate) mode: u32,
    #[serde(default)]
    pub(crate) owner: BindOwner,
}

/// Whose a unix socket's file shall be. None: the user or group that a new file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BindOwner {
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
}

impl SocketOptions {
    /// A mode that is not said is what the umask leaves.
    pub(super) fn of(bind: &Bind, owner: BindOwner, birth: &Birth) -> Self {
        let mode = match bind {
            Bind::Unix { mode, .. } => *mode,
            Bind::Tcp { .. } => None,
        };
        Self { nonblock: bind.flags().nonblock(), mode: mode.unwrap_or(0o777 & !birth.umask), owner }
    }

    pub(super) fn blocking(self) -> Blocking {
        if self.nonblock { Blocking::NonBlocking } else { Blocking::Blocking }
    }
}

/// The owner that each bind names, in their order.
///
/// # Errors
/// Each user or group that is not known, or that this process may not give a file to.
pub(super) fn owners(config: &Config) -> Result<Vec<BindOwner>, Vec<Problem>> {
    let (mut found, mut causes) = (Vec::new(), Vec::new());
    for (index, bind) in config.binds.iter().enumerate() {
        match owner(bind) {
            Ok(owner) => found.push(owner),
            Err(cause) => causes.push((index, format!("{bind}: {cause}"))),
        }
    }
    let problems = config.blame_items("bind", causes);
    if problems.is_empty() { Ok(found) } else { Err(problems.into_iter().map(Problem::of_option).collect()) }
}

fn owner(bind: &Bind) -> Result<BindOwner, String> {
    let (user, group) = match bind {
        Bind::Unix { user, group, .. } => (user.as_deref(), group.as_deref()),
        Bind::Tcp { .. } => (None, None),
    };
    let said = |error: AccountError| error.to_string();
    let owner = BindOwner {
        user: user.map(account::find_user).transpose().map_err(said)?.map(|account| account.uid),
        group: group.map(account::find_group).transpose().map_err(said)?,
    };
    if let Some(name) = user.filter(|_| owner.user.is_some_and(|uid| !account::may_give_to_user(uid))) {
        return Err(format!("the master may not give the file to user {name:?}, which takes root or CAP_CHOWN"));
    }
    if let Some(name) = group.filter(|_| owner.group.is_some_and(|gid| !account::may_give_to_group(gid))) {
        return Err(format!(
            "the master may not give the file to group {name:?}, which takes a master in that group, root or CAP_CHOWN"
        ));
    }
    Ok(owner)
}
