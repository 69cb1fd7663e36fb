//! What is asked, as the line that Ruby's client would write: scripts and masters compare bytes. Sends nothing.

use crate::client::failure::Failure;
use crate::protocol::{LINE_MAX, escape};
use crate::yaml::{self, Value};

/// Marks a request for an answer that is one line of JSON.
const JSON: &str = "json";

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub(super) command: String,
    fields: Value,
}

impl Request {
    pub(super) fn new(id: i64, command: &str, args: &[String]) -> Self {
        let fields = Value::map([("id", id.into()), ("command", command.into()), ("args", args.to_vec().into())]);
        Self { command: command.to_owned(), fields }
    }

    /// The greeting of a shell: without an id, and with the user's name.
    pub(super) fn ehlo(user: Option<String>) -> Self {
        let fields = Value::map([("command", "ehlo".into()), ("user", user.into())]);
        Self { command: "ehlo".to_owned(), fields }
    }

    /// The same request, to be answered in JSON by a master that can.
    pub(super) fn in_json(mut self) -> Self {
        self.fields.insert("format".into(), JSON.into());
        self
    }

    /// The line with its newline. Longer ones the master would not read to their end.
    pub(super) fn line(&self) -> Result<String, Failure> {
        let line = escape(&yaml::write(&self.fields)) + "\n";
        if line.len() > LINE_MAX {
            let (command, length) = (&self.command, line.len());
            return Err(Failure::usage(format!("cannot send {command}: {length} bytes, more than {LINE_MAX}")));
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(request: &Request) -> String {
        request.line().unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_rubys_client() {
        assert_eq!(line(&Request::new(1, "upgrade", &[])), "---%0Aid: 1%0Acommand: upgrade%0Aargs: []%0A\n");
        let args = ["a%b", "c d"].map(str::to_owned);
        let expected = "---%0Aid: 2%0Acommand: signal%0Aargs:%0A- a%25b%0A- c d%0A\n";
        assert_eq!(line(&Request::new(2, "signal", &args)), expected);
        assert_eq!(line(&Request::ehlo(Some("joe".to_owned()))), "---%0Acommand: ehlo%0Auser: joe%0A\n");
        assert_eq!(line(&Request::ehlo(None)), "---%0Acommand: ehlo%0Auser:%0A\n");
    }

    #[test]
    fn json_is_asked_for_at_the_end() {
        let asked = Request::new(3, "status", &[]).in_json();
        assert_eq!(line(&asked), "---%0Aid: 3%0Acommand: status%0Aargs: []%0Aformat: json%0A\n");
    }

    #[test]
    fn what_no_master_would_read_is_not_sent() {
        let refusal = Request::new(1, "signal", &["x".repeat(LINE_MAX)]).line().unwrap_err();
        assert!(refusal.to_string().starts_with("cannot send signal: "), "{refusal}");
    }
}
