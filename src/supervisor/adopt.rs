//! Whether a start finds the workers of a killed master, and takes them and their sockets over. It looks at what that master wrote down, and
//! believes none of it that the kernel does not confirm: a process by its number and the time when it began, a socket by its inode.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use crate::base::{Pid, Version, WorkerIndex, printable};
use crate::config::Config;
use crate::files::private_file::PrivateFile;
use crate::handover::journal::{BYTES_MAX, Journal, JournalSocket};
use crate::handover::process::Process;
use crate::pool::{State, Worker};
use crate::release::bound_files::{BoundFile, BoundFiles};
use crate::release::environment::{CHILD_INDEX, MASTER_PID, SLOT_PID};
use crate::release::listeners::{Listener, worker_fds_end};
use crate::supervisor::adopted::is_gone;
use crate::supervisor::process::own_pid;
use crate::supervisor::{journal, settings};
use crate::sys::birth::Birth;
use crate::sys::{clock, fd, held_socket, meeting_point, port_use, procfs};

/// What a start finds of a master that was killed.
pub(crate) enum Before {
    Nothing,
    Taken(Box<Found>),
    LeftAlone(LeftAlone),
}

impl Before {
    /// What the start begins with, and what it leaves alone.
    pub(crate) fn divided(self, config: &Config) -> (Found, Option<LeftAlone>) {
        let nothing = |left_alone| {
            let pool = State::new(settings::of(config));
            (Found { pool, workers: Vec::new(), listeners: Vec::new(), holder: None }, left_alone)
        };
        match self {
            Self::Taken(found) => (*found, None),
            Self::LeftAlone(left) => nothing(Some(left)),
            Self::Nothing => nothing(None),
        }
    }
}

/// What a killed master has left, and is ours now.
pub(crate) struct Found {
    pub(crate) pool: State,
    pub(crate) workers: Vec<Process>,
    pub(crate) listeners: Vec<Arc<Listener>>,
    /// Of the killed master: this one has its sockets now.
    pub(crate) holder: Option<Process>,
}

/// Workers of a killed master that this start does not take over.
pub(crate) struct LeftAlone {
    master: Pid,
    workers: Vec<Process>,
}

impl LeftAlone {
    /// What helps a start that is refused, behind the reason: the journal stays as it is.
    pub(crate) fn advice(&self) -> String {
        let Self { master, workers } = self;
        format!("; master {master} was killed and has left workers [{}], which --adopt takes over", pids(workers))
    }

    /// For a start that goes on without them.
    pub(crate) fn say(&self) {
        let Self { master, workers } = self;
        log::warn!(
            "Master {master} was killed and has left workers [{}]: they stay as they are, kill -USR2 ends them (a start with --adopt \
             would have taken them over)",
            pids(workers)
        );
    }
}

/// To be called with the lock held, so that the master before has ended. What the service manager has kept for this one is in `stored`, by its
/// inodes, and stays there if it is of no use.
pub(crate) fn look(
    config: &Config,
    lock: &Path,
    birth: &Birth,
    bound_files: &BoundFiles,
    stored: &mut BTreeMap<u64, OwnedFd>,
) -> Before {
    let Some(Left { journal, listed, holders }) = left(config, lock) else { return Before::Nothing };
    let Holders { unlisted, remains } = holders;
    let workers: Vec<Process> = listed.iter().chain(&unlisted).copied().collect();
    if !config.adopts() {
        let left_alone = LeftAlone { master: journal.master.pid, workers };
        return if left_alone.workers.is_empty() { Before::Nothing } else { Before::LeftAlone(left_alone) };
    }
    let given = OnceCell::new();
    let give = |inode| {
        let all =
            given.get_or_init(|| journal.holder.map(|it| meeting_point::take(it.pid, it.began)).unwrap_or_default());
        all.iter().find(|fd| fd::inode(fd.as_fd()) == Ok(inode))?.try_clone().ok()
    };
    let taken = journal.sockets.iter().filter_map(|socket| {
        let fd = stored
            .remove(&socket.inode)
            .or_else(|| take_back(socket, &workers, &remains))
            .or_else(|| give(socket.inode));
        if fd.is_none() {
            log::error!("cannot take back the socket of {}: no process gives it back", socket.bind);
        }
        keep(socket, fd?, config, birth, bound_files)
    });
    let listeners: Vec<Arc<Listener>> = taken.map(Arc::new).collect();
    let (open, all) = (listeners.len(), journal.sockets.len());
    remains.iter().for_each(|pid| name_remains(*pid));
    if workers.is_empty() {
        if listeners.is_empty() {
            log::info!("Master {} was killed, and none of its workers is there", journal.master.pid);
            return Before::Nothing;
        }
        log::warn!(
            "Master {} was killed, and its workers have ended: taking {open} of its {all} sockets",
            journal.master.pid
        );
        return Before::Taken(Box::new(Found {
            pool: State::new(settings::of(config)),
            workers,
            listeners,
            holder: journal.holder,
        }));
    }
    log::warn!(
        "Master {} was killed: adopting its workers [{}] and {open} of its {all} sockets",
        journal.master.pid,
        pids(&workers)
    );
    let version = journal.pool.modern;
    let mut pool = journal.pool.after_death(settings::of(config), |pid| listed.iter().any(|worker| worker.pid == pid));
    pool.adopted = Some(pool.modern);
    add(&mut pool, version, &unlisted);
    Before::Taken(Box::new(Found { pool, workers, listeners, holder: journal.holder }))
}

/// The workers of a killed master that serve, for a start that is refused before it could take them over. None: there are none.
pub(crate) fn what_serves(config: &Config, lock: &Path) -> Option<String> {
    let left = if config.adopts() { left(config, lock)? } else { return None };
    let workers: Vec<Process> = left.listed.into_iter().chain(left.holders.unlisted).collect();
    (!workers.is_empty()).then(|| format!("[{}]", pids(&workers)))
}

/// A journal of a master that is gone, its workers in there that live, and what else holds its sockets.
struct Left {
    journal: Journal,
    listed: Vec<Process>,
    holders: Holders,
}

/// What has one of the sockets open, and is not known.
struct Holders {
    /// Workers that were launched after the last that was written down.
    unlisted: Vec<Process>,
    /// What workers that have ended have started.
    remains: Vec<Pid>,
}

fn left(config: &Config, lock: &Path) -> Option<Left> {
    let journal = read(config, &journal::path(lock))?;
    if is_there(&journal.master) {
        log::warn!("Master {} lives and has let go of its lock: its workers are not adopted", journal.master.pid);
        return None;
    }
    let listed: Vec<Process> = journal.workers.iter().copied().filter(is_there).collect();
    let known: Vec<Pid> = listed.iter().map(|worker| worker.pid).collect();
    let inodes: Vec<u64> = journal.sockets.iter().map(|socket| socket.inode).collect();
    Some(Left { journal, listed, holders: holders(&inodes, &known) })
}

fn pids(workers: &[Process]) -> String {
    let pids: Vec<String> = workers.iter().map(|worker| worker.pid.to_string()).collect();
    pids.join(", ")
}

/// What cannot be read is of no use to a start that would take nothing over.
fn read(config: &Config, path: &Path) -> Option<Journal> {
    let level = if config.adopts() { log::Level::Warn } else { log::Level::Debug };
    let said = |cause: &dyn std::fmt::Display| {
        log::log!(level, "Adopting no workers, {} is of no use: {cause}", path.display());
    };
    let file = PrivateFile::in_directory_of(path).and_then(|file| file.read(BYTES_MAX));
    let text = file.inspect_err(|error| said(error)).ok()??;
    let author = journal::author()?;
    Journal::read(&text, &author.boot, author.uid).inspect_err(|cause| said(cause)).ok()
}

/// It counts as there, too, where /proc shows nothing and a signal could be sent to it.
fn is_there(process: &Process) -> bool {
    !is_gone(process)
}

/// Adds the workers that hold one of these sockets, and that the pool does not know: of the version that was launched last.
pub(crate) fn add_unlisted(pool: &mut State, version: Version, inodes: &[u64]) -> Vec<Process> {
    let known: Vec<Pid> = pool.workers.iter().map(|worker| worker.pid).collect();
    let Holders { unlisted, remains: _ } = holders(inodes, &known);
    add(pool, version, &unlisted);
    unlisted
}

fn add(pool: &mut State, version: Version, workers: &[Process]) {
    for pid in workers.iter().map(|process| process.pid) {
        let index = procfs::variable(pid, CHILD_INDEX).and_then(|index| index.parse().ok()).unwrap_or_default();
        let worker = Worker::new(pid, WorkerIndex(index), version, pool.settings.graceful, clock::now());
        pool.last_spinup = Some(clock::now());
        pool.workers.push(Worker { execed: true, ..worker });
    }
}

/// Those that have a worker's environment, and neither descend from a known one nor are in its group: a worker's own pid stands there.
fn holders(inodes: &[u64], known: &[Pid]) -> Holders {
    let is_of_known = |pid: Pid| {
        let mut lineage = std::iter::successors(Some(pid), |pid| procfs::parent(*pid).filter(|parent| parent.0 > 1));
        lineage.any(|pid| known.contains(&pid)) || procfs::group(pid).is_some_and(|group| known.contains(&group))
    };
    let is_one = |pid: &Pid| *pid != own_pid() && procfs::variable(*pid, MASTER_PID).is_some() && !is_of_known(*pid);
    let is_worker = |pid: &Pid| procfs::variable(*pid, SLOT_PID).is_some_and(|own| own == pid.to_string());
    let (workers, remains): (Vec<Pid>, Vec<Pid>) =
        port_use::holders(inodes).into_iter().filter(is_one).partition(is_worker);
    let unlisted = workers.into_iter().filter_map(|pid| Some(Process { pid, began: procfs::began(pid)? })).collect();
    Holders { unlisted, remains }
}

fn name_remains(pid: Pid) {
    let name = procfs::names(pid).into_iter().next().unwrap_or_default();
    let name = printable::line(&name);
    log::warn!(
        "A worker of the killed master that has ended has left {name} ({pid}), which holds its sockets: it is not told to go"
    );
}

/// From a process that holds it. None: there is none, or the kernel does not let us.
fn take_back(socket: &JournalSocket, workers: &[Process], remains: &[Pid]) -> Option<OwnedFd> {
    let mut ours = workers.iter().map(|worker| worker.pid).chain(remains.iter().copied());
    let taken = ours.find_map(|pid| held_socket::take_from(pid, socket.inode));
    taken.or_else(|| if workers.is_empty() { None } else { held_socket::take_back(socket.inode).ok()? })
}

fn keep(
    socket: &JournalSocket,
    taken: OwnedFd,
    config: &Config,
    birth: &Birth,
    bound_files: &BoundFiles,
) -> Option<Listener> {
    let fd: OwnedFd = fd::lift(taken, worker_fds_end(config.binds.len()))
        .inspect_err(|error| log::error!("cannot keep the socket of {}: {error}", socket.bind))
        .ok()?;
    let file = socket.file.clone().map(|file| (BoundFile::from(file), bound_files.clone()));
    Some(Listener::adopt(fd, socket.bind.clone(), file, Some(socket.options), birth))
}
