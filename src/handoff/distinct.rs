//! Whether every id of a document stands for one thing. Two owners of one descriptor would close it twice, and the second
//! time it may be another's.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::handoff::{Document, Fd};

/// The descriptors of einhorn's part. Ours names the sockets once more, and is looked at by itself.
pub(in crate::handoff) fn einhorns_fds(document: &Document) -> impl Iterator<Item = (Fd, &'static str)> {
    let binds = document.state.bind_fds.iter().map(|fd| (*fd, ":state: :bind_fds"));
    let server = document.descriptors.command_server.iter();
    let sockets = document.descriptors.connections.iter().map(|connection| &connection.socket);
    binds.chain(server.chain(sockets).map(|fd| (*fd, ":persistent_descriptors")))
}

/// Each id with the key that it stands under; `what` they are.
///
/// # Errors
/// Which id stands under which two keys, as `key: what`.
pub fn distinct<T>(what: &str, ids: impl Iterator<Item = (T, &'static str)>) -> Result<(), String>
where
    T: Copy + Ord + Display,
{
    let mut owners = BTreeMap::new();
    for (id, key) in ids {
        if let Some(owner) = owners.insert(id, key) {
            return Err(format!("{key}: {what} {id} stands under {owner} already"));
        }
    }
    Ok(())
}
