//! Which of the listening sockets the service manager keeps (`FDSTORE=1` of sd_notify(3)), and which it shall keep: those that the next
//! master needs, should this one be killed. The manager gives them to that master with its start. It sends one socket a message, and
//! never waits.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};

use nix::errno::Errno;

use crate::release::listeners::Listener;
use crate::sys::notify_socket::NotifySocket;

/// How the name of a socket of ours begins; its inode follows. `supervisor::given` reads it.
pub(crate) const NAME_BEGIN: &str = "einhyrningsins-socket-";

/// What is to be said to the manager.
#[derive(Default)]
pub(crate) struct FdStore {
    /// What was wanted last. A socket that is gone makes no difference by itself: the caller says what is wanted.
    wanted: Vec<Weak<Listener>>,
    unsaid: Vec<Change>,
}

enum Change {
    Store(u64, Weak<Listener>),
    Remove(u64),
}

impl FdStore {
    /// It shall have these, and no others of ours. `stored` are the inodes of those that it has.
    pub(crate) fn want(&mut self, listeners: &[Arc<Listener>], stored: &BTreeSet<u64>) {
        let is_same = |(known, listener): (&Weak<Listener>, &Arc<Listener>)| known.as_ptr() == Arc::as_ptr(listener);
        let is_first = self.wanted.is_empty() && self.unsaid.is_empty();
        if !is_first && self.wanted.len() == listeners.len() && self.wanted.iter().zip(listeners).all(is_same) {
            return;
        }
        self.wanted = listeners.iter().map(Arc::downgrade).collect();
        let wanted: BTreeMap<u64, &Arc<Listener>> =
            listeners.iter().filter_map(|listener| Some((listener.inode()?, listener))).collect();
        let removed = stored.iter().filter(|inode| !wanted.contains_key(inode)).map(|inode| Change::Remove(*inode));
        let added = wanted.iter().filter(|(inode, _)| !stored.contains(inode));
        let added = added.map(|(inode, listener)| Change::Store(*inode, Arc::downgrade(listener)));
        self.unsaid = removed.chain(added).collect();
    }

    pub(crate) fn has_unsaid(&self) -> bool {
        !self.unsaid.is_empty()
    }

    /// Says what there is to say.
    ///
    /// # Errors
    /// As [`NotifySocket::send`]; what was not said by then is said with the next call.
    pub(crate) fn tell(&mut self, manager: &NotifySocket, stored: &mut BTreeSet<u64>) -> Result<(), Errno> {
        while let Some(change) = self.unsaid.last() {
            match change {
                Change::Remove(inode) => {
                    forget(manager, *inode)?;
                    stored.remove(inode);
                }
                Change::Store(inode, listener) => {
                    if let Some(listener) = listener.upgrade() {
                        // Without FDPOLL=0 it would drop a socket that a worker shuts down, which the master mends.
                        let message = format!("FDSTORE=1\nFDNAME={NAME_BEGIN}{inode}\nFDPOLL=0");
                        manager.send_with(&message, listener.fd.as_fd())?;
                        stored.insert(*inode);
                    }
                }
            }
            self.unsaid.pop();
        }
        Ok(())
    }
}

/// Has it close the socket with this inode.
///
/// # Errors
/// As [`NotifySocket::send`].
pub(crate) fn forget(manager: &NotifySocket, inode: u64) -> Result<(), Errno> {
    manager.send(&format!("FDSTOREREMOVE=1\nFDNAME={NAME_BEGIN}{inode}"))
}
