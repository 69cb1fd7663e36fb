//! Reads an environment file: one `NAME=VALUE` in a line, `#` before a comment, an `export` before the name, and quotes
//! around the value as a POSIX shell reads them, over several lines if they are. Expands nothing and opens nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::str::Chars;

use crate::config::error::ConfigError;
use crate::config::origin::Place;
use crate::config::values;

/// The variables of a file's text, in its order; `name` is how errors call the file. The later of two equal names counts.
pub(super) fn read(name: &str, text: &str, problems: &mut Vec<ConfigError>) -> Vec<(OsString, OsString)> {
    let mut variables: Vec<(OsString, OsString)> = Vec::new();
    // Editors of other systems begin a file with a byte order mark.
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut number = 1;
    while !rest.is_empty() {
        let Entry { found, after } = entry(rest);
        match found {
            Ok(found) => variables.extend(found),
            Err(need) => {
                let place = Place { file: name.into(), line: number, column: 1, key: String::new() };
                problems.push(ConfigError::in_file(&place, &need));
            }
        }
        number += rest.bytes().take(rest.len() - after.len()).filter(|&byte| byte == b'\n').count();
        rest = after;
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

/// What the first line of a text says, with those that its quotes go on in, and the lines after it.
struct Entry<'a> {
    /// None: a comment, or a blank line.
    found: Result<Option<(OsString, OsString)>, String>,
    after: &'a str,
}

fn entry(text: &str) -> Entry<'_> {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) {
        return Entry { found: Ok(None), after };
    }
    let (name, value) = match assignment(line) {
        Ok(read) => read,
        Err(need) => return Entry { found: Err(need), after },
    };
    let checked = |value: String| match value.contains('\0') {
        true => Err(format!("the value of {name} has a zero byte")),
        false => Ok(Some((name.into(), value.into()))),
    };
    if !value.starts_with(['\'', '"']) {
        return Entry { found: checked(value.to_owned()), after };
    }
    // The line is a part of the text, and the value a part of the line: the value begins where the `=` ends.
    let (_, value) = text.split_once('=').unwrap_or_default();
    let mut chars = value.trim_start_matches(is_blank).chars();
    let found = match word(&mut chars) {
        Ok(value) => checked(value),
        Err(fault) => Err(fault.of(name)),
    };
    // Where quotes are not closed, nothing is left.
    let (rest, after) = chars.as_str().split_once('\n').unwrap_or((chars.as_str(), ""));
    let rest = rest.trim_start_matches(is_blank);
    let is_over = found.is_err() || rest.is_empty() || rest.starts_with('#');
    Entry { found: if is_over { found } else { Err(Fault::GoesOn.of(name)) }, after }
}

/// What may stand around a value. A carriage return is a part of the end of the line where a file has such ends.
fn is_blank(char: char) -> bool {
    char.is_whitespace() && char != '\n'
}

/// The name and what follows the `=` in the same line.
fn assignment(line: &str) -> Result<(&str, &str), String> {
    let line = line.strip_prefix("export").filter(|rest| rest.starts_with(is_blank)).unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=').ok_or_else(|| "need NAME=VALUE".to_owned())?;
    let fits = !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    if !fits || name.starts_with(|char: char| char.is_ascii_digit()) {
        // What stands there is not shown: it may be the rest of a secret.
        return Err("need the name of a variable before the =".to_owned());
    }
    if values::is_masters(name.as_bytes()) {
        return Err(format!("{name} is set by the master, as are all {}", values::masters_names()));
    }
    Ok((name, value.trim_start()))
}

/// Why a value that begins with quotes is none.
enum Fault {
    Unclosed,
    /// Behind the quotes stands more than a comment.
    GoesOn,
}

impl Fault {
    fn of(self, name: &str) -> String {
        match self {
            Self::Unclosed => format!("the value of {name} has quotes that are not closed"),
            Self::GoesOn => format!("the value of {name} goes on behind its quotes, where only a comment can stand"),
        }
    }
}

/// A word of a shell, up to the blank or the end of the line behind it: pieces in quotes, and characters between them.
fn word(chars: &mut Chars<'_>) -> Result<String, Fault> {
    let mut text = String::new();
    while let Some(char) = chars.clone().next() {
        if char.is_whitespace() {
            break;
        }
        chars.next();
        match char {
            '\'' => single_quoted(chars, &mut text)?,
            '"' => double_quoted(chars, &mut text)?,
            '\\' => text.extend(chars.next().filter(|&escaped| escaped != '\n')),
            // A shell would do something here.
            '$' | '`' | '|' | '&' | ';' | '<' | '>' | '(' | ')' => return Err(Fault::GoesOn),
            _ => text.push(char),
        }
    }
    Ok(text)
}

/// All up to the next quote stays as it is.
fn single_quoted(chars: &mut Chars<'_>, text: &mut String) -> Result<(), Fault> {
    for char in chars {
        match char {
            '\'' => return Ok(()),
            _ => text.push(char),
        }
    }
    Err(Fault::Unclosed)
}

/// A backslash goes only before the characters that would mean something here, see "2.2.3 Double-Quotes" of POSIX's shell.
fn double_quoted(chars: &mut Chars<'_>, text: &mut String) -> Result<(), Fault> {
    while let Some(char) = chars.next() {
        match char {
            '"' => return Ok(()),
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(escaped @ ('"' | '\\' | '$' | '`')) => text.push(escaped),
                Some(other) => text.extend(['\\', other]),
                None => break,
            },
            _ => text.push(char),
        }
    }
    Err(Fault::Unclosed)
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

    fn value(text: &str) -> String {
        let read = variables(text);
        assert_eq!((read.len(), read[0].0.as_str()), (1, "A"), "{text:?}");
        read[0].1.clone()
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
        for open in ["A='x", "A=\"x", "A=\"x\\\"", "A='x'y'", "A=\"x\\"] {
            assert_eq!(problem(open), "web.env:2:1: the value of A has quotes that are not closed", "{open}");
        }
        assert_eq!(problem("A=x\0"), "web.env:2:1: the value of A has a zero byte");
    }

    /// Number 13 of what operators trip over.
    #[test]
    fn double_quotes_keep_a_backslash_that_escapes_nothing() {
        assert_eq!(value(r#"A="a\nb""#), r"a\nb");
        assert_eq!(value(r#"A="C:\dir\new""#), r"C:\dir\new");
        assert_eq!(value("A=\"a\\\nb\""), "ab", "a backslash before the end of the line goes with it");
    }

    #[test]
    fn values_in_quotes_may_have_several_lines() {
        let key = "-----BEGIN KEY-----\nMIIB=\n# no comment\n-----END KEY-----\n";
        for quote in ['\'', '"'] {
            let read = variables(&format!("A={quote}{key}{quote} # the key\r\nB=x\n"));
            assert_eq!(read, [("A".to_owned(), key.to_owned()), ("B".to_owned(), "x".to_owned())]);
        }
        let mut problems = Vec::new();
        read("web.env", "A='\n\n'\nfoo\nB='\n\n", &mut problems);
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let open = "web.env:5:1: the value of B has quotes that are not closed";
        assert_eq!(shown, ["web.env:4:1: need NAME=VALUE", open]);
    }

    #[test]
    fn a_value_in_quotes_may_have_a_comment_and_pieces() {
        for text in ["A=\"def\" # it's \"x\"", "A='def'\t#", "A='d'\"e\"f", "A='de'\\f", "export\tA='def'\r\n"] {
            assert_eq!(value(text), "def", "{text:?}");
        }
        assert_eq!(value(r#"A='it'"'"'s'"#), "it's");
        assert_eq!(value(r"A='it'\''s'"), "it's");
        for line in ["A='x' y", "A='x';", "A='x'$B", "A='x'\\ y z"] {
            let need = "web.env:2:1: the value of A goes on behind its quotes, where only a comment can stand";
            assert_eq!(problem(line), need, "{line}");
        }
    }

    #[test]
    fn a_byte_order_mark_means_nothing() {
        assert_eq!(value("\u{feff}A=x\n"), "x");
    }
}
