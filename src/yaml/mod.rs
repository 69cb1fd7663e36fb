//! YAML as Ruby's Psych reads and writes it: einhorn's state document, its control messages, and the JSON that clients send.
//!
//! [`write()`] is byte for byte what Psych 4.0.4 over libyaml 0.2.5 writes; [`read()`] takes what Psych would take of the
//! types in [`Value`] and refuses every other tag. This room imports no other, does no I/O, and never panics on what it
//! reads. The rules were found by asking Ruby; `tests/golden/psych_quoting.json` is its answer.

mod anchors;
mod base64;
mod compose;
mod emitter;
mod inspect;
mod limits;
mod line_breaks;
mod number;
mod plain;
mod read;
mod resolve;
mod style;
mod time;
mod timestamp;
mod value;
mod word_class;
mod write;

#[cfg(test)]
pub(crate) use base64::{decode as base64_decode, encode as base64_encode};
pub use inspect::{inspect, text};
pub use limits::{Aliases, Limits, ReadError};
pub use read::{read, read_bytes};
pub use time::{Offset, Time};
pub use value::Value;
pub use write::write;
