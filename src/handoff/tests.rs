//! What Ruby and older versions wrote, which must load for ever; random documents there and back; damage of every kind.

use std::fs;

use super::einhorn::{AckMode, Child, Config, Signaled, Subscriptions};
use super::testing::{Dice, Random};
use super::*;
use crate::base::{Pid, Signal, Version, Wall, WorkerIndex};
use crate::handoff::checksum::seal;
use crate::handoff::document::LIMITS;
use crate::pool::State;
use crate::yaml::{Limits, Value};
use serde::Deserialize;

const DOCUMENTS: u64 = 1_000;

/// What this room can know of our part.
#[derive(Debug, PartialEq, Deserialize)]
struct Held {
    pool: State,
}

pub(in crate::handoff) fn golden(name: &str) -> String {
    let path = format!("{}/tests/golden/handoff/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

pub(in crate::handoff) fn read(text: &str) -> Document {
    Document::from_yaml(text).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(text: &str) -> String {
    Document::from_yaml(text).expect_err("it was read").to_string()
}

/// One change to a document of ours, and a checksum that says it was meant.
pub(in crate::handoff) fn changed(from: &str, to: &str) -> String {
    let text = golden("ours-2");
    assert!(text.contains(from), "{from} is not in it");
    let body = text.split_inclusive('\n').filter(|line| !line.starts_with("# crc32 ")).collect::<String>();
    seal(&body.replacen(from, to, 1))
}

#[test]
fn every_document_that_was_ever_written_loads() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/handoff");
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let document = Document::from_yaml(&fs::read_to_string(&path).unwrap());
        let document = document.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let is_ours = path.file_name().unwrap().to_string_lossy().starts_with("ours-");
        assert_eq!(document.ours.is_some(), is_ours, "{}", path.display());
        assert_eq!(read(&document.to_yaml()), document, "{}", path.display());
        count += 1;
    }
    assert!(count >= 5, "only {count} in {directory}");
}

#[test]
fn what_ruby_knows_of_a_worker_is_read() {
    let document = read(&golden("einhorn-1.1.1-busy"));
    let (pid, pinged) = &document.state.children.workers[0];
    let expected = Child {
        version: Version(0),
        acked: true,
        signaled: Signaled(vec![Signal::USR2]),
        last_signaled_at: Some(Wall { seconds: 1_795_395_581, nanos: 745_983_214 }),
        index: Some(WorkerIndex(0)),
        spinup_time: Some(Wall { seconds: 1_795_395_582, nanos: 745_983_215 }),
        pinged_at: Some(Wall { seconds: 1_795_395_583, nanos: 745_983_216 }),
        pinged_request_id: Value::str("req-1"),
    };
    assert_eq!((*pid, pinged), (Pid(4711), &expected));
    assert_eq!(document.state.children.workers[1].1.spinup_time, document.state.last_spinup, "an alias");
    assert_eq!(document.state.children.state_passers, [Pid(4720)]);
}

#[test]
fn what_ruby_was_told_is_read() {
    let state = read(&golden("einhorn-1.1.1-busy")).state;
    let expected = Config {
        number: 1,
        backlog: 100,
        seconds: Number::Float(0.1),
        max_unacked: None,
        max_upgrade_additional: None,
        gc_before_fork: false,
        others: Vec::new(),
    };
    assert_eq!(state.config, expected);
    assert_eq!((state.ack_mode, state.signal_timeout), (AckMode::Manual, Some(Number::Int(30))));
    assert!(state.reloading_for_upgrade && state.smooth_upgrade && state.respawn && !state.upgrading);
    assert_eq!((state.bind[0].host.as_os_str(), state.bind_fds[0]), ("127.0.0.1".as_ref(), Fd(7)));
    let timer = read(&golden("einhorn-1.1.1-timers")).state.ack_mode;
    assert_eq!(timer, AckMode::Timer(Number::Float(500.0)));
}

#[test]
fn rubys_connections_and_timers_are_read() {
    let descriptors = read(&golden("einhorn-1.1.1-busy")).descriptors;
    assert_eq!(descriptors.command_server, Some(Fd(8)));
    let [half, waiting] = descriptors.connections.as_slice() else { panic!("{descriptors:?}") };
    assert_eq!((half.socket, half.read_buffer.0.as_slice()), (Fd(9), &br#"{"command":"eh"#[..]));
    assert_eq!(waiting.subscriptions, Subscriptions(vec![("upgrade".to_owned(), "my id".into())]));
    let unread = read(&golden("einhorn-1.1.1-unread")).descriptors;
    assert!(unread.connections[0].write_buffer.starts_with(b"---%0Amessage: |%0A  You are"));
    let timers = read(&golden("einhorn-1.1.1-timers")).descriptors.ack_timers;
    assert_eq!(timers.iter().map(|timer| timer.pid).collect::<Vec<_>>(), [Pid(4711), Pid(4712)]);
}

#[test]
fn what_we_do_not_know_of_einhorns_is_kept() {
    let document = read(&golden("einhorn-0.8.2-derived"));
    assert_eq!(document.state.config.others, [(Value::str(":signal_timeout"), Value::Int(8))]);
    let place = Value::Seq(vec!["127.0.0.1".into(), Value::Int(0)]);
    assert_eq!(document.state.sockets, Value::Map(vec![(place, Value::Int(7))]));
    assert!(document.to_yaml().contains("    \":signal_timeout\": 8\n"));
}

#[test]
fn a_document_comes_back_as_it_went() {
    for seed in 1..=DOCUMENTS {
        let document = Document::random(&mut Dice::new(seed));
        let text = document.to_yaml();
        let back = Document::from_yaml(&text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        assert!(back == document, "seed {seed}: {back:#?}\nis not\n{document:#?}");
    }
}

/// What of each byte is changed; in the lines up to the checksum's end, every other byte stands in its place.
const BIT_FLIPS: [u8; 3] = [0x01, 0x20, 0x10];
const HEADER_BYTES: usize = 32;

#[test]
fn a_document_of_ours_with_one_wrong_byte_is_refused_or_the_same() {
    let text = golden("ours-2");
    let document = read(&text);
    for place in 0..text.len() {
        let every: Vec<u8> = (1..=255).collect();
        let flips = if place < HEADER_BYTES { every.as_slice() } else { &BIT_FLIPS };
        for flip in flips {
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= flip;
            let Ok(damaged) = String::from_utf8(bytes) else { continue };
            if let Ok(other) = Document::from_yaml(&damaged) {
                assert!(other == document, "byte {place} xor {flip} makes another document");
            }
        }
    }
}

#[test]
fn a_document_of_ours_that_is_cut_off_is_refused() {
    let text = golden("ours-2");
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        assert!(Document::from_yaml(&text[..end]).is_err(), "read from {end} bytes");
    }
}

/// Without a checksum damage cannot be told; but nothing panics, and what was read can be written.
#[test]
fn rubys_document_with_a_wrong_byte_or_cut_off_is_survived() {
    for name in ["einhorn-1.1.1-timers", "einhorn-0.8.2-derived"] {
        let text = golden(name);
        for place in 0..text.len() {
            let survive = |text: &str| Document::from_yaml(text).map(|document| read(&document.to_yaml()));
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= BIT_FLIPS[place % BIT_FLIPS.len()];
            let _read_or_refused = String::from_utf8(bytes).map(|damaged| survive(&damaged));
            let _read_or_refused = survive(&text[..place]);
        }
    }
}

#[test]
fn what_an_einhorn_before_did_not_write_has_a_default() {
    let document = read("---\n:state:\n  :config: {}\n  :cmd: []\n:persistent_descriptors: []\n");
    assert_eq!(document.state, einhorn::State::default());
    assert_eq!((document.state.respawn, document.state.ack_mode), (true, AckMode::Timer(Number::Int(1))));
    assert_eq!((document.state.config.backlog, document.state.verbosity), (100, 1));
}

/// What is put in the place of what in a document of ours, and the refusal after "cannot read the handoff: ".
#[rustfmt::skip]
const WRONG: [(&str, &str, &str); 9] = [
    ("      :version: 4\n", "      :version: x\n", ":state: :children: 4712: :version: need a number, found a string"),
    ("    4712:\n", "    1:\n", ":state: :children: need a process id above 1, found 1"),
    (":type: :worker", ":type: :poet",
        ":state: :children: 4711: :type: need :worker or :state_passer, found :poet"),
    ("TERM: true", "TREM: true", ":state: :children: 4711: :signaled: need a signal, found a string"),
    ("  - 38211", "  - 70000", ":state: :bound_ports: 0: need a number from 0 to 65535, found 70000"),
    (":respawn: false", ":respawn: 0", ":state: :respawn: need true or false, found 0"),
    ("  :server: 9", "  :server: 2", ":persistent_descriptors: 0: :server: need a descriptor from 3 on, found 2"),
    ("  :server: 9", "  :server: 10",
        ":persistent_descriptors: descriptor 10 stands under :persistent_descriptors already"),
    (":bind_fds:\n  - 7", ":bind_fds:\n  - 9",
        ":persistent_descriptors: descriptor 9 stands under :state: :bind_fds already"),
];

#[test]
fn a_wrong_field_is_named() {
    for (from, to, message) in WRONG {
        assert_eq!(refusal(&changed(from, to)), format!("cannot read the handoff: {message}"));
    }
    let without = changed("  :cmd:\n  - \"./worker\"\n", "");
    assert!(refusal(&without).starts_with("cannot read the handoff: "), "{without}");
    let no_json = "cannot read the handoff: :einhyrningsins: key must be a string at line 2 column 3";
    assert_eq!(refusal(&changed("    \"format\": 2,\n", "    {\n")), no_json);
}

#[test]
fn what_is_of_ours_is_known_though_it_cannot_be_read() {
    assert!(Document::is_of_ours(&format!("[\n{}", golden("ours-2"))));
    assert!(!Document::is_of_ours(&golden("einhorn-1.1.1-busy")));
}

/// Failure mode 43: an older version reads what a newer one wrote, unless that says that it would misunderstand it.
#[test]
fn a_document_for_newer_readers_is_refused() {
    let newer = changed("\"needs\": 2,", "\"needs\": 3,");
    assert_eq!(Document::from_yaml(&newer), Err(HandoffError::TooNew { needs: 3 }));
    let same = read(&changed("\"format\": 2,", "\"format\": 3, \"from_the_future\": 1,")).ours.unwrap();
    assert_eq!(same.read::<Held>(), read(&golden("ours-2")).ours.unwrap().read::<Held>());
}

#[test]
fn our_part_without_its_checksum_is_refused() {
    let text = golden("ours-2");
    let second = text.lines().nth(1).unwrap();
    let bare = text.replacen(&format!("{second}\n"), "", 1);
    assert_eq!(Document::from_yaml(&bare), Err(HandoffError::Damaged));
}

/// A request may be as deep as `protocol` lets it be, and its id is passed on below keys of ours.
#[test]
fn the_deepest_request_id_is_passed_on() {
    let mut id = Value::Int(1);
    for _ in 0..Limits::UNTRUSTED.depth {
        id = Value::Seq(vec![id]);
    }
    let mut document = read(&golden("ours-2"));
    document.descriptors.connections[0].subscriptions.0[0].1 = id.clone();
    assert_eq!(read(&document.to_yaml()), document);
}

#[test]
fn what_is_too_long_is_not_looked_at() {
    let text = " ".repeat(LIMITS.input_bytes + 1);
    assert_eq!(Document::from_yaml(&text), Err(HandoffError::TooLong { bytes: text.len() }));
}

#[test]
fn what_is_no_document_is_refused() {
    for text in ["", "---\n", "[]", "a: b", ":state: {}", "--- !ruby/object:Object {}", "*a", ":state: 1\n:state: 2"] {
        assert!(refusal(text).starts_with("cannot read the handoff: "), "{text}");
    }
}

/// Numbers keep each bit. Those at the ends of a type, and floats with many digits, would lose some in a reader that is not exact.
#[test]
fn numbers_of_ours_come_back_to_the_last_bit() {
    let (mut dice, golden) = (Dice::new(1), read(&golden("ours-2")));
    for _ in 0..DOCUMENTS {
        let float = f64::from_bits(dice.number()).abs();
        let numbers = (if float.is_finite() { float } else { f64::MAX }, dice.number(), u64::MAX, i64::MIN);
        let document = Document { ours: Some(Ours::of(&numbers).unwrap()), ..golden.clone() };
        assert_eq!(read(&document.to_yaml()).ours.unwrap().read(), Ok(numbers));
    }
}
