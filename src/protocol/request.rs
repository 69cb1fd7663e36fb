//! What a client wants. Requests are YAML maps with string keys, and JSON is YAML.

use crate::pool::Pid;
use crate::protocol::line::unescape;
use crate::yaml::{self, Limits, Value};

/// A request as far as this master answers it.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    Ack {
        pid: Pid,
    },
    Ping {
        pid: Pid,
        request_id: String,
    },
    /// An ack or a ping that does not say whose; the request is shown as Ruby would.
    WithoutPid {
        shown: String,
    },
    State {
        id: Option<Value>,
    },
    Unknown {
        shown: String,
        id: Option<Value>,
    },
    WithoutCommand {
        id: Option<Value>,
    },
    /// Not YAML, not a map, or beyond the limits.
    Unreadable,
}

impl Request {
    /// Whether the connection is closed without an answer, for workers that forget to close it.
    pub fn ends_connection(&self) -> bool {
        matches!(self, Self::Ack { .. } | Self::Ping { .. } | Self::WithoutPid { .. })
    }
}

/// Reads one line, without its newline.
pub fn parse(line: &[u8]) -> Request {
    let Ok(text) = std::str::from_utf8(line) else { return Request::Unreadable };
    let Ok(request) = yaml::read(&unescape(text), Limits::UNTRUSTED) else { return Request::Unreadable };
    let Value::Map(_) = &request else { return Request::Unreadable };
    let id = request.get("id").filter(|id| !matches!(id, Value::Nil | Value::Bool(false))).cloned();
    match request.get("command") {
        Some(Value::Str(command)) => match command.as_str() {
            "worker:ack" => with_pid(&request, |pid| Request::Ack { pid }),
            "worker:ping" => with_pid(&request, |pid| Request::Ping { pid, request_id: request_id(&request) }),
            "state" => Request::State { id },
            _ => Request::Unknown { shown: yaml::inspect(&Value::Str(command.clone())), id },
        },
        None | Some(Value::Nil | Value::Bool(false)) => Request::WithoutCommand { id },
        Some(other) => Request::Unknown { shown: yaml::inspect(other), id },
    }
}

/// The pid may be a number or, as some clients have it, a string of digits (einhorn ignored those for ever).
fn with_pid(request: &Value, make: impl FnOnce(Pid) -> Request) -> Request {
    let pid = match request.get("pid") {
        Some(Value::Int(pid)) => i32::try_from(*pid).ok(),
        Some(Value::Str(digits)) => digits.parse().ok(),
        _ => None,
    };
    match pid {
        Some(pid) => make(Pid(pid)),
        None => Request::WithoutPid { shown: yaml::inspect(request) },
    }
}

fn request_id(request: &Value) -> String {
    match request.get("request_id") {
        None | Some(Value::Nil) => String::new(),
        Some(Value::Str(id)) => id.clone(),
        Some(other) => yaml::inspect(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_is_read_as_json_and_as_rubys_client_writes_it() {
        let ack = Request::Ack { pid: Pid(12) };
        assert_eq!(parse(br#"{"command":"worker:ack", "pid":12}"#), ack);
        assert_eq!(parse(b"---%0Acommand: worker:ack%0Apid: 12%0A"), ack);
        assert_eq!(parse(br#"{"command":"worker:ack", "pid":"12"}"#), ack);
    }

    #[test]
    fn an_ack_that_does_not_say_whose_is_shown_as_it_came() {
        let request = Request::WithoutPid { shown: r#"{"command"=>"worker:ack"}"#.to_owned() };
        assert_eq!(parse(br#"{"command":"worker:ack"}"#), request);
    }

    #[test]
    fn what_is_no_map_is_unreadable() {
        for line in [&b"*a"[..], b"[1]", b"", b"{", b"\xff", b"--- !ruby/object:Object {}", b"- - -"] {
            assert_eq!(parse(line), Request::Unreadable, "{line:?}");
        }
    }

    #[test]
    fn an_id_that_ruby_takes_for_nothing_is_none() {
        assert_eq!(parse(b"{command: state, id: null}"), Request::State { id: None });
        assert_eq!(parse(b"{command: state, id: false}"), Request::State { id: None });
        assert_eq!(parse(b"{command: state, id: 0}"), Request::State { id: Some(Value::Int(0)) });
    }
}
