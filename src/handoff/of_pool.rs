//! What einhorn's part says of a pool: its workers, and when a timer is to ack them. It says less than the pool holds, and we read
//! nothing of it back.

use std::time::Duration;

use crate::base::{Mono, Signal, Wall};
use crate::handoff::einhorn::{AckTimer, Child, Children, Signaled};
use crate::handoff::field::Number;
use crate::pool::{AckMode, Ping, State, Told, Worker};
use crate::yaml::{self, Limits, Value};

impl Children {
    /// `wall` says what a moment is by the wall clock.
    pub fn of(pool: &State, wall: impl Fn(Mono) -> Wall) -> Self {
        let workers = pool.workers.iter().map(|worker| (worker.pid, child(worker, &wall)));
        Self { workers: workers.collect(), state_passers: Vec::new() }
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
        pinged_at: worker.ping.as_ref().map(|ping| ping.wall.unwrap_or_else(|| wall(ping.at))),
        pinged_request_id: worker.ping.as_ref().map_or(Value::Nil, request_id),
    }
}

fn request_id(ping: &Ping) -> Value {
    let read = yaml::read(&ping.request_id, Limits::UNTRUSTED).ok();
    let number = read.filter(|id| ping.is_number && id.is_number());
    number.unwrap_or_else(|| Value::str(ping.request_id.as_str()))
}

impl AckTimer {
    /// One for each worker that a timer is to ack. Without it, Ruby's einhorn would wait for ever.
    pub fn all(pool: &State, wall: impl Fn(Mono) -> Wall) -> Vec<Self> {
        pool.workers.iter().filter_map(|worker| ack_timer(pool, worker, &wall)).collect()
    }
}

fn ack_timer(pool: &State, worker: &Worker, wall: &impl Fn(Mono) -> Wall) -> Option<AckTimer> {
    let settings = if worker.version == pool.modern { &pool.settings } else { &pool.fallback };
    let AckMode::Timer(after) = settings.ack else { return None };
    let waiting = !worker.is_acked() && !worker.is_told() && !worker.killed;
    waiting.then(|| AckTimer { time: seconds(after), start: wall(worker.spawned_at), pid: worker.pid })
}

fn seconds(span: Duration) -> Number {
    match i64::try_from(span.as_secs()) {
        Ok(whole) if span.subsec_nanos() == 0 => Number::Int(whole),
        Ok(_) | Err(_) => Number::Float(span.as_secs_f64()),
    }
}
