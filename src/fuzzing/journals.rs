//! The journal of a master: any text is refused in a line, or is a pool that a next master goes on from without breaking its own rules, and
//! is written so that it is read as the same.

use crate::base::Mono;
use crate::fuzzing::checks::is_one_line;
use crate::fuzzing::life::Life;
use crate::handover::fuzzing::{journal_text, journal_whole};
use crate::pool::{Settings, State};

/// As in the corpus of the handoff.
const NOW: Mono = Mono::from_nanos(100_000_000_000_000);

/// The body of the journal, then a zero byte, then what happens to the pool of the master that adopts.
pub fn journal(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    // As it stands, which is as a rule without its checksum.
    if let Err(cause) = journal_whole(&data[..end]) {
        assert!(is_one_line(&cause), "{cause:?}");
    }
    let (text, pool) = match journal_text(&data[..end]) {
        Ok(read) => read,
        Err(cause) => return assert!(is_one_line(&cause), "{cause:?}"),
    };
    let (again, same) = journal_whole(&text).unwrap_or_else(|cause| panic!("{cause}:\n{}", text.escape_ascii()));
    assert_eq!((again, &same), (text, &pool), "what was written is read as something else");
    let adopted = pool.after_death(Settings::default(), |pid| pid.0 % 2 == 0);
    adopted.check().unwrap_or_else(|cause| panic!("no pool can be so: {cause}"));
    Life::new(adopted, NOW, State::clone).live(data.get(end + 1..).unwrap_or_default());
}
