//! What a client is answered: a map of message and request id, in the order in which einhorn writes it.

use crate::protocol::line::escape;
use crate::yaml::{self, Value};

/// The whole line of a final answer, newline included. Without an id it is an answer in the old style.
pub fn reply(message: &str, id: Option<&Value>) -> String {
    let mut fields = vec![(Value::Str("message".to_owned()), Value::Str(message.to_owned()))];
    if let Some(id) = id {
        fields.push((Value::Str("request_id".to_owned()), id.clone()));
    }
    let mut line = escape(&yaml::write(&Value::Map(fields)));
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_of_message_and_id() {
        assert_eq!(reply("Could not parse command", None), "---%0Amessage: Could not parse command%0A\n");
        assert_eq!(reply("", Some(&Value::Int(3))), "---%0Amessage: ''%0Arequest_id: 3%0A\n");
    }
}
