//! A text for the screen, some parts of which have a colour. Everything else in it is text from outside, as far as this file
//! knows: colours are the only escape sequences that come out. Writes nothing.

use std::io::{self, IsTerminal};

use crate::base::printable;

/// What stands at standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    /// A file, a pipe, or a terminal that can do nothing.
    Plain,
    /// A terminal whose user does not want colours.
    Terminal,
    ColourTerminal,
}

impl Surface {
    /// Of this process. `NO_COLOR` counts when it is not empty (no-color.org).
    pub(super) fn of_stdout() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = !is_set("TERM") || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match (io::stdout().is_terminal() && !is_dumb, is_set("NO_COLOR")) {
            (false, _) => Self::Plain,
            (true, true) => Self::Terminal,
            (true, false) => Self::ColourTerminal,
        }
    }

    pub(super) fn is_terminal(self) -> bool {
        match self {
            Self::Plain => false,
            Self::Terminal | Self::ColourTerminal => true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Green,
    Yellow,
    Red,
    Dim,
}

impl Colour {
    /// SGR, see console_codes(4).
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Red => 31,
            Self::Dim => 2,
        }
    }
}

/// Parts, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    text: String,
    colour: Option<Colour>,
}

impl Text {
    pub(super) fn push(&mut self, text: &str) {
        self.0.push(Part { text: text.to_owned(), colour: None });
    }

    pub(super) fn paint(&mut self, text: &str, colour: Colour) {
        self.0.push(Part { text: text.to_owned(), colour: Some(colour) });
    }

    pub(super) fn painted(text: &str, colour: Colour) -> Self {
        let mut painted = Self::default();
        painted.paint(text, colour);
        painted
    }

    /// What is written to such a surface. Line breaks and tabs stay; whatever else would steer a terminal is escaped.
    pub(super) fn shown_on(&self, surface: Surface) -> String {
        self.0.iter().map(|part| part.shown_on(surface)).collect()
    }
}

impl Part {
    fn shown_on(&self, surface: Surface) -> String {
        let text = printable::lines(&self.text);
        match (surface, self.colour) {
            (Surface::ColourTerminal, Some(colour)) => format!("\x1b[{}m{text}\x1b[0m", colour.code()),
            (Surface::ColourTerminal, None) | (Surface::Plain | Surface::Terminal, _) => text.into_owned(),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut plain = Self::default();
        plain.push(text);
        plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_those_who_want_them() {
        let shown = |surface| Text::painted("x", Colour::Red).shown_on(surface);
        assert_eq!(shown(Surface::ColourTerminal), "\x1b[31mx\x1b[0m");
        assert_eq!((shown(Surface::Terminal), shown(Surface::Plain)), ("x".to_owned(), "x".to_owned()));
    }

    #[test]
    fn nothing_else_steers_a_terminal() {
        let mut text = Text::from("a\tb\n\x1b[2J\u{9b}2J\u{202e}");
        text.paint("\x1b[32m\r", Colour::Dim);
        let escaped = "a\tb\n\\x1b[2J\\x9b2J\\u{202e}";
        assert_eq!(text.shown_on(Surface::Plain), format!("{escaped}\\x1b[32m\\x0d"));
        assert_eq!(text.shown_on(Surface::ColourTerminal), format!("{escaped}\x1b[2m\\x1b[32m\\x0d\x1b[0m"));
    }
}
