//! What can be saved where the handoff cannot be read and there is no image to go back to: the sockets that came over the exec, and
//! the children. The options of the master before are lost; its service is not. It is put into words as a document of einhorn's
//! would have it, and goes the way of those.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::RawFd;
use std::path::PathBuf;

use crate::base::{Pid, WorkerIndex};
use crate::config::Config;
use crate::handoff::einhorn::{Bind, Child, Children, Config as EinhornConfig, Descriptors, State};
use crate::handoff::{Document, Fd};
use crate::sys::fd::look_at;
use crate::sys::procfs;
use crate::sys::socket::{LocalAddress, is_accepting, local_address};
use crate::sys::wait;

/// A document of what there is. None: this process was no master.
pub(crate) fn document(config: &Config, inherited: &[RawFd]) -> Option<Document> {
    let listening: Vec<(Fd, LocalAddress)> = inherited.iter().filter_map(|number| listening(*number)).collect();
    let children = children();
    let (server, socket_path) = control_socket(&listening, &children)?;
    let others = listening.iter().filter(|(fd, _)| *fd != server);
    let sockets: Vec<(Fd, Bind)> = others.filter_map(|(fd, address)| Some((*fd, bind(address)?))).collect();
    let descriptors = Descriptors { command_server: Some(server), ..Descriptors::default() };
    Some(Document { state: state(config, workers(&children), sockets, socket_path), descriptors, ours: None })
}

/// The one that the workers know; where none of them says, the first of the kind.
fn control_socket(listening: &[(Fd, LocalAddress)], children: &[Pid]) -> Option<(Fd, PathBuf)> {
    let known = children.iter().find_map(|pid| procfs::variable(*pid, "EINHORN_SOCK_PATH")).map(PathBuf::from);
    let paths = listening.iter().filter_map(|(fd, address)| match address {
        LocalAddress::Unix(path) => Some((*fd, path.clone())),
        LocalAddress::Inet(_) | LocalAddress::Other => None,
    });
    let paths: Vec<(Fd, PathBuf)> = paths.collect();
    let of_workers = paths.iter().find(|(_, path)| Some(path) == known.as_ref());
    of_workers.or(paths.first()).cloned()
}

/// Those that were born as workers, and not as a process of one.
fn children() -> Vec<Pid> {
    let mut children = procfs::living_children().unwrap_or_default();
    children.retain(|pid| wait::process_group(*pid) == Some(*pid));
    children
}

/// A socket that listens, and where.
fn listening(number: RawFd) -> Option<(Fd, LocalAddress)> {
    let listens = look_at(number, is_accepting).ok()?.ok()?;
    listens.then_some(())?;
    Some((Fd(number), look_at(number, local_address).ok()?.ok()?))
}

fn bind(address: &LocalAddress) -> Option<Bind> {
    match address {
        LocalAddress::Inet(address) => {
            let host = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
            Some(Bind { host: host.into(), port: address.port(), flags: vec!["r".to_owned()] })
        }
        LocalAddress::Unix(path) => {
            let host = [OsStr::new("unix:"), path.as_os_str()].into_iter().collect();
            Some(Bind { host, port: 0, flags: Vec::new() })
        }
        LocalAddress::Other => None,
    }
}

/// Each serves, as far as can be told.
fn workers(children: &[Pid]) -> Vec<(Pid, Child)> {
    let indexed = children.iter().filter_map(|pid| {
        let index = procfs::variable(*pid, "EINHORN_CHILD_INDEX")?.parse().ok()?;
        Some((*pid, WorkerIndex(index)))
    });
    let child = |index| Child { acked: true, index: Some(index), ..Child::default() };
    indexed.map(|(pid, index)| (pid, child(index))).collect()
}

fn state(config: &Config, workers: Vec<(Pid, Child)>, sockets: Vec<(Fd, Bind)>, socket_path: PathBuf) -> State {
    let number = u32::try_from(workers.len()).unwrap_or(1).max(1);
    let (bind_fds, bind): (Vec<Fd>, Vec<Bind>) = sockets.into_iter().unzip();
    let besides = |suffix: &str| {
        let path = socket_path.with_extension(suffix);
        fs::exists(&path).is_ok_and(|there| there).then_some(path)
    };
    State {
        children: Children { workers, state_passers: Vec::new() },
        config: EinhornConfig { number, ..EinhornConfig::default() },
        orig_cmd: config.program.clone(),
        bound_ports: bind.iter().map(|bind| bind.port).collect(),
        bind,
        bind_fds,
        cmd: config.program.clone(),
        pidfile: besides("pid"),
        lockfile: besides("lock"),
        socket_path: Some(socket_path),
        ..State::default()
    }
}
