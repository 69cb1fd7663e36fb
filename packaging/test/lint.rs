//! What the tools of others say of packages and pages.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::machine::{Machine, told};
use crate::packages::{deb, einhorn_deb, install_deb, output, sources};
use crate::sources::{page, texts};

/// Lintian's name for a misspelt word in a program.
const SPELLING: &str = "spelling-error-in-binary";

#[test]
fn lintian_has_nothing_to_say_that_is_not_explained() {
    // What is in the overrides, each with its reason, is not shown.
    let mut lintian = Command::new("lintian");
    let shown = output(lintian.args(["--allow-root", "--pedantic", "--display-info"]).args([deb(), einhorn_deb()]));
    // Whether the machine code has such a word is chance, so that no override is right for long: a test of its own looks at each.
    let shown: Vec<_> = shown.lines().filter(|line| !line.contains(SPELLING)).collect();
    assert!(shown.is_empty(), "{shown:?}");
    for name in ["lintian-overrides", "einhorn.lintian-overrides"] {
        let text = page(&format!("packaging/deb/{name}"));
        for override_ in text.split("\n\n").filter(|part| part.lines().any(|line| !line.starts_with('#'))) {
            assert!(override_.trim().starts_with("# "), "without a reason: {override_}");
        }
    }
}

#[test]
fn lintian_finds_no_misspelling_of_ours_in_the_program() {
    let mut lintian = Command::new("lintian");
    let shown = output(lintian.args(["--allow-root", "--no-override", "--tags", SPELLING]).arg(deb()));
    let words = shown.lines().filter_map(|line| line.split_once(SPELLING)?.1.split_whitespace().next());
    let ours = texts(&["src"], "");
    let ours: Vec<_> = words.filter(|word| has_word(&ours, word)).collect();
    assert!(ours.is_empty(), "misspelt: {ours:?}");
}

/// As a word of its own: "ned" is no word of "opened".
fn has_word(text: &str, word: &str) -> bool {
    let is_apart = |(at, _): (usize, &str)| {
        let (before, behind) = (text[..at].chars().next_back(), text[at + word.len()..].chars().next());
        !before.into_iter().chain(behind).any(char::is_alphabetic)
    };
    text.match_indices(word).any(is_apart)
}

#[test]
fn a_misspelt_word_is_told_from_a_part_of_another() {
    let text = "it is recieved, opened";
    assert!(has_word(text, "recieved") && has_word(text, "it") && has_word(text, "opened"));
    assert!(!has_word(text, "ned") && !has_word(text, "recieve") && !has_word(text, "wTH"));
}

#[test]
fn every_crate_that_is_linked_stands_in_the_copyright() {
    let copyright = page("packaging/deb/copyright");
    let told: BTreeSet<_> =
        copyright.lines().filter_map(|line| line.split("crates/").nth(1)?.strip_suffix("/*")).collect();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(sources()).args([
        "tree",
        "--locked",
        "--prefix=none",
        "--edges=normal,no-proc-macro",
        "--format={p}",
    ]);
    let tree = output(&mut cargo);
    let linked = tree.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty());
    let linked: BTreeSet<_> = linked.filter(|name| *name != "einhyrningsins").collect();
    assert_eq!(told, linked);
}

#[test]
fn the_pages_are_found_and_read_without_a_warning() {
    let machine = Machine::boot();
    install_deb(&machine, &deb());
    install_deb(&machine, &einhorn_deb());
    for page in [
        "1 einhyrningsins",
        "1 einhyrningsinsctl",
        "5 einhyrningsins.toml",
        "7 einhyrningsins-control",
        "1 einhorn",
        "1 einhornsh",
    ] {
        let shown = machine.try_sh(&format!("man --warnings -E UTF-8 {page} | wc -l"));
        let lines: u32 = String::from_utf8_lossy(&shown.stdout).trim().parse().unwrap_or_default();
        assert!(shown.status.success() && shown.stderr.is_empty() && lines > 30, "{page}: {}", told(&shown));
    }
    for page in fs::read_dir(sources().join("doc")).unwrap().map(|entry| entry.unwrap().path()) {
        if page.extension().is_some_and(|section| section.to_string_lossy().parse::<u8>().is_ok()) {
            output(Command::new("mandoc").args(["-Tlint", "-Wwarning"]).arg(page));
        }
    }
}
