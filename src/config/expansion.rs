//! Variables in the strings of a file: `${NAME}`, and `${NAME:-DEFAULT}` where it may be unset or empty. `$${` stands for `${`; any other `$`
//! stays as it is. What a variable holds is not looked at again. Reads no environment itself.

use std::borrow::Cow;
use std::ffi::OsString;

/// What a variable of the master's environment holds.
pub type Variable<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The longest that the values of variables can make a file, in bytes; a handoff carries all of them.
pub(super) const EXPANDED_MAX: usize = 1024 * 1024;

/// Why there is no value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The variable of this name is not set.
    Unset(String),
    Other(String),
}

/// Whether a text is another one when it is expanded.
pub(super) fn has_any(text: &str) -> bool {
    text.contains("${")
}

/// The text that [`expand`] makes this one of.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if has_any(text) { text.replace("${", "$${").into() } else { text.into() }
}

/// # Errors
/// A variable without a value, or braces that hold something else.
pub(super) fn expand<'a>(text: &'a str, variable: Variable<'_>) -> Result<Cow<'a, str>, Fault> {
    if !has_any(text) {
        return Ok(text.into());
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, braces) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = braces;
            continue;
        }
        expanded.push_str(before);
        let (inside, after) =
            braces.split_once('}').ok_or_else(|| Fault::Other(format!("{NEED}, found no }} behind ${{")))?;
        expanded.push_str(&value(inside, variable)?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded.into())
}

const NEED: &str = "need ${NAME} or ${NAME:-DEFAULT}, or $${ for a ${ that stays as it is";

fn value(inside: &str, variable: Variable<'_>) -> Result<String, Fault> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let begins = name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
    let is_name = begins && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
    if !is_name || default.is_some_and(has_any) {
        return Err(Fault::Other(format!("{NEED}, not ${{{inside}}}")));
    }
    match (variable(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => value.into_string().map_err(|_| Fault::Other(format!("the variable {name} is not UTF-8"))),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Fault::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn variable(name: &str) -> Option<OsString> {
        match name {
            "PORT" => Some("80".into()),
            "EMPTY" => Some(OsString::new()),
            "ODD" => Some("${PORT} $${".into()),
            "BYTES" => Some(OsString::from_vec(vec![0xff])),
            _ => None,
        }
    }

    /// Number 20 of what operators trip over.
    #[test]
    fn variables_stand_in_braces_and_everything_else_stays() {
        for (text, expected) in [
            ("", ""),
            ("${PORT}", "80"),
            ("a${PORT}b${PORT:-1}c", "a80b80c"),
            ("${NONE:-4}${EMPTY:-5}[${EMPTY}]", "45[]"),
            ("${NONE:-}|${NONE:-a:-b $ {}|", "|a:-b $ {|"),
            ("$PORT $$ $(x) {PORT} $ {PORT} 3$", "$PORT $$ $(x) {PORT} $ {PORT} 3$"),
            ("$${PORT} $$${PORT}", "${PORT} $${PORT}"),
            ("${ODD}", "${PORT} $${"),
        ] {
            assert_eq!(expand(text, &variable).as_deref(), Ok(expected), "{text}");
            assert_eq!(expand(&escaped(text), &variable).as_deref(), Ok(text), "escaped");
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        assert_eq!(expand("x${NONE}", &variable), Err(Fault::Unset("NONE".to_owned())));
        for text in ["${", "${PORT", "${}", "${1}", "${A B}", "${PORT:?x}", "${#PORT}", "${A:-${PORT}}", "${BYTES}"] {
            assert!(matches!(expand(text, &variable), Err(Fault::Other(_))), "{text}");
        }
    }
}
