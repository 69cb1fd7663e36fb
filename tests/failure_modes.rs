//! The list of failure modes, `doc/failure-modes.md`: each number that tests and code name stands in it once, each test that it names
//! exists, and what no test shows has a reason. It reads files, and never changes one.

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeSet;

const DIRECTORIES: [&str; 6] = ["src", "tests", "compat-tests", "packaging", "examples", "benches"];
/// This file speaks of numbers that are none.
const ITSELF: &str = "failure_modes.rs";

/// A line of a table: its number, and what shows it.
struct Row {
    name: String,
    shown: String,
}

/// The rows whose first cell is a number, or an invariant's name.
fn rows(page: &str) -> Vec<Row> {
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let lines = page.lines().filter(|line| line.starts_with("| ")).map(cells);
    let named = lines.filter(|cells| cells[0].ends_with(|c: char| c.is_ascii_digit()));
    named.map(|cells| Row { name: cells[0].clone(), shown: cells[cells.len() - 1].clone() }).collect()
}

fn is_number(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_digit())
}

/// Numbers behind `Failure mode` or `failure modes`, as far as they stand on one line: `13 and 14`, `6, 7`, `70 to 72`.
fn numbers_in(text: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for rest in text.split("ailure mode").skip(1) {
        let rest = rest.strip_prefix('s').unwrap_or(rest).replace(['/', '\n'], " ");
        let words: Vec<&str> = rest.split_whitespace().collect();
        let mut last = None;
        for (index, word) in words.iter().enumerate() {
            let number: Option<u32> = word.trim_end_matches([',', '.', ':', ';', ')', '(']).parse().ok();
            match number {
                Some(number) if index > 0 && words[index - 1] == "to" => found.extend(last.unwrap_or(number)..=number),
                Some(number) => _ = found.insert(number),
                None if matches!(*word, "and" | "to") => {}
                None => break,
            }
            last = number.or(last);
            if word.ends_with(['.', ':', ';', ')']) {
                break;
            }
        }
    }
    found
}

/// Names of invariants in calls of `hold!`.
fn invariants_in(text: &str) -> BTreeSet<String> {
    let calls = text.split("hold!(").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
    calls.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

/// What of the page is wrong, beside these texts of tests and code.
fn faults(page: &str, texts: &str) -> Vec<String> {
    let rows = rows(page);
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for row in &rows {
        if !known.insert(row.name.clone()) {
            found.push(format!("{} stands there twice", row.name));
        }
        if is_number(&row.name) {
            found.extend(unshown(row, texts));
        }
    }
    let named = numbers_in(texts).into_iter().map(|number| number.to_string()).chain(invariants_in(texts));
    found
        .extend(named.filter(|name| !known.contains(name)).map(|name| format!("{name} is named, and not in the page")));
    found
}

/// Tests of a row that do not exist, or that there is none and no reason.
fn unshown(row: &Row, texts: &str) -> Vec<String> {
    if let Some(reason) = row.shown.strip_prefix("not shown: ") {
        return if reason.is_empty() { vec![format!("{}: no reason", row.name)] } else { Vec::new() };
    }
    let names: Vec<&str> = row.shown.split('`').skip(1).step_by(2).collect();
    if names.is_empty() {
        return vec![format!("{}: nothing shows it", row.name)];
    }
    let missing = names.into_iter().filter(|name| !texts.contains(&format!("fn {name}(")));
    missing.map(|name| format!("{}: there is no test {name}", row.name)).collect()
}

#[test]
fn failure_modes_in_the_code_stand_in_the_page_with_existing_tests() {
    let page = sources::page("doc/failure-modes.md");
    let texts = sources::texts(&DIRECTORIES, ITSELF);
    assert!(
        numbers_in(&texts).len() > 60 && invariants_in(&texts).len() > 15,
        "the texts are not read as they are meant"
    );
    assert_eq!(faults(&page, &texts), [""; 0]);
    let mut numbers: Vec<u32> = rows(&page).iter().filter_map(|row| row.name.parse().ok()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=numbers.len().try_into().unwrap()).collect::<Vec<u32>>());
}

#[test]
fn faults_of_the_page_are_found() {
    let texts = "// Failure modes 1 and 2.\nfn a_test_of_this_name() {\nhold!(\n \"I4\", true)";
    let good = "| 1 | wrong | what we do | `a_test_of_this_name` |\n| 2 | x | y | not shown: why |\n| I4 | holds |\n";
    assert_eq!(faults(good, texts), [""; 0]);
    assert_eq!(faults(&good.replace("`a_test_of_this_name`", "it is so"), texts), ["1: nothing shows it"]);
    assert_eq!(faults(&good.replace("not shown: why", "`another`"), texts), ["2: there is no test another"]);
    assert_eq!(faults(&good.replace("not shown: why", "not shown: "), texts).len(), 1);
    assert_eq!(faults(&good.replace("| I4 |", "| I5 |"), texts), ["I4 is named, and not in the page"]);
    assert_eq!(faults(&good.replace("| 2 |", "| 3 |"), texts), ["2 is named, and not in the page"]);
    assert_eq!(faults(&good.replace("| 2 |", "| 1 |"), texts)[0], "1 stands there twice");
}

#[test]
fn numbers_are_read_in_all_their_forms() {
    let numbers = |text: &str| numbers_in(text).into_iter().collect::<Vec<_>>();
    assert_eq!(numbers("// Failure modes 19, 27, 28. E37."), [19, 27, 28]);
    assert_eq!(numbers("/// E01. Failure modes 70 to 72."), [70, 71, 72]);
    assert_eq!(numbers("//! E2, and failure mode 24: ten thousand in 1000"), [24]);
    assert_eq!(numbers("Failure mode 30, and 31."), [30, 31]);
    assert_eq!(numbers("(failure mode\n    /// 22)."), [22]);
    assert_eq!(numbers("from a supervisor gets through (failure mode 104).\n7"), [104]);
    assert_eq!(numbers("failure modes are listed"), [0; 0]);
}
