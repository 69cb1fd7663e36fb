//! Remembers each effective value as it was given, and where: for error messages, which repeat the user's spelling, for
//! `--print-config`, and to tell whether a value was given at all. Reads no value.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{printable, wire};

/// Where a value came from. A handoff has it in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Origin {
    /// No place gives a value.
    Default,
    File(Place),
    /// The command line, with the option as it was spelled there, such as `-n` or `--num`.
    CommandLine(String),
    /// The control socket: `config`, `inc` and the like.
    ControlSocket,
}

/// A place in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As it was given with `--config`.
    pub file: Arc<str>,
    /// From 1, in characters, as editors count.
    pub line: usize,
    pub column: usize,
    /// The key, as it stands there with its table: `number`, `control.mode`.
    pub key: String,
}

/// One value of one option, wherever it was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The option's long name, without dashes; a key of the file that is no flag has its own.
    pub flag: String,
    pub origin: Origin,
    /// `true` or `false` for a switch. None: a list that is said to be empty.
    #[serde(default, with = "wire")]
    pub value: Option<OsString>,
}

impl Word {
    /// `--flag=value`, which cannot be taken for anything else. Nothing for an empty list.
    pub fn to_normal_form(&self) -> Option<OsString> {
        let mut text = OsString::from(format!("--{}=", self.flag));
        text.push(self.value.as_ref()?);
        Some(text)
    }

    /// Whether it says something: a switch that is off does not.
    pub fn is_active(&self) -> bool {
        self.value.as_ref().is_some_and(|value| value != "false")
    }

    /// The name in `NAME=VALUE`.
    pub fn map_name(&self) -> Option<&[u8]> {
        self.value.as_ref().map(|value| split_at_equals(value.as_bytes()).0)
    }
}

/// The effective values as they were given, in the order in which they count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provided(Vec<Word>);

impl Provided {
    pub(super) fn new(words: Vec<Word>) -> Self {
        Self(words)
    }

    pub(super) fn all(&self) -> &[Word] {
        &self.0
    }

    /// What was given for one option, by its long name; several values for a list.
    pub(super) fn words(&self, flag: &str) -> impl Iterator<Item = &Word> {
        self.0.iter().filter(move |word| word.flag == flag)
    }

    /// Where each value of a list came from; a value that no place gave is a default.
    pub(super) fn origins(&self, flag: &str) -> impl Iterator<Item = &Origin> {
        self.words(flag).map(|word| &word.origin).chain(std::iter::repeat(&Origin::Default))
    }

    /// The values of an option, as they were written.
    pub fn values(&self, flag: &str) -> Vec<&OsStr> {
        self.words(flag).filter_map(|word| word.value.as_deref()).collect()
    }

    /// Where the effective value of `flag` (its long name without dashes) came from.
    pub fn origin(&self, flag: &str) -> &Origin {
        self.words(flag).last().map_or(&Origin::Default, |word| &word.origin)
    }

    /// Replaces what was given for these options.
    pub(super) fn replace(&mut self, flags: &[&str], words: impl IntoIterator<Item = Word>) {
        self.0.retain(|word| !flags.contains(&word.flag.as_str()));
        self.0.extend(words);
    }

    /// The values, where a switch that is off is none.
    pub(super) fn effective(&self, flag: &str) -> Vec<&OsStr> {
        self.values(flag).into_iter().filter(|value| *value != "false").collect()
    }

    /// Whether some place gives it.
    pub fn is_given(&self, flag: &str) -> bool {
        self.words(flag).any(|word| word.origin != Origin::Default)
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, flag: &str) -> bool {
        self.values(flag).last().is_some_and(|value| *value == "true")
    }

    /// How the option that gave the effective value was spelled.
    pub(super) fn spelled(&self, flag: &str) -> String {
        self.origin(flag).spelled(flag)
    }

    /// The same for one value of a list.
    pub(super) fn spelled_at(&self, flag: &str, index: usize) -> String {
        self.words(flag).nth(index).map_or(&Origin::Default, |word| &word.origin).spelled(flag)
    }
}

impl Origin {
    /// How an error names the value: `-n`, `web.toml:3:10: number`.
    pub(super) fn spelled(&self, flag: &str) -> String {
        match self {
            Self::CommandLine(spelled) => printable::line(spelled).into_owned(),
            Self::File(place) => format!("{}: {}", place.position(), place.shown_key()),
            Self::Default | Self::ControlSocket => format!("--{flag}"),
        }
    }

    /// How the value is referred to inside a sentence about another: `-4`, `ipv4-only (web.toml:3)`.
    pub(super) fn referred(&self, flag: &str) -> String {
        match self {
            Self::File(place) => format!("{} ({})", place.shown_key(), place.line()),
            Self::CommandLine(_) | Self::Default | Self::ControlSocket => self.spelled(flag),
        }
    }

    /// Where the value of `flag` comes from, in a word: `web.toml:12`, `--number`, `default`.
    pub fn shown(&self, flag: &str) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File(place) => place.line(),
            Self::CommandLine(_) if flag == "command" => "command line".to_owned(),
            Self::CommandLine(_) => format!("--{flag}"),
            Self::ControlSocket => "control socket".to_owned(),
        }
    }
}

impl Place {
    /// `web.toml:12:3`
    pub(super) fn position(&self) -> String {
        format!("{}:{}", self.line(), self.column)
    }

    fn line(&self) -> String {
        format!("{}:{}", printable::line(&self.file), self.line)
    }

    pub(super) fn shown_key(&self) -> Cow<'_, str> {
        printable::line(&self.key)
    }
}

pub(super) fn split_at_equals(text: &[u8]) -> (&[u8], Option<&OsStr>) {
    match text.iter().position(|&byte| byte == b'=') {
        Some(at) => (&text[..at], Some(OsStr::from_bytes(&text[at + 1..]))),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::printable::is_hidden;

    /// A file and a key may be called anything.
    #[test]
    fn a_place_steers_no_terminal() {
        let odd = "a\nb\u{1b}[2J\u{9b}2J\u{202e}";
        let place = Place { file: odd.into(), line: 1, column: 2, key: odd.to_owned() };
        let position = place.position();
        let file = Origin::File(place);
        let word = Origin::CommandLine(odd.to_owned());
        let escaped = r"a\x0ab\x1b[2J\x9b2J\u{202e}";
        assert_eq!(position, format!("{escaped}:1:2"));
        assert_eq!(file.spelled("x"), format!("{escaped}:1:2: {escaped}"));
        assert_eq!(file.referred("x"), format!("{escaped} ({escaped}:1)"));
        assert_eq!(file.shown("x"), format!("{escaped}:1"));
        for text in [word.spelled("x"), word.referred("x"), word.shown("x")] {
            assert!(!text.contains(is_hidden), "{text:?}");
        }
    }
}
