//! The handoff: what a master passes on when it replaces its own program. The document is einhorn's own state document, so that
//! Ruby's einhorn reads what we write and we read what it wrote (1.1.1 and 0.8.2 write alike); under a key of our own beside its
//! two, where it looks for nothing, stands all that one of us holds (`ours`), which is all that another of us reads.
//!
//! Text to plain values and back. This room opens no descriptor, reads no clock, and decides nothing by what it reads: it
//! says which field is wrong, and never panics on a document.

mod checksum;
mod descriptors;
mod document;
pub mod einhorn;
mod error;
mod field;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod of_pool;
mod ours;
mod pool_of_ruby;
mod record;

#[cfg(test)]
mod ruby_pool_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use checksum::crc32;
pub use document::{Document, check_ids};
pub use error::HandoffError;
pub use field::{Fd, Number};
pub use ours::Ours;
pub use pool_of_ruby::Reader;
