//! Text from outside, made fit to be shown: which characters would steer a terminal, break a line or turn the text around
//! them, and how each is written instead. Knows nothing of where text comes from, and prints nothing.
//!
//! An escape is `\x1b` below U+0100 and `\u{202e}` above it. A backslash stays as it is, so the escaped text is for people:
//! what shall be read back is written as JSON or TOML.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character is never shown as it is: C0 (line break and tab too), DEL and C1; the separators of lines and
/// paragraphs; and what has no width of its own but changes what stands beside it (bidirectional controls, joiners, the
/// byte order mark, annotations, tags). The soft hyphen is one of them: it hides a difference between two names. Nor is what Unicode
/// says will never be a character: systemd takes a text that has one for no text.
pub fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
        || u32::from(char) & 0xfffe == 0xfffe
}

/// The text on one line.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden, escape)
}

/// The text with its line breaks and tabs, where several lines are what is expected.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |char| is_hidden(char) && !matches!(char, '\n' | '\t'), escape)
}

/// Bytes on one line; one that is no UTF-8 is escaped, too.
pub fn bytes(text: &[u8]) -> String {
    let mut shown = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        shown.push_str(&line(chunk.valid()));
        for byte in chunk.invalid() {
            escape(&mut shown, char::from(*byte));
        }
    }
    shown
}

/// A JSON document, in whose strings these characters are escaped as JSON has it: it still says the same.
pub fn json(document: &str) -> Cow<'_, str> {
    escaped(document, is_hidden, |out, char| {
        for unit in char.encode_utf16(&mut [0; 2]) {
            let _infallible = write!(out, "\\u{unit:04x}");
        }
    })
}

fn escape(out: &mut String, char: char) {
    let code = u32::from(char);
    let _infallible = if code < 0x100 { write!(out, "\\x{code:02x}") } else { write!(out, "\\u{{{code:x}}}") };
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool, escape: impl Fn(&mut String, char)) -> Cow<'_, str> {
    let Some(first) = text.find(&is_escaped) else { return Cow::Borrowed(text) };
    let (plain, rest) = text.split_at(first);
    let mut shown = String::with_capacity(text.len() + 16);
    shown.push_str(plain);
    for char in rest.chars() {
        if is_escaped(char) {
            escape(&mut shown, char);
        } else {
            shown.push(char);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind that the definition speaks of.
    const HIDDEN: &str = "\0\t\n\r\u{1b}\u{7f}\u{80}\u{85}\u{9b}\u{9f}\u{ad}\u{61c}\u{180e}\u{200b}\u{200d}\u{200e}\u{200f}\
        \u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{206f}\u{fdd0}\u{fdef}\u{feff}\u{fff9}\u{fffe}\u{1ffff}\u{e0001}\u{e007f}";

    const PLAIN: &str = " az~hé ✓ 日本 🦄 ½ a\u{301}\u{a0}\\";

    #[test]
    fn what_steers_hides_or_turns_is_escaped_and_nothing_else() {
        assert!(HIDDEN.chars().all(is_hidden));
        assert!(!PLAIN.chars().any(is_hidden));
        assert_eq!(line(PLAIN), PLAIN);
        assert_eq!(line("a\n[MASTER 1] x\u{1b}]0;t\u{7}\u{9b}"), "a\\x0a[MASTER 1] x\\x1b]0;t\\x07\\x9b");
        assert_eq!(line("a\u{202e}\u{e0001}"), "a\\u{202e}\\u{e0001}");
        assert!(!line(HIDDEN).chars().any(is_hidden));
    }

    /// Unicode's own list of characters of the category Cf, as far as they are in use, is what Rust does not call printable.
    #[test]
    fn no_character_that_rust_would_escape_as_a_format_character_is_left_out() {
        let formats = ['\u{ad}', '\u{61c}', '\u{180e}'];
        let ranges =
            ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{2064}', '\u{2066}'..='\u{206f}'];
        for char in formats.into_iter().chain(ranges.into_iter().flatten()) {
            assert!(char.escape_debug().count() > 1 && is_hidden(char), "{:x}", u32::from(char));
        }
    }

    #[test]
    fn line_breaks_and_tabs_stay_where_lines_are_expected() {
        assert_eq!(lines("a\tb\nc\r\n\u{1b}[2J"), "a\tb\nc\\x0d\n\\x1b[2J");
    }

    #[test]
    fn what_was_escaped_is_not_escaped_again() {
        assert_eq!(line(&line(HIDDEN)), line(HIDDEN));
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped() {
        assert_eq!(bytes(b"a\xff\n\xc3\xa4\xc3"), "a\\xff\\x0aä\\xc3");
    }

    #[test]
    fn json_says_the_same_as_before() {
        let value = serde_json::Value::String(HIDDEN.to_owned() + PLAIN);
        let document = value.to_string();
        let shown = json(&document);
        assert!(!shown.chars().any(is_hidden), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
