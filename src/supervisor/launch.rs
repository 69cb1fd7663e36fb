//! Launches a worker: puts together what it gets, and hands it to `sys::process`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::pool::{Event, Pid, Version, WorkerIndex};
use crate::supervisor::environment::{self, Facts, Family};
use crate::supervisor::listeners::WORKER_FD_FIRST;
use crate::supervisor::release::Release;
use crate::supervisor::{Supervisor, logging};
use crate::sys::errno::words;
use crate::sys::process::{self, SpawnRequest, Spawned};
use crate::sys::socket::LocalAddress;
use crate::sys::{clock, fd, socket};

impl Supervisor {
    /// The answer to `SpawnWorker`. Returns as soon as the child is forked.
    pub(in crate::supervisor) fn launch(&mut self, index: WorkerIndex, version: Version) -> Event {
        self.mend_listeners();
        let launched = match self.releases.get(&version) {
            Some(release) => self.launch_release(release, index),
            None => Err(Errno::ENOENT),
        };
        match launched {
            Ok((spawned, connection)) => {
                let pid = spawned.pid;
                self.exec_pipes.push((pid, spawned.exec));
                self.expect_news(clock::now());
                self.reaper.resume();
                if let Some(connection) = connection {
                    self.control.adopt(connection, pid);
                }
                Event::WorkerSpawned { pid, index }
            }
            Err(errno) => {
                log::error!("cannot start a worker, trying again later: {}", words(errno));
                Event::SpawnFailed { index }
            }
        }
    }

    fn launch_release(&self, release: &Release, index: WorkerIndex) -> Result<(Spawned, Option<OwnedFd>), Errno> {
        let connection = if self.config.socket_as_fd { Some(self.worker_connection()?) } else { None };
        let mut descriptors: Vec<(BorrowedFd<'_>, RawFd)> =
            self.listeners.iter().map(|listener| listener.fd.as_fd()).zip(WORKER_FD_FIRST..).collect();
        if let Some((_, theirs)) = &connection {
            descriptors.push((theirs.as_fd(), self.worker_connection_fd()));
        }
        let request = SpawnRequest {
            path: &release.path,
            argv: &release.argv,
            env: &self.environment(release, index),
            own_pid_variable: None,
            directory: None,
            descriptors: &descriptors,
            birth: &self.birth,
            umask: None,
            nice: self.config.nice.worker,
            limits: &[],
            identity: None,
            parent_death: self.config.kill_children_on_exit.then_some(self.pool.settings().graceful),
        };
        let spawned = process::spawn(&request)?;
        let argv: Vec<_> = release.argv.iter().map(|word| word.to_string_lossy()).collect();
        logging::log_for_worker(spawned.pid, &format!("About to exec {argv:?}"));
        Ok((spawned, connection.map(|(ours, _)| ours)))
    }

    /// A connection of the worker's own to the control socket (`-g`): our end, and its end.
    fn worker_connection(&self) -> Result<(OwnedFd, OwnedFd), Errno> {
        let (ours, theirs) = socket::socket_pair()?;
        fd::set_blocking(ours.as_fd(), fd::Blocking::NonBlocking)?;
        let lifted = fd::lift(theirs, self.worker_connection_fd() + 1);
        let theirs = lifted.map_err(|error| error.raw_os_error().map_or(Errno::EMFILE, Errno::from_raw))?;
        Ok((ours, theirs))
    }

    /// Behind the listening sockets.
    fn worker_connection_fd(&self) -> RawFd {
        WORKER_FD_FIRST + RawFd::try_from(self.listeners.len()).unwrap_or(RawFd::MAX / 2)
    }

    fn environment(&self, release: &Release, index: WorkerIndex) -> environment::Environment {
        let families = self.listeners.iter().map(|listener| match &listener.address {
            LocalAddress::Inet(address) if address.is_ipv6() => Family::Inet6,
            LocalAddress::Inet(_) => Family::Inet,
            LocalAddress::Unix(_) | LocalAddress::Other => Family::Unix,
        });
        let listeners: Vec<(RawFd, Family)> = (WORKER_FD_FIRST..).zip(families).collect();
        let facts = Facts {
            master: Pid(std::process::id().try_into().unwrap_or(i32::MAX)),
            socket_path: self.files.socket_path(),
            socket_fd: self.config.socket_as_fd.then(|| self.worker_connection_fd()),
            listeners: &listeners,
            index,
        };
        environment::of_worker(&release.environment, &facts)
    }
}
