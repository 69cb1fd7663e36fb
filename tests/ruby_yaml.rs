//! Random documents of ours to Ruby's YAML and back, and handoffs as Ruby's einhorn reads and writes them. Needs `ruby`, so that
//! only `make compat` runs it; what Ruby was asked once and for all stands in `tests/yaml` and `tests/golden`.

#[path = "support/yaml_values.rs"]
mod yaml_values;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use einhyrningsins::handoff::Document;
use einhyrningsins::protocol::{escape, unescape};
use einhyrningsins::yaml::{Limits, Value, read, write};
use yaml_values::{Random, random_value};

const DOCUMENTS: u64 = 10_000;

/// Psych 4 can neither write nor read the strings `0x_` and `0b_`; newer ones can.
const BEYOND_PSYCH: &str = "error: ArgumentError: invalid value for Integer(): \"0";

/// About one in 30,000 is.
const SKIPPED_MAX: u64 = 5;

/// How deep lists and maps may stand in each other.
const DEPTH_MAX: usize = 6;

/// A Ruby that runs one of the scripts in `compat-tests`: it reads one document after the other, and answers.
struct Ruby {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Ruby {
    fn start(script: &str) -> Self {
        let script = format!("{}/compat-tests/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new("ruby");
        let mut child =
            command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cannot run ruby");
        let (requests, replies) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, requests, replies }
    }

    fn dump_again(&mut self, document: &str) -> String {
        self.ask(&[document])
    }

    fn ask(&mut self, documents: &[&str]) -> String {
        for document in documents {
            writeln!(self.requests, "{}", escape(document)).unwrap();
        }
        let mut reply = String::new();
        self.replies.read_line(&mut reply).unwrap();
        unescape(reply.trim_end_matches('\n'))
    }

    fn end(mut self) {
        drop(self.requests);
        assert!(self.child.wait().unwrap().success());
    }
}

fn random_document(seed: u64) -> Value {
    let random = &mut Random::new(seed);
    let depth = random.below(DEPTH_MAX);
    random_value(random, depth, &mut Vec::new())
}

/// The first seed is that of `YAML_SEED`, or 1.
fn first_seed() -> u64 {
    std::env::var("YAML_SEED").map_or(1, |seed| seed.parse().expect("YAML_SEED is no number"))
}

#[test]
fn ruby_reads_what_we_write_and_writes_it_alike() {
    let seeds = first_seed()..first_seed() + DOCUMENTS;
    println!("seeds {seeds:?}, repeat one with YAML_SEED=...");
    let mut skipped = 0;
    let mut ruby = Ruby::start("redump.rb");
    for seed in seeds {
        let value = random_document(seed);
        let document = write(&value);
        let dumped = ruby.dump_again(&document);
        if dumped.starts_with(BEYOND_PSYCH) {
            skipped += 1;
            continue;
        }
        assert_eq!(dumped, document, "seed {seed}: Ruby writes another text");
        assert_eq!(read(&dumped, Limits::TRUSTED).as_ref(), Ok(&value), "seed {seed}:\n{dumped}");
    }
    println!("{skipped} of {DOCUMENTS} are beyond Psych");
    assert!(skipped <= SKIPPED_MAX, "{skipped} documents skipped");
    ruby.end();
}

/// What was recorded of Ruby's, and one of ours. (What is derived has entries that no reader takes over.)
const HANDOFFS: [(&str, &str); 4] = [
    ("einhorn-1.1.1-timers", include_str!("golden/handoff/einhorn-1.1.1-timers.yaml")),
    ("einhorn-1.1.1-busy", include_str!("golden/handoff/einhorn-1.1.1-busy.yaml")),
    ("einhorn-1.1.1-unread", include_str!("golden/handoff/einhorn-1.1.1-unread.yaml")),
    ("ours-2", include_str!("golden/handoff/ours-2.yaml")),
];

#[test]
fn ruby_and_we_hand_over_to_each_other() {
    let mut ruby = Ruby::start("redump_handoff.rb");
    for (name, text) in HANDOFFS {
        let document = Document::from_yaml(text).unwrap();
        let dumped = ruby.ask(&[text, &document.to_yaml()]);
        let expected = Document { ours: None, ..document };
        assert_eq!(Document::from_yaml(&dumped).as_ref(), Ok(&expected), "{name}: Ruby says\n{dumped}");
    }
    ruby.end();
}

/// Ruby adds what it reads from a socket to what the last master had read, and cannot add bytes to text.
#[test]
fn a_half_read_request_stays_bytes_to_ruby() {
    let mut ruby = Ruby::start("redump_handoff.rb");
    let mut document = Document::from_yaml(HANDOFFS[1].1).unwrap();
    document.descriptors.connections[0].read_buffer.0 = "{\"user\":\"h\u{e9}".into();
    let text = document.to_yaml();
    let dumped = ruby.ask(&[&text, &text]);
    assert!(dumped.contains("  :read_buffer: !binary |-\n"), "{dumped}");
    assert_eq!(Document::from_yaml(&dumped), Ok(document));
    ruby.end();
}
