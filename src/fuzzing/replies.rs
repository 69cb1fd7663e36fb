//! What a master, or whoever listens in its place, may say to a client: it ends, and it is bounded.

use crate::client::fuzzing::{SAID_MAX, Shown, WAYS, show};

/// What a client adds of its own: headings, hints, names.
const OWN_TEXT_MAX: usize = 4096;

/// A character may be shown as its escape, `\u{10ffff}`, in quotes that are escaped once more.
const WIDEST: usize = 24;

/// The first byte chooses what is asked; the rest is what is heard.
pub fn replies(data: &[u8]) {
    let Some((way, said)) = data.split_first() else { return };
    let Shown { out, err } = show(way % WAYS, &said[..said.len().min(SAID_MAX)]);
    for shown in [out, err] {
        let max = said.len() * WIDEST + OWN_TEXT_MAX;
        assert!(shown.len() <= max, "{} bytes are shown of {}", shown.len(), said.len());
        assert!(std::str::from_utf8(&shown).is_ok(), "no text is shown");
    }
}
