//! The relay (`capture::relay`), from the master's side: started when the first worker's output is captured, and again when it has ended
//! though it should not have. It is a child that is no worker: the pool does not know of it.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::base::{Pid, Signal};
use crate::capture::relay::CONNECTION_FD;
use crate::release::environment::inherited;
use crate::supervisor::master::{Relay, Supervisor};
use crate::supervisor::process::own_pid;
use crate::sys::errno::{errno_of, words};
use crate::sys::prepared_exec::SpawnRequest;
use crate::sys::{clock, fd, process, procfs, signal, socket, wait};

/// How much time is between two starts, at least.
const START_PAUSE: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Starts it if there is none. Without one the output is captured all the same.
    pub(crate) fn start_relay(&mut self) {
        let now = clock::now();
        let relay = &mut self.children.relay;
        if relay.pid.is_some() || relay.tried_at.is_some_and(|tried_at| now.since(tried_at) < START_PAUSE) {
            return;
        }
        relay.tried_at = Some(now);
        match self.spawn_relay() {
            Ok((pid, connection)) => {
                self.children.relay.pid = Some(pid);
                self.threads.output.set_relay(Some(connection));
                self.threads.reaper.resume();
            }
            Err(errno) => log::warn!(
                "cannot start the process that reads the output of workers if the master is killed: {}",
                words(errno)
            ),
        }
    }

    /// After an update, a relay that an image before has started runs the file of before, and would do so for as long as the master lives:
    /// one of this image takes its place.
    pub(crate) fn renew_relay(&mut self) {
        let Some(old) = self.children.relay.pid else { return };
        let (theirs, ours) = (procfs::program(old), procfs::program(own_pid()));
        if theirs.is_none() || ours.is_none() || theirs == ours {
            return;
        }
        self.children.relay.pid = None;
        self.start_relay();
        match self.children.relay.pid {
            // It goes on until there is another.
            None => self.children.relay.pid = Some(old),
            Some(_) => {
                self.children.relay.former = Some(old);
                let _gone_already = signal::send(old, Signal::KILL);
            }
        }
    }

    fn spawn_relay(&self) -> Result<(Pid, OwnedFd), Errno> {
        let (ours, theirs) = socket::socket_pair()?;
        let lift = |fd| fd::lift(fd, CONNECTION_FD + 1).map_err(|error| errno_of(&error));
        let (ours, theirs) = (lift(ours)?, lift(theirs)?);
        let pid = self.spawn_itself(&["--relay"], &[(theirs.as_fd(), CONNECTION_FD)])?;
        Ok((pid, ours))
    }

    /// A child that is this program, with these words, and has these descriptors by these numbers. Each is open by a higher number than those.
    pub(crate) fn spawn_itself(&self, words: &[&str], descriptors: &[(BorrowedFd<'_>, RawFd)]) -> Result<Pid, Errno> {
        let image = self.reexec.image().ok_or(Errno::ENOENT)?;
        let above = descriptors.iter().map(|(_, number)| number + 1).max().unwrap_or_default();
        let file = fd::duplicate_above(image.as_fd(), above)?;
        let argv: Vec<OsString> = ["einhyrningsins"].iter().chain(words).map(OsString::from).collect();
        let spawned = process::spawn(&SpawnRequest {
            path: image.path(),
            file: Some(file.as_fd()),
            argv: &argv,
            // Nothing in it that a worker has: a master that finds no document would take it for one.
            env: &inherited(&self.facts.call.environ, &[]),
            own_pid_variable: None,
            // It keeps no file system busy.
            directory: Some(Path::new("/")),
            descriptors,
            birth: &self.facts.birth,
            umask: None,
            nice: self.config().nice.master,
            cpus: None,
            limits: &[],
            identity: None,
            parent_death: None,
        })?;
        Ok(spawned.pid)
    }

    pub(crate) fn is_relay(&self, pid: Pid) -> bool {
        [self.children.relay.pid, self.children.relay.former].contains(&Some(pid))
    }

    /// It has ended, which it should not have unless it was killed here.
    pub(crate) fn on_relay_ended(&mut self, pid: Pid) {
        let _reaped = wait::reap(pid);
        if self.children.relay.former.take_if(|former| *former == pid).is_some() {
            return;
        }
        log::warn!("Process {pid}, which reads the output of workers if the master is killed, has ended");
        self.children.relay.pid = None;
        self.threads.output.set_relay(None);
        if self.threads.output.is_open() {
            self.start_relay();
        }
    }

    /// At the end: what workers have written is in the log. The relay goes on with what processes of theirs write that live on, and ends
    /// here if there are none.
    pub(crate) fn end_output(&mut self) {
        self.threads.output.finish();
        let is_open = self.threads.output.is_open();
        self.threads.output.end();
        let Relay { pid, former, .. } = std::mem::take(&mut self.children.relay);
        for pid in former.into_iter().chain(pid.filter(|_| !is_open)) {
            let _gone_already = signal::send(pid, Signal::KILL);
            let _reaped = wait::reap_killed(pid);
        }
    }
}
