//! All that the main thread holds while it supervises. What it does with it is in the other files of the room.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::{Mono, Pid, Signal};
use crate::capture::output::Output;
use crate::config::Config;
use crate::control::Control;
use crate::handover::held::Facts;
use crate::logging;
use crate::output::systemd::ServiceManager;
use crate::output::view::View;
use crate::pool::{Action, ExitReason, Pool};
use crate::release::exec_spec::Sockets;
use crate::release::listeners::Listener;
use crate::release::prepare::Found;
use crate::supervisor::adopted::Adopted;
use crate::supervisor::denials::DenialLog;
use crate::supervisor::files::Files;
use crate::supervisor::journal::JournalFile;
use crate::supervisor::loaders::Loaders;
use crate::supervisor::memory::Memory;
use crate::supervisor::next_image::Reexec;
use crate::supervisor::queue_watch::QueueWatch;
use crate::supervisor::recheck::PollBackoff;
use crate::supervisor::running_check::RunningCheck;
use crate::supervisor::undelivered::{Addressee, Undelivered};
use crate::sys::exec_pipe::ExecPipe;
use crate::sys::file_id::FileId;
use crate::sys::title::Title;
use crate::threads::Input;
use crate::threads::crew::Crew;
use crate::threads::jobs::Jobs;
use crate::threads::reaper::Reaper;
use crate::threads::signals::SignalThread;
use crate::trace::Trace;
use crossbeam_channel::Receiver;

/// Everything that the main thread holds while it supervises.
pub(crate) struct Supervisor {
    pub(crate) pool: Pool,
    /// What it goes by beside; it is handed on as it is.
    pub(crate) facts: Facts,
    pub(crate) sockets: Sockets,
    /// The files that the control thread watches for us; of a socket with which one it was.
    pub(crate) watched: Vec<(PathBuf, Option<FileId>)>,
    pub(crate) children: Children,
    pub(crate) threads: Threads,
    pub(crate) files: Files,
    pub(crate) journal: JournalFile,
    pub(crate) reexec: Reexec,
    pub(crate) memory: Memory,
    pub(crate) denials: DenialLog,
    pub(crate) service_manager: ServiceManager,
    pub(crate) trace: Trace,
    /// None where there is no room for one.
    pub(crate) title: Option<Title>,
    /// Reused from event to event.
    pub(crate) actions: Vec<Action>,
}

/// What the main thread looks after of its children, beside what the pool decides.
pub(crate) struct Children {
    /// Those of which it is not known yet whether they became their program.
    pub(crate) exec_pipes: Vec<(Pid, ExecPipe)>,
    /// What forks the workers of versions that are preloaded.
    pub(crate) loaders: Loaders,
    /// Signals that could not be sent, and are sent again.
    pub(crate) undelivered: Undelivered,
    /// The check of an upgrade.
    pub(crate) check: Option<RunningCheck>,
    /// Whether a next master needs a holder of the sockets (`handover::holder`).
    pub(crate) needs_holder: bool,
    /// When a start of it was tried last.
    pub(crate) holder_tried_at: Option<Mono>,
    /// The process that holds the pipes of the workers' output, too.
    pub(crate) relay: Relay,
    /// Whether a version on trial takes the connections that come.
    pub(crate) queues: QueueWatch,
    /// Workers that are no children.
    pub(crate) adopted: Adopted,
    /// The descendants that workers had when they were told something.
    pub(crate) descendants: Vec<Descendant>,
    /// Ended not long ago, of a release that may not stop the master.
    pub(crate) unheard: Vec<Unheard>,
    /// The worker that has the terminal (`--foreground`).
    pub(crate) terminal_of: Option<Pid>,
    /// How often the master was sent INT after it had been told to end.
    pub(crate) late_interrupts: u32,
    /// When to look again at what sends no event: the exec pipes, and groups that outlived their leader.
    pub(crate) recheck: PollBackoff,
}

/// A process that descended from a worker.
pub(crate) struct Descendant {
    pub(crate) worker: Pid,
    pub(crate) pid: Pid,
    pub(crate) began: Option<u64>,
}

/// A child that has ended, whose signals to the master are not obeyed if they are read only now.
pub(crate) struct Unheard {
    pub(crate) process: Descendant,
    pub(crate) until: Mono,
}

/// What is known of the process that holds the pipes of the workers' output.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    pub(crate) pid: Option<Pid>,
    /// One whose place it has taken, and which was killed.
    pub(crate) former: Option<Pid>,
    /// When a start of it was tried last.
    pub(crate) tried_at: Option<Mono>,
}

/// The threads, and where they report.
pub(crate) struct Threads {
    pub(crate) inbox: Receiver<Input>,
    pub(crate) crew: Crew,
    pub(crate) signals: SignalThread,
    pub(crate) reaper: Reaper,
    pub(crate) jobs: Jobs<Found>,
    pub(crate) control: Control,
    pub(crate) output: Output,
}

/// Whether the master goes on after an input, or ends, and why.
pub(crate) type Turn = ControlFlow<ExitReason>;

impl Children {
    /// Sends it, now or later.
    pub(crate) fn send(&mut self, to: Addressee, signal: Signal) {
        self.undelivered.send(&self.adopted, to, signal);
    }
}

impl Supervisor {
    /// As it counts: what commands have changed is in it.
    pub(crate) fn config(&self) -> &Config {
        self.facts.config()
    }

    /// The sockets of the workers that are launched now, in the order of the `-b` options.
    pub(crate) fn modern_listeners(&self) -> &[Arc<Listener>] {
        self.sockets.releases.get(&self.pool.modern()).map_or(&[], |release| release.listeners.as_slice())
    }

    /// As it is shown.
    pub(crate) fn view(&self) -> View<'_> {
        View {
            config: self.config(),
            pool: &self.pool,
            program: self
                .sockets
                .releases
                .get(&self.pool.modern())
                .and_then(|release| release.exec_spec.found.as_deref()),
            listeners: self.modern_listeners(),
            generation: self.reexec.generation(),
            counters: &self.facts.counters,
            history: &self.facts.history,
            is_preloaded: self.children.loaders.is_loaded(self.pool.modern()),
            dropped_lines: logging::dropped_lines(),
        }
    }
}
