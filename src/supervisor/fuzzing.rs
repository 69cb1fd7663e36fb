//! What `fuzzing` needs of this room: whether a master takes a document over.

use crate::handoff::Document;
use crate::supervisor::plan::Plan;

/// Plans as a new image does. Returns every number that the plan speaks of.
///
/// Errors: why the document is not taken over, in a sentence.
pub(crate) fn plan(document: &Document) -> Result<Vec<i32>, String> {
    let plan = Plan::of(document)?;
    let sockets = plan.sockets();
    let descriptors = plan.descriptors();
    assert!(sockets.iter().all(|fd| descriptors.contains(fd)), "a socket is no descriptor");
    Ok(descriptors.into_iter().map(|fd| fd.0).collect())
}
