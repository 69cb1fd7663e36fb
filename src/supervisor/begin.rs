//! The one way in which a supervisor begins, whether this is a first image or a later one: a cold start is a resume of nothing. All
//! that it owns is open by then; what is made here are the threads, and what each image has anew.

use std::os::fd::OwnedFd;

use crossbeam_channel::{Receiver, bounded};

use crate::base::Pid;
use crate::pool::{Pool, State};
use crate::supervisor::event_loop::Children;
use crate::supervisor::files::Files;
use crate::supervisor::held::Facts;
use crate::supervisor::memory::Memory;
use crate::supervisor::recheck::Recheck;
use crate::supervisor::reexec::Reexec;
use crate::supervisor::release::Sockets;
use crate::supervisor::reload::Preparation;
use crate::supervisor::reply::Denials;
use crate::supervisor::service_manager::{Remembered, ServiceManager};
use crate::supervisor::{Supervisor, signals, startup};
use crate::sys::exec_pipe::ExecPipe;
use crate::sys::title::Title;
use crate::threads::control::Control;
use crate::threads::control_handover::Clients;
use crate::threads::crew::Crew;
use crate::threads::reaper::Reaper;
use crate::threads::signals::SignalThread;
use crate::threads::socket_file::SocketFile;
use crate::threads::{self, INBOX_MAX, Input, control, errand, reaper};

/// What every image has when it begins.
pub(in crate::supervisor) struct Beginning {
    pub(in crate::supervisor) pool: State,
    pub(in crate::supervisor) facts: Facts,
    pub(in crate::supervisor) title: Option<Title>,
    pub(in crate::supervisor) reexec: Reexec,
    pub(in crate::supervisor) files: Files,
    pub(in crate::supervisor) socket: SocketFile,
    pub(in crate::supervisor) sockets: Sockets,
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

/// The threads that watch, and where they report. The one that runs errands belongs to [`Preparation`].
pub(in crate::supervisor) struct Threads {
    pub(in crate::supervisor) inbox: Receiver<Input>,
    pub(in crate::supervisor) crew: Crew,
    pub(in crate::supervisor) signals: SignalThread,
    pub(in crate::supervisor) reaper: Reaper,
    pub(in crate::supervisor) control: Control,
}

impl Supervisor {
    /// # Errors
    /// A thread cannot be started, and the main thread does not stand in for it.
    pub(in crate::supervisor) fn begin(beginning: Beginning, mut crew: Crew) -> Result<Self, String> {
        let Beginning { pool, facts, title, reexec, files, socket, sockets, inherited } = beginning;
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
            sockets,
            children: Children { exec_pipes, undelivered: Vec::new(), recheck: Recheck::default() },
            preparation: Preparation::by(errands),
            threads: Threads { inbox, crew, signals, reaper, control },
            files,
            reexec,
            memory: Memory::at_the_start(),
            denials: Denials::default(),
            service_manager,
            title,
            actions: Vec::new(),
        })
    }
}
