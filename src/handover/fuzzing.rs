//! What `fuzzing` needs of this room: whether a master takes a document over, and a journal.

use crate::handoff::{Document, crc32};
use crate::handover::journal::Journal;
use crate::handover::plan::Plan;
use crate::pool::State;

/// Plans as a new image does. Returns every number that the plan speaks of, and the pool.
///
/// # Errors
/// Why the document is not taken over, in a sentence.
pub(crate) fn plan(document: &Document) -> Result<(Vec<i32>, State), String> {
    let plan = Plan::of(document)?;
    let numbers = plan.held.open.descriptors().map(|(fd, _)| fd.0).collect();
    Ok((numbers, plan.held.pool))
}

/// A body of a journal with its checksum, and then as [`journal_whole`].
///
/// # Errors
/// Why it is none, in a sentence.
pub(crate) fn journal_text(body: &[u8]) -> Result<(Vec<u8>, State), String> {
    journal_whole(&[body, format!("\n{:08x}\n", crc32(body)).as_bytes()].concat())
}

/// What is written again of a journal that was read, of whichever boot and user it is, and its pool.
///
/// # Errors
/// Why it is none, in a sentence.
pub(crate) fn journal_whole(text: &[u8]) -> Result<(Vec<u8>, State), String> {
    let journal = Journal::of_any(text)?;
    Ok((journal.text(), journal.pool))
}
