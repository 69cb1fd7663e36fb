//! All that a master holds, as the next image gets it: each name here is a key in the handoff. A field has been there since format
//! 2, or has `#[serde(default)]`, so that every document loads for ever; whoever renames one, or gives it another meaning, makes a new
//! format (`handoff::ours`).
//!
//! Descriptors stand here by their numbers: nothing is opened or closed by reading a document, so that the image before can still
//! be gone back to.

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::wire;
use crate::base::{ClientId, Pid, Version};
use crate::config::Bind;
use crate::handoff::{Fd, Ours, distinct};
use crate::pool::State;
use crate::supervisor::bound_files::BoundFile;
use crate::supervisor::listeners::Manner;
use crate::supervisor::prepare::Call;
use crate::supervisor::release::Recipe;
use crate::supervisor::reload::Settled;
use crate::supervisor::service_manager::Remembered;
use crate::supervisor::status::Counters;
use crate::sys::birth::Birth;
use crate::sys::file_id::FileId;
use crate::threads::control_handover::Clients;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::supervisor) struct Held {
    pub(in crate::supervisor) pool: State,
    pub(in crate::supervisor) facts: Facts,
    pub(in crate::supervisor) service: Remembered,
    /// The path under which the program is looked for when it is replaced. None: it is not known.
    #[serde(default, with = "wire")]
    pub(in crate::supervisor) image: Option<PathBuf>,
    /// How often the master has replaced its program.
    pub(in crate::supervisor) generation: u64,
    /// Lines of the log that were not read in time.
    pub(in crate::supervisor) lost_lines: u64,
    pub(in crate::supervisor) open: Open,
}

/// What the supervisor itself goes by, beside pool and descriptors. It has this as it stands here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::supervisor) struct Facts {
    pub(in crate::supervisor) settled: Settled,
    /// What was in force before the upgrade under way, and is again if that is given up.
    pub(in crate::supervisor) fallback: Option<Settled>,
    pub(in crate::supervisor) call: Call,
    pub(in crate::supervisor) birth: Birth,
    /// The clients that asked for an upgrade that has neither begun nor been refused.
    pub(in crate::supervisor) upgrade_askers: Vec<ClientId>,
    pub(in crate::supervisor) counters: Counters,
}

/// Every descriptor that is handed on, and what belongs to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::supervisor) struct Open {
    /// Of all versions.
    pub(in crate::supervisor) listeners: Vec<OpenListener>,
    pub(in crate::supervisor) releases: Vec<OpenRelease>,
    /// Our ends of the pipes that tell how the exec of a worker went.
    pub(in crate::supervisor) exec_pipes: Vec<(Pid, Fd)>,
    /// None only in a copy that is to be checked.
    pub(in crate::supervisor) control: Option<OpenControl>,
    pub(in crate::supervisor) lock: Option<OpenFile>,
    pub(in crate::supervisor) pid_file: Option<OpenFile>,
    /// The program that wrote the document. One that cannot read the document has the number from elsewhere.
    pub(in crate::supervisor) old_image: Option<Fd>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::supervisor) struct OpenListener {
    pub(in crate::supervisor) fd: Fd,
    /// As it was asked for first.
    pub(in crate::supervisor) bind: Bind,
    /// A unix socket's file, to be removed at the end.
    pub(in crate::supervisor) file: Option<NamedFile>,
    /// What a bind has made of it since. None: what `bind` says.
    pub(in crate::supervisor) manner: Option<Manner>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::supervisor) struct OpenRelease {
    pub(in crate::supervisor) version: Version,
    pub(in crate::supervisor) recipe: Recipe,
    /// Places in [`Open::listeners`], from 0, in the order of the `-b` options.
    pub(in crate::supervisor) listeners: Vec<usize>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::supervisor) struct OpenControl {
    pub(in crate::supervisor) listener: Fd,
    pub(in crate::supervisor) file: NamedFile,
    pub(in crate::supervisor) clients: Clients<Fd>,
}

/// A file that is held open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::supervisor) struct OpenFile {
    pub(in crate::supervisor) fd: Fd,
    #[serde(with = "wire")]
    pub(in crate::supervisor) path: PathBuf,
}

/// A file, and which one it was when it was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::supervisor) struct NamedFile {
    #[serde(with = "wire")]
    pub(in crate::supervisor) path: PathBuf,
    pub(in crate::supervisor) id: FileId,
}

impl Held {
    /// # Errors
    /// It is not what a master can hold, in a sentence.
    pub(in crate::supervisor) fn read(ours: &Ours) -> Result<Self, String> {
        let held: Self = ours.read().map_err(|error| error.to_string())?;
        held.check().map_err(|cause| format!("cannot read the handoff: {cause}"))?;
        Ok(held)
    }

    /// What the types leave open: the next image may own each thing once, and find what it looks for.
    ///
    /// # Errors
    /// What stands under which key that cannot be, as `key: what`.
    fn check(&self) -> Result<(), String> {
        self.pool.check().map_err(|cause| format!("pool: {cause}"))?;
        let open = &self.open;
        distinct("descriptor", open.descriptors())?;
        let connections = open.control.iter().flat_map(|control| &control.clients.connections);
        distinct("client", connections.map(|connection| (connection.id.0, "connections")))?;
        distinct("version", open.releases.iter().map(|release| (release.version, "releases")))?;
        let is_lost = |place: &usize| *place >= open.listeners.len();
        if open.releases.iter().flat_map(|release| &release.listeners).any(is_lost) {
            return Err("releases: a release has a listener that is not there".to_owned());
        }
        Ok(())
    }
}

impl Facts {
    /// Those of a master that has just been started.
    pub(in crate::supervisor) fn new(settled: Settled, call: Call, birth: Birth) -> Self {
        let (upgrade_askers, counters) = (Vec::new(), Counters::default());
        Self { settled, fallback: None, call, birth, upgrade_askers, counters }
    }
}

impl Open {
    /// Every number, and the key that it stands under.
    pub(in crate::supervisor) fn descriptors(&self) -> impl Iterator<Item = (Fd, &'static str)> {
        let connections = self.control.iter().flat_map(|control| &control.clients.connections);
        let connections = connections.map(|connection| (connection.fd, "connections"));
        let files = [(&self.lock, "lock"), (&self.pid_file, "pid_file")].into_iter();
        let files = files.filter_map(|(file, key)| Some((file.as_ref()?.fd, key)));
        let pipes = self.exec_pipes.iter().map(|(_, fd)| (*fd, "exec_pipes"));
        let image = self.old_image.iter().map(|fd| (*fd, "old_image"));
        self.sockets().chain(connections).chain(files).chain(pipes).chain(image)
    }

    /// The numbers at which a socket must listen.
    pub(in crate::supervisor) fn sockets(&self) -> impl Iterator<Item = (Fd, &'static str)> {
        let control = self.control.iter().map(|control| (control.listener, "control"));
        self.listeners.iter().map(|listener| (listener.fd, "listeners")).chain(control)
    }
}

pub(in crate::supervisor) fn number(open: &impl AsFd) -> Fd {
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
