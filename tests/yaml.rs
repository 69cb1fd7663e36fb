//! What Ruby's Psych wrote, read and written again; random documents; and what a hostile client might send.

#[path = "support/yaml_values.rs"]
mod yaml_values;

use einhyrningsins::yaml::Aliases;
use einhyrningsins::yaml::Limits;
use einhyrningsins::yaml::Time;
use einhyrningsins::yaml::Value;
use einhyrningsins::yaml::inspect;
use einhyrningsins::yaml::read;
use einhyrningsins::yaml::read_bytes;
use einhyrningsins::yaml::write;
use nix::time::{ClockId, clock_gettime};
use serde_json::Value as Json;
use std::time::Duration;
use yaml_values::{PIECES, Random, random_value};

/// One string in one of the places that Psych was asked to write it in.
struct Case {
    name: String,
    value: Value,
    document: String,
}

fn golden() -> Json {
    serde_json::from_str(include_str!("golden/psych_quoting.json")).unwrap()
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

fn time(seconds: i64) -> Value {
    Value::Time(Time::local(1_795_395_582 + seconds, 745_983_213, 0))
}

fn worker(index: i64, spinup_time: Value) -> Value {
    Value::symbol_map([
        ("type", Value::symbol("worker")),
        ("version", Value::Int(0)),
        ("acked", Value::Bool(index == 0)),
        ("signaled", Value::Set(if index == 0 { vec!["USR2".into()] } else { vec![] })),
        ("last_signaled_at", if index == 0 { time(2) } else { Value::Nil }),
        ("index", Value::Int(index)),
        ("spinup_time", spinup_time),
    ])
}

/// The parts of einhorn's state document that differ in shape.
fn state() -> Value {
    let last_spinup = time(1).share();
    let workers = vec![(Value::Int(501), worker(0, time(0))), (Value::Int(502), worker(1, last_spinup.clone()))];
    let bind = |flags: Vec<&str>| Value::Seq(vec!["127.0.0.1".into(), Value::Int(0), flags.into()]);
    Value::symbol_map([
        (
            "state",
            Value::symbol_map([
                ("children", Value::Map(workers)),
                ("config", Value::symbol_map([("number", Value::Int(2)), ("seconds", Value::Float(0.1))])),
                ("sockets", Value::Map(vec![])),
                ("orig_cmd", vec!["./worker"].into()),
                ("bind", vec![bind(vec!["r", "n"]), bind(vec![])].into()),
                ("cmd_name", Value::Nil),
                ("last_spinup", last_spinup),
                ("nice", Value::symbol_map([("master", Value::Nil), ("renice_cmd", "/usr/bin/renice".into())])),
            ]),
        ),
        (
            "persistent_descriptors",
            Value::Seq(vec![Value::symbol_map([
                ("class", "Einhorn::Event::Connection".into()),
                ("read_buffer", "{\"command\":\"eh".into()),
                ("write_buffer", "---%0Amessage: |%0A  Welcome%0A\n---%0A\n".into()),
                ("subscriptions", Value::symbol_map([("upgrade", "my id".into())])),
            ])]),
        ),
    ])
}

/// As recorded from einhorn 1.1.1, with numbers in the place of the masks.
const STATE: &str = "---
:state:
  :children:
    501:
      :type: :worker
      :version: 0
      :acked: true
      :signaled: !ruby/object:Set
        hash:
          USR2: true
      :last_signaled_at: 2026-11-23 00:59:44.745983213 +00:00
      :index: 0
      :spinup_time: 2026-11-23 00:59:42.745983213 +00:00
    502:
      :type: :worker
      :version: 0
      :acked: false
      :signaled: !ruby/object:Set
        hash: {}
      :last_signaled_at:
      :index: 1
      :spinup_time: &1 2026-11-23 00:59:43.745983213 +00:00
  :config:
    :number: 2
    :seconds: 0.1
  :sockets: {}
  :orig_cmd:
  - \"./worker\"
  :bind:
  - - 127.0.0.1
    - 0
    - - r
      - \"n\"
  - - 127.0.0.1
    - 0
    - []
  :cmd_name:
  :last_spinup: *1
  :nice:
    :master:
    :renice_cmd: \"/usr/bin/renice\"
:persistent_descriptors:
- :class: Einhorn::Event::Connection
  :read_buffer: '{\"command\":\"eh'
  :write_buffer: |
    ---%0Amessage: |%0A  Welcome%0A
    ---%0A
  :subscriptions:
    :upgrade: my id
";

#[test]
fn einhorns_state_is_written_as_it_writes_it() {
    assert_eq!(write(&state()), STATE);
}

#[test]
fn einhorns_state_is_read_with_its_shared_objects() {
    let read_back = read(STATE, Limits::TRUSTED).unwrap();
    assert_eq!(read_back, state());
    assert_eq!(write(&read_back), STATE);
    let einhorn = read_back.get_symbol("state").unwrap();
    assert_eq!(einhorn.get_symbol("last_spinup").unwrap().as_time(), time(1).as_time());
    assert_eq!(einhorn.get_symbol("config").unwrap().get_symbol("seconds").unwrap().as_float(), Some(0.1));
    assert_eq!(einhorn.get("config"), None);
}

#[test]
fn references_are_numbered_by_their_second_use() {
    let (first, second) = (Value::from(vec![1_i64]).share(), Value::symbol_map([("a", Value::Nil)]).share());
    let text = Value::str("same").share();
    let list = vec![first.clone(), second.clone(), text.clone(), second.clone(), first.clone(), text, second, first];
    let document = "---\n- &2\n  - 1\n- &1\n  :a:\n- same\n- *1\n- *2\n- same\n- *1\n- *2\n";
    assert_eq!(write(&Value::Seq(list.clone())), document);
    assert_eq!(read(document, Limits::TRUSTED), Ok(Value::Seq(list)));
}

#[test]
fn a_shared_key_keeps_a_blank_before_its_colon() {
    let time = Value::Time(Time::utc(0, 0)).share();
    let value = Value::Seq(vec![time.clone(), Value::Map(vec![(time, Value::Int(1))])]);
    let document = "---\n- &1 1970-01-01 00:00:00.000000000 Z\n- *1 : 1\n";
    assert_eq!(write(&value), document);
    assert_eq!(read(document, Limits::TRUSTED), Ok(value));
}

/// A whole document of line breaks alone: an end that Psych writes stands where the parser looks for the first line of the text.
#[test]
fn a_document_of_line_breaks_is_read_as_psych_wrote_it() {
    for (text, document) in [
        ("\n\n\n", "--- |2+\n\n\n\n...\n"),
        ("\n\n\n\n", "--- |2+\n\n\n\n\n...\n"),
        ("\n\na\n\n", "--- |2+\n\n\n  a\n\n...\n"),
    ] {
        assert_eq!(write(&Value::str(text)), document);
        assert_eq!(read(document, Limits::TRUSTED), Ok(Value::str(text)), "{document:?}");
    }
    let list = Value::from(vec!["\n\n\n"]);
    assert_eq!(read("---\n- |2+\n\n\n\n...\n", Limits::TRUSTED), Ok(list));
    assert_eq!(read("--- a\n...\n", Limits::TRUSTED), Ok(Value::str("a")));
}

#[test]
fn clients_may_send_json() {
    let request =
        read(r#"{"command": "signal", "args":["HUP",1,true,null], "id": "a\n\u00e9"}"#, Limits::UNTRUSTED).unwrap();
    assert_eq!(request.get("command").unwrap().as_str(), Some("signal"));
    assert_eq!(request.get("id").unwrap().as_str(), Some("a\né"));
    assert_eq!(inspect(request.get("args").unwrap()), r#"["HUP", 1, true, nil]"#);
}

#[test]
fn the_last_of_equal_keys_wins_in_the_first_place() {
    let value = read("{a: 1, b: 2, a: 3, [x]: 4, [x]: 5, <<: {c: 6}}", Limits::UNTRUSTED).unwrap();
    assert_eq!(inspect(&value), r#"{"a"=>3, "b"=>2, ["x"]=>5, "<<"=>{"c"=>6}}"#);
}

#[test]
fn tags_give_the_type_or_an_error_that_names_them() {
    let tagged =
        "[!!str 1, !!int '0x1F', !!float 2, !!bool yes, !!null ~, !ruby/sym a, !ruby/symbol b c, ! '7', !!seq []]";
    let value = read(tagged, Limits::UNTRUSTED).unwrap();
    assert_eq!(inspect(&value), r#"["1", 31, 2.0, true, nil, :a, :"b c", 7, []]"#);
    assert_eq!(read("!binary aGk=", Limits::UNTRUSTED), Ok(Value::str("hi")));
    assert_eq!(read("!!binary \"w6k\\n=\"", Limits::UNTRUSTED), Ok(Value::Bytes(vec![0xc3, 0xa9])));
    let cases = [
        ("a:\n  - !ruby/object:Gem {}", "cannot read yaml at line 2, column 5: tag !ruby/object:Gem is unknown"),
        ("!ruby/hash:A {}", "cannot read yaml at line 1, column 1: tag !ruby/hash:A is unknown"),
        ("!!float x", "cannot read yaml at line 1, column 1: a string is not a float"),
        (
            "!ruby/object:Set {hash: {A: no}}",
            "cannot read yaml at line 1, column 1: a set maps its members to true, not to a boolean",
        ),
        ("!ruby/object:Set {}", "cannot read yaml at line 1, column 1: a set needs a map under the key hash"),
    ];
    for (document, message) in cases {
        assert_eq!(read(document, Limits::UNTRUSTED).unwrap_err().to_string(), message);
    }
}

/// Written and read back, and written again: the shared objects are still the same ones.
#[test]
fn random_values_survive() {
    for seed in 1..=20_000 {
        let random = &mut Random::new(seed);
        let depth = random.below(6);
        let value = random_value(random, depth, &mut Vec::new());
        // The parser refuses a whole document of nothing but line breaks as a block.
        if value.as_str().is_some_and(|text| text.len() > 2 && text.chars().all(|c| "\n\u{2028}\u{2029}".contains(c))) {
            continue;
        }
        let document = write(&value);
        let read_back = read(&document, Limits::TRUSTED);
        assert_eq!(read_back.as_ref(), Ok(&value), "seed {seed}:\n{document}");
        assert_eq!(write(&read_back.unwrap()), document, "seed {seed}");
    }
}

/// In this thread's processor time, since other programs run beside.
const PATIENCE: Duration = Duration::from_secs(20);

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// Reads what may be anything; the result does not matter, but that there is one does, soon, and on one line.
fn survive(bytes: &[u8], limits: Limits) -> Result<Value, String> {
    let start = processor_time();
    let result = read_bytes(bytes, limits);
    let taken = processor_time() - start;
    assert!(taken < PATIENCE, "{} bytes took {taken:?}", bytes.len());
    result.map_err(|error| {
        let message = error.to_string();
        assert!(!message.contains('\n') && error.line > 0 && error.column > 0, "{message:?}");
        message
    })
}

const GENEROUS: Limits =
    Limits { input_bytes: 1 << 24, depth: 64, nodes: 1_000_000, aliases: Aliases::Allowed { extra_nodes: 1_000_000 } };

#[rustfmt::skip]
const HOSTILE: [&str; 67] = [
    "[", "{", "- ", "? ", "? - ", ": ", "a: ", "{a: ", "[{", "!", "!!str ", "&a ", "*a ", "|\n", "- |\n", "\"", "'",
    "''", "\n", "\t", " ", "a", "#", "%", "---\n", "...\n", "- a\n", "a: b\n", "a\n", "[],", "{a: 1},", "\u{2028}",
    "\r", "\\", "&a [*a, ", "- &a a\n- *a\n", "a:\n", "?\n", "-\n", "1", "1_", "1:", "0x1", ":", "\"\\u", "é", "\0",
    "\u{feff}", "<<: ", "%TAG ! !\n", "2001-", ".", "- - ", "&", "*", "|", ">", "@", "`", ",", "]", "}", "= ", "~ ",
    "'a' ", "\"a\" ", "[a]: ",
];

#[test]
fn hostile_documents_end_soon() {
    for pattern in HOSTILE {
        for limits in [Limits::UNTRUSTED, GENEROUS] {
            let _ = survive(pattern.repeat(10_000).as_bytes(), limits);
            let _ = survive(format!("a: {}", pattern.repeat(10_000)).as_bytes(), limits);
            let _ = survive(format!("- \"{}\"", pattern.repeat(10_000)).as_bytes(), limits);
        }
    }
}

#[test]
fn limits_are_kept_and_named() {
    let bomb: String = (1..30).map(|n| format!("a{n}: &a{n} [{}]\n", format!("*a{}, ", n - 1).repeat(9))).collect();
    let chain: String = (1..100).map(|n| format!("- &a{n} [*a{}]\n", n - 1)).collect();
    let small = Limits { input_bytes: 100, nodes: 5, ..Limits::UNTRUSTED };
    let cases = [
        ("[".repeat(200), Limits::UNTRUSTED, "line 1, column 33: the document is nested deeper than 32"),
        ("- ".repeat(10_000), Limits::UNTRUSTED, "line 1, column 65: the document is nested deeper than 32"),
        ("? ".repeat(10_000), Limits::UNTRUSTED, "line 1, column 65: the document is nested deeper than 32"),
        ("a: &x 1\nb: *x".into(), Limits::UNTRUSTED, "line 2, column 4: aliases are not allowed here"),
        (format!("a0: &a0 x\n{bomb}"), GENEROUS, "line 8, column 10: aliases add more than 1000000 nodes"),
        (format!("- &a0 x\n{chain}"), GENEROUS, "line 65, column 9: the document is nested deeper than 64"),
        ("&a [*a]".into(), GENEROUS, "line 1, column 5: the alias refers to a value that contains it"),
        ("a".repeat(101), small, "line 1, column 1: the text has 101 bytes, more than 100"),
        ("[1, 2, 3, 4, 5]".into(), small, "line 1, column 14: the document has more than 5 nodes"),
        ("a: 1\nb: \0".into(), GENEROUS, "line 2, column 4: character U+0000 is not allowed"),
        (format!("0x{}", "f".repeat(40)), GENEROUS, "line 1, column 1: the number is too large"),
    ];
    for (document, limits, message) in cases {
        assert_eq!(survive(document.as_bytes(), limits), Err(format!("cannot read yaml at {message}")));
    }
    let message = "cannot read yaml at line 2, column 2: the text is not utf-8";
    assert_eq!(survive(b"a\nb\xff", GENEROUS), Err(message.into()));
}

#[test]
fn a_document_cut_anywhere_is_read_or_refused() {
    for end in 0..STATE.len() {
        let _ = survive(&STATE.as_bytes()[..end], GENEROUS);
        let _ = survive(&STATE.as_bytes()[end..], GENEROUS);
    }
}

#[test]
fn random_bytes_are_read_or_refused() {
    for seed in 1..=100_000 {
        let random = &mut Random::new(seed);
        let bytes = match random.below(3) {
            0 => (0..random.below(60)).map(|_| random.next() as u8).collect(),
            1 => random.join(30, &PIECES).into_bytes(),
            _ => {
                let mut bytes = STATE.as_bytes()[random.below(STATE.len() - 200)..][..200].to_vec();
                let place = random.below(200);
                bytes[place] = random.pick(&PIECES).as_bytes()[0];
                bytes
            }
        };
        if let Ok(value) = survive(&bytes, GENEROUS) {
            let _ = (inspect(&value), write(&value));
        }
    }
}
