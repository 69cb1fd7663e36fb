//! Values as JSON: symbols and times become strings, sets become arrays, keys become strings.

use serde_json::{Map, Number, Value as Json};

use crate::yaml::Value;

/// The nearest JSON has.
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
