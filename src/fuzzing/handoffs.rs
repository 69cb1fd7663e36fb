//! The handoff: any text is refused in a line, or is a pool that can be restored, goes on without breaking its own rules, and is
//! written so that it is read as the same.

use crate::base::{Mono, Wall};
use crate::fuzzing::checks::is_one_line;
use crate::fuzzing::life::Life;
use crate::handoff::einhorn::{Descriptors, State as EinhornState};
use crate::handoff::fuzzing::sealed;
use crate::handoff::{Document, Ours, Reader};
use crate::handover::fuzzing as handover;
use crate::pool::State;

/// A day and some hours after the machine was started, as in the golden documents.
const NOW: Mono = Mono::from_nanos(100_000_000_000_000);

/// What it is then by the wall clock.
const NOW_SECONDS: i64 = 1_795_400_000;

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
    let pool = match handover::plan(&document) {
        Ok((descriptors, pool)) => {
            assert!(descriptors.iter().all(|fd| *fd > 2), "{descriptors:?}");
            Ok(pool)
        }
        Err(reason) => Err(reason),
    };
    match if document.ours.is_some() { pool } else { pool_of_ruby(&document) } {
        Ok(pool) => live(pool, data.get(end + 1..).unwrap_or_default()),
        Err(reason) => assert!(is_one_line(&reason), "{reason:?}"),
    }
}

fn live(pool: State, fate: &[u8]) {
    assert_eq!(handed_on(&pool), pool, "a pool is another one after a handoff");
    Life::new(pool, NOW, handed_on).live(fate);
}

/// The pool as it comes out of the next document.
fn handed_on(pool: &State) -> State {
    let ours = Some(Ours::of(pool).unwrap_or_else(|error| panic!("{error}")));
    let text = Document { state: EinhornState::default(), descriptors: Descriptors::default(), ours }.to_yaml();
    let read = Document::from_yaml(&text).and_then(|document| document.ours.map(|ours| ours.read()).transpose());
    let read: Option<State> = read.unwrap_or_else(|error| panic!("{error}:\n{text}"));
    read.unwrap_or_else(|| panic!("our part is gone:\n{text}"))
}

/// By the clock of the golden documents, so that an input means the same for ever.
fn pool_of_ruby(document: &Document) -> Result<State, String> {
    let reader = Reader { now: NOW, mono: &mono, max_unacked: 2 };
    document.pool_of_ruby(reader).map_err(|error| error.to_string())
}

fn mono(wall: Wall) -> Mono {
    let since = (i128::from(wall.seconds) - i128::from(NOW_SECONDS)) * NANOS_PER_SECOND + i128::from(wall.nanos);
    Mono::from_nanos(u64::try_from((since + i128::from(NOW.as_nanos())).max(0)).unwrap_or(u64::MAX))
}

const NANOS_PER_SECOND: i128 = 1_000_000_000;
