//! A document as a picture of the pool that it was written of (`from_pool` writes it); what Ruby wrote is for
//! `to_pool_from_ruby`. It refuses what no pool can be, and names the field; it decides nothing about workers.

use std::collections::BTreeMap;

use crate::handoff::einhorn::{Child, Children, State};
use crate::handoff::error::Fault;
use crate::handoff::{Document, HandoffError, OURS, Wall, ours, to_pool_from_ruby};
use crate::pool::{
    Backoff, Farewell, Mono, Pid, Ping, Preparing, Remnant, Settings, Snapshot, Stopping, Upgrade, Version, Worker,
    WorkerIndex,
};

/// What a document leaves open, and its reader knows.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    pub now: Mono,
    /// What a moment of the wall clock is by ours. One that would lie ahead is taken to be now.
    pub mono: &'a dyn Fn(Wall) -> Mono,
    /// For a Ruby that was given no limit of its own; at least 1.
    pub max_unacked: u32,
}

impl Reader<'_> {
    pub(in crate::handoff) fn moment(&self, wall: Wall) -> Mono {
        (self.mono)(wall).min(self.now)
    }

    /// When a child was launched: as it is known, or not before the last launch.
    pub(in crate::handoff) fn spinup(&self, state: &State, child: &Child) -> Mono {
        let known = child.spinup_time.or(state.last_spinup);
        known.map_or(self.now, |wall| self.moment(wall))
    }
}

impl Document {
    /// The pool that was handed on; from what Ruby wrote, the pool that can best go on from there.
    ///
    /// Errors: a field that fits its type and no pool.
    pub fn pool(&self, reader: Reader<'_>) -> Result<Snapshot, HandoffError> {
        let snapshot = match &self.ours {
            Some(ours) => snapshot(ours, &self.state, &reader),
            None => to_pool_from_ruby::snapshot(&self.state, &self.descriptors, &reader),
        };
        Ok(snapshot?)
    }
}

fn snapshot(section: &ours::Section, state: &State, reader: &Reader<'_>) -> Result<Snapshot, Fault> {
    let ours::Pool {
        modern,
        good,
        newest,
        preparing,
        upgrade,
        stopping,
        launch_at_once,
        backoff,
        last_spinup,
        last_upgraded,
        last_style,
        last_linger_note,
        ever_acked,
    } = section.pool;
    check_versions(&state.children, newest)?;
    for (key, version) in [("modern", modern), ("good", good)] {
        above(version, newest).map_err(|fault| fault.within(key).within("pool").within(format!(":{OURS}")))?;
    }
    let settings = settings(&section.settings);
    Ok(Snapshot {
        settings,
        fallback: section.fallback_settings.as_ref().map_or(settings, self::settings),
        workers: workers(section, state, reader)?,
        remnants: section.remnants.iter().map(remnant).collect(),
        launch_at_once,
        modern,
        good,
        newest,
        preparing: preparing.map(self::preparing),
        upgrade: upgrade.map(|ours::Upgrade { style, failures }| Upgrade { style, failures }),
        stopping: stopping.map(self::stopping),
        backoff: self::backoff(backoff),
        last_spinup,
        last_upgraded,
        last_style,
        last_linger_note,
        ever_acked,
    })
}

/// No child may be of a version that is yet to come: a later one would be given the same.
pub(in crate::handoff) fn check_versions(children: &Children, newest: Version) -> Result<(), Fault> {
    for (pid, child) in &children.workers {
        let checked = above(child.version, newest).map_err(|fault| fault.within(":version"));
        checked.map_err(|fault| fault.within(pid).within(":children").within(":state"))?;
    }
    Ok(())
}

fn above(version: Version, newest: Version) -> Result<(), Fault> {
    if version <= newest {
        return Ok(());
    }
    Err(Fault::new(format!("need a version up to {newest}, found {version}")))
}

/// The index of each child, in their order: its own, or the lowest that nobody has.
pub(in crate::handoff) fn indices(children: &Children) -> Vec<WorkerIndex> {
    let mut held: Vec<WorkerIndex> = children.workers.iter().filter_map(|(_, child)| child.index).collect();
    held.sort_unstable();
    let mut free = (0..).map(WorkerIndex).filter(|index| held.binary_search(index).is_err());
    let mut next = || free.next().unwrap_or(WorkerIndex(u32::MAX));
    children.workers.iter().map(|(_, child)| child.index.unwrap_or_else(&mut next)).collect()
}

/// Each child of einhorn's part, with what ours has beside it: the two list the same.
fn workers(section: &ours::Section, state: &State, reader: &Reader<'_>) -> Result<Vec<Worker>, Fault> {
    let mut ours: BTreeMap<Pid, &ours::Worker> = section.workers.iter().map(|worker| (worker.pid, worker)).collect();
    let mut workers = Vec::new();
    for ((pid, child), index) in state.children.workers.iter().zip(indices(&state.children)) {
        let more = ours.remove(pid).ok_or_else(|| lonely(*pid, "this worker of :state: is missing"))?;
        workers.push(worker(state, child, index, more, reader));
    }
    match ours.into_keys().min() {
        Some(pid) => Err(lonely(pid, "this worker is not in :state:")),
        None => Ok(workers),
    }
}

fn lonely(pid: Pid, cause: &str) -> Fault {
    Fault::new(cause).within(pid).within("workers").within(format!(":{OURS}"))
}

fn worker(state: &State, child: &Child, index: WorkerIndex, more: &ours::Worker, reader: &Reader<'_>) -> Worker {
    let ours::Worker {
        pid,
        spawned_at,
        execed,
        acked_at,
        stopped,
        killed,
        written_off,
        told,
        pinged_at,
        graceful,
        exec_pipe: _,
    } = more;
    Worker {
        pid: *pid,
        index,
        version: child.version,
        graceful: *graceful,
        spawned_at: spawned_at.unwrap_or_else(|| reader.spinup(state, child)),
        execed: *execed,
        acked_at: *acked_at,
        stopped: *stopped,
        ping: pinged_at.map(|at| ping(at, child)),
        told: told.clone(),
        killed: *killed,
        written_off: *written_off,
    }
}

pub(in crate::handoff) fn ping(at: Mono, child: &Child) -> Ping {
    let request_id = child.pinged_request_id.as_ref();
    Ping::new(at, request_id.map(|id| id.to_string_lossy().into_owned()).unwrap_or_default())
}

fn remnant(remnant: &ours::Remnant) -> Remnant {
    let ours::Remnant { pid, signal, graceful, since, reaped, kill_at, killed } = *remnant;
    Remnant { pid, signal, graceful, since, reaped, kill_at, killed }
}

fn preparing(preparing: ours::Preparing) -> Preparing {
    let ours::Preparing { version, style, asked_again } = preparing;
    Preparing { version, style: asked_again.unwrap_or(style), asked_again: asked_again.is_some() }
}

fn stopping(stopping: ours::Stopping) -> Stopping {
    let ours::Stopping { signal, grace, reason } = stopping;
    Stopping { farewell: signal.map_or(Farewell::Graceful, Farewell::Signal), grace, reason, concluded: false }
}

fn backoff(backoff: ours::Backoff) -> Backoff {
    let ours::Backoff { unacked_deaths, failed_launches, last_failed_launch, early_deaths, last_early_death } = backoff;
    Backoff { unacked_deaths, failed_launches, last_failed_launch, early_deaths, last_early_death }
}

fn settings(settings: &ours::Settings) -> Settings {
    let ours::Settings {
        target,
        ack,
        ack_timeout,
        spacing_s,
        max_unacked,
        max_upgrade_additional,
        signal_timeout,
        graceful,
        retries,
    } = *settings;
    Settings {
        target,
        ack,
        ack_timeout,
        spacing_s,
        max_unacked,
        max_upgrade_additional,
        signal_timeout,
        graceful,
        retries,
    }
}
