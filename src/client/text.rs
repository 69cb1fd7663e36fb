//! A text for the screen, some parts of which have a colour. Everything else in it is text from outside, as far as this file
//! knows: colours are the only escape sequences that come out. Writes nothing.

use crate::base::printable;
use crate::client::screen::{Colour, Surface};

/// Parts, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::client) struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    text: String,
    colour: Option<Colour>,
}

impl Text {
    pub(in crate::client) fn push(&mut self, text: &str) {
        self.0.push(Part { text: text.to_owned(), colour: None });
    }

    pub(in crate::client) fn paint(&mut self, text: &str, colour: Colour) {
        self.0.push(Part { text: text.to_owned(), colour: Some(colour) });
    }

    pub(in crate::client) fn painted(text: &str, colour: Colour) -> Self {
        let mut painted = Self::default();
        painted.paint(text, colour);
        painted
    }

    /// What is written to such a surface. Line breaks and tabs stay; whatever else would steer a terminal is escaped.
    pub(in crate::client) fn shown_on(&self, surface: Surface) -> String {
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
