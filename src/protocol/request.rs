//! What a client wants. Requests are YAML maps with string keys, and JSON is YAML. A request that makes no sense is one too:
//! it has its reply.

use crate::pool::{Pid, Signal, UpgradeStyle};
use crate::protocol::arguments::{count, die_signal, signals, strings};
use crate::protocol::line::unescape;
use crate::protocol::response::Format;
use crate::protocol::settings::{self, Change};
use crate::yaml::{self, Limits, Value};

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub asked: Asked,
    /// What ties replies to it; without one the client is of the old style and gets one reply.
    pub id: Option<Value>,
    pub format: Format,
}

/// What it asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
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
    Ehlo {
        user: String,
    },
    Help,
    State,
    Status,
    /// What an upgrade would change in the configuration.
    Diff,
    Increment,
    Decrement,
    SetWorkers(u32),
    Quieter,
    Louder,
    Upgrade(UpgradeStyle),
    Reload,
    Signal(Vec<Signal>),
    /// Gracefully, if no signal is named.
    Die(Option<Signal>),
    /// The changes, and the whole of what was given as Ruby shows it.
    Config {
        changes: Vec<Change>,
        shown: String,
    },
    /// Arguments that cannot be; the reply says why.
    Refused(String),
    Unknown {
        shown: String,
    },
    WithoutCommand,
    /// Not YAML, not a map, or beyond the limits.
    Unreadable,
}

/// Every command there is; `asked` knows what each means.
pub const COMMANDS: [&str; 18] = [
    "config",
    "dec",
    "die",
    "diff",
    "ehlo",
    "help",
    "inc",
    "louder",
    "quieter",
    "reload",
    "set_workers",
    "signal",
    "state",
    "status",
    "upgrade",
    "upgrade_fleet",
    "worker:ack",
    "worker:ping",
];

impl Asked {
    /// Whether the connection is closed without an answer, for workers that forget to close it.
    pub fn ends_connection(&self) -> bool {
        matches!(self, Self::Ack { .. } | Self::Ping { .. } | Self::WithoutPid { .. })
    }
}

/// Reads one line, without its newline.
pub fn parse(line: &[u8]) -> Request {
    let unreadable = Request { asked: Asked::Unreadable, id: None, format: Format::Yaml };
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
    Request { asked: asked(&request), id, format }
}

fn asked(request: &Value) -> Asked {
    let Some(command) = request.get("command").filter(|command| is_something(command)) else {
        return Asked::WithoutCommand;
    };
    let refused = |reply: Result<Asked, String>| reply.unwrap_or_else(Asked::Refused);
    // Nothing is understood that the list leaves out, so that the manual can be held to it.
    match command.as_str().filter(|name| COMMANDS.contains(name)) {
        Some("worker:ack") => with_pid(request, |pid| Asked::Ack { pid }),
        Some("worker:ping") => with_pid(request, |pid| Asked::Ping { pid, request_id: request_id(request) }),
        Some("ehlo") => Asked::Ehlo { user: to_text(request.get("user")) },
        Some("help") => Asked::Help,
        Some("state") => Asked::State,
        Some("status") => Asked::Status,
        Some("diff") => Asked::Diff,
        Some("inc") => Asked::Increment,
        Some("dec") => Asked::Decrement,
        Some("set_workers") => refused(strings(request).and_then(|args| count(&args)).map(Asked::SetWorkers)),
        Some("quieter") => Asked::Quieter,
        Some("louder") => Asked::Louder,
        Some("upgrade") => Asked::Upgrade(UpgradeStyle::Smooth),
        Some("upgrade_fleet") => Asked::Upgrade(UpgradeStyle::Fleet),
        Some("reload") => Asked::Reload,
        Some("signal") => refused(strings(request).and_then(|args| signals(&args)).map(Asked::Signal)),
        Some("die") => refused(die_signal(request).map(Asked::Die)),
        Some("config") => refused(strings(request).and_then(|args| config(&args))),
        Some(_) | None => Asked::Unknown { shown: yaml::inspect(command) },
    }
}

fn config(args: &[String]) -> Result<Asked, String> {
    let (changes, shown) = settings::parse(args)?;
    Ok(Asked::Config { changes, shown })
}

/// As Ruby has it: neither nil nor false.
fn is_something(value: &Value) -> bool {
    !matches!(value.plain(), Value::Nil | Value::Bool(false))
}

/// The pid may be a number or, as some clients have it, a string of digits (einhorn ignored those for ever).
fn with_pid(request: &Value, make: impl FnOnce(Pid) -> Asked) -> Asked {
    let pid = request.get("pid").and_then(|pid| match pid.plain() {
        Value::Int(pid) => i32::try_from(*pid).ok(),
        Value::Str(digits) => digits.parse().ok(),
        _ => None,
    });
    match pid {
        Some(pid) => make(Pid(pid)),
        None => Asked::WithoutPid { shown: yaml::inspect(request) },
    }
}

fn request_id(request: &Value) -> String {
    to_text(request.get("request_id"))
}

/// Ruby's `to_s`.
fn to_text(value: Option<&Value>) -> String {
    match value.map(Value::plain) {
        None | Some(Value::Nil) => String::new(),
        Some(Value::Str(text)) => text.clone(),
        Some(Value::Symbol(name)) => name.clone(),
        Some(other) => yaml::inspect(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for name in COMMANDS {
            assert!(!matches!(asked(&format!("{{command: {name:?}}}")), Asked::Unknown { .. }), "{name}");
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
