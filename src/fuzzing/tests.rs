//! Replays what `make fuzz` has kept: each input of `fuzz/corpus/TARGET`, without libFuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::fuzzing::{TARGETS, Target};

/// All inputs of all targets together: what a clone can bear.
const CORPORA_BYTES_MAX: u64 = 512 << 10;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(directory).unwrap_or_else(|error| panic!("cannot read {}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The inputs that the target fails on, each by its name.
fn failures(target: Target) -> Vec<String> {
    let inputs = entries(&corpora().join(target.name));
    assert!(!inputs.is_empty(), "fuzz/corpus/{} is empty", target.name);
    let fails = |path: &PathBuf| {
        let input = fs::read(path).unwrap();
        catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err()
    };
    inputs.iter().filter(|path| fails(path)).map(|path| path.display().to_string()).collect()
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
    assert_eq!(failures(target).len(), entries(&corpora().join("yaml")).len());
}
