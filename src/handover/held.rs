//! All that a master holds, as the next image gets it: each name here is a key in the handoff. A field has been there since format
//! 2, or has `#[serde(default)]`, so that every document loads for ever; a renamed field, or one with another meaning, is a new
//! format (`handoff::ours`).
//!
//! Descriptors stand here by their numbers: nothing is opened or closed by reading a document, so that the image before can still
//! be gone back to.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Mono, Pid, Signal, Version, wire};
use crate::capture::output::Carried;
use crate::config::{Bind, Config};
use crate::control::handover::Clients;
use crate::handoff::{Fd, Ours, check_ids};
use crate::handover::process::Process;
use crate::machines::reload::Reload;
use crate::output::complaints::Complaints;
use crate::output::counters::Counters;
use crate::output::history::History;
use crate::output::systemd::Remembered;
use crate::pool::State;
use crate::protocol::Asking;
use crate::release::bound_files::BoundFile;
use crate::release::call::Call;
use crate::release::exec_spec::ExecSpec;
use crate::release::prepare::AppliedConfig;
use crate::release::socket_options::SocketOptions;
use crate::sys::birth::Birth;
use crate::sys::file_id::FileId;

/// The event of an upgrade, which clients wait for.
pub(crate) const UPGRADE: &str = "upgrade";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) pool: State,
    pub(crate) facts: Facts,
    pub(crate) service: Remembered,
    /// The path under which the program is looked for when it is replaced. None: it is not known.
    #[serde(default, with = "wire")]
    pub(crate) image: Option<PathBuf>,
    /// How often the master has replaced its program.
    pub(crate) generation: u64,
    /// Lines of the log that were not read in time.
    pub(crate) lost_lines: u64,
    pub(crate) open: Open,
    /// The check of an upgrade that runs. The next image ends it, and begins another one.
    #[serde(default)]
    pub(crate) check: Option<Pid>,
}

/// What the supervisor itself goes by, beside pool and descriptors. It has this as it stands here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Which configuration is in force, and which is to be gone back to.
    #[serde(flatten)]
    pub(crate) reload: Reload<AppliedConfig, Asking>,
    pub(crate) call: Call,
    pub(crate) birth: Birth,
    pub(crate) counters: Counters,
    /// Which releases there were, and how they fared.
    #[serde(default)]
    pub(crate) history: History,
    /// Workers of a master that was killed.
    #[serde(default)]
    pub(crate) adopted: Vec<Process>,
    /// The process that has the listening sockets, too.
    #[serde(default)]
    pub(crate) holder: Option<Holder>,
    /// The last panic of the main thread.
    #[serde(default)]
    pub(crate) last_crash: Option<Crash>,
    /// Lines that are missing in the trace, and of which no line of it tells yet.
    #[serde(default)]
    pub(crate) lost_trace_lines: u64,
    /// What was said of files that are not as they should be.
    #[serde(default)]
    pub(crate) complaints: Complaints,
    /// Whether these have heard it is still to be seen.
    #[serde(default)]
    pub(crate) hardly_told: Vec<HardlyTold>,
}

/// A worker that was told to go a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HardlyTold {
    pub(crate) worker: Pid,
    pub(crate) signal: Signal,
    /// When to look.
    pub(crate) due: Mono,
}

/// Every descriptor that is handed on, and what belongs to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Open {
    /// Of all versions.
    pub(crate) listeners: Vec<OpenListener>,
    pub(crate) releases: Vec<OpenRelease>,
    /// Places of those that a killed master has left and no release has.
    #[serde(default)]
    pub(crate) left: Vec<usize>,
    /// Our ends of the pipes that tell how the exec of a worker went.
    pub(crate) exec_pipes: Vec<(Pid, Fd)>,
    /// What forks the workers of versions that are preloaded.
    #[serde(default)]
    pub(crate) loaders: Vec<OpenLoader>,
    /// None only in a copy that is to be checked.
    pub(crate) control: Option<OpenControl>,
    pub(crate) lock: Option<OpenFile>,
    pub(crate) pid_file: Option<OpenFile>,
    /// What workers have written, and the pipes that they write to.
    #[serde(default)]
    pub(crate) output: Carried<Fd>,
    /// The program that wrote the document. One that cannot read the document has the number from elsewhere.
    pub(crate) old_image: Option<Fd>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenListener {
    pub(crate) fd: Fd,
    /// As it was asked for first.
    pub(crate) bind: Bind,
    /// A unix socket's file, to be removed at the end.
    pub(crate) file: Option<NamedFile>,
    /// What a bind has made of it since. None: what `bind` says.
    pub(crate) options: Option<SocketOptions>,
    /// The inode of the socket, where a stop has closed it: the descriptor leads to /dev/null.
    #[serde(default)]
    pub(crate) closed: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenRelease {
    pub(crate) version: Version,
    pub(crate) exec_spec: ExecSpec,
    /// Places in [`Open::listeners`], from 0, in the order of the `-b` options.
    pub(crate) listeners: Vec<usize>,
}

/// The loader of a version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenLoader {
    pub(crate) version: Version,
    /// None: its program could not be loaded, and its workers are executed.
    pub(crate) process: Option<OpenProcess>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenProcess {
    pub(crate) pid: Pid,
    /// Its socket.
    pub(crate) fd: Fd,
    pub(crate) stage: LoaderStage,
    /// How many loaders of this version have ended before, since the last that has forked a worker.
    pub(crate) failures: u32,
    /// What its workers find as their arguments.
    #[serde(with = "wire")]
    pub(crate) worker_argv: Vec<OsString>,
}

/// How far a loader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoaderStage {
    Loading { until: Mono },
    Ready,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenControl {
    pub(crate) listener: Fd,
    pub(crate) file: NamedFile,
    pub(crate) clients: Clients<Fd>,
}

/// A file that is held open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OpenFile {
    pub(crate) fd: Fd,
    #[serde(with = "wire")]
    pub(crate) path: PathBuf,
}

/// A file, and which one it was when it was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NamedFile {
    #[serde(with = "wire")]
    pub(crate) path: PathBuf,
    pub(crate) id: FileId,
}

impl Held {
    /// # Errors
    /// It is not what a master can hold, in a sentence.
    pub(crate) fn read(ours: &Ours) -> Result<Self, String> {
        let mut held: Self = ours.read().map_err(|error| error.to_string())?;
        held.facts.reload.resumed(held.pool.good);
        held.check().map_err(|cause| format!("cannot read the handoff: {cause}"))?;
        Ok(held)
    }

    /// What the types leave open: the next image may own each thing once, and find what it looks for.
    ///
    /// # Errors
    /// What stands under which key that cannot be, as `key: what`.
    fn check(&self) -> Result<(), String> {
        self.pool.check().map_err(|cause| format!("pool: {cause}"))?;
        if self.check.is_some_and(|pid| pid.0 <= 1) {
            return Err("check: it cannot have this pid".to_owned());
        }
        let open = &self.open;
        check_ids("descriptor", open.descriptors())?;
        let connections = open.control.iter().flat_map(|control| &control.clients.connections);
        check_ids("client", connections.map(|connection| (connection.id.0, "connections")))?;
        check_ids("version", open.releases.iter().map(|release| (release.version, "releases")))?;
        let is_lost = |place: &usize| *place >= open.listeners.len();
        if open.left.iter().any(is_lost) {
            return Err("left: a listener is not there".to_owned());
        }
        if open.releases.iter().flat_map(|release| &release.listeners).any(is_lost) {
            return Err("releases: a release has a listener that is not there".to_owned());
        }
        Ok(())
    }
}

/// Panics that are further apart have nothing to do with each other.
const SOON: Duration = Duration::from_secs(60);

/// What was given to the holder (`handover::holder`). None: it could not be started, or has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) process: Option<Process>,
    pub(crate) inodes: Vec<u64>,
}

/// The last panic, as the images after it know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Crash {
    at: Mono,
    /// How many there were, each soon after the one before.
    pub(crate) in_a_row: u32,
}

impl Crash {
    pub(crate) fn after(before: Option<Self>, now: Mono) -> Self {
        let soon = before.filter(|before| now.since(before.at) < SOON);
        Self { at: now, in_a_row: soon.map_or(1, |before| before.in_a_row + 1) }
    }
}

impl Facts {
    /// Those of a master that has just been started.
    pub(crate) fn new(settled: AppliedConfig, call: Call, birth: Birth) -> Self {
        Self {
            reload: Reload::new(settled),
            call,
            birth,
            adopted: Vec::new(),
            holder: None,
            last_crash: None,
            lost_trace_lines: 0,
            counters: Counters::default(),
            history: History::default(),
            complaints: Complaints::default(),
            hardly_told: Vec::new(),
        }
    }

    /// The configuration as it counts: what commands have changed is in it.
    pub(crate) fn config(&self) -> &Config {
        &self.reload.in_force().effective
    }
}

impl Open {
    /// Every number, and the key that it stands under.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (Fd, &'static str)> {
        let connections = self.control.iter().flat_map(|control| &control.clients.connections);
        let connections = connections.map(|connection| (connection.fd, "connections"));
        let files = [(&self.lock, "lock"), (&self.pid_file, "pid_file")].into_iter();
        let files = files.filter_map(|(file, key)| Some((file.as_ref()?.fd, key)));
        let pipes = self.exec_pipes.iter().map(|(_, fd)| (*fd, "exec_pipes"));
        let loaders = self.loaders.iter().filter_map(|loader| Some((loader.process.as_ref()?.fd, "loaders")));
        let output = self.output.descriptors().map(|fd| (*fd, "output"));
        let image = self.old_image.iter().map(|fd| (*fd, "old_image"));
        let closed = self.listeners.iter().filter(|listener| listener.closed.is_some());
        let closed = closed.map(|listener| (listener.fd, "listeners"));
        self.sockets()
            .chain(closed)
            .chain(connections)
            .chain(files)
            .chain(pipes)
            .chain(loaders)
            .chain(output)
            .chain(image)
    }

    /// The numbers at which a socket must listen.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (Fd, &'static str)> {
        let control = self.control.iter().map(|control| (control.listener, "control"));
        let listening = self.listeners.iter().filter(|listener| listener.closed.is_none());
        listening.map(|listener| (listener.fd, "listeners")).chain(control)
    }
}

pub(crate) fn number(open: &impl AsFd) -> Fd {
    Fd(open.as_fd().as_raw_fd())
}

impl From<&BoundFile> for NamedFile {
    fn from((path, id): &BoundFile) -> Self {
        Self { path: path.clone(), id: *id }
    }
}

impl From<NamedFile> for BoundFile {
    fn from(file: NamedFile) -> Self {
        (file.path, file.id)
    }
}

#[cfg(test)]
#[path = "held_tests.rs"]
mod tests;
