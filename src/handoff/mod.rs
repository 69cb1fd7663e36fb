//! The handoff: what a master passes on when it replaces its own program. The document is einhorn's own state document, so that
//! Ruby's einhorn reads what we write and we read what it wrote (1.1.1 and 0.8.2 write alike); under a key of our own beside its
//! two, where it looks for nothing, stands all that one of us holds (`ours`), which is all that another of us reads.
//!
//! Text to plain values and back. This room opens no descriptor, reads no clock, and decides nothing by what it reads: it
//! says which field is wrong, and never panics on a document.

mod checksum;
mod descriptors;
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

pub use error::HandoffError;
pub use ours::Ours;
pub use pool_of_ruby::Reader;

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::handoff::checksum::{Verdict, seal, verify};
use crate::handoff::error::Fault;
use crate::handoff::field::Field;
use crate::handoff::record::Record;
use crate::yaml::{self, Aliases, Limits, Value};

/// Ten thousand workers take some 9 MB and 200,000 nodes. A client's request id may be as deep as a request, and stands
/// below some keys of einhorn's.
const LIMITS: Limits = Limits {
    input_bytes: 64 << 20,
    depth: Limits::UNTRUSTED.depth * 2,
    nodes: 4_000_000,
    aliases: Aliases::Allowed { extra_nodes: 1_000_000 },
};

/// The descriptors below are the standard ones.
const FD_FIRST: i32 = 3;

/// Our key in the document.
const OURS: &str = "einhyrningsins";

/// Everything that is passed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// `:state:`.
    pub state: einhorn::State,
    /// `:persistent_descriptors:`.
    pub descriptors: einhorn::Descriptors,
    /// `:einhyrningsins:`; none in what Ruby wrote.
    pub ours: Option<Ours>,
}

/// A descriptor by its number, open in the process that the document is for; never 0, 1 or 2. The number alone closes
/// nothing: the reader of the document makes an `OwnedFd` of it, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32")]
pub struct Fd(pub i32);

/// A number as Ruby has it: one without a fraction may be either.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(i64),
    Float(f64),
}

/// A moment by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall {
    /// Since 1970-01-01 00:00:00 UTC; negative before.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

impl Document {
    /// As long as a text may be that is to be read again.
    pub const BYTES_MAX: usize = LIMITS.input_bytes;

    /// Whether one of us has written a text, by the looks of it: it need not be readable.
    pub fn is_of_ours(text: &str) -> bool {
        text.lines().any(|line| line.strip_prefix(':').is_some_and(|key| key.starts_with(OURS)))
    }

    /// The text, with its checksum.
    pub fn to_yaml(&self) -> String {
        let mut document = Value::symbol_map([
            ("state", self.state.to_value()),
            ("persistent_descriptors", self.descriptors.to_value()),
        ]);
        if let Some(ours) = &self.ours {
            document.insert(Value::symbol(OURS), Value::str(ours.text()));
        }
        seal(&yaml::write(&document))
    }

    /// Reads what this or another version of ours wrote, or Ruby's einhorn. Ours must have its checksum, Ruby's has none.
    ///
    /// # Errors
    /// The text is too long, damaged or no YAML, it needs a newer reader, or a field is not what it must be.
    pub fn from_yaml(text: &str) -> Result<Self, HandoffError> {
        if text.len() > LIMITS.input_bytes {
            return Err(HandoffError::TooLong { bytes: text.len() });
        }
        let verdict = verify(text);
        if verdict == Verdict::Damaged {
            return Err(HandoffError::Damaged);
        }
        let value = yaml::read(text, LIMITS).map_err(HandoffError::Unreadable)?;
        let ours = match value.get_symbol(OURS) {
            Some(_) if verdict == Verdict::Silent => return Err(HandoffError::Damaged),
            Some(ours) => {
                Some(Ours::from_text(String::from_value(ours).map_err(|fault| fault.within(format!(":{OURS}")))?)?)
            }
            None => None,
        };
        Ok(Self { ours, ..Self::of(&value)? })
    }

    /// einhorn's part.
    fn of(value: &Value) -> Result<Self, Fault> {
        let record = Record::of(value)?;
        let (state, descriptors) = (record.field("state", None)?, record.field("persistent_descriptors", None)?);
        let document = Self { state, descriptors, ours: None };
        check_ids("descriptor", document.einhorns_fds()).map_err(Fault::new)?;
        Ok(document)
    }

    /// The descriptors of einhorn's part, each with its key. Our part names the sockets once more, and is checked by itself.
    fn einhorns_fds(&self) -> impl Iterator<Item = (Fd, &'static str)> {
        let binds = self.state.bind_fds.iter().map(|fd| (*fd, ":state: :bind_fds"));
        let server = self.descriptors.command_server.iter();
        let sockets = self.descriptors.connections.iter().map(|connection| &connection.socket);
        binds.chain(server.chain(sockets).map(|fd| (*fd, ":persistent_descriptors")))
    }
}

/// Checks that every id stands for one thing. Two owners of one descriptor would close it twice, and the second time it may be
/// another file's. Each id comes with the key that it stands under; `what` they are.
///
/// # Errors
/// Which id stands under which two keys, as `key: what`.
pub fn check_ids<T>(what: &str, ids: impl Iterator<Item = (T, &'static str)>) -> Result<(), String>
where
    T: Copy + Ord + Display,
{
    let mut owners = BTreeMap::new();
    for (id, key) in ids {
        if let Some(owner) = owners.insert(id, key) {
            return Err(format!("{key}: {what} {id} stands under {owner} already"));
        }
    }
    Ok(())
}

impl TryFrom<i32> for Fd {
    type Error = String;

    fn try_from(number: i32) -> Result<Self, String> {
        if number >= FD_FIRST { Ok(Self(number)) } else { Err(format!("need a descriptor from 3 on, found {number}")) }
    }
}

impl fmt::Display for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
