//! The listening sockets: all are bound before the first worker starts, and the master holds them as long as a version needs
//! them. So nothing that waits in an accept queue is lost when a worker goes, even the last one. A new version may have
//! other sockets; those that it shares with the old one are the same, whatever else it says of them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::errno::Errno;

use crate::base::Pid;
use crate::base::exit_code::{CANNOT_START, Problem};
use crate::config::{Bind, Config, SHARED_DIRECTORY};
use crate::files::directory::Demand;
use crate::files::error::FileCause;
use crate::files::path_trust::DirectoryError;
use crate::files::unix_socket::{Access, Wanted, check_place, listen_unix, new_file_owner, set_access, set_owner};
use crate::release::addresses::{Addresses, left_out, look_up, overlap};
use crate::release::bound_files::{BoundFile, BoundFiles};
use crate::release::call::Call;
use crate::release::drop_ins;
use crate::release::in_the_way::{in_the_way, named};
use crate::release::socket_options::{BindOwner, SocketOptions};
use crate::release::unix_place;
use crate::sys::birth::Birth;
use crate::sys::capability::may_bind;
use crate::sys::errno::{exit_code, words};
use crate::sys::fd;
use crate::sys::file_id::FileId;
use crate::sys::held_socket;
use crate::sys::refuse::refuse_all;
use crate::sys::socket::{self, ListenError, LocalAddress, ReuseAddr};

/// The first descriptor number that workers find a socket at; the others follow without a gap.
pub(crate) const WORKER_FD_FIRST: RawFd = 3;

/// One of them.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Its number is higher than any at which workers found a socket when it was made.
    pub(crate) fd: OwnedFd,
    /// As it was asked for first.
    pub(crate) bind: Bind,
    pub(crate) address: LocalAddress,
    /// The file of a unix socket, and the list that it is removed by.
    file: Option<(BoundFile, BoundFiles)>,
    /// What of a bind is in force on the socket. A mutex, since a thread that prepares a version may hold the listener, too.
    options: Mutex<SocketOptions>,
    /// Whether this image has shut the socket down. The next finds out anew which ones are to be shut down.
    shut: AtomicBool,
    /// The inode of the socket, once it was closed: the descriptor leads to /dev/null then.
    closed: OnceLock<u64>,
}

/// Who may connect to a unix socket, as its file says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileRights {
    pub(crate) mode: u32,
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Listener {
    /// One that another image of the master has opened.
    pub(crate) fn adopt(
        fd: OwnedFd,
        bind: Bind,
        file: Option<(BoundFile, BoundFiles)>,
        options: Option<SocketOptions>,
        birth: &Birth,
    ) -> Self {
        if let Some((file, files)) = &file {
            files.adopt(file);
        }
        // The kernel may have no room for the answer, for a moment.
        let address = socket::local_address(fd.as_fd()).or_else(|_| socket::local_address(fd.as_fd()));
        let address = address.unwrap_or(LocalAddress::Other);
        let options = Mutex::new(options.unwrap_or_else(|| SocketOptions::of(&bind, BindOwner::default(), birth)));
        Self { fd, bind, address, file, options, shut: AtomicBool::new(false), closed: OnceLock::new() }
    }

    /// One that the image before has closed.
    pub(crate) fn closed_before(mut self, inode: u64) -> Self {
        self.closed = OnceLock::from(inode);
        self
    }

    /// The file of a unix socket.
    pub(crate) fn file(&self) -> Option<&BoundFile> {
        self.file.as_ref().map(|(file, _)| file)
    }

    /// The permissions of its file. None: there is none, or what stands there is not ours.
    pub(crate) fn file_rights(&self) -> Option<FileRights> {
        let (path, id) = self.file()?;
        let meta = std::fs::symlink_metadata(path).ok()?;
        let rights = FileRights { mode: meta.mode() & 0o777, user: meta.uid(), group: meta.gid() };
        (FileId::of(&meta) == *id).then_some(rights)
    }

    /// Gives the file back the permissions that were set.
    pub(crate) fn restore_mode(&self) -> std::io::Result<()> {
        let Some((path, id)) = self.file() else { return Ok(()) };
        set_access(path, *id, Access { mode: self.options().mode, ..Access::OWN })
    }

    /// And the user and the group.
    pub(crate) fn restore_owner(&self) -> std::io::Result<()> {
        let Some((path, id)) = self.file() else { return Ok(()) };
        let owner = self.options().owner;
        set_owner(path, *id, owner.user, owner.group)
    }

    pub(crate) fn options(&self) -> SocketOptions {
        *self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what a bind says otherwise of this socket than the one before. What both say is left as workers have made it.
    pub(crate) fn adapt(&self, bind: &Bind, owner: BindOwner, birth: &Birth) -> Result<(), String> {
        let said = |error: &dyn std::fmt::Display| format!("cannot change {bind}: {error}");
        let wanted = SocketOptions::of(bind, owner, birth);
        let mut options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        if options.nonblock != wanted.nonblock {
            fd::set_blocking(self.fd.as_fd(), wanted.blocking()).map_err(|errno| said(&errno))?;
            options.nonblock = wanted.nonblock;
        }
        let (before, after) = ((options.mode, options.owner), (wanted.mode, wanted.owner));
        let Some((path, id)) = self.file().filter(|_| before != after) else { return Ok(()) };
        // An owner that is not said any more is the one that a new file has.
        let natural = new_file_owner(path);
        let user = wanted.owner.user.or(options.owner.user.map(|_| natural.0));
        let group = wanted.owner.group.or(options.owner.group.map(|_| natural.1));
        set_access(path, *id, Access { mode: wanted.mode, user, group }).map_err(|error| said(&error))?;
        (options.mode, options.owner) = after;
        Ok(())
    }

    /// Gives the accept queue another length.
    pub(crate) fn set_backlog(&self, backlog: u32) {
        if let Err(errno) = socket::relisten(self.fd.as_fd(), queue_length(backlog)) {
            log::error!("cannot change the backlog of {}: {}", self.bind, words(errno));
        }
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }

    /// The inode of the socket, if it was closed.
    pub(crate) fn closed(&self) -> Option<u64> {
        self.closed.get().copied()
    }

    /// Of the socket, closed or not.
    pub(crate) fn inode(&self) -> Option<u64> {
        self.closed().or_else(|| fd::inode(self.fd.as_fd()).ok())
    }

    /// Shuts it down for all who hold it. The file goes first, so that new clients of a unix socket find none.
    pub(crate) fn shut(&self) {
        if let Some((file, files)) = &self.file {
            files.remove(file);
        }
        if self.shut.swap(true, Ordering::Relaxed) {
            return;
        }
        let refused = match self.closed.get() {
            None => refuse_all(self.fd.as_fd(), &self.address),
            Some(inode) => match held_socket::take_back(*inode) {
                Ok(None) => Ok(()),
                // The image before may have closed it, so that `address` says nothing.
                Ok(Some(taken)) => {
                    socket::local_address(taken.as_fd()).and_then(|address| refuse_all(taken.as_fd(), &address))
                }
                Err(holders) => return self.leave_to(&holders),
            },
        };
        if let Err(errno) = refused {
            log::error!("clients of {} may wait until its last worker has ended: {}", self.bind, words(errno));
        }
    }

    fn leave_to(&self, holders: &[Pid]) {
        let holders = if holders.is_empty() { "a process that /proc does not show".to_owned() } else { named(holders) };
        log::warn!("clients of {} may wait: it is held by {holders}, which lets no other shut it down", self.bind);
    }

    /// Leaves the socket to the workers that hold it. Its number stays taken, for the state document names it. What cannot be done for
    /// want of a descriptor is done with the next call.
    pub(crate) fn close(&self) {
        let Some(inode) = self.inode().filter(|_| self.closed.get().is_none()) else { return };
        match fd::leave(self.fd.as_fd()) {
            Ok(()) => self.closed.set(inode).unwrap_or_default(),
            Err(errno) => log::debug!("cannot close {}: {}", self.bind, words(errno)),
        }
    }

    /// Undoes it for a TCP socket, if it was done. A unix socket that was shut down has no file, so that no version takes it up.
    ///
    /// # Errors
    /// Why it cannot be undone, in a sentence.
    pub(crate) fn reopen(&self, backlog: u32) -> Result<(), String> {
        if socket::is_accepting(self.fd.as_fd()) != Ok(false) {
            return Ok(());
        }
        let listening = socket::mend(self.fd.as_fd(), &self.address, queue_length(backlog));
        listening.map_err(|errno| format!("cannot listen again on {}: {}", self.bind, words(errno)))?;
        self.shut.store(false, Ordering::Relaxed);
        log::info!("Listening again on {}", self.bind);
        Ok(())
    }

    /// A worker that shuts the shared socket down does it to all workers, and so does one that calls listen(2) with a short queue;
    /// only listening again repairs it. Whether the socket blocks is left as workers set it: some event loops need it as they
    /// have set it, and it is one flag for all of them.
    pub(crate) fn mend(&self, backlog: u32) {
        match socket::is_accepting(self.fd.as_fd()) {
            Ok(true) => return self.lengthen(backlog),
            Ok(false) => {}
            // The system has no answer for the moment.
            Err(_) => return,
        }
        match socket::mend(self.fd.as_fd(), &self.address, queue_length(backlog)) {
            Ok(()) => log::error!("a worker had shut down the socket {:?}, listening again", self.address),
            Err(errno) => log::error!("cannot listen again on {:?}: {errno}", self.address),
        }
    }

    /// A longer queue is left as it is. That of a unix socket is set, for the system does not say how long it is.
    fn lengthen(&self, backlog: u32) {
        let before = socket::queue_limit(self.fd.as_fd());
        if before.is_some_and(|before| before >= backlog) {
            return;
        }
        match (socket::relisten(self.fd.as_fd(), queue_length(backlog)), before) {
            // The kernel's own limit may be the shorter one.
            (Ok(()), Some(before)) if socket::queue_limit(self.fd.as_fd()).is_some_and(|after| after > before) => {
                log::debug!("A worker had set the backlog of {} to {before}, it is set again", self.bind);
            }
            (Ok(()), _) => {}
            (Err(errno), _) => log::debug!("cannot set the backlog of {} again: {}", self.bind, words(errno)),
        }
    }

    /// The port, or 0 where there is none; so einhorn's state has it.
    pub(crate) fn port(&self) -> u16 {
        match &self.address {
            LocalAddress::Inet(address) => address.port(),
            LocalAddress::Unix(_) | LocalAddress::Other => 0,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some((file, files)) = &self.file {
            files.remove(file);
        }
    }
}

/// A document of an older version has none.
pub(crate) fn owner_at(owners: &[BindOwner], at: usize) -> BindOwner {
    owners.get(at).copied().unwrap_or_default()
}

/// Finds among those that are open, or opens, every socket of `-b`, in order.
///
/// # Errors
/// The first that cannot be had, in a sentence that names it; those opened before are closed.
pub(crate) fn open_all(
    config: &Config,
    owners: &[BindOwner],
    call: &Call,
    birth: &Birth,
    open: &[Arc<Listener>],
    bound_files: &BoundFiles,
) -> Result<Vec<Arc<Listener>>, Problem> {
    let mut found: Vec<Arc<Listener>> = Vec::new();
    // Mostly the binds are the same and in the same order, so that the first of these is the one.
    let mut unused: VecDeque<&Arc<Listener>> = open.iter().collect();
    for (at, bind) in config.binds.iter().enumerate() {
        let mut take = |serves: &dyn Fn(&Listener) -> bool| {
            let at = unused.iter().position(|known| serves(known))?;
            unused.remove(at).map(Arc::clone)
        };
        let listener = match bind {
            Bind::Tcp { host, port, .. } => match look_up(host, *port, config.family) {
                Ok(addresses) => match take(&|known| known.serves_address(addresses.first)) {
                    Some(listener) => listener,
                    None => {
                        let opened = open_tcp(bind, &addresses, config, birth);
                        let ours = open.iter().find(|own| own.is_in_the_way_of(addresses.first));
                        Arc::new(opened.map_err(|error| refused(&error, ours, config))?)
                    }
                },
                // A name server that is away must not stop a deploy that changes no address.
                Err(error) => take(&|known| known.was_asked_as(host, *port)).ok_or(error)?,
            },
            Bind::Unix { path, .. } => {
                let path = unix_place::named(path, config, call);
                match take(&|known| known.serves_file(&path)) {
                    Some(listener) => listener,
                    None => {
                        let options = SocketOptions::of(bind, owner_at(owners, at), birth);
                        Arc::new(open_unix(bind, &path, config, options, bound_files)?)
                    }
                }
            }
        };
        found.push(listener);
    }
    Ok(found)
}

/// What of the binds can be found wrong without binding: a host that is not known, a directory that is not there, an address
/// that stands twice.
pub(crate) fn check(config: &Config, call: &Call) -> Vec<Problem> {
    let mut places = BTreeMap::new();
    let mut cause = |bind: &Bind| match place(bind, config, call) {
        Ok(Some(place)) => match places.insert(place.clone(), bind.to_string()) {
            Some(_) => Some(format!("{bind} stands there twice")),
            None => {
                let other = places.iter().find(|(other, _)| **other != place && are_one_port(other, &place));
                other.map(|(_, other)| {
                    format!("{bind} and {other} cannot both be bound, one of them has the other's address")
                })
            }
        },
        Ok(None) => None,
        Err(cause) => Some(cause),
    };
    let causes = config.binds.iter().enumerate().filter_map(|(index, bind)| Some((index, cause(bind)?)));
    config.blame_items("bind", causes).into_iter().map(Problem::of_option).collect()
}

fn are_one_port(one: &LocalAddress, other: &LocalAddress) -> bool {
    matches!((one, other), (LocalAddress::Inet(one), LocalAddress::Inet(other)) if overlap(*one, *other))
}

/// What the binds leave out that one may look for, a sentence for each.
pub(crate) fn remarks(config: &Config, call: &Call) -> Vec<String> {
    let of_bind = |bind: &Bind| match bind {
        Bind::Tcp { host, port, .. } => left_out(bind, &look_up(host, *port, config.family).ok()?, config),
        Bind::Unix { .. } => unix_place::remark(bind, config, call),
    };
    let causes = config.binds.iter().enumerate().filter_map(|(index, bind)| Some((index, of_bind(bind)?)));
    config.blame_items("bind", causes)
}

/// Where a socket would be bound. None: at a port that the system chooses.
fn place(bind: &Bind, config: &Config, call: &Call) -> Result<Option<LocalAddress>, String> {
    match bind {
        Bind::Tcp { host, port, .. } => {
            let address = look_up(host, *port, config.family)?.first;
            if !may_bind(*port) {
                return Err(format!("{bind}: {}{}", words(Errno::EACCES), drop_ins::for_low_port(config)));
            }
            Ok((*port != 0).then_some(LocalAddress::Inet(address)))
        }
        Bind::Unix { path, .. } => {
            let path = unix_place::named(path, config, call);
            match check_place(&path, demand(bind)).map_err(|error| error.cause) {
                Ok(()) => Ok(Some(LocalAddress::Unix(path))),
                Err(FileCause::Directory(error)) => Err(format!("{error}{}", advice(&error, bind))),
                Err(cause) => Err(format!("{}: {cause}", path.display())),
            }
        }
    }
}

/// What a bind says of its directory.
fn demand(bind: &Bind) -> Demand {
    if bind.flags().shared_directory() { Demand::Any } else { Demand::Trusted }
}

/// What can be done where a directory is not trusted.
fn advice(error: &DirectoryError, bind: &Bind) -> String {
    if !error.is_doubt() {
        return String::new();
    }
    format!(
        "; choose a directory that no other user can change, or write {bind},{SHARED_DIRECTORY} if its other users may have the \
         socket"
    )
}

impl Listener {
    /// However the address is written. A bind to any port takes a socket that was bound to any port, on the same address.
    fn serves_address(&self, wanted: SocketAddr) -> bool {
        let asked_for_any = matches!(self.bind, Bind::Tcp { port: 0, .. });
        match &self.address {
            LocalAddress::Inet(address) if wanted.port() == 0 => asked_for_any && address.ip() == wanted.ip(),
            LocalAddress::Inet(address) => *address == wanted,
            LocalAddress::Unix(_) | LocalAddress::Other => false,
        }
    }

    /// Whether the two cannot listen at the same time: they share the port, and one of them has the addresses of the other.
    fn is_in_the_way_of(&self, wanted: SocketAddr) -> bool {
        match &self.address {
            LocalAddress::Inet(own) => overlap(*own, wanted),
            LocalAddress::Unix(_) | LocalAddress::Other => false,
        }
    }

    fn was_asked_as(&self, host: &str, port: u16) -> bool {
        matches!(&self.bind, Bind::Tcp { host: own, port: own_port, .. } if own == host && *own_port == port)
    }

    /// Whether clients of this path come to us: a file that was deleted, or replaced by another's, does not lead here.
    fn serves_file(&self, path: &Path) -> bool {
        self.file().is_some_and(|(_, id)| id.stands_at(path))
    }
}

fn refused(error: &OpenError, ours: Option<&Arc<Listener>>, config: &Config) -> Problem {
    let code = match error {
        OpenError::Listen(error) => exit_code(error.errno),
        OpenError::Keep(_) => CANNOT_START,
    };
    Problem { code, message: refusal(error, ours, config) }
}

/// Why an address cannot be had, with the socket of our own that has it. Its queue would be lost if it were closed first.
fn refusal(error: &OpenError, ours: Option<&Arc<Listener>>, config: &Config) -> String {
    match (error, ours) {
        (OpenError::Listen(error), Some(ours)) if error.errno == Errno::EADDRINUSE => {
            format!("{error} by our own socket of {}, it takes a restart to have the one for the other", ours.bind)
        }
        (OpenError::Listen(error), _) if error.errno == Errno::EADDRINUSE => {
            format!("{error}{}", in_the_way(error.address))
        }
        (OpenError::Listen(error), _) if !may_bind(error.address.port()) => {
            format!("{error}{}", drop_ins::for_low_port(config))
        }
        (OpenError::Listen(error), _) => error.to_string(),
        (OpenError::Keep(message), _) => message.clone(),
    }
}

enum OpenError {
    Listen(ListenError),
    Keep(String),
}

fn open_tcp(bind: &Bind, addresses: &Addresses, config: &Config, birth: &Birth) -> Result<Listener, OpenError> {
    log::info!("Binding to {bind} with flags {:?}", bind.flags().words());
    let address = addresses.first;
    let reuse = if bind.flags().reuse_addr() { ReuseAddr::Yes } else { ReuseAddr::No };
    let options = SocketOptions::of(bind, BindOwner::default(), birth);
    let backlog = queue_length(config.backlog);
    let listening = socket::listen_tcp(address, reuse, options.blocking(), backlog);
    let listener = keep(listening.map_err(OpenError::Listen)?, None, bind, options, config).map_err(OpenError::Keep)?;
    if let (0, LocalAddress::Inet(chosen)) = (address.port(), &listener.address) {
        log::info!("Listening on {chosen}");
    }
    if let Some(sentence) = left_out(bind, addresses, config) {
        log::info!("{sentence}");
    }
    Ok(listener)
}

fn open_unix(
    bind: &Bind,
    path: &Path,
    config: &Config,
    options: SocketOptions,
    bound_files: &BoundFiles,
) -> Result<Listener, Problem> {
    log::info!("Binding to {bind} with flags {:?}", bind.flags().words());
    let access = Access { mode: options.mode, user: options.owner.user, group: options.owner.group };
    let backlog = queue_length(config.backlog);
    let wanted = Wanted { access, backlog, blocking: options.blocking(), demand: demand(bind) };
    let (fd, file) = bound_files.make(|| match listen_unix(path, wanted) {
        Ok((fd, id)) => Ok((fd, (unix_place::real(path.to_owned()), id))),
        Err(error) => {
            let advice = match &error.cause {
                FileCause::Directory(doubt) => advice(doubt, bind),
                _ => String::new(),
            };
            Err(Problem { code: error.cause.exit_code(), message: format!("{error}{advice}") })
        }
    })?;
    Ok(keep(fd, Some((file, bound_files.clone())), bind, options, config)?)
}

fn keep(
    fd: OwnedFd,
    file: Option<(BoundFile, BoundFiles)>,
    bind: &Bind,
    options: SocketOptions,
    config: &Config,
) -> Result<Listener, String> {
    let lifted = fd::lift(fd, worker_fds_end(config.binds.len()));
    let fd = lifted.map_err(|error: io::Error| {
        if let Some((file, files)) = &file {
            files.remove(file);
        }
        format!("cannot keep the socket of {bind}: {error}")
    })?;
    let address = socket::local_address(fd.as_fd()).unwrap_or(LocalAddress::Other);
    let (options, shut, closed) = (Mutex::new(options), AtomicBool::new(false), OnceLock::new());
    Ok(Listener { fd, bind: bind.clone(), address, file, options, shut, closed })
}

/// The first number that no worker of so many sockets finds a descriptor at.
pub(crate) fn worker_fds_end(listener_count: usize) -> RawFd {
    // One more than there are sockets: the connection of `-g`.
    WORKER_FD_FIRST + RawFd::try_from(listener_count).unwrap_or(RawFd::MAX / 2) + 1
}

fn queue_length(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}
