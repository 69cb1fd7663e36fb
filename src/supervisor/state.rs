//! The state document, as einhorn writes it: its keys, in its order, with its symbols, sets and shared times. A picture for
//! clients; nothing is read back from it here.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::config::{Ack, Bind};
use crate::handoff::Wall;
use crate::pool::{Mono, Told, UpgradeStyle, Worker};
use crate::supervisor::Supervisor;
use crate::supervisor::calendar::Calendar;
use crate::yaml::{Time, Value};

const RENICE: &str = "/usr/bin/renice";

/// The whole document, `:state:` and all.
pub(in crate::supervisor) fn document(supervisor: &Supervisor) -> Value {
    let calendar = Calendar::now();
    let last_spinup = supervisor.pool.last_spinup().map(|moment| time(&calendar, moment).share());
    let mut state = Value::symbol_map([
        ("children", children(supervisor, &calendar, last_spinup.as_ref())),
        ("config", config(supervisor)),
        ("versions", Value::Map(Vec::new())),
        ("version", Value::Int(int(supervisor.pool.modern().0))),
        ("sockets", Value::Map(Vec::new())),
        ("orig_cmd", words(&supervisor.config.program)),
    ]);
    extend(&mut state, sockets(supervisor));
    extend(&mut state, progress(supervisor));
    let last_upgraded = supervisor.pool.last_upgraded().map(|moment| time(&calendar, moment));
    extend(&mut state, [("last_spinup", last_spinup.unwrap_or(Value::Nil)), ("ack_mode", ack_mode(supervisor))]);
    extend(&mut state, files(supervisor));
    let deaths = Value::Int(i64::from(supervisor.pool.unacked_deaths()));
    extend(&mut state, [("consecutive_deaths_before_ack", deaths)]);
    extend(&mut state, [("last_upgraded", last_upgraded.unwrap_or(Value::Nil))]);
    extend(&mut state, rest(supervisor));
    Value::symbol_map([("state", state)])
}

fn extend<const N: usize>(map: &mut Value, pairs: [(&str, Value); N]) {
    for (key, value) in pairs {
        map.insert(Value::symbol(key), value);
    }
}

fn children(supervisor: &Supervisor, calendar: &Calendar, last_spinup: Option<&Value>) -> Value {
    let workers = supervisor.pool.workers();
    let newest = supervisor.pool.last_spinup();
    let last = workers.iter().rposition(|worker| Some(worker.spawned_at) == newest);
    let entry = |(at, worker): (usize, &Worker)| {
        let spinup = match last_spinup {
            Some(shared) if last == Some(at) => shared.clone(),
            _ => time(calendar, worker.spawned_at),
        };
        (Value::Int(i64::from(worker.pid.0)), child(worker, spinup, calendar))
    };
    Value::Map(workers.iter().enumerate().map(entry).collect())
}

fn child(worker: &Worker, spinup: Value, calendar: &Calendar) -> Value {
    let signals = worker.told.iter().flat_map(|told: &Told| told.signals.iter().map(ToString::to_string));
    let killed = worker.killed.then(|| "KILL".to_owned());
    let signaled = Value::Set(signals.chain(killed).map(Value::Str).collect());
    let last_signaled = worker.told.as_ref().map_or(Value::Nil, |told| time(calendar, told.last_at));
    let mut child = Value::symbol_map([
        ("type", Value::symbol("worker")),
        ("version", Value::Int(int(worker.version.0))),
        ("acked", Value::Bool(worker.is_acked())),
        ("signaled", signaled),
        ("last_signaled_at", last_signaled),
        ("index", Value::Int(i64::from(worker.index.0))),
        ("spinup_time", spinup),
    ]);
    if let Some(ping) = &worker.ping {
        let request_id = Value::str(ping.request_id.clone());
        extend(&mut child, [("pinged_at", time(calendar, ping.at)), ("pinged_request_id", request_id)]);
    }
    child
}

/// einhorn's defaults are integers and what is given are floats; that shows.
fn config(supervisor: &Supervisor) -> Value {
    let config = &supervisor.config;
    let seconds = if config.is_seconds_given() { Value::Float(config.seconds) } else { Value::Int(1) };
    let number = Value::Int(i64::from(supervisor.pool.settings().target));
    let mut map = Value::symbol_map([
        ("number", number),
        ("backlog", Value::Int(i64::from(config.backlog))),
        ("seconds", seconds),
    ]);
    if let Some(max) = config.max_unacked {
        extend(&mut map, [("max_unacked", Value::Int(i64::from(max)))]);
    }
    if let Some(additional) = config.max_upgrade_additional {
        extend(&mut map, [("max_upgrade_additional", Value::Int(i64::from(additional)))]);
    }
    if config.gc_before_fork {
        extend(&mut map, [("gc_before_fork", Value::Bool(true))]);
    }
    map
}

fn sockets(supervisor: &Supervisor) -> [(&'static str, Value); 4] {
    let fds = crate::supervisor::listeners::WORKER_FD_FIRST..;
    let fds = fds.zip(supervisor.modern_listeners()).map(|(fd, _)| Value::Int(i64::from(fd)));
    let ports = supervisor.modern_listeners().iter().map(|listener| Value::Int(i64::from(listener.port())));
    [
        ("bind", Value::Seq(supervisor.config.binds.iter().map(bind).collect())),
        ("bind_fds", Value::Seq(fds.collect())),
        ("bound_ports", Value::Seq(ports.collect())),
        ("cmd", words(&supervisor.config.program)),
    ]
}

/// Address, port and flags; a unix socket stands as its `unix:` word with port 0.
fn bind(bind: &Bind) -> Value {
    let (host, port) = match bind {
        Bind::Tcp { host, port, .. } => (host.clone(), *port),
        Bind::Unix { path, .. } => (format!("unix:{}", path.display()), 0),
    };
    let flags = bind.flags().words().iter().map(|word| Value::str(word.clone()));
    Value::Seq(vec![Value::Str(host), Value::Int(i64::from(port)), Value::Seq(flags.collect())])
}

fn progress(supervisor: &Supervisor) -> [(&'static str, Value); 9] {
    let upgrading = supervisor.pool.upgrading();
    let name = supervisor.config.command_name.clone().map_or(Value::Nil, Value::Str);
    [
        ("script_name", Value::Nil),
        ("respawn", Value::Bool(!supervisor.pool.is_stopping())),
        ("upgrading", Value::Bool(upgrading.is_some())),
        ("smooth_upgrade", Value::Bool(supervisor.pool.last_style() == Some(UpgradeStyle::Smooth))),
        ("reloading_for_upgrade", Value::Bool(false)),
        ("path", path(supervisor.config.preload.as_ref())),
        ("cmd_name", name),
        ("verbosity", Value::Int(i64::from(supervisor.config.log.level.verbosity()))),
        ("generation", Value::Int(int(supervisor.reexec.generation()))),
    ]
}

fn ack_mode(supervisor: &Supervisor) -> Value {
    match supervisor.config.ack {
        Ack::Manual => Value::symbol_map([("type", Value::symbol("manual"))]),
        Ack::Timer(after) => {
            let seconds = after.as_secs_f64();
            let given = supervisor.config.is_ack_given();
            let timeout = if given { Value::Float(seconds) } else { Value::Int(int(after.as_secs())) };
            Value::symbol_map([("type", Value::symbol("timer")), ("timeout", timeout)])
        }
    }
}

fn files(supervisor: &Supervisor) -> [(&'static str, Value); 5] {
    let config = &supervisor.config;
    [
        ("kill_children_on_exit", Value::Bool(config.kill_children_on_exit)),
        ("command_socket_as_fd", Value::Bool(config.socket_as_fd)),
        ("socket_path", path(config.socket_path.as_ref())),
        ("pidfile", path(config.pidfile.as_ref())),
        ("lockfile", path(config.lockfile.as_ref())),
    ]
}

fn rest(supervisor: &Supervisor) -> [(&'static str, Value); 5] {
    let config = &supervisor.config;
    let level = |nice: Option<i32>| nice.map_or(Value::Nil, |nice| Value::Int(i64::from(nice)));
    let renice = config.nice.renice_cmd.clone().unwrap_or_else(|| RENICE.to_owned());
    let nice = Value::symbol_map([
        ("master", level(config.nice.master)),
        ("worker", level(config.nice.worker)),
        ("renice_cmd", Value::Str(renice)),
    ]);
    let reexec = match &config.reexec_as {
        Some(given) => Value::Seq(given.iter().cloned().map(Value::Str).collect()),
        None => Value::Nil,
    };
    [
        ("nice", nice),
        ("reexec_commandline", reexec),
        ("drop_environment_variables", words(&config.drop_env_vars)),
        ("signal_timeout", config.signal_timeout.map_or(Value::Nil, |seconds| Value::Int(i64::from(seconds)))),
        ("preloaded", Value::Bool(false)),
    ]
}

fn path(path: Option<&PathBuf>) -> Value {
    path.map_or(Value::Nil, |path| word(&path.clone().into_os_string()))
}

fn words(words: &[OsString]) -> Value {
    Value::Seq(words.iter().map(word).collect())
}

fn word(word: &OsString) -> Value {
    match word.to_str() {
        Some(text) => Value::str(text),
        None => Value::Bytes(word.as_bytes().to_vec()),
    }
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A moment as einhorn writes it, by the wall clock.
fn time(calendar: &Calendar, moment: Mono) -> Value {
    let Wall { seconds, nanos } = calendar.wall(moment);
    Value::Time(Time::local(seconds, nanos, 0))
}
