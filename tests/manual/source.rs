//! What the source has in quotes: names of variables, and of fields of documents. Everything else is asked of the library.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Words in capitals that product text names, and that are no variables: columns of tables, constants, parts of names.
const NOT_VARIABLES: &[&str] = &[
    "ACKED",
    "AF_INET",
    "AF_INET6",
    "AF_UNIX",
    "AGE",
    "CARGO_PKG_VERSION",
    "INDEX",
    "KILL",
    "PID",
    "PING",
    "SIG",
    "STATE",
    "VERSION",
];

pub fn product_variables(path: &str) -> BTreeSet<String> {
    let mut files = Vec::new();
    walk(&root().join(path), &mut files);
    let is_test = |file: &Path| file.to_string_lossy().ends_with("tests.rs") || file.ends_with("testing.rs");
    files.retain(|file| !is_test(file));
    assert!(!files.is_empty(), "there is no {path}");
    files.iter().flat_map(|file| variables_in(&fs::read_to_string(file).unwrap())).collect()
}

/// Words in capitals, in quotes, in lines that are neither comments nor tests, nor say what a value of an option is called.
/// One that a number is put behind ends in `n`.
pub fn variables_in(text: &str) -> BTreeSet<String> {
    let lines = product(text).lines().filter(|line| !line.contains("value_name"));
    let code = lines.map(|line| line.split("//").next().unwrap_or_default());
    let quoted = code.flat_map(|line| line.split('"').skip(1).step_by(2));
    let names = quoted.filter_map(|word| match word.split_once('{') {
        Some((name, rest)) => rest.ends_with('}').then(|| (name.to_owned(), format!("{name}n"))),
        None => Some((word.to_owned(), word.to_owned())),
    });
    let is_name = |word: &str| {
        word.len() > 1
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let names = names.filter(|(word, _)| is_name(word) && !NOT_VARIABLES.contains(&word.as_str()));
    names.map(|(_, name)| name).collect()
}

/// The names in pairs of a name and a value.
pub fn fields_in(text: &str) -> BTreeSet<String> {
    let pairs = product(text).lines().flat_map(|line| line.split("(\"").skip(1));
    let names = pairs.filter_map(|rest| rest.split_once("\", ")).map(|(name, _)| name);
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !name.is_empty();
    names.filter(is_name).map(str::to_owned).collect()
}

/// All before the tests at its end.
fn product(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

fn walk(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| walk(&entry.unwrap().path(), files));
    } else {
        files.push(path.to_owned());
    }
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
