//! From one image of the master to the next: what is held and handed on, how it is read back, and which program may come next.
//! Touches no descriptor of the document's while it reads, so that the image before can be gone back to.

pub(crate) mod arrival;
pub(crate) mod candidate;
mod from_ruby;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod held;
pub(crate) mod holder;
pub(crate) mod journal;
pub(crate) mod next_program;
pub(crate) mod plan;
pub(crate) mod preflight;
pub(crate) mod process;
mod salvage;
