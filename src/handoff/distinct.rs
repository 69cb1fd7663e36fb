//! Whether every id of a document stands for one thing. Two owners of one descriptor would close it twice, and the second
//! time it may be somebody else's.

use std::collections::BTreeMap;

use crate::handoff::error::Fault;
use crate::handoff::ours::Section;
use crate::handoff::{Document, Fd, OURS};

/// einhorn's part and ours each name the sockets, so each is looked at by itself.
pub(in crate::handoff) fn check_ids(document: &Document) -> Result<(), Fault> {
    check("descriptor", einhorns_fds(document))?;
    let Some(ours) = &document.ours else { return Ok(()) };
    let check_all = || {
        check("descriptor", our_fds(ours))?;
        check("process", ours.workers.iter().map(|worker| (worker.pid.0, "workers")))?;
        check("client", ours.connections.iter().map(|connection| (connection.id.0, "connections")))?;
        check("version", ours.releases.iter().map(|release| (release.version.0, "releases")))
    };
    check_all().map_err(|fault: Fault| fault.within(format!(":{OURS}")))
}

fn einhorns_fds(document: &Document) -> impl Iterator<Item = (i32, &'static str)> {
    let binds = document.state.bind_fds.iter().map(|fd| (fd, ":state: :bind_fds"));
    let server = document.descriptors.command_server.iter();
    let sockets = document.descriptors.connections.iter().map(|connection| &connection.socket);
    let watched = server.chain(sockets).map(|fd| (fd, ":persistent_descriptors"));
    binds.chain(watched).map(|(fd, key)| (fd.0, key))
}

fn our_fds(ours: &Section) -> impl Iterator<Item = (i32, &'static str)> {
    let pipes = ours.workers.iter().filter_map(|worker| worker.exec_pipe).map(|fd| (fd, "workers"));
    let listeners = ours.listeners.iter().map(|listener| (listener.fd, "listeners"));
    let connections = ours.connections.iter().map(|connection| (connection.fd, "connections"));
    let lock = ours.lock.iter().map(|file| (file.fd, "lock"));
    let pid_file = ours.pid_file.iter().map(|file| (file.fd, "pid_file"));
    let image = ours.old_image.iter().map(|image| (image.program, "old_image"));
    let all = pipes.chain(listeners).chain(connections).chain(lock).chain(pid_file).chain(image);
    all.map(|(Fd(fd), key)| (fd, key))
}

/// Each id with the key that it stands under.
fn check<T>(what: &str, ids: impl Iterator<Item = (T, &'static str)>) -> Result<(), Fault>
where
    T: Copy + Ord + std::fmt::Display,
{
    let mut owners = BTreeMap::new();
    for (id, key) in ids {
        if let Some(owner) = owners.insert(id, key) {
            return Err(Fault::new(format!("{what} {id} stands under {owner} already")).within(key));
        }
    }
    Ok(())
}
