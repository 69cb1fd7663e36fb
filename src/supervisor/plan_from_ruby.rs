//! What Ruby's einhorn wrote, as what a master of ours needs to go on.

use crate::handoff::Document;
use crate::pool::Snapshot;
use crate::supervisor::plan::Plan;

pub(in crate::supervisor) fn plan(_document: &Document, _pool: Snapshot) -> Result<Plan, String> {
    Err("not yet".to_owned())
}
