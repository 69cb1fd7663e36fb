//! What can be wrong with a command line or a file, each said in one line that names the option as the user spelled it, or
//! its place. Decides no exit code and prints nothing.

use std::ffi::{OsStr, OsString};
use std::fmt;

use crate::base::printable::{self, is_hidden};
use crate::config::origin::Place;

/// Shown characters of a value; a longer one is cut, so that an error stays one line on a screen.
const SHOWN_MAX: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    Unknown {
        spelled: String,
        /// The nearest known option, if one is near.
        nearest: Option<String>,
    },
    Ambiguous {
        spelled: String,
        candidates: Vec<String>,
    },
    MissingValue {
        spelled: String,
        /// What the help calls the value, such as `COUNT`.
        value_name: String,
    },
    NeedlessValue {
        spelled: String,
    },
    BadValue {
        spelled: String,
        value: OsString,
        /// What is allowed, such as `need a whole number from 1 to 1000`.
        need: String,
    },
    /// Two options that cannot stand together.
    Conflict {
        spelled: String,
        other: String,
    },
    /// The program's name is an empty word.
    EmptyProgram {
        spelled: String,
    },
    /// Nothing says what to run.
    NoProgram,
    /// A key that the file may not have.
    UnknownKey {
        place: Place,
        /// The nearest known key, if one is near.
        nearest: Option<String>,
    },
    /// Anything else that is wrong at a place of a file.
    InFile {
        place: Place,
        message: String,
    },
    /// The file cannot be read, or is not trusted; in the words of who tried.
    NoFile(String),
    UnknownProfile {
        spelled: String,
        nearest: Option<String>,
        /// Every profile that there is.
        known: Vec<String>,
    },
    /// Too many profiles inherit one from the other.
    ProfileDepth {
        spelled: String,
        depth_max: usize,
    },
    /// A profile that inherits itself.
    ProfileCircle {
        spelled: String,
        /// `a -> b -> a`
        circle: String,
    },
    /// The words and the definition disagree: our own mistake, told rather than hidden.
    Unread(String),
}

impl std::error::Error for ConfigError {}

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

impl fmt::Display for ConfigError {
    /// On one line, whatever it repeats of a command line or a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable::line(&self.sentence()))
    }
}

impl ConfigError {
    /// With what was given as it was given.
    fn sentence(&self) -> String {
        match self {
            Self::Unknown { spelled, nearest: None } => format!("unknown option {}", shown(spelled)),
            Self::Unknown { spelled, nearest: Some(near) } => {
                format!("unknown option {}, did you mean {near}?", shown(spelled))
            }
            Self::Ambiguous { spelled, candidates } => {
                format!("ambiguous option {}: could be {}", shown(spelled), candidates.join(" or "))
            }
            Self::MissingValue { spelled, value_name } => {
                format!("{spelled}: value missing, need {spelled} {value_name}")
            }
            Self::NeedlessValue { spelled } => format!("{}: takes no value", shown(spelled)),
            Self::BadValue { spelled, value, need } => format!("{spelled} {}: {need}", shown(value)),
            Self::Conflict { spelled, other } => format!("{spelled}: cannot stand together with {other}"),
            Self::UnknownKey { place, nearest } => {
                let key = format!("{}: unknown key {:?}", place.position(), place.key);
                match nearest {
                    Some(near) => format!("{key}, did you mean {near:?}?"),
                    None => key,
                }
            }
            Self::InFile { place, message } => format!("{}: {message}", place.position()),
            Self::NoFile(message) => message.clone(),
            Self::UnknownProfile { spelled, nearest, known } => {
                let hint = match nearest {
                    Some(near) => format!("did you mean {near:?}?"),
                    None if known.is_empty() => "the file has none".to_owned(),
                    None => format!("the file has {}", known.join(", ")),
                };
                format!("{spelled}: there is no such profile, {hint}")
            }
            Self::ProfileDepth { spelled, depth_max } => {
                format!("{spelled}: more than {depth_max} profiles inherit one from the other")
            }
            Self::ProfileCircle { spelled, circle } => {
                format!("{spelled}: the profiles inherit each other in a circle, {circle}")
            }
            Self::NoProgram => {
                "there is no program, neither as the command of a file nor behind the options".to_owned()
            }
            Self::EmptyProgram { spelled } => format!("{spelled}: its name is empty"),
            Self::Unread(cause) => format!("cannot read the options: {}", shown(cause)),
        }
    }
}

/// The value on one line: as written if that is plain, else quoted and escaped.
fn shown(value: impl AsRef<OsStr>) -> String {
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
        ConfigError::BadValue { spelled: "-x".into(), value: value.into(), need: "need y".into() }.to_string()
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
        let errors = [
            ConfigError::Unknown { spelled: odd(), nearest: None },
            ConfigError::Unknown { spelled: odd(), nearest: Some("near".to_owned()) },
            ConfigError::Ambiguous { spelled: odd(), candidates: vec![odd()] },
            ConfigError::MissingValue { spelled: odd(), value_name: odd() },
            ConfigError::NeedlessValue { spelled: odd() },
            ConfigError::BadValue { spelled: odd(), value: odd().into(), need: odd() },
            ConfigError::Conflict { spelled: odd(), other: "-x".to_owned() },
            ConfigError::Conflict { spelled: "-x".to_owned(), other: odd() },
            ConfigError::EmptyProgram { spelled: odd() },
            ConfigError::NoProgram,
            ConfigError::UnknownKey { place: place(), nearest: None },
            ConfigError::UnknownKey { place: place(), nearest: Some(odd()) },
            ConfigError::InFile { place: place(), message: odd() },
            ConfigError::NoFile(odd()),
            ConfigError::UnknownProfile { spelled: odd(), nearest: Some(odd()), known: vec![] },
            ConfigError::UnknownProfile { spelled: "x".to_owned(), nearest: None, known: vec![odd()] },
            ConfigError::ProfileDepth { spelled: odd(), depth_max: 3 },
            ConfigError::ProfileCircle { spelled: odd(), circle: "x".to_owned() },
            ConfigError::ProfileCircle { spelled: "x".to_owned(), circle: odd() },
            ConfigError::Unread(odd()),
        ];
        for error in errors {
            let shown = error.to_string();
            assert!(!shown.contains(is_hidden), "{error:?}: {error}");
            assert_eq!(printable::line(&shown), shown, "an output that escapes it once more changes nothing");
            assert!(!shown.contains("\\\\"), "escaped twice: {error:?}: {shown}");
        }
    }
}
