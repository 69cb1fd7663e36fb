//! What a master, or another program that listens in its place, may say to a client: the client ends, shows no more than some
//! multiple of what it has heard, and nothing that steers a terminal.

use crate::client::fuzzing::{SAID_MAX, Shown, WAYS, show};
use crate::printable::is_hidden;

/// What a client adds of its own: headings, hints, names.
const OWN_TEXT_MAX: usize = 4096;

/// What a byte may become: `{},` is a worker, whose row has seven cells. Cells that are padded to a long one make more.
const WIDEST: usize = 100;

/// The first byte chooses what is asked; the rest is what is heard.
pub fn replies(data: &[u8]) {
    let Some((way, said)) = data.split_first() else { return };
    let Shown { out, err } = show(way % WAYS, &said[..said.len().min(SAID_MAX)]);
    for shown in [out, err] {
        let max = said.len() * WIDEST + OWN_TEXT_MAX;
        assert!(shown.len() <= max, "{} bytes are shown of {}", shown.len(), said.len());
        let text = std::str::from_utf8(&shown).unwrap_or_else(|error| panic!("no text is shown: {error}"));
        let steers = text.chars().find(|char| is_hidden(*char) && !matches!(char, '\n' | '\t'));
        assert_eq!(steers, None, "shown as it came: {text:?}");
    }
}
