//! What the Tab key offers in the shell: commands, and signals where a command takes them. Sends no request.

use rustyline::Context;
use rustyline::Helper;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;

use crate::base::Signal;
use crate::protocol::COMMANDS;

/// The shell's own words; the master's come from its help.
const OWN_WORDS: [&str; 2] = ["exit", "quit"];

pub(super) struct Completion {
    commands: Vec<String>,
    signals: Vec<String>,
}

impl Completion {
    pub(super) fn new(mut commands: Vec<String>) -> Self {
        commands.extend(OWN_WORDS.map(str::to_owned));
        commands.sort();
        commands.dedup();
        let named = (1..=31).filter_map(Signal::from_number).map(|signal| signal.to_string());
        let mut signals: Vec<String> = named.collect();
        signals.sort();
        Self { commands, signals }
    }

    /// Where the word at the end of the text begins, and what it may become.
    fn candidates(&self, text: &str) -> (usize, Vec<String>) {
        let command_start = text.rfind(';').map_or(0, |at| at + 1);
        let word_start = text.rfind([' ', ';']).map_or(0, |at| at + 1);
        let word = &text[word_start..];
        let mut before = text[command_start..word_start].split_whitespace();
        let found = match before.next() {
            None => matching(&self.commands, word),
            Some(command) if takes_signals(command) => matching(&self.signals, &bare_signal(word)),
            Some(_) => Vec::new(),
        };
        (word_start, found)
    }
}

/// Of a command that this version does not know, it is not known.
fn takes_signals(command: &str) -> bool {
    COMMANDS.iter().any(|known| known.word == command && known.takes_signals)
}

fn matching(known: &[String], start: &str) -> Vec<String> {
    known.iter().filter(|name| name.starts_with(start)).cloned().collect()
}

/// In the master's own spelling, which takes any case and `SIG` as well.
fn bare_signal(word: &str) -> String {
    let upper = word.to_ascii_uppercase();
    upper.strip_prefix("SIG").map_or_else(|| upper.clone(), str::to_owned)
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(&line[..pos]))
    }
}

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Validator for Completion {}

impl Hinter for Completion {
    type Hint = String;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(text: &str) -> (usize, Vec<String>) {
        let commands = ["set_workers", "signal", "state", "inc", "die"].map(str::to_owned).to_vec();
        Completion::new(commands).candidates(text)
    }

    fn found(start: usize, names: &[&str]) -> (usize, Vec<String>) {
        (start, names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn commands_are_completed_wherever_one_begins() {
        assert_eq!(candidates("s"), found(0, &["set_workers", "signal", "state"]));
        assert_eq!(candidates("inc; q"), found(5, &["quit"]));
        assert_eq!(candidates("inc;st"), found(4, &["state"]));
        assert_eq!(candidates("inc s"), found(4, &[]));
    }

    #[test]
    fn signals_are_completed_in_any_spelling() {
        assert_eq!(candidates("signal US"), found(7, &["USR1", "USR2"]));
        assert_eq!(candidates("die sigte"), found(4, &["TERM"]));
        assert_eq!(candidates("signal HUP usr1"), found(11, &["USR1"]));
        assert_eq!(candidates("signal ").1.len(), 31);
    }
}
