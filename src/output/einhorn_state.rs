//! The supervisor as einhorn's state: what clients are shown, and einhorn's part of the handoff. Nothing is read back from it here.

use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use crate::base::AckMode;
use crate::config::{Bind, Config};
use crate::handoff::einhorn::{
    AckMode as EinhornAck, Bind as EinhornBind, Children, Config as EinhornConfig, Nice, State,
};
use crate::handoff::{Fd, Number};
use crate::output::calendar::Calendar;
use crate::output::view::View;
use crate::pool::UpgradeStyle;
use crate::release::listeners::WORKER_FD_FIRST;
use crate::yaml::Value;

const RENICE: &str = "/usr/bin/renice";

/// The whole document as a client gets it, `:state:` and all.
pub(crate) fn document(view: View<'_>) -> Value {
    let listeners = WORKER_FD_FIRST..;
    let bind_fds: Vec<Fd> = listeners.zip(view.listeners).map(|(fd, _)| Fd(fd)).collect();
    let cmd = as_it_is_run(view, &bind_fds);
    State { bind_fds, cmd, ..of(view, &Calendar::now()) }.shown()
}

/// For the next image, which may be Ruby's: as if it were there already, with the sockets where the master has them.
pub(crate) fn to_hand_on(view: View<'_>, calendar: &Calendar) -> State {
    let state = of(view, calendar);
    let preparing = view.pool.state().preparing.filter(|preparing| !preparing.dropped);
    State {
        generation: state.generation.saturating_add(1),
        smooth_upgrade: preparing.map_or(state.smooth_upgrade, |preparing| preparing.style == UpgradeStyle::Smooth),
        // Ruby's einhorn starts the upgrade then.
        reloading_for_upgrade: preparing.is_some(),
        ..state
    }
}

/// The version is the wanted one and not the newest: to Ruby's einhorn every worker below it is old and may go.
fn of(view: View<'_>, calendar: &Calendar) -> State {
    let (config, pool) = (view.config, view.pool.state());
    let bind_fds: Vec<Fd> = view.listeners.iter().map(|listener| Fd(listener.fd.as_raw_fd())).collect();
    State {
        children: Children::of(pool, |moment| calendar.wall(moment)),
        config: settings(config, pool.settings.target),
        version: pool.modern,
        orig_cmd: config.program.clone(),
        bind: config.binds.iter().map(bind).collect(),
        cmd: as_it_is_run(view, &bind_fds),
        bind_fds,
        bound_ports: view.listeners.iter().map(|listener| listener.port()).collect(),
        respawn: pool.stopping.is_none(),
        upgrading: pool.upgrade.is_some(),
        smooth_upgrade: pool.last_style == Some(UpgradeStyle::Smooth),
        path: config.preload.clone(),
        preloaded: view.is_preloaded,
        cmd_name: config.command_name.as_ref().map(OsString::from),
        verbosity: u32::from(config.log.level.verbosity()),
        generation: view.generation,
        last_spinup: pool.last_spinup.map(|moment| calendar.wall(moment)),
        ack_mode: ack_mode(config),
        kill_children_on_exit: config.kill_children_on_exit,
        command_socket_as_fd: config.socket_as_fd,
        socket_path: config.socket_path.clone(),
        pidfile: config.pidfile.clone(),
        lockfile: config.lockfile.clone(),
        consecutive_deaths_before_ack: pool.backoff.unacked_deaths,
        last_upgraded: pool.last_upgraded.map(|moment| calendar.wall(moment)),
        nice: nice(config),
        reexec_commandline: config.reexec_as.as_ref().map(|words| words.iter().map(OsString::from).collect()),
        drop_environment_variables: config.drop_env_vars.clone(),
        signal_timeout: config.signal_timeout.map(|seconds| Number::Int(i64::from(seconds))),
        ..State::default()
    }
}

/// A name without a slash was looked for in PATH, and the sockets that words name are at these numbers.
fn as_it_is_run(view: View<'_>, bind_fds: &[Fd]) -> Vec<OsString> {
    let mut words = view.config.program_with(|place| bind_fds.get(place).map(|fd| fd.0));
    let name = words.first_mut().filter(|name| !name.as_bytes().contains(&b'/'));
    if let (Some(name), Some(found)) = (name, view.program) {
        *name = found.into();
    }
    words
}

/// einhorn's defaults are integers and what is given are floats; that shows.
fn settings(config: &Config, number: u32) -> EinhornConfig {
    EinhornConfig {
        number,
        backlog: i64::from(config.backlog),
        seconds: if config.is_seconds_given() { Number::Float(config.seconds) } else { Number::Int(1) },
        // einhorn's own default is the number of processors, too.
        max_unacked: config.max_unacked.map(i64::from),
        max_upgrade_additional: config.max_upgrade_additional.map(i64::from),
        gc_before_fork: config.gc_before_fork,
        others: Vec::new(),
    }
}

fn ack_mode(config: &Config) -> EinhornAck {
    match config.ack {
        AckMode::Manual => EinhornAck::Manual,
        AckMode::Timer(after) if config.is_ack_given() => EinhornAck::Timer(Number::Float(after.as_secs_f64())),
        AckMode::Timer(after) => EinhornAck::Timer(Number::Int(i64::try_from(after.as_secs()).unwrap_or(i64::MAX))),
    }
}

/// Address, port and flags; a unix socket stands as its `unix:` word with port 0.
fn bind(bind: &Bind) -> EinhornBind {
    let (host, port) = match bind {
        Bind::Tcp { host, port, .. } => (host.into(), *port),
        Bind::Unix { path, .. } => ([OsString::from("unix:"), path.into()].into_iter().collect(), 0),
    };
    EinhornBind { host, port, flags: bind.flags().words().to_vec() }
}

fn nice(config: &Config) -> Nice {
    let renice_cmd = config.nice.renice_cmd.as_deref().unwrap_or(RENICE);
    Nice { master: config.nice.master, worker: config.nice.worker, renice_cmd: Some(renice_cmd.into()) }
}
