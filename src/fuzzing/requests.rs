//! What a client may say on the control socket: any line has a reply, the reply is one line, and a client reads in it what was
//! meant.

use crate::client::fuzzing as client;
use crate::fuzzing::checks::survives_psych;
use crate::protocol::{self, Asked, Format, LINE_MAX, More, Reply, Request};
use crate::yaml::{self, Aliases, Limits, Value};

/// What a request may hold: `Limits::UNTRUSTED` is held to the figures of the manual here.
const DEPTH_MAX: usize = 32;
const NODES_MAX: usize = 10_000;

/// Each line of the input is a request, and an id.
pub fn requests(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        let request = protocol::parse(line);
        check_limits(line, &request);
        check_reply(&request, Format::Yaml);
        check_reply(&request, Format::Json);
        if let Some(request) = of_id(line) {
            check_reply(&request, Format::Yaml);
            check_reply(&request, Format::Json);
        }
    }
}

/// A request whose id is all that the line says: an id within a request is too rare a find to be changed often.
fn of_id(line: &[u8]) -> Option<Request> {
    let line = std::str::from_utf8(line).ok()?;
    let id = yaml::read(&protocol::unescape(line), Limits::UNTRUSTED).ok()?;
    Some(Request { id: Some(id), ..protocol::parse(b"") })
}

fn check_limits(line: &[u8], request: &Request) {
    if line.len() > LINE_MAX {
        assert_eq!(request.asked, Asked::Unreadable, "a line of {} bytes is understood", line.len());
    }
    let Some(id) = &request.id else { return };
    let (depth, nodes) = size(id);
    assert!(depth <= DEPTH_MAX && nodes <= NODES_MAX, "an id of {nodes} nodes, {depth} deep, is taken");
}

/// How deep a value is, and how many values are in it.
fn size(value: &Value) -> (usize, usize) {
    let Some(parts) = value.parts() else { return (0, 1) };
    let (depth, nodes) =
        parts.map(size).fold((0, 1), |(depth, nodes), (deeper, more)| (depth.max(deeper), nodes + more));
    (depth + 1, nodes)
}

/// The reply repeats what the client said, as replies do. It is one line that a client reads as it was meant.
fn check_reply(request: &Request, format: Format) {
    let message = repeated(&request.asked);
    let more = if request.id.is_some() { More::Follows } else { More::No };
    let line = Reply { more, ..Reply::last(message.clone(), request.id.clone()) }.to_line(format);
    assert_eq!(line.find('\n'), Some(line.len() - 1), "a reply is no line: {line:?}");
    let read = client::reply(line.trim_end_matches('\n').as_bytes());
    let understood = read.unwrap_or_else(|failure| panic!("a client cannot read {line:?}: {failure}"));
    assert_eq!(understood.message, message, "in {line:?}");
    let known = request.id.as_ref().and_then(Value::as_int);
    assert_eq!((understood.id, understood.waits), (known, more == More::Follows), "in {line:?}");
    if format == Format::Yaml {
        check_document(line.trim_end_matches('\n'), &message, request.id.as_ref());
    }
}

/// The reply as Psych reads it. An id may be as deep as a request, and stands one deeper here.
fn check_document(line: &str, message: &str, id: Option<&Value>) {
    let limits = Limits {
        input_bytes: usize::MAX,
        depth: DEPTH_MAX + 1,
        nodes: NODES_MAX + 10,
        aliases: Aliases::Allowed { extra_nodes: 0 },
    };
    let document = protocol::unescape(line);
    let read = yaml::read(&document, limits).unwrap_or_else(|error| panic!("{document:?}: {error}"));
    assert_eq!(read.get("message").map(Value::as_str), Some(Some(message)), "in {document:?}");
    if !id.is_none_or(survives_psych) {
        return;
    }
    let written = |value: Option<&Value>| value.map(yaml::write);
    assert_eq!(written(read.get("request_id")), written(id), "in {document:?}");
}

/// What of a request stands in its reply or in the log.
fn repeated(asked: &Asked) -> String {
    match asked {
        Asked::Ping { request_id, .. } => request_id.clone(),
        Asked::WithoutPid { shown } | Asked::Unknown { shown } | Asked::Config { shown, .. } => shown.clone(),
        Asked::Ehlo { user } => user.clone(),
        Asked::Refused(reply) => reply.clone(),
        Asked::Ack { .. }
        | Asked::Help
        | Asked::State
        | Asked::Status
        | Asked::Diff
        | Asked::History
        | Asked::Increment
        | Asked::Decrement
        | Asked::SetWorkers(_)
        | Asked::Quieter
        | Asked::Louder
        | Asked::Upgrade(_)
        | Asked::Pause
        | Asked::Resume
        | Asked::Abort
        | Asked::Rollback(_)
        | Asked::Reload
        | Asked::Signal(_)
        | Asked::Die(_)
        | Asked::WithoutCommand
        | Asked::Unreadable => String::new(),
    }
}
