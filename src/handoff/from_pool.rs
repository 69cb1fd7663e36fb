//! What a pool puts into the document: all of it into our part, and into einhorn's what einhorn has a place for. `to_pool`
//! reads it. Every type of the pool is taken apart without `..`, so that a new field does not compile until it is handed on.

use std::time::Duration;

use crate::handoff::einhorn::{self, AckTimer, Child, Signaled};
use crate::handoff::{Number, Wall, ours};
use crate::pool::{
    AckMode, Backoff, Farewell, Mono, Pid, Preparing, Remnant, Settings, Signal, Snapshot, Stopping, Told, Upgrade,
    UpgradeStyle, Version, Worker,
};

/// The fields of [`ours::Section`] that the pool knows.
#[derive(Clone, Debug, PartialEq)]
pub struct OurPart {
    /// Without the pipes that tell how their exec went.
    pub workers: Vec<ours::Worker>,
    pub remnants: Vec<ours::Remnant>,
    pub pool: ours::Pool,
    pub settings: ours::Settings,
    pub fallback_settings: Option<ours::Settings>,
}

/// The fields of [`einhorn::State`], of its `config` and `children`, and of [`einhorn::Descriptors`] that the pool knows.
#[derive(Clone, Debug, PartialEq)]
pub struct EinhornPart {
    /// Of `children`.
    pub workers: Vec<(Pid, Child)>,
    /// Of `config`, like the three that follow.
    pub number: u32,
    pub seconds: Number,
    pub max_unacked: Option<u32>,
    pub max_upgrade_additional: Option<u32>,
    pub version: Version,
    pub respawn: bool,
    pub upgrading: bool,
    pub smooth_upgrade: bool,
    /// Set while an upgrade is being prepared: Ruby's einhorn starts it then.
    pub reloading_for_upgrade: bool,
    pub last_spinup: Option<Wall>,
    pub ack_mode: einhorn::AckMode,
    pub consecutive_deaths_before_ack: u32,
    pub last_upgraded: Option<Wall>,
    pub signal_timeout: Option<Number>,
    /// Of the descriptors: one for each worker that a timer is to ack.
    pub ack_timers: Vec<AckTimer>,
}

impl OurPart {
    pub fn of(snapshot: &Snapshot) -> Self {
        let Snapshot {
            settings,
            fallback,
            workers,
            remnants,
            launch_at_once,
            modern,
            good,
            newest,
            preparing,
            upgrade,
            stopping,
            backoff,
            last_spinup,
            last_upgraded,
            last_style,
            last_linger_note,
            ever_acked,
        } = snapshot;
        let pool = ours::Pool {
            modern: *modern,
            good: *good,
            newest: *newest,
            preparing: preparing.map(our_preparing),
            upgrade: upgrade.map(|Upgrade { style, failures }| ours::Upgrade { style, failures }),
            stopping: stopping.map(our_stopping),
            launch_at_once: *launch_at_once,
            backoff: our_backoff(backoff),
            last_spinup: *last_spinup,
            last_upgraded: *last_upgraded,
            last_style: *last_style,
            last_linger_note: *last_linger_note,
            ever_acked: *ever_acked,
        };
        Self {
            workers: workers.iter().map(our_worker).collect(),
            remnants: remnants.iter().map(our_remnant).collect(),
            pool,
            settings: our_settings(settings),
            fallback_settings: (fallback != settings).then(|| our_settings(fallback)),
        }
    }
}

impl EinhornPart {
    /// `wall` says what a moment is by the wall clock.
    ///
    /// The version is the wanted one and not the newest: to Ruby's einhorn every worker below it is old and may go.
    pub fn of(snapshot: &Snapshot, wall: impl Fn(Mono) -> Wall) -> Self {
        let settings = &snapshot.settings;
        let style = snapshot.preparing.map(|preparing| preparing.style).or(snapshot.last_style);
        Self {
            workers: snapshot.workers.iter().map(|worker| (worker.pid, child(worker, &wall))).collect(),
            number: settings.target,
            seconds: number(settings.spacing_s),
            max_unacked: Some(settings.max_unacked),
            max_upgrade_additional: settings.max_upgrade_additional,
            version: snapshot.modern,
            respawn: snapshot.stopping.is_none(),
            upgrading: snapshot.upgrade.is_some(),
            smooth_upgrade: style == Some(UpgradeStyle::Smooth),
            reloading_for_upgrade: snapshot.preparing.is_some(),
            last_spinup: snapshot.last_spinup.map(&wall),
            ack_mode: match settings.ack {
                AckMode::Manual => einhorn::AckMode::Manual,
                AckMode::Timer(after) => einhorn::AckMode::Timer(seconds(after)),
            },
            consecutive_deaths_before_ack: snapshot.backoff.unacked_deaths,
            last_upgraded: snapshot.last_upgraded.map(&wall),
            signal_timeout: settings.signal_timeout.map(seconds),
            ack_timers: snapshot.workers.iter().filter_map(|worker| ack_timer(snapshot, worker, &wall)).collect(),
        }
    }
}

fn our_worker(worker: &Worker) -> ours::Worker {
    let Worker {
        pid,
        index: _,
        version: _,
        graceful,
        spawned_at,
        execed,
        acked_at,
        stopped,
        ping,
        told,
        killed,
        written_off,
    } = worker;
    ours::Worker {
        pid: *pid,
        spawned_at: Some(*spawned_at),
        execed: *execed,
        acked_at: *acked_at,
        stopped: *stopped,
        killed: *killed,
        written_off: *written_off,
        told: told.clone(),
        pinged_at: ping.as_ref().map(|ping| ping.at),
        graceful: *graceful,
        exec_pipe: None,
    }
}

fn our_remnant(remnant: &Remnant) -> ours::Remnant {
    let Remnant { pid, signal, graceful, since, reaped, kill_at, killed } = *remnant;
    ours::Remnant { pid, signal, graceful, since, reaped, kill_at, killed }
}

fn our_preparing(preparing: Preparing) -> ours::Preparing {
    let Preparing { version, style, asked_again } = preparing;
    ours::Preparing { version, style, asked_again: asked_again.then_some(style) }
}

/// The end is not concluded: else there would be no snapshot.
fn our_stopping(stopping: Stopping) -> ours::Stopping {
    let Stopping { farewell, grace, reason, concluded: _ } = stopping;
    let signal = match farewell {
        Farewell::Graceful => None,
        Farewell::Signal(signal) => Some(signal),
    };
    ours::Stopping { signal, grace, reason }
}

fn our_backoff(backoff: &Backoff) -> ours::Backoff {
    let Backoff { unacked_deaths, failed_launches, last_failed_launch, early_deaths, last_early_death } = *backoff;
    ours::Backoff { unacked_deaths, failed_launches, last_failed_launch, early_deaths, last_early_death }
}

fn our_settings(settings: &Settings) -> ours::Settings {
    let Settings {
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
    ours::Settings {
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

/// One that was killed has KILL among its signals, as with einhorn.
fn child(worker: &Worker, wall: &impl Fn(Mono) -> Wall) -> Child {
    let mut signals = worker.told.as_ref().map_or_else(Vec::new, |told: &Told| told.signals.clone());
    if worker.killed && !signals.contains(&Signal::KILL) {
        signals.push(Signal::KILL);
    }
    Child {
        version: worker.version,
        acked: worker.is_acked(),
        signaled: Signaled(signals),
        last_signaled_at: worker.told.as_ref().map(|told| wall(told.last_at)),
        index: Some(worker.index),
        spinup_time: Some(wall(worker.spawned_at)),
        pinged_at: worker.ping.as_ref().map(|ping| wall(ping.at)),
        pinged_request_id: worker.ping.as_ref().map(|ping| ping.request_id.clone().into()),
    }
}

/// Without one, Ruby's einhorn would wait for ever.
fn ack_timer(snapshot: &Snapshot, worker: &Worker, wall: &impl Fn(Mono) -> Wall) -> Option<AckTimer> {
    let settings = if worker.version == snapshot.modern { &snapshot.settings } else { &snapshot.fallback };
    let AckMode::Timer(after) = settings.ack else { return None };
    let waiting = !worker.is_acked() && !worker.is_told() && !worker.killed;
    waiting.then(|| AckTimer { time: seconds(after), start: wall(worker.spawned_at), pid: worker.pid })
}

/// Whole seconds are an integer, as with einhorn's defaults.
fn seconds(span: Duration) -> Number {
    match i64::try_from(span.as_secs()) {
        Ok(whole) if span.subsec_nanos() == 0 => Number::Int(whole),
        Ok(_) | Err(_) => Number::Float(span.as_secs_f64()),
    }
}

fn number(seconds: f64) -> Number {
    if seconds == 1.0 { Number::Int(1) } else { Number::Float(seconds) }
}
