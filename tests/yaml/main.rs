//! YAML as documents need it, by hand and at random; `psych` has what Ruby wrote, `state` einhorn's document, `hostile` what a hostile
//! client might send.

mod hostile;
mod psych;
mod state;
#[path = "../support/yaml_values.rs"]
mod yaml_values;

use einhyrningsins::yaml::{Limits, Time, Value, inspect, read, write};

use crate::yaml_values::{Random, random_value};

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
