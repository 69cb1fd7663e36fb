//! All that the main thread holds while it supervises. What it does with it is in the other files of the room.

use std::sync::Arc;

use crate::config::Config;
use crate::handover::held::Facts;
use crate::output::systemd::ServiceManager;
use crate::output::view::View;
use crate::pool::{Action, Pool};
use crate::release::listeners::Listener;
use crate::release::recipe::Sockets;
use crate::supervisor::begin::Threads;
use crate::supervisor::event_loop::Children;
use crate::supervisor::files::Files;
use crate::supervisor::logging;
use crate::supervisor::memory::Memory;
use crate::supervisor::reexec::Reexec;
use crate::supervisor::reload::Preparation;
use crate::supervisor::reply::Denials;
use crate::sys::title::Title;

/// Everything that the main thread holds while it supervises.
pub(crate) struct Supervisor {
    pub(crate) pool: Pool,
    /// What it goes by beside; it is handed on as it is.
    pub(crate) facts: Facts,
    pub(crate) sockets: Sockets,
    pub(crate) children: Children,
    /// The errands for a version to come.
    pub(crate) preparation: Preparation,
    pub(crate) threads: Threads,
    pub(crate) files: Files,
    pub(crate) reexec: Reexec,
    pub(crate) memory: Memory,
    pub(crate) denials: Denials,
    pub(crate) service_manager: ServiceManager,
    /// None where there is no room for one.
    pub(crate) title: Option<Title>,
    /// Reused from event to event.
    pub(crate) actions: Vec<Action>,
}

impl Supervisor {
    /// As it counts: what commands have changed is in it.
    pub(crate) fn config(&self) -> &Config {
        &self.facts.settled.effective
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
            listeners: self.modern_listeners(),
            generation: self.reexec.generation(),
            counters: &self.facts.counters,
            dropped_lines: logging::dropped_lines(),
        }
    }
}
