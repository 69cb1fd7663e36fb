//! Files with something wrong in them, in `tests/golden/config/bad`. Each begins with what is to be said of it, in lines
//! after `#!`, where the file is called `web.toml`; a line after `#$` gives further words of the command line.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::tests::{Random, parse_with};

/// The acceptance of these messages is that many of them are kept.
const FILES_MIN: usize = 40;

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/config/bad");
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What comes after these two characters at the begin of a line, without the blank that follows them.
fn marked<'a>(text: &'a str, marker: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(marker)).map(str::trim_start).collect()
}

#[test]
fn each_bad_file_is_refused_with_exactly_its_messages() {
    let files = files();
    assert!(files.len() >= FILES_MIN, "only {} files", files.len());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let words = marked(&text, "#$").join(" ");
        let args = ["--config", "web.toml"].into_iter().chain(words.split_whitespace()).map(OsString::from);
        let env_file = ("web.env", "GOOD=1\nbad\n");
        let refused = parse_with(args.collect(), &[("web.toml", &text), env_file]);
        let lines = match refused {
            Err(problems) => problems.to_string(),
            Ok(read) => panic!("{}: nothing is said to be wrong: {read:?}", path.display()),
        };
        assert_eq!(lines, marked(&text, "#!").join("\n"), "{}", path.display());
    }
}

/// What a slip of the fingers, a broken editor or half a copy makes of a file is refused or read, in lines, and nothing else.
#[test]
fn a_mangled_file_is_refused_in_lines_or_read() {
    const ROUNDS: u64 = 1_500;
    let sample = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/profiles.toml")).unwrap();
    let mut outcomes = [0, 0];
    for seed in 1..=ROUNDS {
        let mut random = Random::new(seed);
        let mut bytes = sample.clone().into_bytes();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(4) {
                0 => bytes[at] = *random.pick(b"\n\"'[]{}=#.,\\\x009"),
                1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let args = ["--config", "web.toml", "--profile", "production", "--print-config"].map(OsString::from);
        match parse_with(args.to_vec(), &[("web.toml", &text)]) {
            Ok(_) => outcomes[0] += 1,
            Err(problems) => {
                let lines: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
                assert!(!lines.is_empty() && lines.iter().all(|line| !line.contains('\n')), "seed {seed}: {lines:?}");
                outcomes[1] += 1;
            }
        }
    }
    assert!(outcomes.iter().all(|&count| count > ROUNDS / 20), "too tame: {outcomes:?}");
}
