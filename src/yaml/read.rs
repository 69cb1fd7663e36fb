//! Reads a document within limits: checks the text, drives the parser, and hands its events to the composer.
//!
//! Never panics, never recurses into the input, and takes time in proportion to its length. Only the first document of a
//! stream is read, as Psych does; an empty stream is nil.

use std::str;

use saphyr_parser::{Event, Parser};

use crate::yaml::compose::Composer;
use crate::yaml::limits::{Limits, Location, ReadError};
use crate::yaml::line_breaks;
use crate::yaml::value::Value;

/// Reads bytes that should be UTF-8.
///
/// # Errors
/// They are not, or as [`read`].
pub fn read_bytes(bytes: &[u8], limits: Limits) -> Result<Value, ReadError> {
    check_length(bytes.len(), limits)?;
    let text = str::from_utf8(bytes).map_err(|error| {
        let valid = str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        ReadError::new(end_of(valid), "the text is not utf-8")
    })?;
    read(text, limits)
}

/// Reads the first document of a text.
///
/// # Errors
/// It is no YAML, asks for more than the limits, or has a tag that no [`Value`] stands for.
pub fn read(text: &str, limits: Limits) -> Result<Value, ReadError> {
    check_length(text.len(), limits)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text)?;
    let (text, marks) = line_breaks::mark(without_end(text));
    let mut parser = Parser::new_from_str(&text);
    let mut composer = Composer::new(limits, marks);
    while let Some(next) = parser.next_event() {
        let (event, span) =
            next.map_err(|error| ReadError::new(Location::from(*error.marker()), one_line(error.info())))?;
        match event {
            Event::DocumentEnd | Event::StreamEnd => break,
            other => composer.take(other, Location::from(span.start))?,
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
    Err(ReadError::new(Location::START, cause))
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
            Err(ReadError::new(end_of(&text[..at]), cause))
        }
    }
}

fn end_of(text: &str) -> Location {
    let last_line = text.rsplit('\n').next().unwrap_or(text);
    Location { line: text.matches('\n').count() + 1, column: last_line.chars().count() + 1 }
}

/// The parser's own words may quote the input.
fn one_line(info: &str) -> String {
    info.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
