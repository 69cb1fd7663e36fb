//! The listening sockets: all are bound before the first worker starts, and the master holds them to its end. So nothing
//! that waits in an accept queue is lost when a worker goes, even the last one.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use crate::config::{Bind, Config, Family as WantedFamily};
use crate::supervisor::Supervisor;
use crate::sys::birth::Birth;
use crate::sys::fd::{self, Blocking};
use crate::sys::place::FileId;
use crate::sys::socket::{self, Family, LocalAddress, ReuseAddr, V6Only};
use crate::sys::unix_socket::listen_unix;

/// The first descriptor number that workers find a socket at; the others follow without a gap.
pub(in crate::supervisor) const WORKER_FD_FIRST: RawFd = 3;

/// One of them.
pub(in crate::supervisor) struct Listener {
    /// Above every number that workers find sockets at.
    pub(in crate::supervisor) fd: OwnedFd,
    pub(in crate::supervisor) address: LocalAddress,
    /// The file of a unix socket, to be removed at the end.
    pub(in crate::supervisor) file: Option<(PathBuf, FileId)>,
}

impl Listener {
    /// The port, or 0 where there is none; so einhorn's state has it.
    pub(in crate::supervisor) fn port(&self) -> u16 {
        match &self.address {
            LocalAddress::Inet(address) => address.port(),
            LocalAddress::Unix(_) | LocalAddress::Other => 0,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some((path, id)) = &self.file {
            if id.stands_at(path) && std::fs::remove_file(path).is_err() {
                log::warn!("cannot remove {}", path.display());
            }
        }
    }
}

/// Opens every socket of `-b`, in order.
///
/// Errors: the first that cannot be had, in a sentence that names it; those opened before are closed.
pub(in crate::supervisor) fn open_all(config: &Config, birth: &Birth) -> Result<Vec<Listener>, String> {
    config.binds.iter().map(|bind| open(bind, config, birth)).collect()
}

fn open(bind: &Bind, config: &Config, birth: &Birth) -> Result<Listener, String> {
    let blocking = if bind.flags().nonblock() { Blocking::NonBlocking } else { Blocking::Blocking };
    let backlog = i32::try_from(config.backlog).unwrap_or(i32::MAX);
    let (fd, file) = match bind {
        Bind::Tcp { host, port, flags } => {
            log::info!("Binding to {host}:{port} with flags {:?}", flags.words());
            let address = look_up(host, *port, config.family)?;
            let reuse = if flags.reuse_addr() { ReuseAddr::Yes } else { ReuseAddr::No };
            let listening = socket::listen_tcp(address, reuse, blocking, backlog, V6Only::Yes);
            (listening.map_err(|error| error.to_string())?, None)
        }
        Bind::Unix { path, mode, flags } => {
            log::info!("Binding to unix:{} with flags {:?}", path.display(), flags.words());
            let mode = mode.unwrap_or(0o777 & !birth.umask);
            let fd = listen_unix(path, mode, backlog, blocking).map_err(|error| error.to_string())?;
            (fd, Some(file_of(path)?))
        }
    };
    let worker_fds_end = WORKER_FD_FIRST + RawFd::try_from(config.binds.len()).unwrap_or(RawFd::MAX / 2) + 1;
    let said = |error: io::Error| format!("cannot keep the socket of {bind:?}: {error}");
    let fd = fd::lift(fd, worker_fds_end).map_err(said)?;
    let address = socket::local_address(fd.as_fd()).unwrap_or(LocalAddress::Other);
    if let (Bind::Tcp { port: 0, .. }, LocalAddress::Inet(chosen)) = (bind, &address) {
        log::info!("Listening on {chosen}");
    }
    Ok(Listener { fd, address, file })
}

/// One `-b` is one socket. A name with addresses of both families means its IPv4 address, as it always did for einhorn,
/// unless `-6` says otherwise.
fn look_up(host: &str, port: u16, wanted: WantedFamily) -> Result<SocketAddr, String> {
    let family = match wanted {
        WantedFamily::Any => Family::Any,
        WantedFamily::V4 => Family::V4,
        WantedFamily::V6 => Family::V6,
    };
    let found = socket::resolve(host, port, family);
    let found = found.map_err(|error| format!("cannot find the address of {host}: {error}"))?;
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| format!("cannot find the address of {host}: it has none of the wanted family"))
}

fn file_of(path: &Path) -> Result<(PathBuf, FileId), String> {
    let meta = std::fs::symlink_metadata(path);
    let meta = meta.map_err(|error| format!("cannot look at {}: {error}", path.display()))?;
    Ok((path.to_owned(), FileId::of(&meta)))
}

impl Supervisor {
    /// A worker that shuts the shared socket down does it to everybody; only listening again repairs it (failure mode
    /// 22). Whether the socket blocks is left as workers set it: some event loops need it as they have set it, and it is
    /// one flag for all of them.
    pub(in crate::supervisor) fn mend_listeners(&self) {
        for listener in &self.listeners {
            if socket::is_accepting(listener.fd.as_fd()) != Ok(false) {
                continue;
            }
            let backlog = i32::try_from(self.config.backlog).unwrap_or(i32::MAX);
            match socket::mend(listener.fd.as_fd(), &listener.address, backlog) {
                Ok(()) => log::error!("a worker had shut down the socket {:?}, listening again", listener.address),
                Err(errno) => log::error!("cannot listen again on {:?}: {errno}", listener.address),
            }
        }
    }
}
