//! What Ruby's Psych wrote, read and written again.

use einhyrningsins::yaml::{Limits, Value, inspect, read, write};
use serde_json::Value as Json;

/// One string in one of the places that Psych was asked to write it in.
struct Case {
    name: String,
    value: Value,
    document: String,
}

fn golden() -> Json {
    serde_json::from_str(include_str!("../golden/psych_quoting.json")).unwrap()
}

/// The string of an entry; none where Ruby could not write it either.
fn subject(entry: &Json) -> Option<Value> {
    if let Some(text) = entry["s"].as_str() {
        return Some(Value::str(text));
    }
    let digits = entry["s_hex"].as_str().unwrap();
    let bytes = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
    (entry["encoding"] == "ASCII-8BIT").then_some(Value::Bytes(bytes))
}

fn wrapped(column: &str, subject: Value) -> Value {
    match column {
        "root" => subject,
        "value" | "symbol_value" => Value::map([("k", subject)]),
        "key" | "symbol_key" => Value::Map(vec![(subject, Value::Int(1))]),
        "item" => Value::Seq(vec![subject]),
        "nested" => Value::symbol_map([("state", Value::symbol_map([("a", vec![vec![subject]].into())]))]),
        other => panic!("unknown column {other}"),
    }
}

fn cases(columns: &[&str], convert: fn(Value) -> Option<Value>) -> Vec<Case> {
    let golden = golden();
    let entries = golden["strings"].as_array().unwrap().iter().enumerate();
    entries
        .filter_map(|(index, entry)| Some((index, entry, subject(entry)?)))
        .flat_map(|(index, entry, subject)| {
            columns.iter().filter_map(move |column| {
                let document = entry[column].as_str()?.to_string();
                let value = wrapped(column, convert(subject.clone())?);
                Some(Case { name: format!("string {index}, {column}"), value, document })
            })
        })
        .collect()
}

const STRING_COLUMNS: [&str; 5] = ["root", "value", "key", "item", "nested"];

fn string_cases() -> Vec<Case> {
    cases(&STRING_COLUMNS, Some)
}

fn assert_all(failures: Vec<String>) {
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn strings_are_written_as_psych_writes_them() {
    let cases = string_cases();
    // 1,755 of text and 20 of bytes.
    assert_eq!(cases.len(), 1775);
    let wrong = cases.iter().filter(|case| write(&case.value) != case.document);
    assert_all(wrong.map(|c| format!("{}: {:?}, not {:?}", c.name, write(&c.value), c.document)).collect());
}

/// A binary string of ASCII reads as text: Psych writes both alike.
fn as_read(value: &Value) -> Value {
    match value {
        Value::Bytes(bytes) if bytes.is_ascii() => Value::Str(String::from_utf8(bytes.clone()).unwrap()),
        Value::Seq(items) => Value::Seq(items.iter().map(as_read).collect()),
        Value::Map(pairs) => Value::Map(pairs.iter().map(|(key, value)| (as_read(key), as_read(value))).collect()),
        other => other.clone(),
    }
}

#[test]
fn strings_are_read_back_from_what_psych_wrote() {
    let cases = string_cases();
    let wrong = cases.iter().filter(|case| read(&case.document, Limits::TRUSTED).as_ref() != Ok(&as_read(&case.value)));
    assert_all(wrong.map(|c| format!("{}: {:?}", c.name, read(&c.document, Limits::TRUSTED))).collect());
}

#[test]
fn symbols_are_written_as_psych_writes_them() {
    let symbol = |value: Value| value.as_str().map(Value::symbol);
    let cases = cases(&["symbol_value", "symbol_key"], symbol);
    assert_eq!(cases.len(), 702);
    let wrong = cases.iter().filter(|case| write(&case.value) != case.document);
    assert_all(wrong.map(|c| format!("{}: {:?}, not {:?}", c.name, write(&c.value), c.document)).collect());
}

/// Dates, ranges and regular expressions have no place in einhorn's documents; a list that holds itself has none anywhere.
const NOT_OURS: [&str; 4] = ["date", "range", "regexp", "recursive array"];

#[test]
fn structures_are_read_written_and_inspected_as_ruby_does() {
    let golden = golden();
    let structures = golden["structures"].as_array().unwrap();
    let ours = structures.iter().filter(|entry| !NOT_OURS.contains(&entry["name"].as_str().unwrap()));
    for entry in ours {
        let (name, document) = (&entry["name"], entry["yaml"].as_str().unwrap());
        let value = read(document, Limits::TRUSTED).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(write(&value), document, "{name}");
        assert_eq!(inspect(&value), entry["ruby"].as_str().unwrap(), "{name}");
    }
}

#[test]
fn plain_scalars_get_the_type_that_psych_gives_them() {
    let golden = golden();
    let mut wrong = Vec::new();
    for entry in golden["strings"].as_array().unwrap() {
        let (Some(text), Some(class)) = (entry["s"].as_str(), entry["read_plain_as"][0].as_str()) else { continue };
        // The parser follows YAML 1.2: it forgives some texts that libyaml does not, and knows fewer line breaks.
        let is_of_another_version = class == "error" || text.contains(['\u{85}', '\u{2028}', '\u{feff}']);
        // Dates are strings to us, and the tags of strangers are refused.
        if is_of_another_version || class == "Date" || text.starts_with('!') {
            continue;
        }
        let shown = match read(&format!("k: {text}\n"), Limits::TRUSTED) {
            Ok(value) => value.get("k").map(inspect).unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        if shown != entry["read_plain_as"][1].as_str().unwrap() {
            wrong.push(format!("{text:?}: {shown}, not {}", entry["read_plain_as"][1]));
        }
    }
    assert_all(wrong);
}
