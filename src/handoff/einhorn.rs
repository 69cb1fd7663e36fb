//! `:state:` of the document, as plain data under einhorn's names, with how each field is read and written: einhorn's keys in its
//! order, its symbols and sets, its defaults for what is missing. What a field means for us is for the supervisor to say.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::base::{Pid, Signal, Version, Wall, WorkerIndex};
use crate::handoff::error::Fault;
use crate::handoff::field::{Fd, Field, Number};
use crate::handoff::record::{Record, default_of, record, with_first};
use crate::yaml::Value;

pub use crate::handoff::descriptors::{AckTimer, Connection, Descriptors, Received, Subscriptions};

const WORKER: &str = "worker";
const STATE_PASSER: &str = "state_passer";

record! {
    default
    /// `:state:`.
    pub struct State {
        pub children: Children = Children::default(),
        pub config: Config,
        /// Always empty in what was recorded; kept as it is.
        pub versions: Value = Value::Map(Vec::new()),
        pub version: Version = Version(0),
        /// 0.8.2 keeps the sockets of the old `srv:` words here; kept as it is.
        pub sockets: Value = Value::Map(Vec::new()),
        /// The program as it was given.
        pub orig_cmd: Vec<OsString> = Vec::new(),
        pub bind: Vec<Bind> = Vec::new(),
        /// Where the master has the sockets, in the order of `bind`. Ruby's workers have them under the same numbers.
        pub bind_fds: Vec<Fd> = Vec::new(),
        pub bound_ports: Vec<u16> = Vec::new(),
        /// The program as it is run: with 0.8.2, descriptor numbers in the place of `srv:` words.
        pub cmd: Vec<OsString>,
        pub script_name: Option<OsString> = None,
        /// False once the master is to end.
        pub respawn: bool = true,
        pub upgrading: bool = false,
        /// The style of the last upgrade, over or not.
        pub smooth_upgrade: bool = false,
        /// An upgrade is to start as soon as the document has been read.
        pub reloading_for_upgrade: bool = false,
        /// What `-p` named.
        pub path: Option<PathBuf> = None,
        pub cmd_name: Option<OsString> = None,
        pub verbosity: u32 = 1,
        /// How often a master has replaced its program.
        pub generation: u64 = 0,
        pub last_spinup: Option<Wall> = None,
        pub ack_mode: AckMode = AckMode::Timer(Number::Int(1)),
        pub kill_children_on_exit: bool = false,
        pub command_socket_as_fd: bool = false,
        /// None: the default place.
        pub socket_path: Option<PathBuf> = None,
        pub pidfile: Option<PathBuf> = None,
        pub lockfile: Option<PathBuf> = None,
        pub consecutive_deaths_before_ack: u32 = 0,
        pub last_upgraded: Option<Wall> = None,
        pub nice: Nice = Nice::default(),
        pub reexec_commandline: Option<Vec<OsString>> = None,
        pub drop_environment_variables: Vec<OsString> = Vec::new(),
        /// In seconds.
        pub signal_timeout: Option<Number> = None,
        pub preloaded: bool = false,
    } others others
}

record! {
    default
    /// A worker.
    pub struct Child {
        pub version: Version = Version(0),
        pub acked: bool = false,
        pub signaled: Signaled = Signaled::default(),
        pub last_signaled_at: Option<Wall> = None,
        /// None: written by an einhorn that gave no indices.
        pub index: Option<WorkerIndex> = None,
        pub spinup_time: Option<Wall> = None,
        pub pinged_at: Option<Wall> => None,
        /// What the client said: any value.
        pub pinged_request_id: Value => Value::Nil,
    }
}

record! {
    default
    /// `:config:`. With 0.8.2, clients may set unknown keys.
    pub struct Config {
        pub number: u32 = 1,
        pub backlog: i64 = 100,
        pub seconds: Number = Number::Int(1),
        pub max_unacked: Option<i64> => None,
        pub max_upgrade_additional: Option<i64> => None,
        pub gc_before_fork: bool => false,
    } others others
}

record! {
    default
    pub struct Nice {
        pub master: Option<i32> = None,
        pub worker: Option<i32> = None,
        pub renice_cmd: Option<OsString> = None,
    }
}

/// The master's children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Children {
    /// In the order of their launch.
    pub workers: Vec<(Pid, Child)>,
    /// Processes that Ruby's einhorn forked to pass the document on. They end by themselves, and are to be reaped.
    pub state_passers: Vec<Pid>,
}

/// The signals that a worker was sent to stop it, each once: Ruby's `Set` of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signaled(pub Vec<Signal>);

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

impl State {
    /// As a client sees it: a time that stands in two places is one object, as with Ruby.
    pub fn shown(&self) -> Value {
        let mut state = self.to_value();
        if let Some(last) = self.last_spinup {
            let last = last.to_value().share();
            let workers = &self.children.workers;
            let newest = workers.iter().rposition(|(_, child)| child.spinup_time == self.last_spinup);
            if let (Some(newest), Some(children)) = (newest, state.get_symbol("children")) {
                state.insert(Value::symbol("children"), with_spinup(children, newest, last.clone()));
            }
            state.insert(Value::symbol("last_spinup"), last);
        }
        Value::symbol_map([("state", state)])
    }
}

fn with_spinup(children: &Value, place: usize, spinup: Value) -> Value {
    let mut pairs = children.as_map().unwrap_or_default().to_vec();
    if let Some((_, child)) = pairs.get_mut(place) {
        child.insert(Value::symbol("spinup_time"), spinup);
    }
    Value::Map(pairs)
}

/// One map for all, each by its pid.
impl Field for Children {
    fn to_value(&self) -> Value {
        let entry = |word: &str, child: Value| with_first("type", Value::symbol(word), child);
        let worker = |(pid, child): &(Pid, Child)| (pid.to_value(), entry(WORKER, child.to_value()));
        let passer = |pid: &Pid| (pid.to_value(), entry(STATE_PASSER, Value::Map(Vec::new())));
        Value::Map(self.workers.iter().map(worker).chain(self.state_passers.iter().map(passer)).collect())
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let pairs = value.as_map().ok_or_else(|| Fault::wrong("a map", value))?;
        let mut children = Self::default();
        for (key, child) in pairs {
            let pid = Pid::from_value(key)?;
            children.add(pid, child).map_err(|fault| fault.within(pid))?;
        }
        Ok(children)
    }
}

impl Children {
    fn add(&mut self, pid: Pid, child: &Value) -> Result<(), Fault> {
        let kind: Value = Record::of(child)?.field("type", None)?;
        match kind.as_symbol() {
            Some(WORKER) => self.workers.push((pid, Child::from_value(child)?)),
            Some(STATE_PASSER) => self.state_passers.push(pid),
            Some(_) | None => return Err(Fault::wrong(":worker or :state_passer", &kind).within(":type")),
        }
        Ok(())
    }
}

impl Field for Signaled {
    fn to_value(&self) -> Value {
        Value::Set(self.0.iter().map(Signal::to_value).collect())
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let members = value.as_set().ok_or_else(|| Fault::wrong("a set", value))?;
        let mut signals = Vec::new();
        for member in members {
            let signal = Signal::from_value(member)?;
            if !signals.contains(&signal) {
                signals.push(signal);
            }
        }
        Ok(Self(signals))
    }
}

/// A list of three, where the others have maps.
impl Field for Bind {
    fn to_value(&self) -> Value {
        Value::Seq(vec![self.host.to_value(), self.port.to_value(), self.flags.to_value()])
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let Some([host, port, flags]) = value.as_seq() else {
            return Err(Fault::wrong("a host, a port and flags", value));
        };
        Ok(Self { host: at(0, host)?, port: at(1, port)?, flags: at(2, flags)? })
    }
}

fn at<T: Field>(place: usize, value: &Value) -> Result<T, Fault> {
    T::from_value(value).map_err(|fault| fault.within(place))
}

impl Field for AckMode {
    fn to_value(&self) -> Value {
        match self {
            Self::Timer(timeout) => {
                Value::symbol_map([("type", Value::symbol("timer")), ("timeout", timeout.to_value())])
            }
            Self::Manual => Value::symbol_map([("type", Value::symbol("manual"))]),
        }
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let record = Record::of(value)?;
        let kind: Value = record.field("type", None)?;
        match kind.as_symbol() {
            Some("timer") => record.field("timeout", None).map(Self::Timer),
            Some("manual") => Ok(Self::Manual),
            Some(_) | None => Err(Fault::wrong(":timer or :manual", &kind).within(":type")),
        }
    }
}
