//! What a client wants. Requests are YAML maps with string keys, and JSON is YAML. A request that makes no sense is one too:
//! it has its reply.

use crate::protocol::commands::{Asked, Command, Speaker};
use crate::protocol::line::unescape;
use crate::protocol::response::Format;
use crate::yaml::{self, Limits, Value};

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub asked: Asked,
    /// Which clients may send it.
    pub speaker: Speaker,
    /// What ties replies to it; without one the client is of the old style and gets one reply.
    pub id: Option<Value>,
    pub format: Format,
}

impl Request {
    /// Whether the connection is closed without an answer, for workers that forget to close it.
    pub fn ends_connection(&self) -> bool {
        self.speaker == Speaker::Worker
    }
}

/// Reads one line, without its newline.
pub fn parse(line: &[u8]) -> Request {
    let unreadable = Request { asked: Asked::Unreadable, speaker: Speaker::Operator, id: None, format: Format::Yaml };
    let Ok(text) = std::str::from_utf8(line) else { return unreadable };
    let Ok(request) = yaml::read(&unescape(text), Limits::UNTRUSTED) else { return unreadable };
    if request.as_map().is_none() {
        return unreadable;
    }
    let id = request.get("id").filter(|id| is_something(id)).cloned();
    let format = match request.get("format").and_then(Value::as_str) {
        Some("json") => Format::Json,
        Some(_) | None => Format::Yaml,
    };
    let (asked, speaker) = asked(&request);
    Request { asked, speaker, id, format }
}

/// Nothing is understood that has no row.
fn asked(request: &Value) -> (Asked, Speaker) {
    let Some(command) = request.get("command").filter(|command| is_something(command)) else {
        return (Asked::WithoutCommand, Speaker::Operator);
    };
    match command.as_str().and_then(Command::find) {
        Some(row) => (row.read(request), row.speaker),
        None => (Asked::Unknown { shown: yaml::inspect(command) }, Speaker::Operator),
    }
}

/// As Ruby has it: neither nil nor false.
fn is_something(value: &Value) -> bool {
    !matches!(value.plain(), Value::Nil | Value::Bool(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Pid, Signal};
    use crate::protocol::COMMANDS;

    fn asked(line: &str) -> Asked {
        parse(line.as_bytes()).asked
    }

    #[test]
    fn an_ack_is_read_as_json_and_as_rubys_client_writes_it() {
        let ack = Asked::Ack { pid: Pid(12) };
        assert_eq!(asked(r#"{"command":"worker:ack", "pid":12}"#), ack);
        assert_eq!(asked("---%0Acommand: worker:ack%0Apid: 12%0A"), ack);
        assert_eq!(asked(r#"{"command":"worker:ack", "pid":"12"}"#), ack);
    }

    #[test]
    fn every_command_of_the_list_is_understood() {
        for Command { word, .. } in COMMANDS {
            assert!(!matches!(asked(&format!("{{command: {word:?}}}")), Asked::Unknown { .. }), "{word}");
        }
        assert!(matches!(asked("{command: nope}"), Asked::Unknown { .. }));
    }

    #[test]
    fn an_ack_that_does_not_say_whose_is_shown_as_it_came() {
        let request = Asked::WithoutPid { shown: r#"{"command"=>"worker:ack"}"#.to_owned() };
        assert_eq!(asked(r#"{"command":"worker:ack"}"#), request);
    }

    #[test]
    fn what_is_no_map_is_unreadable() {
        for line in
            [&b"*a"[..], b"[1]", b"", b"{", b"\xff", b"--- !ruby/object:Object {}", b"- - -", b"# c", b"a: b: c"]
        {
            assert_eq!(parse(line).asked, Asked::Unreadable, "{line:?}");
        }
    }

    #[test]
    fn an_id_that_ruby_takes_for_nothing_is_none() {
        let id = |line: &str| parse(line.as_bytes()).id;
        assert_eq!(id("{command: state, id: null}"), None);
        assert_eq!(id("{command: state, id: false}"), None);
        assert_eq!(id("{command: state, id: 0}"), Some(Value::Int(0)));
    }

    #[test]
    fn a_format_is_json_only_if_it_says_so() {
        assert_eq!(parse(b"{command: state, format: json}").format, Format::Json);
        assert_eq!(parse(b"{command: state, format: xml}").format, Format::Yaml);
    }

    #[test]
    fn die_without_arguments_names_no_signal() {
        assert_eq!(asked("{command: die}"), Asked::Die(None), "E32");
        assert_eq!(asked("{command: die, args: []}"), Asked::Die(None));
        assert_eq!(asked("{command: die, args: [sigterm]}"), Asked::Die(Some(Signal::TERM)));
        assert_eq!(asked("{command: die, args: [USR2]}"), Asked::Die(Some(Signal::USR2)));
    }

    /// E01: each of these killed Ruby's master.
    #[test]
    fn hostile_lines_are_answered_and_nothing_else() {
        assert_eq!(asked("*a"), Asked::Unreadable);
        assert_eq!(asked("{\"a\": *x}"), Asked::Unreadable);
        assert_eq!(asked("!!float x"), Asked::Unreadable);
        assert_eq!(asked("{\"command\": 2020-01-01}"), Asked::Unknown { shown: "\"2020-01-01\"".to_owned() });
    }
}
