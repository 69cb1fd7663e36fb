//! What is wrong with a command line or a file: one line that names the option as the user spelled it, or its place. Decides no
//! exit code and prints nothing.

use std::ffi::OsStr;
use std::fmt;

use crate::base::printable::{self, is_hidden};
use crate::config::origin::Place;

/// Shown characters of a value; a longer one is cut, so that an error stays one line on a screen.
const SHOWN_MAX: usize = 300;

/// One thing that is wrong. What it repeats of a command line or a file stands there as it was given; it is shown on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// `nearest`: the nearest known option, if one is near.
    pub(super) fn unknown_option(spelled: &str, nearest: Option<&str>) -> Self {
        let hint = nearest.map_or_else(String::new, |near| format!(", did you mean --{near}?"));
        Self(format!("unknown option {}{hint}", shown(spelled)))
    }

    /// `need` says what is allowed, such as `need a whole number from 1 to 100000`.
    pub(super) fn bad_value(spelled: &str, value: &OsStr, need: &str) -> Self {
        Self(format!("{spelled} {}: {need}", shown(value)))
    }

    /// Two options of which only one can be given.
    pub(super) fn conflict(spelled: &str, other: &str) -> Self {
        Self(format!("{spelled}: cannot stand together with {other}"))
    }

    /// A key that the file may not have.
    pub(super) fn unknown_key(place: &Place, nearest: Option<&str>) -> Self {
        let hint = nearest.map_or_else(String::new, |near| format!(", did you mean {near:?}?"));
        Self(format!("{}: unknown key {:?}{hint}", place.position(), place.key))
    }

    /// Anything else that is wrong at a place of a file.
    pub(super) fn in_file(place: &Place, message: &str) -> Self {
        Self(format!("{}: {message}", place.position()))
    }

    pub fn no_program() -> Self {
        Self("there is no program, neither as the command of a file nor behind the options".to_owned())
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable::line(&self.0))
    }
}

/// All that is wrong; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<ConfigError>);

impl From<ConfigError> for Problems {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    /// One line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The value on one line: as written if that is plain, else quoted and escaped.
pub(super) fn shown(value: impl AsRef<OsStr>) -> String {
    let text = value.as_ref().to_string_lossy();
    let cut: String = text.chars().take(SHOWN_MAX).collect();
    let plain = !cut.is_empty() && !cut.chars().any(|c| c.is_whitespace() || is_hidden(c));
    let marker = if cut.len() < text.len() { "..." } else { "" };
    if plain { format!("{cut}{marker}") } else { format!("{cut:?}{marker}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(value: &str) -> String {
        ConfigError::bad_value("-x", value.as_ref(), "need y").to_string()
    }

    #[test]
    fn values_are_shown_on_one_line() {
        assert_eq!(bad("abc"), "-x abc: need y");
        assert_eq!(bad(""), "-x \"\": need y");
        assert_eq!(bad("a b"), "-x \"a b\": need y");
        assert_eq!(bad("a\nb\u{1b}"), "-x \"a\\nb\\u{1b}\": need y");
    }

    #[test]
    fn a_long_value_is_cut() {
        let line = bad(&"z".repeat(5000));
        assert!(line.ends_with("zzz...: need y"), "{line}");
        assert!(line.len() < SHOWN_MAX + 20);
    }

    /// Every text in it that comes from outside, in each kind of error.
    #[test]
    fn each_error_is_one_line_that_steers_no_terminal() {
        let odd = || "a\nb\u{1b}[2J\u{9b}2J\u{202e}".to_owned();
        let place = || Place { file: odd().into(), line: 1, column: 2, key: odd() };
        let (odd, place) = (odd(), place());
        let errors = [
            ConfigError::new(&*odd),
            ConfigError::unknown_option(&odd, None),
            ConfigError::unknown_option(&odd, Some("near")),
            ConfigError::bad_value(&odd, odd.as_ref(), &odd),
            ConfigError::conflict(&odd, "-x"),
            ConfigError::conflict("-x", &odd),
            ConfigError::unknown_key(&place, None),
            ConfigError::unknown_key(&place, Some(&odd)),
            ConfigError::in_file(&place, &odd),
            ConfigError::no_program(),
        ];
        for error in errors {
            let shown = error.to_string();
            assert!(!shown.contains(is_hidden), "{error:?}: {error}");
            assert_eq!(printable::line(&shown), shown, "an output that escapes it once more changes nothing");
            assert!(!shown.contains("\\\\"), "escaped twice: {error:?}: {shown}");
        }
    }
}
