//! The pages for operators, `doc/operations.md` and `doc/deploys.md`: each test that a table names as what holds a claim exists. It reads
//! files, and never changes one.

#[path = "support/sources.rs"]
mod sources;

const DIRECTORIES: [&str; 4] = ["src", "tests", "packaging/test", "compat-tests"];
/// This file has names of tests that do not exist.
const ITSELF: &str = "held_by.rs";

/// What stands in backquotes in the last cell of each row below a head that ends with "held by".
fn named(page: &str) -> Vec<String> {
    let (mut found, mut is_held) = (Vec::new(), false);
    for line in page.lines() {
        let cell = line.trim_end_matches(['|', ' ']).rsplit(" | ").next().filter(|_| line.starts_with('|'));
        match cell.map(|cell| cell.trim_start_matches(['|', ' '])) {
            None => is_held = false,
            Some("held by") => is_held = true,
            Some(cell) if is_held => found.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned)),
            Some(_) => {}
        }
    }
    // A command that the reader can run has more than one word.
    found.retain(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'));
    found
}

fn missing(page: &str, texts: &str) -> Vec<String> {
    named(page).into_iter().filter(|name| !texts.contains(&format!("fn {name}("))).collect()
}

#[test]
fn tests_that_hold_a_claim_of_a_page_for_operators_exist() {
    let texts = sources::texts(&DIRECTORIES, ITSELF);
    // The second has no such table yet.
    for (path, least) in [("doc/operations.md", 60), ("doc/deploys.md", 0)] {
        let page = sources::page(path);
        assert!(named(&page).len() >= least, "{path} is not read as it is meant");
        assert_eq!(missing(&page, &texts), [""; 0], "{path} names tests that are not there");
    }
}

#[test]
fn a_name_of_no_test_is_found_in_a_table_of_claims_alone() {
    let texts = "fn a_test_that_is_there() {";
    let page = "`no_table`\n\n| | held by |\n|---|---|\n| says `no_claim` | `a_test_that_is_there`, `one_that_is_not`, `make demo` |\n\n\
                | x | y |\n|---|---|\n| z | `another_table` |\n";
    assert_eq!(missing(page, texts), ["one_that_is_not"]);
}
