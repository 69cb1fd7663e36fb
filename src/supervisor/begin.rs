//! The one way in which a supervisor begins, whether this is a first image or a later one: a cold start is a resume of nothing. All
//! that it owns is open by then; what is made here are the threads, and what each image has anew.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_channel::bounded;

use crate::pool::{Pid, Pool, State, Version};
use crate::supervisor::bound_files::BoundFiles;
use crate::supervisor::files::Files;
use crate::supervisor::held::Facts;
use crate::supervisor::listeners::Listener;
use crate::supervisor::memory::Memory;
use crate::supervisor::recheck::Recheck;
use crate::supervisor::reexec::Reexec;
use crate::supervisor::release::Release;
use crate::supervisor::reload::Purposes;
use crate::supervisor::reply::Denials;
use crate::supervisor::service_manager::{Remembered, ServiceManager};
use crate::supervisor::{Supervisor, signals, startup};
use crate::sys::exec_pipe::ExecPipe;
use crate::sys::title::Title;
use crate::threads::control_handover::Clients;
use crate::threads::crew::Crew;
use crate::threads::socket_file::SocketFile;
use crate::threads::{self, INBOX_MAX, control, errand, reaper};

/// What every image has when it begins.
pub(in crate::supervisor) struct Beginning {
    pub(in crate::supervisor) pool: State,
    pub(in crate::supervisor) facts: Facts,
    pub(in crate::supervisor) title: Option<Title>,
    pub(in crate::supervisor) reexec: Reexec,
    pub(in crate::supervisor) files: Files,
    pub(in crate::supervisor) socket: SocketFile,
    pub(in crate::supervisor) bound_files: BoundFiles,
    /// Of all versions.
    pub(in crate::supervisor) listeners: Vec<Arc<Listener>>,
    pub(in crate::supervisor) releases: BTreeMap<Version, Release>,
    pub(in crate::supervisor) inherited: Inherited,
}

/// What only an image has that another one has become; the first has nothing of it.
#[derive(Default)]
pub(in crate::supervisor) struct Inherited {
    pub(in crate::supervisor) clients: Clients<OwnedFd>,
    /// Children of which it is not known yet whether they became their program.
    pub(in crate::supervisor) exec_pipes: Vec<(Pid, ExecPipe)>,
    /// What the service manager was told.
    pub(in crate::supervisor) service: Remembered,
}

impl Supervisor {
    /// # Errors
    /// A thread cannot be started, and the main thread does not stand in for it.
    pub(in crate::supervisor) fn begin(beginning: Beginning, mut crew: Crew) -> Result<Self, String> {
        let Beginning { pool, facts, title, reexec, files, socket, bound_files, listeners, releases, inherited } =
            beginning;
        let Inherited { clients, exec_pipes, service } = inherited;
        let (sender, inbox) = bounded(INBOX_MAX);
        let said = |error: std::io::Error| format!("cannot start a thread: {error}");
        let signals = threads::signals::start(signals::HEARD, sender.clone(), &mut crew).map_err(said)?;
        let reaper = reaper::start(sender.clone(), &mut crew).map_err(said)?;
        let errands = errand::start(sender.clone(), &mut crew).map_err(said)?;
        // Last, for this thread makes the socket's file anew when a start that fails removes it.
        let policy = facts.settled.admittance.policy();
        let control = control::start(socket, clients, policy, sender, &mut crew).map_err(said)?;
        crew.be_content();
        let service_manager = ServiceManager::of(&facts.call.environ, startup::own_pid(), service);
        Ok(Self {
            pool: Pool::restore(pool),
            facts,
            coming: None,
            title,
            releases,
            listeners,
            bound_files,
            exec_pipes,
            recheck: Recheck::default(),
            inbox,
            crew,
            signals,
            reaper,
            control,
            errands,
            purposes: Purposes::new(),
            errand_note_due: None,
            files,
            actions: Vec::new(),
            denials: Denials::default(),
            reexec,
            memory: Memory::at_the_start(),
            undelivered: Vec::new(),
            service_manager,
        })
    }
}
