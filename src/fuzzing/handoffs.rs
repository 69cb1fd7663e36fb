//! The handoff: any text is refused in a line, or is a pool that can be restored, goes on without breaking its own rules, and is
//! written so that it is read as the same.

use std::sync::LazyLock;

use crate::fuzzing::is_one_line;
use crate::fuzzing::life::Life;
use crate::handoff::fuzzing::{rewritten, sealed};
use crate::handoff::{Document, Reader, Wall};
use crate::pool::{Mono, Snapshot};
use crate::supervisor::fuzzing as supervisor;

/// A day and some hours after the machine was started, as in the golden documents.
const NOW: Mono = Mono::from_nanos(100_000_000_000_000);

/// What it is then by the wall clock.
const NOW_SECONDS: i64 = 1_795_400_000;

/// What stands beside a pool that came out of Ruby's document.
static OURS: LazyLock<Option<Document>> =
    LazyLock::new(|| Document::from_yaml(include_str!("../../tests/golden/handoff/ours-1.yaml")).ok());

/// The document, then a zero byte, then what happens to its pool.
pub fn handoff(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let Ok(text) = std::str::from_utf8(&data[..end]) else { return };
    let document = match Document::from_yaml(&sealed(text)) {
        Ok(document) => document,
        Err(error) => return assert!(is_one_line(&error.to_string()), "{error}"),
    };
    let written = document.to_yaml();
    let again = Document::from_yaml(&written).unwrap_or_else(|error| panic!("{error}:\n{written}"));
    assert_eq!(again.to_yaml(), written, "what was written is read as something else");
    match supervisor::plan(&document) {
        Ok(descriptors) => assert!(descriptors.iter().all(|fd| *fd > 2), "{descriptors:?}"),
        Err(reason) => assert!(is_one_line(&reason), "{reason:?}"),
    }
    match pool_of(&document) {
        Ok(snapshot) => live(snapshot, data.get(end + 1..).unwrap_or_default()),
        Err(reason) => assert!(is_one_line(&reason), "{reason:?}"),
    }
}

fn live(snapshot: Snapshot, fate: &[u8]) {
    assert_eq!(handed_on(&snapshot), snapshot, "a pool is another one after a handoff");
    Life::new(snapshot, NOW, handed_on).live(fate);
}

/// The pool as it comes out of the next document.
fn handed_on(snapshot: &Snapshot) -> Snapshot {
    let Some(ours) = OURS.as_ref() else { panic!("the golden document does not load") };
    let text = rewritten(ours, snapshot, wall).to_yaml();
    let read = Document::from_yaml(&text).map_err(|error| error.to_string()).and_then(|document| pool_of(&document));
    read.unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

fn pool_of(document: &Document) -> Result<Snapshot, String> {
    let reader = Reader { now: NOW, mono: &mono, max_unacked: 2 };
    document.pool(reader).map_err(|error| error.to_string())
}

fn wall(moment: Mono) -> Wall {
    let nanos = i128::from(moment.as_nanos()) - i128::from(NOW.as_nanos()) + i128::from(NOW_SECONDS) * NANOS_PER_SECOND;
    let seconds = i64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).unwrap_or(i64::MAX);
    Wall { seconds, nanos: u32::try_from(nanos.rem_euclid(NANOS_PER_SECOND)).unwrap_or(0) }
}

fn mono(wall: Wall) -> Mono {
    let since = (i128::from(wall.seconds) - i128::from(NOW_SECONDS)) * NANOS_PER_SECOND + i128::from(wall.nanos);
    Mono::from_nanos(u64::try_from((since + i128::from(NOW.as_nanos())).max(0)).unwrap_or(u64::MAX))
}

const NANOS_PER_SECOND: i128 = 1_000_000_000;
