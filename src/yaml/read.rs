//! Reads a document within limits: checks the text, drives the parser, and hands its events to the composer.
//!
//! Never panics, never recurses into the input, and takes time in proportion to its length. Only the first document of a
//! stream is read, as Psych does; an empty stream is nil.

use crate::yaml::Value;
use crate::yaml::breaks;
use crate::yaml::compose::Composer;
use crate::yaml::compose::Spot;
use saphyr_parser::Event;
use saphyr_parser::Parser;
use std::fmt;
use std::str;

/// Whether `*1` may refer back to `&1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aliases {
    Forbidden,
    /// Up to this many nodes more than the document has, were every alias written out.
    Allowed {
        extra_nodes: usize,
    },
}

/// How much a document may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub input_bytes: usize,
    /// Collections within collections.
    pub depth: usize,
    /// Scalars and collections together.
    pub nodes: usize,
    pub aliases: Aliases,
}

impl Limits {
    /// For what anyone may send: a control message. The parser keeps the tokens of a flow collection until it knows that it
    /// is no key, some 100 bytes for each byte of input at worst; so the length is what bounds the memory.
    pub const UNTRUSTED: Self = Self { input_bytes: 64 << 10, depth: 32, nodes: 10_000, aliases: Aliases::Forbidden };

    /// For what a master has written: its state, with references to what occurs twice.
    pub const TRUSTED: Self = Self {
        input_bytes: 256 << 20,
        depth: 32,
        nodes: 10_000_000,
        aliases: Aliases::Allowed { extra_nodes: 1_000_000 },
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::UNTRUSTED
    }
}

/// Why a document was refused, and where. Shown on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub cause: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read yaml at line {}, column {}: {}", self.line, self.column, self.cause)
    }
}

impl std::error::Error for ReadError {}

impl ReadError {
    pub(in crate::yaml) fn new(spot: Spot, cause: impl Into<String>) -> Self {
        Self { line: spot.line, column: spot.column, cause: cause.into() }
    }
}

/// Reads bytes that should be UTF-8.
pub fn read_bytes(bytes: &[u8], limits: Limits) -> Result<Value, ReadError> {
    check_length(bytes.len(), limits)?;
    let text = str::from_utf8(bytes).map_err(|error| {
        let valid = str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        ReadError::new(spot_at_end(valid), "the text is not utf-8")
    })?;
    read(text, limits)
}

/// Reads the first document of a text.
pub fn read(text: &str, limits: Limits) -> Result<Value, ReadError> {
    check_length(text.len(), limits)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text)?;
    let (text, marks) = breaks::mark(without_end(text));
    let mut parser = Parser::new_from_str(&text);
    let mut composer = Composer::new(limits, marks);
    while let Some(next) = parser.next_event() {
        let (event, span) =
            next.map_err(|error| ReadError::new(Spot::from(*error.marker()), one_line(error.info())))?;
        match event {
            Event::DocumentEnd | Event::StreamEnd => break,
            other => composer.take(other, Spot::from(span.start))?,
        }
    }
    Ok(composer.finish())
}

/// Without the `...` that ends the text, which says nothing there. The parser refuses it after a block scalar of line breaks alone that
/// is the whole document, as Psych writes it.
fn without_end(text: &str) -> &str {
    text.strip_suffix("...\n").filter(|document| document.ends_with('\n')).unwrap_or(text)
}

fn check_length(bytes: usize, limits: Limits) -> Result<(), ReadError> {
    if bytes <= limits.input_bytes {
        return Ok(());
    }
    let cause = format!("the text has {bytes} bytes, more than {}", limits.input_bytes);
    Err(ReadError::new(Spot::START, cause))
}

/// Refuses what YAML does not allow to stand in a text; the parser would take a NUL for its end.
fn check_characters(text: &str) -> Result<(), ReadError> {
    let is_allowed = |c: char| match c {
        '\t' | '\n' | '\r' | '\u{85}' | '\u{feff}' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        other => !other.is_control(),
    };
    match text.char_indices().find(|(_, c)| !is_allowed(*c)) {
        None => Ok(()),
        Some((at, c)) => {
            let cause = format!("character U+{:04X} is not allowed", u32::from(c));
            Err(ReadError::new(spot_at_end(&text[..at]), cause))
        }
    }
}

fn spot_at_end(text: &str) -> Spot {
    let last_line = text.rsplit('\n').next().unwrap_or(text);
    Spot { line: text.matches('\n').count() + 1, column: last_line.chars().count() + 1 }
}

/// The parser's own words may quote the input.
fn one_line(info: &str) -> String {
    info.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
