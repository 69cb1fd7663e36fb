//! What a client is answered: a map of message, request id and whether more follows, in the order in which einhorn writes
//! it; or the same as one line of JSON for a client that asked for it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value as Json};

use crate::base::ClientId;
use crate::protocol::line::escape;
use crate::yaml::{self, Value};

/// How a client wants its replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Yaml,
    Json,
}

/// A request on its way to its reply.
#[derive(Clone, Debug)]
pub struct Asking {
    pub client: ClientId,
    pub id: Option<Value>,
    pub format: Format,
}

/// Whether this is the last reply to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    Follows,
    No,
}

/// One reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub message: String,
    /// Without it the reply is of the old style: a message and nothing else.
    pub id: Option<Value>,
    pub more: More,
    /// What only JSON can carry beside the message.
    pub data: Option<(&'static str, Json)>,
}

impl Reply {
    pub fn last(message: impl Into<String>, id: Option<Value>) -> Self {
        Self { message: message.into(), id, more: More::No, data: None }
    }

    /// The whole line, newline included.
    pub fn to_line(&self, format: Format) -> String {
        let mut line = match format {
            Format::Yaml => escape(&yaml::write(&self.to_yaml())),
            Format::Json => Json::Object(self.to_object()).to_string(),
        };
        line.push('\n');
        line
    }

    fn to_yaml(&self) -> Value {
        let mut fields = vec![(Value::str("message"), Value::str(self.message.clone()))];
        if let Some(id) = &self.id {
            fields.push((Value::str("request_id"), id.clone()));
            if self.more == More::Follows {
                fields.push((Value::str("wait"), Value::Bool(true)));
            }
        }
        Value::Map(fields)
    }

    fn to_object(&self) -> Map<String, Json> {
        let mut fields = Map::new();
        fields.insert("message".to_owned(), Json::String(self.message.clone()));
        if let Some(id) = &self.id {
            fields.insert("request_id".to_owned(), to_json(id));
            if self.more == More::Follows {
                fields.insert("wait".to_owned(), Json::Bool(true));
            }
        }
        if let Some((name, data)) = &self.data {
            fields.insert((*name).to_owned(), data.clone());
        }
        fields
    }
}

/// The nearest that JSON has: symbols and times become strings, sets become arrays, keys become strings.
pub fn to_json(value: &Value) -> Json {
    match value.plain() {
        Value::Nil | Value::Shared(_) => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) => Json::Number((*number).into()),
        Value::BigInt(digits) => Json::String(digits.clone()),
        Value::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::Str(text) | Value::Symbol(text) => Json::String(text.clone()),
        Value::Bytes(bytes) => Json::String(String::from_utf8_lossy(bytes).into_owned()),
        Value::Time(time) => Json::String(time.to_string()),
        Value::Seq(items) | Value::Set(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(pairs) => Json::Object(pairs.iter().map(|(key, value)| (key_text(key), to_json(value))).collect()),
    }
}

fn key_text(key: &Value) -> String {
    match to_json(key) {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

/// An object with these fields, in this order.
pub fn object<const N: usize>(fields: [(&str, Json); N]) -> Json {
    Json::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_of_message_and_id() {
        let line = |reply: Reply| reply.to_line(Format::Yaml);
        assert_eq!(line(Reply::last("Could not parse command", None)), "---%0Amessage: Could not parse command%0A\n");
        assert_eq!(line(Reply::last("", Some(Value::Int(3)))), "---%0Amessage: ''%0Arequest_id: 3%0A\n");
        let more = Reply { more: More::Follows, ..Reply::last("x", Some(Value::str("my id"))) };
        assert_eq!(line(more), "---%0Amessage: x%0Arequest_id: my id%0Await: true%0A\n");
    }

    #[test]
    fn who_wants_json_gets_one_line_of_it() {
        let reply = Reply { data: Some(("status", Json::Null)), ..Reply::last("a\nb", Some(Value::Int(3))) };
        let line = reply.to_line(Format::Json);
        assert_eq!(line, "{\"message\":\"a\\nb\",\"request_id\":3,\"status\":null}\n");
    }
}
