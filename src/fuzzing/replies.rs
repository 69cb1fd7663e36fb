//! What a master, or another program that listens in its place, may say to a client: the client ends, shows no more than some
//! multiple of what it has heard, nothing that steers a terminal, and no row of a table that is not a worker's.

use crate::base::printable::is_hidden;
use crate::client::fuzzing::{SAID_MAX, STATUS, Shown, WAYS, show};

/// What a client adds of its own: headings, hints, names.
const OWN_TEXT_MAX: usize = 4096;

/// What a byte may become: `{},` is a worker, whose row has seven cells. Cells that are padded to a long one make more.
const WIDEST: usize = 100;

/// The lines of a table that are no row of a worker.
const OTHER_LINES_MAX: usize = 8;

/// The first byte chooses what is asked; the rest is what is heard.
pub fn replies(data: &[u8]) {
    let Some((way, said)) = data.split_first() else { return };
    let Shown { out, err } = show(way % WAYS, &said[..said.len().min(SAID_MAX)]);
    if way % WAYS == STATUS {
        check_rows(said, &out);
    }
    for shown in [out, err] {
        let max = said.len() * WIDEST + OWN_TEXT_MAX;
        assert!(shown.len() <= max, "{} bytes are shown of {}", shown.len(), said.len());
        let text = std::str::from_utf8(&shown).unwrap_or_else(|error| panic!("no text is shown: {error}"));
        let steers = text.chars().find(|char| is_hidden(*char) && !matches!(char, '\n' | '\t'));
        assert_eq!(steers, None, "shown as it came: {text:?}");
    }
}

/// A worker is a row, whatever its texts are: no line break in one makes another row. A worker cannot be said without one of these
/// characters, in JSON or in YAML.
fn check_rows(said: &[u8], table: &[u8]) {
    let workers_max = said.iter().filter(|byte| b"{:*".contains(byte)).count();
    let lines = table.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines <= workers_max + OTHER_LINES_MAX, "{lines} lines tell of at most {workers_max} workers");
}
