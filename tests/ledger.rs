//! The ledger of einhorn's faults, `doc/einhorn-bugs.md`: every fault stands in it once, and each test that it names is there.

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeSet;

const FAULTS: usize = 39;
const SHOWN_MIN: usize = 34;

/// The rows of the tables: the fault, and what shows that it is absent.
fn rows(ledger: &str) -> Vec<(String, String)> {
    let cells = |line: &str| line.split(" | ").map(|cell| cell.trim_matches([' ', '|']).to_owned()).collect::<Vec<_>>();
    let faults = ledger.lines().filter(|line| line.starts_with("| E")).map(cells);
    faults.map(|cells| (cells[0].clone(), cells[cells.len() - 1].clone())).collect()
}

/// What stands between two of these in a text.
fn between(text: &str, quote: char) -> Vec<String> {
    text.split(quote).skip(1).step_by(2).map(str::to_owned).collect()
}

/// What of a ledger is wrong.
fn faults(ledger: &str, texts: &str) -> Vec<String> {
    let rows = rows(ledger);
    let mut found = Vec::new();
    let known: BTreeSet<&String> = rows.iter().map(|(fault, _)| fault).collect();
    if rows.len() != known.len() {
        found.push("a fault stands there twice".to_owned());
    }
    for (fault, shown) in &rows {
        let names = between(shown, '`').into_iter().filter(|name| name.len() > 12 && !name.contains([' ', '-']));
        let mut named = 0;
        for name in names {
            named += 1;
            if !texts.contains(&format!("fn {name}(")) {
                found.push(format!("{fault}: there is no test {name}"));
            }
        }
        for name in between(shown, '"') {
            named += 1;
            if !texts.contains(&format!("Suite.test('{name}'")) {
                found.push(format!("{fault}: the suite has no test {name:?}"));
            }
        }
        if named == 0 && !shown.starts_with("not yet: ") {
            found.push(format!("{fault}: nothing shows it"));
        }
    }
    found
}

#[test]
fn every_fault_is_in_the_ledger_with_tests_that_are_there() {
    let ledger = sources::page("doc/einhorn-bugs.md");
    let texts = sources::texts(&["src", "tests", "compat-tests"], "ledger.rs");
    assert_eq!(faults(&ledger, &texts), [""; 0]);
    let rows = rows(&ledger);
    let open = rows.iter().filter(|(_, shown)| shown.starts_with("not yet: ")).count();
    assert_eq!(rows.len(), FAULTS);
    assert!(rows.len() - open >= SHOWN_MIN, "{open} are open");
}

#[test]
fn faults_of_a_ledger_are_found() {
    let texts = "fn a_test_of_this_name() {\nSuite.test('a sentence', quotes";
    let row = |fault: &str, shown: &str| format!("| {fault} | what happens | {shown} |\n");
    assert_eq!(faults(&row("E01", "`a_test_of_this_name`, \"a sentence\""), texts), [""; 0]);
    assert_eq!(faults(&row("E01", "not yet: why"), texts), [""; 0]);
    assert_eq!(faults(&row("E01", "it is so"), texts), ["E01: nothing shows it"]);
    assert_eq!(
        faults(&row("E01", "`another_test_of_a_name`"), texts),
        ["E01: there is no test another_test_of_a_name"]
    );
    assert_eq!(faults(&row("E01", "\"no sentence\""), texts), ["E01: the suite has no test \"no sentence\""]);
    assert_eq!(faults(&[row("E01", "not yet: a"), row("E01", "not yet: b")].concat(), texts).len(), 1);
}
