//! What `fuzzing` needs of this room, and the tests of pools beside it: a text with the checksum that it should have, and a document
//! whose pool is written anew.

use crate::handoff::checksum::seal;
use crate::handoff::{Document, EinhornPart, OURS, OurPart, Wall};
use crate::pool::{Mono, Snapshot};

/// The text with its right checksum, if it is one of ours: no fuzzer finds the checksum of what it has changed.
pub(crate) fn sealed(text: &str) -> String {
    let lines: Vec<&str> = text.split('\n').filter(|line| !line.starts_with("# crc32 ")).collect();
    let bare = lines.join("\n");
    let is_ours = lines.iter().any(|line| line.strip_prefix(':').is_some_and(|key| key.starts_with(OURS)));
    if is_ours && bare.starts_with("---\n") { seal(&bare) } else { bare }
}

/// The same document of ours, with the pool's part written anew; without our part it stays as it is.
pub(crate) fn rewritten(document: &Document, snapshot: &Snapshot, wall: impl Fn(Mono) -> Wall) -> Document {
    let (ours, theirs) = (OurPart::of(snapshot), EinhornPart::of(snapshot, wall));
    let mut document = document.clone();
    let Some(section) = document.ours.as_mut() else { return document };
    document.state.children.workers = theirs.workers;
    section.workers = ours.workers;
    section.remnants = ours.remnants;
    section.pool = ours.pool;
    section.settings = ours.settings;
    section.fallback_settings = ours.fallback_settings;
    document
}
