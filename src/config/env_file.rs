//! Reads an environment file: one `NAME=VALUE` in a line, `#` before a comment, an `export` before the name and quotes
//! around the value as shells have them. Expands nothing and opens nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;

use crate::config::error::ConfigError;
use crate::config::origin::Place;
use crate::config::values;

/// The variables of a file's text, in its order; `name` is how errors call the file. The later of two equal names counts.
pub(super) fn read(name: &str, text: &str, problems: &mut Vec<ConfigError>) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        match assignment(line) {
            Ok((variable, value)) => variables.push((variable.into(), value.into())),
            Err(need) => {
                let place = Place { file: name.into(), line: index + 1, column: 1, key: String::new() };
                problems.push(ConfigError::in_file(&place, &need));
            }
        }
    }
    last_of_each(variables)
}

/// Without those that a later one of the same name replaces.
pub(super) fn last_of_each(mut variables: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let mut met = BTreeSet::new();
    variables.reverse();
    variables.retain(|(name, _)| met.insert(name.clone()));
    variables.reverse();
    variables
}

fn assignment(line: &str) -> Result<(&str, String), String> {
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=').ok_or_else(|| "need NAME=VALUE".to_owned())?;
    let fits = !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    if !fits || name.starts_with(|char: char| char.is_ascii_digit()) {
        // What stands there is not shown: it may be the rest of a secret.
        return Err("need the name of a variable before the =".to_owned());
    }
    if values::is_masters(name.as_bytes()) {
        return Err(format!("{name} is set by the master, as are all {}", values::masters_names()));
    }
    if value.contains('\0') {
        return Err(format!("the value of {name} has a zero byte"));
    }
    Ok((name, unquoted(name, value.trim())?))
}

/// What is in single quotes stays as it is; in double ones, a backslash makes the next character stand for itself.
fn unquoted(name: &str, value: &str) -> Result<String, String> {
    let unclosed = || format!("the value of {name} has quotes that are not closed");
    if let Some(rest) = value.strip_prefix('\'') {
        let inner = rest.strip_suffix('\'').filter(|inner| !inner.contains('\''));
        return inner.map(str::to_owned).ok_or_else(unclosed);
    }
    let Some(rest) = value.strip_prefix('"') else { return Ok(value.to_owned()) };
    let mut text = String::new();
    let mut chars = rest.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' if chars.as_str().is_empty() => return Ok(text),
            '"' => break,
            '\\' => text.extend(chars.next()),
            _ => text.push(char),
        }
    }
    Err(unclosed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(text: &str) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let read = read("web.env", text, &mut problems);
        assert_eq!(problems, []);
        read.into_iter().map(|(name, value)| (name.into_string().unwrap(), value.into_string().unwrap())).collect()
    }

    fn problem(line: &str) -> String {
        let mut problems = Vec::new();
        read("web.env", &format!("A=1\n{line}\n"), &mut problems);
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn lines_are_names_and_values() {
        let text = "# c\n; c\n\nA=1\nexport B = x\n C=a b # no comment\nD='x \"y'\nE=\"a \\\"b\\\" \\\\\"\nF=\nA=2\n";
        assert_eq!(problem("B = x"), "web.env:2:1: need the name of a variable before the =");
        let read = variables(&text.replace("B = x", "B=x"));
        let expected =
            [("B", "x"), ("C", "a b # no comment"), ("D", "x \"y"), ("E", "a \"b\" \\"), ("F", ""), ("A", "2")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_is_no_assignment_is_named_with_its_line() {
        assert_eq!(problem("foo"), "web.env:2:1: need NAME=VALUE");
        assert_eq!(problem("=x"), "web.env:2:1: need the name of a variable before the =");
        assert_eq!(problem("1A=x"), "web.env:2:1: need the name of a variable before the =");
        for open in ["A='x", "A=\"x", "A=\"x\\\"", "A='x'y'", "A=\"x\"y"] {
            assert_eq!(problem(open), "web.env:2:1: the value of A has quotes that are not closed", "{open}");
        }
        assert_eq!(problem("A=x\0"), "web.env:2:1: the value of A has a zero byte");
    }
}
