//! Files of variables, beside what a POSIX shell makes of them. Number 13 of what operators trip over.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::process::Command;

use crate::config::tests::{Random, parse_with};
use crate::config::{Config, Invocation, env_file};

fn config(file: &str, others: &[(&str, &str)]) -> Result<Config, String> {
    let files = [&[("web.toml", file)], others].concat();
    match parse_with(["--config", "web.toml"].map(Into::into).to_vec(), &files) {
        Ok(Invocation::Run(config)) => Ok(*config),
        Ok(other) => panic!("{other:?}"),
        Err(problems) => Err(problems.to_string()),
    }
}

#[test]
fn a_file_of_variables_may_be_missing_if_a_minus_says_so() {
    let file = "command = 'x'\nenv.env-file = ['-a.env', '-none.env']";
    let env = config(file, &[("a.env", "A=1\n")]).unwrap().env;
    assert_eq!(env.from_files, [("A".into(), "1".into())]);
    assert_eq!(config(file, &[("a.env", "A\n")]), Err("a.env:1:1: need NAME=VALUE".to_owned()));
    let needed = "command = 'x'\nenv.env-file = ['none.env']";
    assert_eq!(config(needed, &[]), Err("web.toml:2:17: env.env-file: cannot find none.env".to_owned()));
    let empty = "command = 'x'\nenv.env-file = '-'";
    assert_eq!(config(empty, &[]), Err("web.toml:2:16: env.env-file -: need a path".to_owned()));
}

const NAMES: [&str; 5] = ["A", "B_1", "_c", "PATHS", "k9"];

/// Any text: blanks, lines, quotes, and what a shell would act on if it stood outside of quotes.
const SINGLE: &[&str] =
    &["a", "ß", " ", "\n", "\r\n", "\t", "\"", "\\", "\\n", "$", "${x}", "`", "#", "=", ";", "*", "~"];
/// The same without what expands; `$` alone is one before a character that begins no name.
const DOUBLE: &[&str] = &[
    "a", "ß", " ", "\n", "\r\n", "\t", "'", "#", "=", ";", "*", "~", "$ ", "\\\"", "\\\\", "\\$", "\\`", "\\\n", "\\n",
    "\\d", "\\ ", "\\'", "\\ß",
];
/// Between pieces in quotes.
const BARE: &[&str] = &["a", "ß", "/x", ".", ":b", "=", "#", "\\ ", "\\'", "\\\"", "\\\\", "\\$", "\\a", "\\\n", ""];
/// A whole value without quotes.
const PLAIN: &[&str] = &["", "a", "x/y.z", "a=b", "1:2", "ß", "a#b"];

fn one(random: &mut Random, from: &[&'static str]) -> &'static str {
    random.pick::<&'static str>(from)
}

fn several(random: &mut Random, from: &[&'static str]) -> String {
    (0..random.below(6)).map(|_| one(random, from)).collect()
}

fn piece(random: &mut Random) -> String {
    match random.below(2) {
        0 => format!("'{}'", several(random, SINGLE)),
        _ => format!("\"{}\"", several(random, DOUBLE)),
    }
}

fn value(random: &mut Random) -> String {
    if random.below(4) == 0 {
        return one(random, PLAIN).to_owned();
    }
    let mut value = piece(random);
    for _ in 0..random.below(3) {
        value += one(random, BARE);
        value += &piece(random);
    }
    if random.below(3) == 0 {
        value += &several(random, &BARE[..BARE.len() - 2]);
    }
    value + one(random, &["", "", "  ", " # it's a \"comment", "\t#"])
}

fn file(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..=random.below(5) {
        match random.below(6) {
            0 => text += one(random, &["\n", "# it's a \"comment\n", "   \n", "  # `$(\n"]),
            _ => {
                let before = one(random, &["", "", "export ", "  ", "export\t"]);
                let name = one(random, &NAMES);
                writeln!(text, "{before}{name}={}", value(random)).unwrap();
            }
        }
    }
    if random.below(4) == 0 { text.trim_end_matches('\n').to_owned() } else { text }
}

/// What `sh` makes of the files 0, 1, … of the directory it runs in: the variables of each, in the order of `NAMES`.
const SCRIPT: &str = "at=0; while [ -f ./$at ]; do unset A B_1 _c PATHS k9; . ./$at; \
                      for name in A B_1 _c PATHS k9; do \
                      eval \"[ -z \\\"\\${$name+x}\\\" ] || printf '%s=%s\\0' $name \\\"\\$$name\\\"\"; done; printf '\\0'; \
                      at=$((at+1)); done";

#[test]
fn a_file_of_variables_is_read_as_sh_reads_it() {
    const FILES: usize = 10_000;
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let texts: Vec<String> = (0..FILES).map(|_| file(&mut random)).collect();
    let place = tempfile::tempdir().unwrap();
    for (at, text) in texts.iter().enumerate() {
        fs::write(place.path().join(at.to_string()), text).unwrap();
    }
    let output = Command::new("sh").args(["-c", SCRIPT]).current_dir(place.path()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8(output.stdout).unwrap();
    let mut entries = told.split('\0');
    for text in &texts {
        let theirs: BTreeMap<_, _> = entries.by_ref().take_while(|entry| !entry.is_empty()).map(pair).collect();
        let mut problems = Vec::new();
        let read = env_file::read("env", text, &mut problems);
        assert_eq!(problems, [], "seed {seed}: {text:?}");
        let ours = read.iter().map(|(name, value)| (name.to_str().unwrap(), value.to_str().unwrap()));
        assert_eq!(ours.collect::<BTreeMap<_, _>>(), theirs, "seed {seed}: {text:?}");
    }
    assert_eq!(entries.collect::<Vec<_>>(), [""], "one answer for each file");
}

fn pair(entry: &str) -> (&str, &str) {
    entry.split_once('=').unwrap()
}
