//! Launches a worker: puts together what it gets, and hands it to `sys::process`.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::base::{Pid, Slot, Version, WorkerIndex, WorkerOutput};
use crate::capture::source::Writer;
use crate::logging;
use crate::pool::Event;
use crate::release::environment::{self, Family, SLOT_PID, WorkerFacts};
use crate::release::exec_spec::Release;
use crate::release::listeners::{WORKER_FD_FIRST, worker_fds_end};
use crate::supervisor::equipment::{Equipment, OurEnds};
use crate::supervisor::master::Supervisor;
use crate::supervisor::process::own_pid;
use crate::sys::errno::{errno_of, words};
use crate::sys::exec_pipe::ExecPipe;
use crate::sys::output_pipe::OutputPipe;
use crate::sys::prepared_exec::SpawnRequest;
use crate::sys::process::{self, Spawned};
use crate::sys::socket::LocalAddress;
use crate::sys::{clock, fd, socket};

pub(crate) const STDOUT: RawFd = 1;
pub(crate) const STDERR: RawFd = 2;

impl Supervisor {
    /// The answer to `SpawnWorker`. Returns as soon as the child is forked.
    pub(crate) fn launch(&mut self, index: WorkerIndex, slot: Slot, version: Version) -> Event {
        self.relisten();
        let launched = match self.sockets.releases.get(&version) {
            Some(release) => self.launch_release(release, index, slot),
            None => Err(Errno::ENOENT),
        };
        match launched {
            Ok((Spawned { pid, exec }, ends)) => {
                self.keep(pid, slot, version, exec, ends);
                Event::WorkerSpawned { pid, index, version }
            }
            Err(errno) => {
                log::error!("cannot start a worker, trying again later: {}", words(errno));
                Event::SpawnFailed { index, version }
            }
        }
    }

    /// Takes in what there is of a new worker.
    pub(crate) fn keep(&mut self, pid: Pid, slot: Slot, version: Version, exec: ExecPipe, ends: OurEnds) {
        if self.pool.adopted() == Some(version) {
            log::warn!(
                "Worker {pid} runs what is configured now, for it is not known what version {version} ran under the \
                 killed master"
            );
        }
        self.children.exec_pipes.push((pid, exec));
        self.poll_soon(clock::now());
        self.threads.reaper.resume();
        if let Some(connection) = ends.connection {
            self.threads.control.adopt(connection, pid);
        }
        self.read_output(Writer { pid, slot, version }, ends.output);
    }

    pub(crate) fn read_output(&mut self, writer: Writer, pipe: Option<OwnedFd>) {
        if let Some(pipe) = pipe {
            self.threads.output.add(writer, pipe, &mut self.threads.crew);
            self.start_relay();
        }
    }

    pub(crate) fn equip(&self, release: &Release) -> Result<Equipment, Errno> {
        let output = self.output_pipe(release);
        let connection = if release.exec_spec.socket_as_fd { Some(worker_connection(release)?) } else { None };
        Ok(Equipment { connection, output })
    }

    fn launch_release(&self, release: &Release, index: WorkerIndex, slot: Slot) -> Result<(Spawned, OurEnds), Errno> {
        let exec_spec = &release.exec_spec;
        let equipment = self.equip(release)?;
        let lifted = lift_those_below(release)?;
        let listeners = release.listeners.iter().zip(&lifted);
        let sockets = listeners.map(|(listener, lifted)| lifted.as_ref().map_or(listener.fd.as_fd(), AsFd::as_fd));
        let mut descriptors: Vec<(BorrowedFd<'_>, RawFd)> = sockets.zip(WORKER_FD_FIRST..).collect();
        if let Some((_, theirs)) = &equipment.connection {
            descriptors.push((theirs.as_fd(), worker_connection_fd(release)));
        }
        if let Some(OutputPipe { writer, .. }) = &equipment.output {
            descriptors.extend([(writer.as_fd(), STDOUT), (writer.as_fd(), STDERR)]);
        }
        let request = SpawnRequest {
            path: &exec_spec.path,
            file: None,
            argv: &exec_spec.argv,
            env: &self.environment(release, index, slot),
            own_pid_variable: Some(OsStr::new(SLOT_PID)),
            directory: exec_spec.directory.as_deref(),
            descriptors: &descriptors,
            birth: &self.facts.birth,
            nice: exec_spec.slots.nice(slot).or(exec_spec.nice),
            cpus: exec_spec.slots.cpus(slot),
            parent_death: exec_spec.parent_death,
            umask: exec_spec.umask,
            limits: &exec_spec.limits,
            identity: exec_spec.identity.as_ref(),
        };
        let spawned = process::spawn(&request)?;
        let argv: Vec<_> = exec_spec.argv.iter().map(|word| word.to_string_lossy()).collect();
        logging::log_for_worker(spawned.pid, &format!("About to exec {argv:?}"));
        Ok((spawned, equipment.ours()))
    }

    /// None: it is not to be captured, or cannot be. A worker whose output goes where the master's goes is better than none.
    pub(crate) fn output_pipe(&self, release: &Release) -> Option<OutputPipe> {
        if release.exec_spec.output == WorkerOutput::Inherit {
            return None;
        }
        let make = || -> Result<OutputPipe, Errno> {
            if !self.threads.output.has_room() {
                return Err(Errno::EMFILE);
            }
            let pipe = OutputPipe::new()?;
            if let Some(owner) = release.exec_spec.identity.as_ref().filter(|identity| !identity.is_own()) {
                let said = |errno| log::debug!("a worker cannot open its /dev/stderr: {}", words(errno));
                pipe.give_to(owner).unwrap_or_else(said);
            }
            let end = worker_fds_end(release.listeners.len());
            let writer = fd::lift(pipe.writer, end).map_err(|error| errno_of(&error))?;
            Ok(OutputPipe { writer, ..pipe })
        };
        let said = |errno: &Errno| {
            log::warn!("cannot capture the output of a worker, it goes to standard error: {}", words(*errno));
        };
        make().inspect_err(said).ok()
    }

    pub(crate) fn environment(&self, release: &Release, index: WorkerIndex, slot: Slot) -> environment::Environment {
        let families = release.listeners.iter().map(|listener| match &listener.address {
            LocalAddress::Inet(address) if address.is_ipv6() => Family::Inet6,
            LocalAddress::Inet(_) => Family::Inet,
            LocalAddress::Unix(_) | LocalAddress::Other => Family::Unix,
        });
        let listeners: Vec<(RawFd, Family)> = (WORKER_FD_FIRST..).zip(families).collect();
        let slots = self.pool.settings().target;
        let facts = WorkerFacts {
            master: own_pid(),
            socket_path: self.files.socket_path(),
            socket_fd: release.exec_spec.socket_as_fd.then(|| worker_connection_fd(release)),
            listeners: &listeners,
            index,
            slot,
            slots,
            of_slot: release.exec_spec.slots.env(slot, slots),
        };
        environment::of_worker(&release.exec_spec.environment, &facts)
    }
}

/// A connection of the worker's own to the control socket (`-g`): our end, and its end.
fn worker_connection(release: &Release) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (ours, theirs) = socket::socket_pair()?;
    fd::set_blocking(ours.as_fd(), fd::Blocking::NonBlocking)?;
    let theirs = fd::lift(theirs, worker_fds_end(release.listeners.len())).map_err(|error| errno_of(&error))?;
    Ok((ours, theirs))
}

/// Behind the listening sockets.
fn worker_connection_fd(release: &Release) -> RawFd {
    worker_fds_end(release.listeners.len()) - 1
}

/// A socket that was opened for a version of fewer sockets may stand where this version's workers find theirs. It is passed
/// from above then.
fn lift_those_below(release: &Release) -> Result<Vec<Option<OwnedFd>>, Errno> {
    let end = worker_fds_end(release.listeners.len());
    let lifted = release.listeners.iter().map(|listener| match listener.fd.as_raw_fd() < end {
        true => fd::duplicate_above(listener.fd.as_fd(), end).map(Some),
        false => Ok(None),
    });
    lifted.collect()
}
