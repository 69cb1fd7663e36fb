//! The one way in which a supervisor begins, whether this is a first image or a later one: a cold start is a resume of nothing. All
//! that it owns is open by then; what is made here are the threads, and what each image has anew.

use std::os::fd::OwnedFd;

use crossbeam_channel::bounded;

use crate::base::Pid;
use crate::capture::output::{Carried, Output};
use crate::control;
use crate::control::handover::Clients;
use crate::control::socket_file::SocketFile;
use crate::handover::held::Facts;
use crate::output::systemd::{Remembered, ServiceManager};
use crate::pool::{Pool, State};
use crate::release::exec_spec::Sockets;
use crate::supervisor::adopted::Adopted;
use crate::supervisor::denials::DenialLog;
use crate::supervisor::files::Files;
use crate::supervisor::journal::JournalFile;
use crate::supervisor::loaders::Loaders;
use crate::supervisor::master::{Children, Relay, Supervisor, Threads};
use crate::supervisor::memory::Memory;
use crate::supervisor::next_image::Reexec;
use crate::supervisor::queue_watch::QueueWatch;
use crate::supervisor::recheck::PollBackoff;
use crate::supervisor::undelivered::Undelivered;
use crate::supervisor::{process, signals};
use crate::sys::exec_pipe::ExecPipe;
use crate::sys::meeting_point;
use crate::sys::title::Title;
use crate::sys::wait;
use crate::threads;
use crate::threads::crew::Crew;
use crate::threads::{INBOX_MAX, jobs, reaper};
use crate::trace::Trace;

/// What every image has when it begins.
pub(crate) struct Beginning {
    pub(crate) pool: State,
    pub(crate) facts: Facts,
    pub(crate) title: Option<Title>,
    pub(crate) reexec: Reexec,
    pub(crate) files: Files,
    pub(crate) socket: SocketFile,
    pub(crate) sockets: Sockets,
    pub(crate) inherited: Inherited,
}

/// What only an image has that another one has become; the first has nothing of it.
#[derive(Default)]
pub(crate) struct Inherited {
    pub(crate) clients: Clients<OwnedFd>,
    /// Children of which it is not known yet whether they became their program.
    pub(crate) exec_pipes: Vec<(Pid, ExecPipe)>,
    pub(crate) loaders: Loaders,
    /// What workers have written, and write to.
    pub(crate) output: Carried<OwnedFd>,
    /// What the service manager was told.
    pub(crate) service: Remembered,
}

impl Supervisor {
    /// # Errors
    /// A thread cannot be started, and the main thread does not stand in for it.
    pub(crate) fn begin(beginning: Beginning, mut crew: Crew) -> Result<Self, String> {
        let Beginning { pool, facts, title, reexec, files, socket, sockets, inherited } = beginning;
        let Inherited { clients, exec_pipes, loaders, output, service } = inherited;
        // One that another program has reaped meanwhile has ended, and its pid may be a stranger's.
        let relay = output.relay.as_ref().map(|relay| relay.pid).filter(|pid| wait::is_child(*pid));
        let relay = Relay { pid: relay, ..Relay::default() };
        let (sender, inbox) = bounded(INBOX_MAX);
        let said = |error: std::io::Error| format!("cannot start a thread: {error}");
        let signals = threads::signals::start(signals::HEARD, sender.clone(), &mut crew).map_err(said)?;
        let reaper = reaper::start(sender.clone(), &mut crew).map_err(said)?;
        let jobs = jobs::start(sender.clone(), &mut crew).map_err(said)?;
        let adopted = Adopted::of(&facts.adopted);
        threads::adopted::start(adopted.watches(), sender.clone(), &mut crew).map_err(said)?;
        let output = Output::start(output, &mut crew).map_err(said)?;
        // Last, for this thread makes the socket's file anew when a start that fails removes it.
        let policy = facts.reload.in_force().access_control.policy();
        let control = control::start(socket, clients, policy, sender, &mut crew).map_err(said)?;
        let mut trace = Trace::default();
        trace.follow(facts.config().trace.as_deref(), facts.lost_trace_lines, &mut crew).map_err(said)?;
        crew.allow_missing();
        let lock = files.lock().filter(|_| facts.config().adopts());
        let journal = lock.map(|lock| JournalFile::beside(lock.path())).unwrap_or_default();
        sockets.bound_files.own_adopted();
        let service_manager = ServiceManager::of(&facts.call.environ, process::own_pid(), service);
        let needs_holder = facts.config().adopts() && !service_manager.keeps_sockets() && meeting_point::is_needed();
        Ok(Self {
            pool: Pool::restore(pool),
            facts,
            sockets,
            watched: Vec::new(),
            children: Children {
                exec_pipes,
                loaders,
                undelivered: Undelivered::default(),
                check: None,
                queues: QueueWatch::default(),
                needs_holder,
                holder_tried_at: None,
                relay,
                adopted,
                descendants: Vec::new(),
                unheard: Vec::new(),
                terminal_of: None,
                late_interrupts: 0,
                recheck: PollBackoff::default(),
            },
            threads: Threads { inbox, crew, signals, reaper, jobs, control, output },
            files,
            journal,
            reexec,
            memory: Memory::at_the_start(),
            denials: DenialLog::default(),
            service_manager,
            trace,
            title,
            actions: Vec::new(),
        })
    }
}
