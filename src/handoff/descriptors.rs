//! `:persistent_descriptors:` of the document: what einhorn's event loop watches. Its entries of other classes are not kept: each
//! master makes those things for itself.

use crate::base::{Pid, Wall};
use crate::handoff::error::Fault;
use crate::handoff::field::{Fd, Field, Number};
use crate::handoff::record::{Record, default_of, record, with_first};
use crate::yaml::Value;

const SERVER: &str = "Einhorn::Event::CommandServer";
const CONNECTION: &str = "Einhorn::Event::Connection";
const ACK_TIMER: &str = "Einhorn::Event::ACKTimer";

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Descriptors {
    /// The control socket, listening.
    pub command_server: Option<Fd>,
    pub connections: Vec<Connection>,
    pub ack_timers: Vec<AckTimer>,
}

record! {
    /// A client of the control socket.
    pub struct Connection {
        pub socket: Fd,
        pub subscriptions: Subscriptions = Subscriptions::default(),
        /// The part of a request that has arrived.
        pub read_buffer: Received => Received::default(),
        /// The replies that are not written yet.
        pub write_buffer: Vec<u8> => Vec::<u8>::new(),
    }
}

record! {
    /// When a worker is taken to serve.
    pub struct AckTimer {
        /// In seconds from `start`.
        pub time: Number,
        pub start: Wall,
        pub pid: Pid,
    }
}

/// Bytes from a socket, which stay bytes to Ruby even if they are text: it cannot add other bytes to text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received(pub Vec<u8>);

/// What a client waits for (`upgrade`), each with the id of the request that said so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subscriptions(pub Vec<(String, Value)>);

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
        let entry = |class: &str, value: Value| with_first("class", Value::str(class), value);
        let server = |fd: &Fd| entry(SERVER, Value::symbol_map([("server", fd.to_value())]));
        let connections = self.connections.iter().map(|connection| entry(CONNECTION, connection.to_value()));
        let timers = self.ack_timers.iter().map(|timer| entry(ACK_TIMER, timer.to_value()));
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
        let class: String = record.field("class", None)?;
        match class.as_str() {
            SERVER if self.command_server.is_some() => return Err(Fault::new("there is a second control socket")),
            SERVER => self.command_server = Some(record.field("server", None)?),
            CONNECTION => self.connections.push(Connection::from_value(entry)?),
            ACK_TIMER => self.ack_timers.push(AckTimer::from_value(entry)?),
            _ => {}
        }
        Ok(())
    }
}
