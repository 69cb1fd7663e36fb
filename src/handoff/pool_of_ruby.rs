//! The state of a pool from a document of Ruby's einhorn. What the document does not say is what einhorn would do. A worker counts as
//! acked only if einhorn recorded an ack.

use std::time::Duration;

use crate::base::limits::{SECONDS_LEAST, SECONDS_MAX};
use crate::base::{Mono, Pid, Signal, Version, Wall, WorkerIndex};
use crate::handoff::document::Document;
use crate::handoff::einhorn::{AckMode as EinhornAck, AckTimer, Child, Children, Descriptors, State};
use crate::handoff::error::{Fault, HandoffError};
use crate::handoff::field::Number;
use crate::pool::{
    AckMode, Backoff, ExitReason, Ping, Preparing, Settings, State as PoolState, StopSignal, Stopping, Terms, Told,
    Upgrade, UpgradeStyle, Worker, number_slots,
};
use crate::yaml;

/// The signal by which einhorn's workers are told to go.
const GRACEFUL: Signal = Signal::USR2;

/// einhorn takes 0, and kills at once.
const TIMEOUT_LEAST: Duration = Duration::from_secs(1);

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
    fn moment(&self, wall: Wall) -> Mono {
        (self.mono)(wall).min(self.now)
    }

    /// When a child was launched: as it is known, or not before the last launch.
    fn spinup(&self, state: &State, child: &Child) -> Mono {
        let known = child.spinup_time.or(state.last_spinup);
        known.map_or(self.now, |wall| self.moment(wall))
    }
}

impl Document {
    /// The pool that can best go on from what Ruby wrote.
    ///
    /// # Errors
    /// A field that fits its type and no pool.
    pub fn pool_of_ruby(&self, reader: Reader<'_>) -> Result<PoolState, HandoffError> {
        Ok(pool(&self.state, &self.descriptors, &reader)?)
    }
}

fn pool(state: &State, descriptors: &Descriptors, reader: &Reader<'_>) -> Result<PoolState, Fault> {
    let settings = settings(state, reader).map_err(|fault| fault.within(":state"))?;
    check_versions(&state.children, state.version)?;
    let upgrade = state.upgrading && state.respawn;
    let style = if state.smooth_upgrade { UpgradeStyle::Smooth } else { UpgradeStyle::Fleet };
    let mut workers = workers(state, descriptors, &settings, reader);
    number_slots(&mut workers, state.version);
    Ok(PoolState {
        good: if upgrade { good(state) } else { state.version },
        ever_acked: workers.iter().any(Worker::is_acked),
        workers,
        modern: state.version,
        newest: state.version,
        preparing: preparing(state, style),
        upgrade: upgrade.then(|| Upgrade::of_ruby(style)),
        stopping: stopping(state, &settings),
        backoff: Backoff { unacked_deaths: state.consecutive_deaths_before_ack, ..Backoff::default() },
        // Without one, nothing would ever be launched.
        last_spinup: Some(state.last_spinup.map_or(reader.now, |wall| reader.moment(wall))),
        last_upgraded: state.last_upgraded.map(|wall| reader.moment(wall)),
        last_style: (upgrade || state.last_upgraded.is_some()).then_some(style),
        ..PoolState::new(settings)
    })
}

/// No child may be of a version that is yet to come: a later one would be given the same.
fn check_versions(children: &Children, newest: Version) -> Result<(), Fault> {
    for (pid, child) in &children.workers {
        if child.version > newest {
            let fault = Fault::new(format!("need a version up to {newest}, found {}", child.version));
            return Err(fault.within(":version").within(pid).within(":children").within(":state"));
        }
    }
    Ok(())
}

/// The index of each child, in their order: its own, or the lowest free one.
fn indices(children: &Children) -> Vec<WorkerIndex> {
    let mut held: Vec<WorkerIndex> = children.workers.iter().filter_map(|(_, child)| child.index).collect();
    held.sort_unstable();
    let mut free = (0..).map(WorkerIndex).filter(|index| held.binary_search(index).is_err());
    let mut next = || free.next().unwrap_or(WorkerIndex(u32::MAX));
    children.workers.iter().map(|(_, child)| child.index.unwrap_or_else(&mut next)).collect()
}

/// The highest version below the wanted one of which a worker served; without one there is nothing to go back to.
fn good(state: &State) -> Version {
    let served = state.children.workers.iter().filter(|(_, child)| child.acked && child.version < state.version);
    served.map(|(_, child)| child.version).max().unwrap_or(state.version)
}

/// einhorn replaces its program before each upgrade, and starts it afterwards.
fn preparing(state: &State, style: UpgradeStyle) -> Option<Preparing> {
    let version = Version(state.version.0.saturating_add(1));
    (state.reloading_for_upgrade && state.respawn).then_some(Preparing {
        version,
        style,
        terms: Terms::default(),
        asked_again: false,
        dropped: false,
    })
}

/// Ruby has told its clients already.
fn stopping(state: &State, settings: &Settings) -> Option<Stopping> {
    let (stop_signal, grace, reason) = (StopSignal::Graceful, settings.signal_timeout, ExitReason::Stopped);
    (!state.respawn).then_some(Stopping { stop_signal, grace, reason, tell_at: None, term_at: None, concluded: false })
}

fn workers(state: &State, descriptors: &Descriptors, settings: &Settings, reader: &Reader<'_>) -> Vec<Worker> {
    let children = state.children.workers.iter().zip(indices(&state.children));
    let worker = |((pid, child), index): (&(Pid, Child), WorkerIndex)| {
        let timer = descriptors.ack_timers.iter().find(|timer| timer.pid == *pid && !child.acked);
        let spawned_at = timer.and_then(|timer| spawned_before(timer, settings, reader));
        let spawned_at = spawned_at.unwrap_or_else(|| reader.spinup(state, child));
        Worker {
            execed: true,
            // When it was, Ruby does not say: not before the launch.
            acked_at: child.acked.then_some(spawned_at),
            ping: child.pinged_at.map(|at| ping(at, child, reader)),
            told: told(child, settings, reader),
            killed: child.signaled.0.contains(&Signal::KILL),
            ..Worker::new(*pid, index, child.version, GRACEFUL, spawned_at)
        }
    };
    children.map(worker).collect()
}

/// The clocks are read one after the other: the moment would come out a little before or behind itself, were it told from ours.
fn ping(at: Wall, child: &Child, reader: &Reader<'_>) -> Ping {
    let id = &child.pinged_request_id;
    let ping = Ping::new(reader.moment(at), yaml::text(id));
    Ping { is_number: id.is_number(), wall: Some(at), ..ping }
}

/// When a worker must have been launched for our timer to ack it at the moment of Ruby's. They may have been set to
/// different times, so it may lie ahead.
fn spawned_before(timer: &AckTimer, settings: &Settings, reader: &Reader<'_>) -> Option<Mono> {
    let AckMode::Timer(timeout) = settings.ack else { return None };
    let acked_at = reader.moment(timer.start).after(span(timer.time));
    let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    Some(Mono::from_nanos(acked_at.as_nanos().saturating_sub(timeout)))
}

/// Ruby forgets, over its own re-exec, that it wanted to kill; the time it gave is kept here.
fn told(child: &Child, settings: &Settings, reader: &Reader<'_>) -> Option<Told> {
    if child.signaled.0.is_empty() {
        return None;
    }
    let at = child.last_signaled_at.map_or(reader.now, |wall| reader.moment(wall));
    let kill_at = settings.signal_timeout.map(|timeout| at.after(timeout));
    Some(Told { signals: child.signaled.0.clone(), first_at: at, last_at: at, kill_at })
}

fn settings(state: &State, reader: &Reader<'_>) -> Result<Settings, Fault> {
    let ack = match state.ack_mode {
        EinhornAck::Manual => AckMode::Manual,
        EinhornAck::Timer(timeout) => AckMode::Timer(span(timeout).min(Duration::from_secs_f64(SECONDS_MAX))),
    };
    let config = &state.config;
    let limit = |count: i64| u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    Ok(Settings {
        target: at_least_one(config.number).map_err(|fault| fault.within(":number").within(":config"))?,
        ack,
        spacing_s: seconds(config.seconds).clamp(SECONDS_LEAST, SECONDS_MAX),
        max_unacked: config.max_unacked.map_or(reader.max_unacked, limit),
        max_upgrade_additional: config.max_upgrade_additional.map(limit),
        signal_timeout: state.signal_timeout.map(|timeout| span(timeout).max(TIMEOUT_LEAST)),
        ..Settings::default()
    })
}

fn at_least_one(count: u32) -> Result<u32, Fault> {
    if count >= 1 { Ok(count) } else { Err(Fault::new("need a number from 1 on, found 0")) }
}

fn seconds(number: Number) -> f64 {
    match number {
        Number::Int(whole) => whole as f64,
        Number::Float(seconds) => seconds,
    }
}

/// What is beyond what makes sense to us is the nearest that does, as on our own command line (`config::taken`).
fn span(number: Number) -> Duration {
    Duration::from_secs_f64(seconds(number).clamp(0.0, f64::from(u32::MAX)))
}
