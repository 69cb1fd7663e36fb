//! einhorn's part of the document, as plain data, under einhorn's names. Each field is what Ruby's loader reads; what it means
//! for us is for the supervisor to say. `state` holds how it is written.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::base::{Pid, Signal, Version, WorkerIndex};
use crate::handoff::{Fd, Number, Wall};
use crate::yaml::Value;

/// `:state:`.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub children: Children,
    pub config: Config,
    /// Always empty in what was recorded; kept as it is.
    pub versions: Value,
    pub version: Version,
    /// 0.8.2 keeps the sockets of the old `srv:` words here; kept as it is.
    pub sockets: Value,
    /// The program as it was given.
    pub orig_cmd: Vec<OsString>,
    pub bind: Vec<Bind>,
    /// Where the master has the sockets, in the order of `bind`. Ruby's workers have them under the same numbers.
    pub bind_fds: Vec<Fd>,
    pub bound_ports: Vec<u16>,
    /// The program as it is run: with 0.8.2, descriptor numbers in the place of `srv:` words.
    pub cmd: Vec<OsString>,
    pub script_name: Option<OsString>,
    /// False once the master is to end.
    pub respawn: bool,
    pub upgrading: bool,
    /// The style of the last upgrade, over or not.
    pub smooth_upgrade: bool,
    /// An upgrade is to start as soon as the document has been read.
    pub reloading_for_upgrade: bool,
    /// What `-p` named.
    pub path: Option<PathBuf>,
    pub cmd_name: Option<OsString>,
    pub verbosity: u32,
    /// How often a master has replaced its program.
    pub generation: u64,
    pub last_spinup: Option<Wall>,
    pub ack_mode: AckMode,
    pub kill_children_on_exit: bool,
    pub command_socket_as_fd: bool,
    /// None: the default place.
    pub socket_path: Option<PathBuf>,
    pub pidfile: Option<PathBuf>,
    pub lockfile: Option<PathBuf>,
    pub consecutive_deaths_before_ack: u32,
    pub last_upgraded: Option<Wall>,
    pub nice: Nice,
    pub reexec_commandline: Option<Vec<OsString>>,
    pub drop_environment_variables: Vec<OsString>,
    /// In seconds.
    pub signal_timeout: Option<Number>,
    pub preloaded: bool,
    /// What stands under keys that we do not know.
    pub others: Vec<(Value, Value)>,
}

/// The master's children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Children {
    /// In the order of their launch.
    pub workers: Vec<(Pid, Child)>,
    /// Processes that Ruby's einhorn forked to pass the document on. They end by themselves, and are to be reaped.
    pub state_passers: Vec<Pid>,
}

/// A worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    pub version: Version,
    pub acked: bool,
    pub signaled: Signaled,
    pub last_signaled_at: Option<Wall>,
    /// None: written by an einhorn that gave no indices.
    pub index: Option<WorkerIndex>,
    pub spinup_time: Option<Wall>,
    pub pinged_at: Option<Wall>,
    pub pinged_request_id: Option<OsString>,
}

/// What a worker was sent that it might go, each once: Ruby's `Set` of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signaled(pub Vec<Signal>);

/// `:config:`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub number: u32,
    pub backlog: u32,
    pub seconds: Number,
    pub max_unacked: Option<u32>,
    pub max_upgrade_additional: Option<u32>,
    pub gc_before_fork: bool,
    /// What stands under keys that we do not know: with 0.8.2, clients may set any.
    pub others: Vec<(Value, Value)>,
}

/// One `-b`: a host (or `unix:PATH`, which Ruby's einhorn does not know), a port, and the flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub host: OsString,
    pub port: u16,
    pub flags: Vec<String>,
}

/// How a worker is known to serve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AckMode {
    /// It has lived for so many seconds.
    Timer(Number),
    Manual,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nice {
    pub master: Option<i32>,
    pub worker: Option<i32>,
    pub renice_cmd: Option<OsString>,
}

/// `:persistent_descriptors:`: what einhorn's event loop watches. Its entries of other classes are not kept: they are things
/// that each master has for itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Descriptors {
    /// The control socket, listening.
    pub command_server: Option<Fd>,
    pub connections: Vec<Connection>,
    pub ack_timers: Vec<AckTimer>,
}

/// A client of the control socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    pub socket: Fd,
    pub subscriptions: Subscriptions,
    /// What it has said of a request that is not complete.
    pub read_buffer: Received,
    /// What it is still to be told.
    pub write_buffer: Vec<u8>,
}

/// Bytes from a socket, which stay bytes to Ruby even if they are text: it cannot add other bytes to text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received(pub Vec<u8>);

/// What a client waits for (`upgrade`), each with the id of the request that said so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subscriptions(pub Vec<(String, Value)>);

/// When a worker is taken to serve.
#[derive(Clone, Debug, PartialEq)]
pub struct AckTimer {
    /// In seconds from `start`.
    pub time: Number,
    pub start: Wall,
    pub pid: Pid,
}
