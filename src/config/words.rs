//! Finds the options on a command line and where the program begins, as Ruby's OptionParser does for einhorn: clusters,
//! joined values, shortened long names, and a stop at the first word that is no option. Knows the flags from the
//! definition, never the meaning of a value, with one exception: whether the word after `-m` is an ack mode.

use std::ffi::{OsStr, OsString};
use std::iter::Peekable;
use std::os::unix::ffi::OsStrExt;
use std::vec::IntoIter;

use crate::config::definition::Act;
use crate::config::error::{ConfigError, shown};
use crate::config::nearest::nearest;
use crate::config::options::{Definition, flags, known_elsewhere};
use crate::config::origin::{Origin, Word, split_at_equals};
use crate::config::values;

/// einhorn's default is 1, between verbose (0) and quiet (2).
const VERBOSITY_DEFAULT: u8 = 1;
const VERBOSITY_MAX: u8 = 2;

/// The longest character in UTF-8.
const LETTER_BYTES_MAX: usize = 4;

/// What a switch says when it stands on a command line.
const ON: &str = "true";

/// What stands after the options that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The program and its arguments, untouched; empty if there is none.
    Program(Vec<OsString>),
    Act(Act),
}

/// Splits a command line without its `argv[0]`.
pub(super) fn split(args: Vec<OsString>) -> Result<(Vec<Word>, End), ConfigError> {
    let mut splitter = Splitter { rest: args.into_iter().peekable(), words: Vec::new() };
    let end = splitter.run()?;
    Ok((splitter.words, end))
}

/// Settles what depends on the order of different flags, so that after it order matters only within one: `-v` and `-q`
/// cancel each other, and of `--ack-mode` and `--manual` the last one counts.
pub(super) fn settle(words: Vec<Word>) -> Vec<Word> {
    let is_mode = |word: &Word| word.flag == "ack-mode" || word.flag == "manual";
    let is_level = |word: &Word| word.flag == "verbose" || word.flag == "quiet";
    let level = verbosity(&words);
    let mode = words.iter().rev().find(|word| is_mode(word)).cloned();
    let level_flag = if level < VERBOSITY_DEFAULT { "verbose" } else { "quiet" };
    let level_word = words.iter().rev().find(|word| word.flag == level_flag && level != VERBOSITY_DEFAULT).cloned();
    let others = words.into_iter().filter(|word| !is_mode(word) && !is_level(word));
    others.chain(mode).chain(level_word).collect()
}

/// The level that a row of `-v` and `-q` ends at; each step stays in range, as einhorn's does.
fn verbosity(words: &[Word]) -> u8 {
    words.iter().fold(VERBOSITY_DEFAULT, |level, word| match word.flag.as_str() {
        "verbose" => level.saturating_sub(1),
        "quiet" => (level + 1).min(VERBOSITY_MAX),
        _ => level,
    })
}

struct Splitter {
    rest: Peekable<IntoIter<OsString>>,
    words: Vec<Word>,
}

impl Splitter {
    fn run(&mut self) -> Result<End, ConfigError> {
        while let Some(arg) = self.rest.next_if(|arg| is_option(arg)) {
            if arg == "--" {
                break;
            }
            let end = match arg.as_bytes().strip_prefix(b"--") {
                Some(long) => self.long(long)?,
                None => self.cluster(&arg.as_bytes()[1..])?,
            };
            if let Some(end) = end {
                return Ok(end);
            }
        }
        Ok(End::Program(self.rest.by_ref().collect()))
    }

    /// `name` or `name=value`, the dashes gone.
    fn long(&mut self, text: &[u8]) -> Result<Option<End>, ConfigError> {
        let (name, joined) = split_at_equals(text);
        let name = OsStr::from_bytes(name).to_string_lossy();
        let spelled = format!("--{name}");
        let flag = by_long(&name)?;
        let value = match (flag.value_name(), joined) {
            (Some(_), Some(joined)) => Some(joined.to_owned()),
            (Some(value_name), None) => Some(self.value_apart(&spelled, value_name)?),
            (None, None) => None,
            (None, Some(_)) => {
                let spelled = format!("--{}", OsStr::from_bytes(text).to_string_lossy());
                return Err(ConfigError::new(format!("{}: takes no value", shown(spelled))));
            }
        };
        Ok(self.take(flag, spelled, value))
    }

    /// One or more short options, the dash gone; the first that takes a value takes what is left, or the next word.
    fn cluster(&mut self, text: &[u8]) -> Result<Option<End>, ConfigError> {
        let mut letters = text;
        while let Some((letter, rest)) = split_letter(letters) {
            let spelled = format!("-{letter}");
            let flag = by_short(letter)?;
            letters = rest;
            let end = match flag.value_name() {
                Some(_) if flag.name == "ack-mode" => self.ack_mode(spelled, &mut letters)?,
                Some(value_name) => {
                    let joined = OsStr::from_bytes(std::mem::take(&mut letters)).to_owned();
                    let apart = joined.is_empty();
                    let value = if apart { self.value_apart(&spelled, value_name)? } else { joined };
                    self.take(flag, spelled, Some(value))
                }
                None => self.take(flag, spelled, None),
            };
            if end.is_some() {
                return Ok(end);
            }
        }
        Ok(None)
    }

    /// `-m`: einhorn's takes a value, the seed's none. A mode after it, joined or apart, is its value; else it stands alone.
    fn ack_mode(&mut self, spelled: String, letters: &mut &[u8]) -> Result<Option<End>, ConfigError> {
        let is_mode = |text: &OsStr| !is_flag(text) && text.to_str().is_some_and(values::is_ack_mode);
        let joined = OsStr::from_bytes(letters);
        let value = if joined.is_empty() {
            self.rest.next_if(|next| is_mode(next))
        } else {
            is_mode(joined).then(|| OsStr::from_bytes(std::mem::take(letters)).to_owned())
        };
        let flag = by_long(if value.is_some() { "ack-mode" } else { "manual" })?;
        Ok(self.take(flag, spelled, value))
    }

    /// The next word, whatever it looks like: as in einhorn, `--nice -5` is a value.
    fn value_apart(&mut self, spelled: &str, value_name: &str) -> Result<OsString, ConfigError> {
        let missing = || ConfigError::new(format!("{spelled}: value missing, need {spelled} {value_name}"));
        self.rest.next().ok_or_else(missing)
    }

    /// Notes the option, or says that it ends the reading here.
    fn take(&mut self, flag: &Definition, spelled: String, value: Option<OsString>) -> Option<End> {
        if flag.act.is_none() {
            let value = Some(value.unwrap_or_else(|| ON.into()));
            self.words.push(Word { flag: flag.name.to_owned(), origin: Origin::CommandLine(spelled), value });
        }
        flag.act.map(End::Act)
    }
}

fn by_short(letter: char) -> Result<&'static Definition, ConfigError> {
    let found = flags().find(|flag| flag.short == Some(letter));
    found.ok_or_else(|| ConfigError::unknown_option(&format!("-{letter}"), None))
}

/// The flag of this name, or the only one whose name begins so.
fn by_long(name: &str) -> Result<&'static Definition, ConfigError> {
    if let Some(exact) = flags().find(|flag| flag.name == name) {
        return Ok(exact);
    }
    let spelled = format!("--{name}");
    match begun_by(name).as_slice() {
        [only] => Ok(only),
        [] => {
            let elsewhere = known_elsewhere(name).filter(|option| option.is_flag()).map(|option| option.name);
            let near = elsewhere.or_else(|| nearest(name, flags().map(|flag| flag.name)));
            Err(ConfigError::unknown_option(&spelled, near))
        }
        several => {
            let candidates: Vec<String> = several.iter().map(|flag| format!("--{}", flag.name)).collect();
            let message = format!("ambiguous option {}: could be {}", shown(&spelled), candidates.join(" or "));
            Err(ConfigError::new(message))
        }
    }
}

/// The flags whose names begin so. What was unambiguous with einhorn stays so, however many flags we add: only if none
/// of einhorn's begins so do ours count.
fn begun_by(name: &str) -> Vec<&'static Definition> {
    let begun = flags().filter(|flag| !name.is_empty() && flag.name.starts_with(name));
    let (einhorns, ours): (Vec<_>, Vec<_>) = begun.partition(|flag| flag.is_einhorns);
    if einhorns.is_empty() { ours } else { einhorns }
}

/// A lone dash is a word like any other, so it begins the program.
fn is_option(arg: &OsStr) -> bool {
    arg.len() > 1 && arg.as_bytes()[0] == b'-'
}

/// An option that there is, and no negative number.
fn is_flag(arg: &OsStr) -> bool {
    let letter = arg.as_bytes().strip_prefix(b"-").and_then(split_letter).map(|(letter, _)| letter);
    letter.is_some_and(|letter| by_short(letter).is_ok())
}

/// The first letter of a cluster and the rest. A byte that is no text becomes the replacement character, which no flag is.
fn split_letter(text: &[u8]) -> Option<(char, &[u8])> {
    // Not the whole text, which would be looked at anew for each letter.
    let chunk = text.get(..LETTER_BYTES_MAX).unwrap_or(text).utf8_chunks().next()?;
    match chunk.valid().chars().next() {
        Some(letter) => Some((letter, &text[letter.len_utf8()..])),
        None => Some((char::REPLACEMENT_CHARACTER, &text[chunk.invalid().len()..])),
    }
}
