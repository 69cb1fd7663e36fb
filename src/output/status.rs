//! `status`: what people and scripts want to know at a glance, as JSON and as a table. einhorn has no such command.

use std::time::Duration;

use serde_json::Value as Json;

use crate::base::{Mono, Pid, Slot, Version};
use crate::output::calendar::rfc3339;
use crate::output::death::Death;
use crate::output::history::History;
use crate::output::releases;
use crate::output::view::View;
use crate::output::waits::Waiting;
use crate::pool::{Down, Leftover, Pool, UpgradeStyle, Worker};
use crate::protocol::object;
use crate::sys::clock;

/// How the workers of a version are made that is to be preloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preloading {
    pub(crate) version: Version,
    pub(crate) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// By this loader.
    Loading(Pid),
    Loaded(Pid),
    /// It could not be loaded.
    Executed,
}

/// The whole of it.
pub(crate) fn document(
    view: View<'_>,
    waits_for: Option<&Waiting>,
    lost_sockets: Vec<String>,
    preloading: &[Preloading],
) -> Json {
    let pool = view.pool;
    let name = view.config.command_name.clone().map_or(Json::Null, Json::String);
    object([
        ("pid", std::process::id().into()),
        ("name", name),
        ("version", pool.modern().0.into()),
        ("target", pool.settings().target.into()),
        ("serving", pool.serving_count().into()),
        ("upgrade", upgrade(view)),
        ("waits_for", waits_for.map_or(Json::Null, Waiting::document)),
        ("trial", trial(pool)),
        ("waiting", waiting(pool)),
        ("down", down(pool)),
        ("lost_sockets", lost_sockets.into()),
        ("loaders", preloading.iter().map(loader).collect()),
        ("stopping", pool.is_stopping().into()),
        ("consecutive_deaths", pool.unacked_deaths().into()),
        ("workers", pool.workers().iter().map(worker).collect()),
        ("leftovers", pool.leftovers().iter().filter(|left| left.reaped).map(leftover).collect()),
        ("release", releases::running(view.history, running(pool))),
        ("last_failure", releases::last_failure(view.history)),
        ("last_death", last_death(view.history)),
        ("counters", view.counters.shown(view.dropped_lines)),
    ])
}

/// The version that serves: while an upgrade is under way, the one before it.
fn running(pool: &Pool) -> Version {
    if pool.upgrading().is_some() { pool.good() } else { pool.modern() }
}

fn upgrade(view: View<'_>) -> Json {
    let pool = view.pool;
    let Some(style) = pool.upgrading() else { return Json::Null };
    object([
        ("style", style_name(style).into()),
        ("version", pool.modern().0.into()),
        ("acked", pool.acked_count().into()),
        ("target", pool.settings().target.into()),
        ("failures", pool.upgrade_failures().into()),
        ("stage", pool.stage_size().into()),
        ("paused", pool.is_paused().into()),
    ])
}

fn trial(pool: &Pool) -> Json {
    let Some(trial) = pool.state().trial else { return Json::Null };
    let left = pool.trial_deadline().map(|moment| seconds(moment.since(clock::now())));
    object([
        ("version", pool.modern().0.into()),
        ("failures", trial.failures.into()),
        ("max_failures", pool.settings().max_failures.into()),
        ("left_s", left.unwrap_or(Json::Null)),
    ])
}

fn waiting(pool: &Pool) -> Json {
    let now = clock::now();
    let slot = |(slot, deaths, at): (Slot, u32, Mono)| {
        object([("slot", slot.0.into()), ("deaths", deaths.into()), ("next_in_s", seconds(at.since(now)))])
    };
    pool.waiting_slots().into_iter().map(slot).collect()
}

fn down(pool: &Pool) -> Json {
    let now = clock::now();
    let slot = |(slot, down): (Slot, Down)| {
        object([("slot", slot.0.into()), ("exit_status", down.code.into()), ("down_s", seconds(now.since(down.at)))])
    };
    pool.down_slots().into_iter().map(slot).collect()
}

fn loader(preloading: &Preloading) -> Json {
    let state = match preloading.stage {
        Stage::Loading(_) => "loading",
        Stage::Loaded(_) => "loaded",
        Stage::Executed => "executed",
    };
    let pid = match preloading.stage {
        Stage::Loading(pid) | Stage::Loaded(pid) => Some(pid),
        Stage::Executed => None,
    };
    object([
        ("version", preloading.version.0.into()),
        ("state", state.into()),
        ("pid", pid.map_or(Json::Null, |pid| pid.0.into())),
    ])
}

/// Of a worker that was not told to go, or that missed its ack.
fn last_death(history: &History) -> Json {
    let Some(death) = &history.last_death else { return Json::Null };
    let Death { pid, index, version, at, lines, .. } = death;
    object([
        ("pid", pid.0.into()),
        ("index", index.0.into()),
        ("version", version.0.into()),
        ("at", rfc3339(*at).into()),
        ("why", death.sentence().into()),
        ("last_lines", lines.clone().into()),
    ])
}

fn style_name(style: UpgradeStyle) -> &'static str {
    match style {
        UpgradeStyle::Smooth => "smooth",
        UpgradeStyle::Fleet => "fleet",
    }
}

fn worker(worker: &Worker) -> Json {
    let now = clock::now();
    let age = |moment| seconds(now.since(moment));
    let ping_id = worker.ping.as_ref().map(|ping| ping.request_id.clone());
    object([
        ("index", worker.index.0.into()),
        ("slot", worker.slot.0.into()),
        ("pid", worker.pid.0.into()),
        ("version", worker.version.0.into()),
        ("state", state_name(worker).into()),
        ("age_s", age(worker.spawned_at)),
        ("ack_age_s", worker.acked_at.map_or(Json::Null, age)),
        ("last_ping_s", worker.ping.as_ref().map_or(Json::Null, |ping| age(ping.at))),
        ("ping_id", ping_id.map_or(Json::Null, Json::String)),
    ])
}

/// What a worker has left. The program is known where it is in another group than the worker's own.
fn leftover(left: &Leftover) -> Json {
    let elsewhere = left.elsewhere.as_ref();
    object([
        ("worker", elsewhere.map_or(left.pid, |elsewhere| elsewhere.worker).0.into()),
        ("group", left.pid.0.into()),
        ("left_program", elsewhere.map_or(Json::Null, |elsewhere| elsewhere.program.clone().into())),
        ("signal", left.signal.to_string().into()),
        ("told_s", seconds(clock::now().since(left.since))),
        ("killed", left.killed.into()),
    ])
}

fn state_name(worker: &Worker) -> &'static str {
    if worker.is_told() {
        "stopping"
    } else if worker.stopped {
        "stopped"
    } else if worker.is_acked() {
        "acked"
    } else {
        "starting"
    }
}

/// To the millisecond: more digits only tire the eye.
fn seconds(span: Duration) -> Json {
    (span.as_millis() as f64 / 1000.0).into()
}

/// For a client that asks with a bare line on the socket; einhyrningsinsctl makes its own of the JSON.
pub(crate) fn table(view: View<'_>, waits_for: Option<&Waiting>, preloading: &[Preloading]) -> String {
    let pool = view.pool;
    let (serving, target) = (pool.serving_count(), pool.settings().target);
    let upgrade = match pool.upgrading() {
        Some(style) => format!(", {} upgrade: {} of {target} acked", style_name(style), pool.acked_count()),
        None => String::new(),
    };
    let old = pool.workers().iter().filter(|worker| worker.serves() && worker.version != pool.modern()).count() as u64;
    let by_version = match old {
        0 => String::new(),
        old => format!(" ({} of version {}, {old} of others)", u64::from(serving) - old, pool.modern()),
    };
    let mut table = format!("version {}, {serving} of {target} serving{by_version}{upgrade}\n", pool.modern());
    waits_for.iter().for_each(|waiting| table.push_str(&format!("{}\n", waiting.text)));
    table.push_str(&releases::lines(view.history, running(pool)));
    preloading.iter().for_each(|preloading| table.push_str(&loader_line(preloading)));
    table.push_str(&format!("{:>5} {:>8} {:>7} {:<8} {:>10}\n", "INDEX", "PID", "VERSION", "STATE", "AGE"));
    let now = clock::now();
    for worker in pool.workers() {
        let age = now.since(worker.spawned_at).as_secs();
        table.push_str(&format!(
            "{:>5} {:>8} {:>7} {:<8} {:>9}s\n",
            worker.index.0,
            worker.pid.0,
            worker.version.0,
            state_name(worker),
            age
        ));
    }
    table
}

/// The client has the same sentences.
fn loader_line(Preloading { version, stage }: &Preloading) -> String {
    match stage {
        Stage::Loading(pid) => format!("version {version} is being loaded by loader {pid}\n"),
        Stage::Loaded(pid) => format!("version {version} is preloaded by loader {pid}\n"),
        Stage::Executed => format!("version {version} could not be preloaded, its workers are executed\n"),
    }
}
