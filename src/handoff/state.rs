//! How einhorn's part is written and read: its keys in its order, with its symbols and sets, and its defaults for what is
//! missing. The types stand in `einhorn`.

use crate::base::{Pid, Signal, Version};
use crate::handoff::einhorn::{
    AckMode, AckTimer, Bind, Child, Children, Config, Connection, Descriptors, Nice, Received, Signaled, State,
    Subscriptions,
};
use crate::handoff::error::Fault;
use crate::handoff::field::Field;
use crate::handoff::record::{Record, record, record_with_default, with_first};
use crate::handoff::{Fd, Number};
use crate::yaml::Value;

const SERVER: &str = "Einhorn::Event::CommandServer";
const CONNECTION: &str = "Einhorn::Event::Connection";
const ACK_TIMER: &str = "Einhorn::Event::ACKTimer";

const WORKER: &str = "worker";
const STATE_PASSER: &str = "state_passer";

record_with_default! {
    State {
        children = Children::default(),
        config,
        versions = Value::Map(Vec::new()),
        version = Version(0),
        sockets = Value::Map(Vec::new()),
        orig_cmd = Vec::new(),
        bind = Vec::new(),
        bind_fds = Vec::new(),
        bound_ports = Vec::new(),
        cmd,
        script_name = None,
        respawn = true,
        upgrading = false,
        smooth_upgrade = false,
        reloading_for_upgrade = false,
        path = None,
        cmd_name = None,
        verbosity = 1,
        generation = 0,
        last_spinup = None,
        ack_mode = AckMode::Timer(Number::Int(1)),
        kill_children_on_exit = false,
        command_socket_as_fd = false,
        socket_path = None,
        pidfile = None,
        lockfile = None,
        consecutive_deaths_before_ack = 0,
        last_upgraded = None,
        nice = Nice::default(),
        reexec_commandline = None,
        drop_environment_variables = Vec::new(),
        signal_timeout = None,
        preloaded = false,
    } others others
}

record_with_default! {
    Child {
        version = Version(0),
        acked = false,
        signaled = Signaled::default(),
        last_signaled_at = None,
        index = None,
        spinup_time = None,
    } when_set {
        pinged_at = None,
        pinged_request_id = None,
    }
}

record_with_default! {
    Config {
        number = 1,
        backlog = 100,
        seconds = Number::Int(1),
    } when_set {
        max_unacked = None,
        max_upgrade_additional = None,
        gc_before_fork = false,
    } others others
}

record_with_default! {
    Nice {
        master = None,
        worker = None,
        renice_cmd = None,
    }
}

record! {
    Connection {
        socket,
        subscriptions = Subscriptions::default(),
    } when_set {
        read_buffer = Received::default(),
        write_buffer = Vec::<u8>::new(),
    }
}

record! {
    AckTimer {
        time,
        start,
        pid,
    }
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
        let entry = |word: &str, child: Value| with_first(Value::symbol("type"), Value::symbol(word), child);
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
        let kind = Record::of(child)?.need::<Value>("type")?;
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
        let kind = record.need::<Value>("type")?;
        match kind.as_symbol() {
            Some("timer") => record.need("timeout").map(Self::Timer),
            Some("manual") => Ok(Self::Manual),
            Some(_) | None => Err(Fault::wrong(":timer or :manual", &kind).within(":type")),
        }
    }
}

impl Field for Received {
    fn to_value(&self) -> Value {
        Value::Bytes(self.0.clone())
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        Field::from_value(value).map(Self)
    }
}

impl Field for Subscriptions {
    fn to_value(&self) -> Value {
        Value::Map(self.0.iter().map(|(kind, id)| (Value::symbol(kind.as_str()), id.clone())).collect())
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let pairs = value.as_map().ok_or_else(|| Fault::wrong("a map", value))?;
        let subscription = |(kind, id): &(Value, Value)| {
            let name = kind.as_symbol().ok_or_else(|| Fault::wrong("a symbol", kind))?;
            Ok((name.to_owned(), id.clone()))
        };
        pairs.iter().map(subscription).collect::<Result<_, Fault>>().map(Self)
    }
}

/// A list of all, each with its class.
impl Field for Descriptors {
    fn to_value(&self) -> Value {
        let entry = |class: &str, value: Value| with_first(Value::symbol("class"), Value::str(class), value);
        let server = |fd: &Fd| entry(SERVER, Value::symbol_map([("server", fd.to_value())]));
        let connection = |connection: &Connection| entry(CONNECTION, connection.to_value());
        let timer = |timer: &AckTimer| entry(ACK_TIMER, timer.to_value());
        let connections = self.connections.iter().map(connection);
        let timers = self.ack_timers.iter().map(timer);
        Value::Seq(self.command_server.iter().map(server).chain(connections).chain(timers).collect())
    }

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let entries = value.as_seq().ok_or_else(|| Fault::wrong("a list", value))?;
        let mut descriptors = Self::default();
        for (place, entry) in entries.iter().enumerate() {
            descriptors.add(entry).map_err(|fault| fault.within(place))?;
        }
        Ok(descriptors)
    }
}

impl Descriptors {
    fn add(&mut self, entry: &Value) -> Result<(), Fault> {
        let record = Record::of(entry)?;
        let class: String = record.need("class")?;
        match class.as_str() {
            SERVER if self.command_server.is_some() => return Err(Fault::new("there is a second control socket")),
            SERVER => self.command_server = Some(record.need("server")?),
            CONNECTION => self.connections.push(Connection::from_value(entry)?),
            ACK_TIMER => self.ack_timers.push(AckTimer::from_value(entry)?),
            _ => {}
        }
        Ok(())
    }
}
