//! Every option, one row each: the parser of the command line, the help, the keys of the file, their schema, the completions, what
//! `config` on the control socket may change and what a change takes all come from [`OPTIONS`], so that an option cannot exist in
//! one and be missing in another. Beside the rows stands [`Config`], which they are read into.
//! Order and headings are those of the help.

use std::ffi::OsString;
use std::num::NonZeroU8;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::limits::SOCKET_PATH_MAX;
use crate::base::{AckMode, EXIT_CODES_MAX, FACILITIES, LogTarget, STAGES_MAX, Share};
use crate::config::bind::Bind;
use crate::config::definition::{
    self, Act, Commanded, Effect, Group, Need, Place, Shape, Subject, Takes, list, map, single, switch,
};
use crate::config::einhorns;
use crate::config::origin::Provided;
use crate::config::sections::{
    Control, Env, FORMATS, LEVELS, Log, LogLevel, OUTPUTS, Rollout, TARGETS, WorkerSetup, env_file, log_format,
    log_target, worker_output,
};
use crate::config::slots;
use crate::config::values::{self, NICE_LEVELS, NUMBER_MAX, Nice, WorkerCount};

pub type Definition = definition::Definition<Config>;

/// listen(2) takes an int.
const BACKLOG_MAX: u32 = i32::MAX as u32;
const RETRIES_MAX: u32 = 1_000_000;
/// An open descriptor other than 0, 1 and 2.
const STATE_FDS: RangeInclusive<i32> = 3..=i32::MAX;

/// What the master is to do; every value is in its range.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// How this program was called: what a re-exec runs, unless `reexec_as` says otherwise.
    pub argv0: OsString,
    /// The program and its arguments. Empty only with `with_state_fd`, whose state brings them along.
    pub program: Vec<OsString>,
    pub binds: Vec<Bind>,
    pub family: Family,
    pub backlog: u32,
    /// Wanted workers, 1 to [`NUMBER_MAX`].
    pub number: WorkerCount,
    /// Least time between two starts of dying workers, above 0.
    pub seconds: f64,
    /// New workers in a row that may fail before giving up; `None` is for ever.
    pub retries: Option<u32>,
    /// Seconds from the stop signal to the kill of a worker.
    pub signal_timeout: Option<u32>,
    /// How long workers serve on when the master is told to end.
    pub stop_delay: Duration,
    pub kill_children_on_exit: bool,
    /// As it was given: [`Config::adopts`] knows the default.
    pub adopt: bool,
    /// The terminal is the one worker's.
    pub foreground: bool,
    pub drop_env_vars: Vec<OsString>,
    pub nice: Nice,
    pub ack: AckMode,
    /// With manual acks: how long a worker may take; `None` is for ever.
    pub ack_timeout: Option<Duration>,
    pub max_unacked: Option<u32>,
    pub max_upgrade_additional: Option<u32>,
    pub max_surge: Option<Share>,
    pub max_unavailable: Option<Share>,
    pub early_life: Option<Duration>,
    /// 0 is any number.
    pub max_failures: Option<u32>,
    pub rollout: Rollout,
    pub reexec_as: Option<Vec<String>>,
    pub preload: Option<PathBuf>,
    /// What each worker runs of it; `None` is `einhorn_main`.
    pub preload_main: Option<String>,
    pub preload_timeout: Option<Duration>,
    pub preload_required: bool,
    pub gc_before_fork: bool,
    pub command_name: Option<String>,
    pub socket_path: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    pub lockfile: Option<PathBuf>,
    pub socket_as_fd: bool,
    /// Permissions of the control socket's file.
    pub socket_mode: Option<u32>,
    /// Name or number of its group.
    pub socket_group: Option<String>,
    pub env: Env,
    pub worker: WorkerSetup,
    pub control: Control,
    pub log: Log,
    /// Where everything goes that a replay needs.
    pub trace: Option<PathBuf>,
    pub with_state_fd: Option<i32>,
    /// The values as they were given, and where.
    pub given: Provided,
}

/// Which addresses a host name may become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    #[default]
    Any,
    V4,
    V6,
}

const SOCKETS: Group = group("Sockets", Place::Anywhere, Effect::NewWorkers);
const WORKERS: Group = group("Workers", Place::Anywhere, Effect::AtOnce);
const UPGRADES: Group = group("Acks and upgrades", Place::Anywhere, Effect::AtOnce);
const CONTROL: Group = group("Control socket and files", Place::Anywhere, Effect::Restart);
const OUTPUT: Group = group("Output", Place::Anywhere, Effect::AtOnce);
const WORKER_KEYS: Group = group("", Place::File, Effect::NewWorkers);
const MASTER_KEYS: Group = group("", Place::File, Effect::AtOnce);
const CONFIGURATION: Group = group("Configuration file", Place::CommandLine, Effect::AtOnce);
const OTHER: Group = group("Other", Place::CommandLine, Effect::AtOnce);

const fn group(heading: &'static str, place: Place, effect: Effect) -> Group {
    Group { heading, place, effect }
}

pub(super) static OPTIONS: &[Definition] = &[
    list(SOCKETS, "bind", Shape::Bind("ADDR"))
        .elsewhere(&["port", "ports", "listen", "address", "host", "socket"])
        .help(
            "Open a listening socket and pass it to every worker: ADDR:PORT, with ,r for SO_REUSEADDR and ,n for \
             O_NONBLOCK, or unix:/path, with ,mode=0660 for its permissions. Can be repeated",
        )
        .short('b')
        .read(|config, value| push(&mut config.binds, Bind::read(value))),
    // einhorn's default is 100, which a busy service overflows while its workers are replaced.
    single(SOCKETS, "backlog", Shape::Count("N"))
        .help("Length of the accept queue of each socket (default 1024)")
        .short('l')
        .default("1024")
        .effect(Effect::AtOnce)
        .nearest(einhorns::backlog)
        .read(|config, value| set(&mut config.backlog, values::whole(value, 1..=BACKLOG_MAX))),
    switch(SOCKETS, "ipv4-only")
        .help("Accept IPv4 connections only")
        .short('4')
        .not_einhorns()
        .subject(Subject::Family)
        .read(|config, _| set(&mut config.family, Ok(Family::V4))),
    switch(SOCKETS, "ipv6-only")
        .help("Accept IPv6 connections only")
        .short('6')
        .not_einhorns()
        .subject(Subject::Family)
        .read(|config, _| set(&mut config.family, Ok(Family::V6))),
    single(WORKERS, "number", Shape::CountOrWord("N"))
        .elsewhere(&["workers", "processes", "instances", "replicas", "numprocs", "worker-processes"])
        .help("How many workers to run, or auto: one for each processor that the master may use (default 1)")
        .short('n')
        .default("1")
        .commanded("number", Takes::Count(NUMBER_MAX))
        .nearest(einhorns::number)
        .read(|config, value| set(&mut config.number, values::worker_count(value))),
    single(WORKERS, "seconds", Shape::Time("SECONDS"))
        .help("Least time from one start to the next when workers die, in seconds (default 1)")
        .short('s')
        .default("1")
        .commanded("seconds", Takes::Seconds)
        .nearest(einhorns::seconds)
        .read(|config, value| set(&mut config.seconds, values::respawn_seconds(value))),
    single(WORKERS, "retries", Shape::Count("COUNT"))
        .help("Give up after this many new workers in a row failed to start (default: go on for ever)")
        .short('r')
        .not_einhorns()
        .commanded("retries", Takes::CountOrNil(RETRIES_MAX))
        .read(|config, value| set(&mut config.retries, values::whole(value, 1..=RETRIES_MAX))),
    single(WORKERS, "signal-timeout", Shape::Time("SECONDS"))
        .help("Kill a worker that still runs this many seconds after it was told to go (default: wait for ever)")
        .short('t')
        .commanded("signal_timeout", Takes::CountOrNil(u32::MAX))
        .nearest(einhorns::timeout)
        .read(|config, value| set(&mut config.signal_timeout, values::whole_seconds(value))),
    single(WORKERS, "stop-delay", Shape::Time("DURATION"))
        .help("Serve on for this time when told to end, while `status --check` says no (default: not at all)")
        .not_einhorns()
        .read(|config, value| set(&mut config.stop_delay, values::time(value))),
    switch(WORKERS, "kill-children-on-exit")
        .help("If the master dies unexpectedly, tell its workers to go")
        .short('k')
        .effect(Effect::NewWorkers)
        .read(|config, _| set(&mut config.kill_children_on_exit, Ok(true))),
    switch(WORKERS, "adopt")
        .help("Take over the workers and sockets that a killed master has left (default with --config)")
        .without_default()
        .not_einhorns()
        .read(|config, _| set(&mut config.adopt, Ok(true))),
    switch(WORKERS, "foreground")
        .help("Give the terminal to the one worker, for a debugger's prompt; its end by Ctrl-C, or with 0, is the master's")
        .effect(Effect::Restart)
        .not_einhorns()
        .read(|config, _| set(&mut config.foreground, Ok(true))),
    list(WORKERS, "drop-env-var", Shape::Text("VAR"))
        .help("Remove a variable from the environment of the workers. Can be repeated")
        .effect(Effect::NewWorkers)
        .read(|config, value| push(&mut config.drop_env_vars, values::variable(value))),
    single(WORKERS, "nice", Shape::Text("MASTER[:WORKER[:RENICE_CMD]]"))
        .help("Nice levels of the master and of the workers, and the program that sets them")
        .effect(Effect::NewWorkers)
        .nearest(einhorns::nice)
        .read(|config, value| set(&mut config.nice, values::nice(value))),
    single(UPGRADES, "ack-mode", Shape::TimeOrWord("MODE"))
        .help(
            "When a worker counts as up: MODE seconds after its start (default 1), or with \"manual\" once it \
             says so on the control socket. -m without a MODE is --manual",
        )
        .short('m')
        .default("1")
        .subject(Subject::AckMode)
        .nearest(einhorns::ack_seconds)
        .read(|config, value| set(&mut config.ack, values::ack_mode(value))),
    switch(UPGRADES, "manual")
        .help("Manual acks, due within 60 seconds")
        .not_einhorns()
        .subject(Subject::AckMode)
        .read(|config, _| set(&mut config.ack, Ok(AckMode::Manual))),
    single(UPGRADES, "ack-timeout", Shape::Time("DURATION"))
        .help("Replace a worker that has not acked within this time, such as 90 or \"1m 30s\" (manual acks only; default 90 with a trial, otherwise none)")
        .not_einhorns()
        .commanded("ack_timeout", Takes::SecondsOrNil)
        .read(|config, value| set(&mut config.ack_timeout, values::limit_in_time(value))),
    single(UPGRADES, "max-unacked", Shape::Count("N"))
        .help("Most workers that may be unacked at a time during an upgrade")
        .commanded("max_unacked", Takes::CountOrNil(NUMBER_MAX))
        .nearest(einhorns::limit)
        .read(|config, value| set(&mut config.max_unacked, values::whole(value, 1..=NUMBER_MAX))),
    single(UPGRADES, "max-upgrade-additional", Shape::Count("N"))
        .help("Most workers above --number that may run during an upgrade")
        .commanded("max_upgrade_additional", Takes::CountOrNil(NUMBER_MAX))
        .nearest(einhorns::limit)
        .read(|config, value| {
            let why = |need| format!("{need} (0 would never let an upgrade start)");
            set(&mut config.max_upgrade_additional, values::whole(value, 1..=NUMBER_MAX).map_err(why))
        }),
    single(UPGRADES, "max-surge", Shape::Share("N|P%"))
        .help("Most workers above --number in an upgrade, beside those that were told to go already")
        .not_einhorns()
        .read(|config, value| set(&mut config.max_surge, values::share(value, 0))),
    single(UPGRADES, "max-unavailable", Shape::Share("N|P%"))
        .help("How many workers fewer than --number may serve in an upgrade (default 0)")
        .not_einhorns()
        .read(|config, value| set(&mut config.max_unavailable, values::share(value, 0))),
    single(UPGRADES, "early-life", Shape::Time("DURATION"))
        .help(
            "How long the workers of a new version must serve before it counts as good; until then it is on trial (default \
             30s with --config or --retries, else 0)",
        )
        .not_einhorns()
        .read(|config, value| set(&mut config.early_life, values::time(value))),
    single(UPGRADES, "max-failures", Shape::Number("N"))
        .help(
            "Go back to the version before when more workers than this fail while a version is on trial; 0 is for ever \
             (default 3 with --config or --retries, else 0)",
        )
        .not_einhorns()
        .read(|config, value| set(&mut config.max_failures, values::whole(value, 0..=RETRIES_MAX))),
    single(UPGRADES, "reexec-as", Shape::CommandLine("CMDLINE"))
        .help("Command line to become when the master replaces itself, split as a shell would")
        .read(|config, value| set(&mut config.reexec_as, values::command_line(value))),
    single(UPGRADES, "preload", Shape::Text("PATH"))
        .help("Load this code once and fork workers from it")
        .short('p')
        .effect(Effect::NewWorkers)
        .read(|config, value| set(&mut config.preload, values::path(value))),
    single(UPGRADES, "preload-main", Shape::Text("NAME"))
        .help("Function of the preloaded code that each worker runs (default: einhorn_main)")
        .effect(Effect::NewWorkers)
        .not_einhorns()
        .read(|config, value| set(&mut config.preload_main, values::function_name(value))),
    single(UPGRADES, "preload-timeout", Shape::Time("DURATION"))
        .help("How long the code of --preload may take to load (default 5m)")
        .effect(Effect::NewWorkers)
        .not_einhorns()
        .read(|config, value| set(&mut config.preload_timeout, values::limit_in_time(value))),
    switch(UPGRADES, "preload-required")
        .help("Give an upgrade up whose code cannot be preloaded, instead of executing its workers")
        .effect(Effect::NewWorkers)
        .not_einhorns()
        .read(|config, _| set(&mut config.preload_required, Ok(true))),
    switch(UPGRADES, "gc-before-fork")
        .help("Collect garbage after loading, before the first worker is forked")
        .effect(Effect::NewWorkers)
        .read(|config, _| set(&mut config.gc_before_fork, Ok(true))),
    single(CONTROL, "command-name", Shape::Text("NAME"))
        .help("Name shown by ps, and part of the default file names")
        .short('c')
        .read(|config, value| set(&mut config.command_name, values::command_name(value))),
    single(CONTROL, "socket-path", Shape::Text("PATH"))
        .help("Where to open the control socket (default: einhorn.sock in the directory for temporary files)")
        .short('d')
        .read(|config, value| set(&mut config.socket_path, values::limited_path(value, SOCKET_PATH_MAX))),
    single(CONTROL, "pidfile", Shape::Text("PATH"))
        .help("Where to write the master's pid (default: einhorn.pid beside the default socket)")
        .short('e')
        .read(|config, value| set(&mut config.pidfile, values::path(value))),
    single(CONTROL, "lockfile", Shape::Text("PATH"))
        .help("File to lock while the master runs (default: einhorn.lock, or with -d the socket's path and .lock)")
        .short('f')
        .read(|config, value| set(&mut config.lockfile, values::path(value))),
    switch(CONTROL, "command-socket-as-fd")
        .help("Pass each worker an open connection to the control socket, named by EINHORN_SOCK_FD")
        .short('g')
        .effect(Effect::NewWorkers)
        .read(|config, _| set(&mut config.socket_as_fd, Ok(true))),
    single(CONTROL, "socket-mode", Shape::Permissions("MODE"))
        .help("Permissions of the control socket, in octal (default 0600, with --socket-group 0660)")
        .alias("control.mode")
        .not_einhorns()
        .effect(Effect::AtOnce)
        .read(|config, value| set(&mut config.socket_mode, values::mode(value))),
    single(CONTROL, "socket-group", Shape::Text("GROUP"))
        .help("Group of the control socket; its members may do everything there")
        .alias("control.group")
        .not_einhorns()
        .effect(Effect::AtOnce)
        .read(|config, value| set(&mut config.socket_group, values::group(value))),
    switch(OUTPUT, "verbose")
        .help("Increase verbosity; undoes one -q")
        .short('v')
        .subject(Subject::LogLevel)
        .read(|config, _| set(&mut config.log.level, Ok(LogLevel::Debug))),
    switch(OUTPUT, "quiet")
        .help("Decrease verbosity; undoes one -v")
        .short('q')
        .subject(Subject::LogLevel)
        .read(|config, _| set(&mut config.log.level, Ok(LogLevel::Warn))),
    switch(OUTPUT, "syslog")
        .help("Send warnings and errors to syslog too")
        .not_einhorns()
        .subject(Subject::LogTarget)
        .read(|config, _| set(&mut config.log.target, Ok(LogTarget::Both))),
    single(OUTPUT, "trace", Shape::Text("FILE"))
        .help("Write every event and every decision to this file, as a trace that can be replayed")
        .not_einhorns()
        .read(|config, value| set(&mut config.trace, values::path(value))),
    list(WORKER_KEYS, "command", Shape::CommandLine("WORD"))
        .elsewhere(&["cmd", "exec", "program", "script", "run"])
        .help("The program and its arguments, as a list of words; what stands on the command line replaces it")
        .read(|config, value| push(&mut config.program, values::word(value))),
    map(WORKER_KEYS, "env.set")
        .elsewhere(&["environment"])
        .help("Variables that each worker has in its environment")
        .secret()
        .read(|config, value| push(&mut config.env.set, values::assignment(value))),
    list(WORKER_KEYS, "env.unset", Shape::Text("VAR"))
        .help("Variables that no worker has, neither from the master nor from a file")
        .read(|config, value| push(&mut config.env.unset, values::variable(value))),
    list(WORKER_KEYS, "env.env-file", Shape::Text("PATH"))
        .help("Files with one NAME=VALUE in a line, read at each start and upgrade; env.set goes before them. One with a - before its path may be missing")
        .read(|config, value| push(&mut config.env.files, env_file(value))),
    single(WORKER_KEYS, "worker.user", Shape::Text("USER"))
        .help("User that the workers run as, by name or number, with all groups of that user")
        .read(|config, value| set(&mut config.worker.user, values::user(value))),
    single(WORKER_KEYS, "worker.group", Shape::Text("GROUP"))
        .help("Group that the workers run as (default: the first group of the user)")
        .read(|config, value| set(&mut config.worker.group, values::group(value))),
    single(WORKER_KEYS, "worker.directory", Shape::Text("PATH"))
        .elsewhere(&["cwd", "chdir", "workdir", "working-directory"])
        .help("Working directory of the workers (default: the master's)")
        .read(|config, value| set(&mut config.worker.directory, values::path(value))),
    single(WORKER_KEYS, "worker.umask", Shape::Permissions("MODE"))
        .help("File mode creation mask of the workers, in octal (default: the master's)")
        .read(|config, value| set(&mut config.worker.umask, values::mode(value))),
    map(WORKER_KEYS, "worker.rlimits")
        .help("Resource limits of the workers: a number, a size such as \"512MiB\", \"unlimited\", or \"SOFT:HARD\"")
        .read(|config, value| push(&mut config.worker.limits, values::limit(value))),
    single(WORKER_KEYS, "worker.graceful-signal", Shape::Text("SIGNAL"))
        .help("Signal that tells a worker to finish its work and to exit")
        .default("USR2")
        .read(|config, value| set(&mut config.worker.graceful_signal, values::graceful_signal(value))),
    single(WORKER_KEYS, "worker.output", Shape::Choice(OUTPUTS))
        .help(
            "Where standard output and standard error of the workers go: into the master's log, or where the master's \
             own go (default: into the log where there is a file)",
        )
        .read(|config, value| set(&mut config.worker.output, worker_output(value))),
    list(WORKER_KEYS, "worker.leave", Shape::Text("PROGRAM"))
        .help("Programs, by their names, that go on running when the worker that has started them in a session or group of their own ends")
        .effect(Effect::AtOnce)
        .read(|config, value| push(&mut config.worker.leave, values::program_name(value))),
    list(WORKER_KEYS, "worker.no-restart", Shape::Count("CODE"))
        .help(
            "Exit codes after which a worker is not launched again: a start or an upgrade ends, and the slot of a service stays down \
             (default: 78, EX_CONFIG, where there is a file)",
        )
        .read(push_exit_code),
    list(WORKER_KEYS, "worker.slots.cpus", Shape::Text("CPUS"))
        .help(
            "Processors that the worker of each slot runs on, such as [\"0-3\", \"4-7\"], in turn where there are more slots \
             (default: the master's)",
        )
        .read(|config, value| push(&mut config.worker.slots.cpus, slots::cpus(value))),
    list(WORKER_KEYS, "worker.slots.nice", Shape::Level("LEVEL"))
        .help("Nice level of the worker of each slot, in turn where there are more slots; goes before that of all workers")
        .read(|config, value| push(&mut config.worker.slots.nice, values::whole(value, NICE_LEVELS))),
    map(WORKER_KEYS, "worker.slots.env")
        .help("Variables of each worker in which {slot} stands for its slot and {slots} for their number; goes before env.set")
        .secret()
        .read(|config, value| push(&mut config.worker.slots.env, slots::assignment(value))),
    single(MASTER_KEYS, "upgrade.canary", Shape::Share("N|P%"))
        .help("So many workers run the new version first, and are watched for upgrade.bake, before the others are replaced")
        .subject(Subject::Stages)
        .read(push_stage),
    list(MASTER_KEYS, "upgrade.steps", Shape::Share("N|P%"))
        .help("How many workers run the new version after each stage of an upgrade, such as [1, \"50%\"]; the last stage is all")
        .subject(Subject::Stages)
        .read(push_stage),
    single(MASTER_KEYS, "upgrade.bake", Shape::Time("DURATION"))
        .help("How long the workers of each stage are watched before the next (default: not at all)")
        .read(|config, value| set(&mut config.rollout.bake, values::time(value))),
    list(MASTER_KEYS, "upgrade.check", Shape::CommandLine("WORD"))
        .help("A command that is run when the workers of a stage serve, and after its watch; if it fails, the upgrade is given up")
        .read(|config, value| push(&mut config.rollout.check, values::word(value))),
    single(MASTER_KEYS, "upgrade.check-timeout", Shape::Time("DURATION"))
        .help("How long the check of an upgrade may take; then it is ended, and the upgrade given up")
        .default("60s")
        .read(|config, value| set(&mut config.rollout.check_timeout, values::limit_in_time(value))),
    list(MASTER_KEYS, "control.allow-users", Shape::Text("USER"))
        .help("Users, beside root and the master's own, who may do everything on the control socket")
        .read(|config, value| push(&mut config.control.allow_users, values::user(value))),
    list(MASTER_KEYS, "control.allow-groups", Shape::Text("GROUP"))
        .help("Groups whose members may do everything on the control socket")
        .read(|config, value| push(&mut config.control.allow_groups, values::group(value))),
    single(MASTER_KEYS, "log.level", Shape::Choice(LEVELS))
        .help("What is logged: everything down to this level")
        .default("info")
        .subject(Subject::LogLevel)
        .commanded("verbosity", Takes::Verbosity)
        .read(|config, value| set(&mut config.log.level, LogLevel::read(value))),
    single(MASTER_KEYS, "log.target", Shape::Choice(TARGETS))
        .help("Where the log goes")
        .default("stderr")
        .subject(Subject::LogTarget)
        .read(|config, value| set(&mut config.log.target, log_target(value))),
    single(MASTER_KEYS, "log.file", Shape::Text("PATH"))
        .help("File in the place of standard error; opened anew at USR1 and with each upgrade")
        .effect(Effect::Restart)
        .read(|config, value| set(&mut config.log.file, values::absolute_path(value))),
    single(MASTER_KEYS, "log.format", Shape::Choice(FORMATS))
        .help("What a line of the log looks like, but for syslog")
        .default("plain")
        .read(|config, value| set(&mut config.log.format, log_format(value))),
    switch(MASTER_KEYS, "log.time")
        .help("Begin each line with its time; those of log.file, and in JSON, always have it")
        .read(|config, _| set(&mut config.log.time, Ok(true))),
    single(MASTER_KEYS, "log.syslog-level", Shape::Choice(LEVELS))
        .help("What of the log goes to syslog: everything down to this level")
        .default("warn")
        .read(|config, value| set(&mut config.log.syslog_level, LogLevel::read(value))),
    single(MASTER_KEYS, "log.facility", Shape::Text("FACILITY"))
        .help("The facility that syslog is told, such as daemon or local0")
        .default("daemon")
        .read(|config, value| set(&mut config.log.facility, values::one_of(value, FACILITIES))),
    single(MASTER_KEYS, "log.ident", Shape::Text("NAME"))
        .help("The name that syslog is told")
        .default("einhyrningsins")
        .read(|config, value| set(&mut config.log.ident, values::ident(value))),
    switch(OTHER, "help").help("Show this text").short('h').act(Act::Help),
    switch(OTHER, "version").help("Show the version").act(Act::Version),
    switch(OTHER, "upgrade-check")
        .help("Internal: show that this program could take over from a running master, and exit")
        .act(Act::UpgradeCheck),
    switch(OTHER, "relay")
        .help("Internal: keep the workers' output readable, and write it to standard error when the master is gone")
        .not_einhorns()
        .act(Act::Relay),
    switch(OTHER, "holder")
        .help("Internal: hold the listening sockets for the next master")
        .not_einhorns()
        .act(Act::Holder),
    switch(CONFIGURATION, "config-schema")
        .help("Show a JSON schema of the configuration file, for editors")
        .not_einhorns()
        .act(Act::ConfigSchema),
    single(CONFIGURATION, "config", Shape::Text("FILE"))
        .help("Read the settings from this TOML file; what the command line says goes before them")
        .not_einhorns(),
    switch(CONFIGURATION, "trust-config")
        .help("Read it, and files of variables, although other users could change them; root refuses that otherwise")
        .not_einhorns(),
    list(CONFIGURATION, "profile", Shape::Text("NAME"))
        .help(
            "Apply [profiles.NAME] of the file on top of the rest. Can be repeated, the last one goes before the \
             others",
        )
        .not_einhorns(),
    switch(CONFIGURATION, "print-config")
        .help("Show the settings as they would be used, as a TOML file, with where each comes from")
        .not_einhorns(),
    switch(CONFIGURATION, "check-config")
        .help("Check all that can be checked without a start, show everything that is wrong, and exit")
        .not_einhorns(),
    single(CONFIGURATION, "as", Shape::Text("USER"))
        .help("Check as this user; of a file in /etc/einhyrningsins that is its service's, of any other your own")
        .not_einhorns(),
    single(OTHER, "with-state-fd", Shape::Text("FD"))
        .help("Internal: go on from the state in this file descriptor")
        .read(|config, value| set(&mut config.with_state_fd, values::whole(value, STATE_FDS))),
];

/// The option of this name.
pub(super) fn find(name: &str) -> Option<&'static Definition> {
    OPTIONS.iter().find(|option| option.name == name)
}

/// The flags of the command line, in the order of the help.
pub fn flags() -> impl Iterator<Item = &'static Definition> + Clone {
    OPTIONS.iter().filter(|option| option.is_flag())
}

/// The keys of the file, in the order of the definition.
pub fn keys() -> impl Iterator<Item = &'static Definition> + Clone {
    OPTIONS.iter().filter(|option| option.is_key())
}

/// The tables whose names are variables of workers.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    keys().filter(|key| key.is_secret).map(|key| key.name)
}

/// The option that other programs call so.
pub(super) fn known_elsewhere(name: &str) -> Option<&'static Definition> {
    let plain = name.replace('_', "-");
    OPTIONS.iter().find(|option| option.elsewhere.contains(&plain.as_str()))
}

/// The names of this option and of the others of its subject.
pub(super) fn aliases(name: &str) -> Vec<&'static str> {
    let subject = find(name).and_then(|option| option.subject);
    let is_one = |option: &&Definition| option.name == name || subject.is_some() && option.subject == subject;
    OPTIONS.iter().filter(is_one).map(|option| option.name).collect()
}

/// The options that `config` on the control socket may set: einhorn's, then ours by name.
pub fn commanded() -> Vec<(&'static Definition, Commanded)> {
    let mut found: Vec<_> = OPTIONS.iter().filter_map(|option| Some((option, option.commanded?))).collect();
    found.sort_by_key(|(option, commanded)| (!option.is_einhorns).then_some(commanded.name));
    found
}

impl Definition {
    /// Whether it has such a value.
    pub fn accepts(&self, value: &str) -> bool {
        (self.read)(&mut Config::default(), value.as_ref()).is_ok()
    }
}

fn set<T, U: From<T>>(slot: &mut U, value: Result<T, Need>) -> Result<(), Need> {
    *slot = value?.into();
    Ok(())
}

fn push_stage(config: &mut Config, value: &std::ffi::OsStr) -> Result<(), Need> {
    let share = values::share(value, 1)?;
    if config.rollout.stages.len() >= STAGES_MAX {
        return Err(format!("need at most {STAGES_MAX} stages"));
    }
    config.rollout.stages.push(share);
    Ok(())
}

fn push_exit_code(config: &mut Config, value: &std::ffi::OsStr) -> Result<(), Need> {
    let code = values::whole(value, 1..=u8::MAX)?;
    if config.worker.no_restart.len() >= EXIT_CODES_MAX {
        return Err(format!("need at most {EXIT_CODES_MAX} exit codes"));
    }
    config.worker.no_restart.extend(NonZeroU8::new(code));
    Ok(())
}

fn push<T>(list: &mut Vec<T>, value: Result<T, Need>) -> Result<(), Need> {
    list.push(value?);
    Ok(())
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
