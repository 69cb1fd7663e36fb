//! What a master answers: the line into its parts, and whether the words mean no. Believes no line to be well made.

use crate::client::failure::Failure;
use crate::protocol::unescape;
use crate::yaml::{self, Aliases, Limits, Value};

/// How long one answer may be: the state of a thousand workers is half a megabyte.
pub(super) const REPLY_MAX: usize = 64 << 20;

const LIMITS: Limits = Limits { input_bytes: REPLY_MAX, depth: 32, nodes: 10_000, aliases: Aliases::Forbidden };

/// How answers begin that mean no. einhorn has no other sign for it.
const REFUSALS: [&str; 14] = [
    "Invalid count",
    "Invalid signal",
    "Can't decrease",
    "Unrecognized command",
    "No \"command\" parameter",
    "No args provided",
    "Args must be",
    "Argument is a",
    "Must pass in",
    "Error while processing",
    "Could not parse",
    "Parsed argument",
    "Permission denied",
    "Refused",
];

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reply {
    pub(super) message: String,
    pub(super) id: Option<i64>,
    /// Whether more follows.
    pub(super) waits: bool,
    /// Of the command `status`.
    pub(super) status: Option<serde_json::Value>,
    /// Of the command `history`.
    pub(super) history: Option<serde_json::Value>,
}

impl Reply {
    /// Reads a line without its newline: JSON if it looks so, else YAML.
    pub(super) fn read(line: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(line).map_err(Failure::unreadable)?;
        if text.starts_with('{') {
            return serde_json::from_str(text).map(from_json).map_err(Failure::unreadable);
        }
        let document = yaml::read(&unescape(text), LIMITS).map_err(Failure::unreadable)?;
        match document {
            Value::Map(_) => Ok(from_yaml(&document)),
            other => Err(Failure::unreadable(format!("it is {}, not a map", other.kind()))),
        }
    }

    pub(super) fn is_refusal(&self) -> bool {
        REFUSALS.iter().any(|words| self.message.starts_with(words)) || self.is_failed_upgrade()
    }

    /// The last word on an upgrade that came to nothing; einhorn never says it.
    pub(super) fn is_failed_upgrade(&self) -> bool {
        self.message.starts_with("Upgrade failed")
    }

    /// Whether the master does not know the command.
    pub(super) fn is_unknown_command(&self) -> bool {
        self.message.starts_with("Unrecognized command")
    }

    /// The message, or the refusal as a failure.
    pub(super) fn accepted(self) -> Result<String, Failure> {
        if self.is_refusal() { Err(Failure::refused(&self.message)) } else { Ok(self.message) }
    }
}

fn from_yaml(document: &Value) -> Reply {
    Reply {
        message: document.get("message").map(text_of).unwrap_or_default(),
        id: document.get("request_id").and_then(Value::as_int),
        waits: document.get("wait").and_then(Value::as_bool).unwrap_or_default(),
        ..Reply::default()
    }
}

/// A message that is not UTF-8 comes as bytes; anything else but a string is shown as Ruby would show it.
fn text_of(message: &Value) -> String {
    match (message.as_bytes(), message.is_nil()) {
        (Some(bytes), _) => String::from_utf8_lossy(bytes).into_owned(),
        (None, true) => String::new(),
        (None, false) => yaml::inspect(message),
    }
}

fn from_json(mut document: serde_json::Value) -> Reply {
    let mut part = |name: &str| {
        document.get_mut(name).map(serde_json::Value::take).filter(|part: &serde_json::Value| !part.is_null())
    };
    let (status, history) = (part("status"), part("history"));
    Reply {
        message: document["message"].as_str().unwrap_or_default().to_owned(),
        id: document["request_id"].as_i64(),
        waits: document["wait"].as_bool().unwrap_or_default(),
        status,
        history,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Reply {
        Reply::read(line.as_bytes()).unwrap()
    }

    #[test]
    fn answers_of_the_transcripts_are_read() {
        let step = read("---%0Amessage: \"===> Launched 12 (index: 2)\"%0Arequest_id: 7%0Await: true%0A");
        let message = "===> Launched 12 (index: 2)".to_owned();
        assert_eq!(step, Reply { message, id: Some(7), waits: true, ..Reply::default() });
        assert_eq!(read("---%0Amessage: ''%0A"), Reply::default());
        let percent = read("---%0Amessage: |%0A  Welcome, 100%25!%0A  This%0Arequest_id: 1%0A");
        assert_eq!(percent.message, "Welcome, 100%!\nThis\n");
    }

    #[test]
    fn a_json_answer_carries_a_status() {
        let reply = read(r#"{"message":"","request_id":4,"status":{"name":"\ud83e\udd84 100%25"}}"#);
        assert_eq!(reply.id, Some(4));
        assert_eq!(reply.status.unwrap()["name"], "🦄 100%25");
        assert_eq!(read(r#"{"message":"Refused: x","request_id":4}"#).status, None);
    }

    #[test]
    fn odd_messages_are_shown() {
        assert_eq!(read("---%0Amessage:%0A").message, "");
        assert_eq!(read("---%0Amessage:%0A- 1%0A").message, "[1]");
        assert_eq!(read("---%0Amessage: !binary |-%0A  /w==%0A").message, "\u{fffd}");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for line in [&b"--- 3"[..], b"hello", b"", b"{\"a", b"\xff", b"- - -: : ["] {
            let failure = Reply::read(line).unwrap_err().to_string();
            assert!(failure.starts_with("cannot read the answer: "), "{line:?}: {failure}");
        }
    }

    #[test]
    fn a_no_is_told_from_a_yes() {
        let said = |message: &str| Reply { message: message.to_owned(), ..Reply::default() };
        for message in [
            "Invalid count: '0'. Must be an integer in [1,1000).",
            "Invalid signal: \"FOO\"",
            "Can't decrease number of workers (already at 1).",
            "Unrecognized command: \"nope\"\n\n",
            "No args provided",
            "Could not parse command",
            "Permission denied: uid 7 may only ack and ping its worker",
            "Upgrade failed: no new worker served",
        ] {
            assert!(said(message).is_refusal(), "{message}");
            assert!(said(message).accepted().is_err());
        }
        for message in ["", "Upgrade done", "Verbosity set to 2", "Incrementing number of workers from 1 -> 2"] {
            assert_eq!(said(message).accepted().unwrap(), message);
        }
    }
}
