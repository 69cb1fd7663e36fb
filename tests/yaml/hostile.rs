//! What a hostile client might send, and random bytes: an answer comes soon, and names its place.

use std::time::Duration;

use einhyrningsins::yaml::{Aliases, Limits, Value, inspect, read_bytes, write};
use nix::time::{ClockId, clock_gettime};

use crate::state::STATE;
use crate::yaml_values::{PIECES, Random};

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
