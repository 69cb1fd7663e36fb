//! A JSON schema of the configuration file, for editors: made from the definition, so that it knows every key. It says what
//! shape a value has; whether it is right, `--check-config` says.

use serde_json::{Map, Value as Json, json};

use crate::config::bind::{BindKey, TABLE_KEYS};
use crate::config::definition::{Kind, Shape};
use crate::config::options::{Definition, keys};
use crate::config::values::NICE_LEVELS;

/// The schema, with a newline at its end.
pub fn schema() -> String {
    let mut root = settings();
    let mut profile = settings();
    let names = json!({ "anyOf": [{ "type": "string" }, list(json!({ "type": "string" }))] });
    profile.insert("inherits".to_owned(), with_help(names, "Profiles that this one begins with"));
    let profiles = json!({
        "type": "object",
        "description": "Settings that --profile NAME puts on top of the others",
        "additionalProperties": object(profile, ""),
    });
    root.insert("profiles".to_owned(), profiles);
    let mut document = object(root, "einhyrningsins.toml");
    document["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    format!("{text}\n")
}

/// Every key in its table, and the other names of keys.
fn settings() -> Map<String, Json> {
    let mut root = object(Map::new(), "");
    for key in keys() {
        let (table, name) = key.place();
        table_of(&mut root, table)["properties"][name] = property(key);
    }
    for key in keys() {
        if let Some((table, name)) = key.alias.and_then(|alias| alias.split_once('.')) {
            table_of(&mut root, table)["properties"][name] = property(key);
        }
    }
    root["properties"].as_object().cloned().unwrap_or_default()
}

/// The table of this name, which may stand in another one: `worker.slots`.
fn table_of<'a>(root: &'a mut Json, table: &str) -> &'a mut Json {
    if table.is_empty() {
        return root;
    }
    let (outer, name) = table.rsplit_once('.').unwrap_or(("", table));
    let entry = &mut table_of(root, outer)["properties"][name];
    if entry.is_null() {
        *entry = object(Map::new(), table_help(table));
    }
    entry
}

fn table_help(table: &str) -> &'static str {
    match table {
        "env" => "The environment of the workers",
        "worker" => "As what the workers run",
        "worker.slots" => "What workers have because of their slots",
        "upgrade" => "In which steps an upgrade replaces the workers",
        "control" => "The control socket",
        "log" => "The log",
        _ => "",
    }
}

fn object(properties: Map<String, Json>, help: &str) -> Json {
    with_help(json!({ "type": "object", "properties": properties, "additionalProperties": false }), help)
}

fn list(item: Json) -> Json {
    json!({ "type": "array", "items": item })
}

fn with_help(mut schema: Json, help: &str) -> Json {
    if !help.is_empty() {
        schema["description"] = help.into();
    }
    schema
}

fn property(key: &Definition) -> Json {
    let one = single(key);
    let mut schema = match key.kind {
        Kind::Single if key.is_command_line() => json!({ "anyOf": [one.clone(), list(one)] }),
        Kind::Switch | Kind::Single => one,
        Kind::List if key.is_bind() => list(json!({ "anyOf": [one, bind()] })),
        Kind::List => json!({ "anyOf": [one.clone(), list(one)] }),
        Kind::Map => json!({ "type": "object", "additionalProperties": { "type": ["string", "number"] } }),
    };
    if let Some(text) = key.default {
        // A number or a truth value reads as itself in JSON; all else is a string.
        schema["default"] = serde_json::from_str(text).unwrap_or_else(|_| Json::from(text));
    }
    with_help(schema, key.help)
}

/// A value, or a string that becomes one when its variables are expanded.
fn single(key: &Definition) -> Json {
    let plain = plain(key);
    let is_string =
        plain["type"] == "string" || plain["type"].as_array().is_some_and(|kinds| kinds.contains(&json!("string")));
    if is_string { plain } else { json!({ "anyOf": [plain, { "type": "string", "pattern": "[$][{]" }] }) }
}

fn plain(key: &Definition) -> Json {
    match key.shape {
        Shape::Truth => json!({ "type": "boolean" }),
        Shape::Text(_) | Shape::CommandLine(_) | Shape::Bind(_) => json!({ "type": "string" }),
        Shape::Count(_) => json!({ "type": "integer", "minimum": 1 }),
        Shape::CountOrWord(_) => json!({ "type": ["integer", "string"], "minimum": 1 }),
        Shape::Number(_) => json!({ "type": "integer", "minimum": 0 }),
        Shape::Level(_) => json!({ "type": "integer", "minimum": NICE_LEVELS.start(), "maximum": NICE_LEVELS.end() }),
        Shape::Share(_) => json!({ "type": ["integer", "string"] }),
        Shape::Time(_) => json!({ "type": ["number", "string"] }),
        Shape::TimeOrWord(_) | Shape::Permissions(_) => json!({ "type": ["string", "number"] }),
        Shape::Choice(words) => json!({ "enum": words.split('|').collect::<Vec<_>>() }),
    }
}

fn bind() -> Json {
    let property = |(name, key, help): &(&str, BindKey, &str)| {
        let shape = match key {
            BindKey::Address | BindKey::Setting(_) => json!({ "type": "string" }),
            BindKey::Flag(_) => json!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": "[$][{]" }] }),
        };
        ((*name).to_owned(), with_help(shape, help))
    };
    let mut table = object(TABLE_KEYS.iter().map(property).collect(), "");
    table["required"] = json!(["address"]);
    table
}
