//! The whole document: einhorn's part and ours, as one text with a checksum.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::handoff::checksum::{Verdict, seal, verify};
use crate::handoff::descriptors::Descriptors;
use crate::handoff::einhorn::State;
use crate::handoff::error::{Fault, HandoffError};
use crate::handoff::field::{Fd, Field};
use crate::handoff::ours::{OURS, Ours};
use crate::handoff::record::Record;
use crate::yaml::{self, Aliases, Limits, Value};

/// Ten thousand workers take some 9 MB and 200,000 nodes. A client's request id may be as deep as a request, and stands
/// below some keys of einhorn's.
pub(in crate::handoff) const LIMITS: Limits = Limits {
    input_bytes: 64 << 20,
    depth: Limits::UNTRUSTED.depth * 2,
    nodes: 4_000_000,
    aliases: Aliases::Allowed { extra_nodes: 1_000_000 },
};

/// Everything that is passed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// `:state:`.
    pub state: State,
    /// `:persistent_descriptors:`.
    pub descriptors: Descriptors,
    /// `:einhyrningsins:`; none in what Ruby wrote.
    pub ours: Option<Ours>,
}

impl Document {
    /// The descriptors that einhorn's part names.
    pub fn einhorns_descriptors(&self) -> impl Iterator<Item = Fd> {
        let connections = self.descriptors.connections.iter().map(|connection| connection.socket);
        self.state.bind_fds.iter().copied().chain(self.descriptors.command_server).chain(connections)
    }

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
