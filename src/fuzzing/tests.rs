//! Replays what `make fuzz` has kept, without libFuzzer: `fuzz/corpus/TARGET/inputs.base64`, which has an input in each line, and the
//! files beside it, each an input with a name.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::fuzzing::{TARGETS, Target};
use crate::yaml::{base64_decode, base64_encode};

/// All corpora together, as they are stored: what a clone can bear.
const CORPORA_BYTES_MAX: u64 = 640 << 10;

/// `fuzz/run` writes and reads it, too.
const PACKED: &str = "inputs.base64";

/// An input, and where it stands.
type Input = (String, Vec<u8>);

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(directory).unwrap_or_else(|error| panic!("cannot read {}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The inputs of a corpus. One that is missing, empty or damaged fails.
fn inputs(corpus: &Path) -> Vec<Input> {
    let packed = corpus.join(PACKED);
    let lines = fs::read_to_string(&packed).unwrap_or_else(|error| panic!("cannot read {}: {error}", packed.display()));
    assert!(!lines.is_empty(), "{} is empty", packed.display());
    let unpacked = lines.lines().enumerate().map(|(at, line)| {
        let input = base64_decode(line);
        assert!(base64_encode(&input) == line, "{}:{} is not base64", packed.display(), at + 1);
        (format!("{}:{} ({line})", packed.display(), at + 1), input)
    });
    let named = entries(corpus).into_iter().filter(|path| *path != packed);
    unpacked.chain(named.map(|path| (path.display().to_string(), fs::read(&path).unwrap()))).collect()
}

/// The inputs that the target fails on, each by where it stands.
fn failures(target: Target) -> Vec<String> {
    let fails = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err();
    let inputs = inputs(&corpora().join(target.name));
    inputs.into_iter().filter(|(_, input)| fails(input)).map(|(place, _)| place).collect()
}

#[test]
fn every_input_of_every_corpus_holds() {
    let failed: Vec<String> = TARGETS.into_iter().flat_map(failures).collect();
    assert!(failed.is_empty(), "these inputs fail (the panics above say why):\n{}", failed.join("\n"));
}

#[test]
fn every_corpus_belongs_to_a_target_and_all_are_small() {
    let known: BTreeSet<PathBuf> = TARGETS.iter().map(|target| corpora().join(target.name)).collect();
    let found = entries(&corpora());
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), known);
    let bytes: u64 =
        found.iter().flat_map(|corpus| entries(corpus)).map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= CORPORA_BYTES_MAX, "the corpora have {bytes} bytes, more than {CORPORA_BYTES_MAX}");
}

/// A target that never fails shows nothing.
#[test]
fn a_target_that_panics_is_noticed() {
    let target = Target { name: "yaml", run: |_| panic!("as every input does here") };
    assert_eq!(failures(target).len(), inputs(&corpora().join("yaml")).len());
}

/// Nor does one without inputs.
#[test]
fn a_corpus_that_is_missing_empty_or_damaged_is_noticed() {
    let corpus = TempDir::new().unwrap();
    let fails = || catch_unwind(|| inputs(corpus.path())).is_err();
    assert!(catch_unwind(|| inputs(&corpus.path().join("none"))).is_err());
    assert!(fails());
    for (packed, is_wrong) in [("", true), ("YQ\n", true), ("YQ==\nY!Q==\n", true), ("YQ==\n", false)] {
        fs::write(corpus.path().join(PACKED), packed).unwrap();
        assert_eq!(fails(), is_wrong, "{packed:?}");
    }
}
