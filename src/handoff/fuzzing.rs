//! What `fuzzing` needs of this room: a text with the checksum that it should have.

use crate::handoff::checksum::seal;
use crate::handoff::ours::OURS;

/// The text with its right checksum, if it is one of ours: no fuzzer finds the checksum of what it has changed.
pub(crate) fn sealed(text: &str) -> String {
    let lines: Vec<&str> = text.split('\n').filter(|line| !line.starts_with("# crc32 ")).collect();
    let bare = lines.join("\n");
    let is_ours = lines.iter().any(|line| line.strip_prefix(':').is_some_and(|key| key.starts_with(OURS)));
    if is_ours && bare.starts_with("---\n") { seal(&bare) } else { bare }
}
