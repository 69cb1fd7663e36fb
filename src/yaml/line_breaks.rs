//! Lets a parser of YAML 1.2 see the line breaks U+2028 and U+2029 of YAML 1.1, as which libyaml reads and writes them.
//!
//! In the text each becomes a mark and a newline; in the scalars that come out the marks become what they were. The marks
//! are characters that the text does not have.

use std::borrow::Cow;

use saphyr_parser::ScalarStyle;

const BREAKS: [char; 2] = ['\u{2028}', '\u{2029}'];

/// A mark that stands alone on its line is put deeper than any block of a document that keeps the limits, so that it
/// belongs to the scalar around it; the blanks before a mark are dropped again.
const DEEP: &str = "                                                                                ";

/// The marks that stand for each of the breaks in one text.
pub(super) struct Marks([char; 2]);

/// The text for the parser, with the marks if there are any in it.
pub(super) fn mark(text: &str) -> (Cow<'_, str>, Option<Marks>) {
    if !text.contains(BREAKS) {
        return (text.into(), None);
    }
    let Some(marks) = unused(text) else { return (text.into(), None) };
    let mut marked = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        let Some(place) = BREAKS.iter().position(|known| *known == c) else {
            marked.push(c);
            continue;
        };
        if marked.ends_with('\n') {
            marked.push_str(DEEP);
        }
        marked.push(marks.0[place]);
        marked.push('\n');
    }
    (marked.into(), Some(marks))
}

/// Two characters for private use that the text leaves unused.
fn unused(text: &str) -> Option<Marks> {
    let mut used = [false; 0x1900];
    for c in text.chars().filter(|c| matches!(c, '\u{e000}'..='\u{f8ff}')) {
        used[c as usize - 0xe000] = true;
    }
    let mut free = ('\u{e000}'..='\u{f8ff}').filter(|c| !used[*c as usize - 0xe000]);
    Some(Marks([free.next()?, free.next()?]))
}

impl Marks {
    /// A scalar as it was before: without the blanks before a mark, and without what its newline has become.
    pub(super) fn restore(&self, text: &str, style: ScalarStyle) -> String {
        let newline = if style == ScalarStyle::Literal { '\n' } else { ' ' };
        let mut restored = String::with_capacity(text.len());
        let mut after_mark = false;
        for c in text.chars() {
            if let Some(place) = self.0.iter().position(|mark| *mark == c) {
                let end = restored.trim_end_matches([' ', '\t']).len();
                restored.truncate(end);
                restored.push(BREAKS[place]);
                after_mark = true;
                continue;
            }
            if !(after_mark && c == newline) {
                restored.push(c);
            }
            after_mark = false;
        }
        restored
    }
}
