//! The processes that try what the tables speak of, each of a user in one column.

use crate::access::stage::Side;
use crate::support::{OTHER_UID, Stranger};

/// The user of an ordinary master and of its workers.
pub(crate) const MASTER_UID: u32 = 64_998;
/// The user of the workers of root's master, and his group.
pub(in crate::access) const WORKER_UID: u32 = 64_999;
pub(in crate::access) const WORKER_GID: u32 = 64_999;
/// The group of the control socket.
pub(crate) const SOCKET_GROUP: u32 = 65_500;
/// The user in `control.allow-users`, and the group in `control.allow-groups`.
pub(in crate::access) const ALLOWED_UID: u32 = 64_997;
pub(in crate::access) const ALLOWED_GROUP: u32 = 65_502;
/// A group that no setting names.
const NO_GROUP: u32 = 65_534;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::access) enum Column {
    Root,
    Master,
    Worker,
    Group,
    Allowed,
    Other,
}

impl Column {
    pub(in crate::access) const ALL: [Self; 6] =
        [Self::Root, Self::Master, Self::Worker, Self::Group, Self::Allowed, Self::Other];

    pub(in crate::access) fn heading(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Master => "master's user",
            Self::Worker => "worker's user",
            Self::Group => "socket group",
            Self::Allowed => "allowed",
            Self::Other => "other",
        }
    }
}

/// A user with his groups, and the column that he stands in.
#[derive(Debug)]
pub(in crate::access) struct Actor {
    pub(in crate::access) column: Column,
    uid: u32,
    gid: u32,
    further: Vec<u32>,
}

impl Actor {
    /// All users that the tables name, for this master. A master of root's has no user beside root, and an ordinary one has
    /// workers of its own user.
    pub(in crate::access) fn all_of(side: Side) -> Vec<Self> {
        let actor = |column, uid, gid, further: &[u32]| Self { column, uid, gid, further: further.to_vec() };
        let own = match side {
            Side::Root => actor(Column::Worker, WORKER_UID, WORKER_GID, &[]),
            Side::Ordinary => actor(Column::Master, MASTER_UID, MASTER_UID, &[]),
        };
        vec![
            own,
            actor(Column::Root, 0, 0, &[]),
            actor(Column::Group, OTHER_UID, NO_GROUP, &[SOCKET_GROUP]),
            actor(Column::Allowed, ALLOWED_UID, NO_GROUP, &[]),
            actor(Column::Allowed, OTHER_UID, NO_GROUP, &[ALLOWED_GROUP]),
            actor(Column::Other, OTHER_UID, NO_GROUP, &[]),
        ]
    }

    /// A process of that user, to be started.
    pub(in crate::access) fn process(&self) -> Stranger {
        Stranger::of(self.uid, self.gid, &self.further)
    }
}
