//! What `fuzzing` needs of this room: whether a master takes a document over.

use crate::handoff::Document;
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
