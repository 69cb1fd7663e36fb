//! Why a document is not taken over, and which field is to blame. Decides nothing about documents.

use std::fmt;
use std::fmt::Display;

use crate::base::printable;
use crate::yaml::{ReadError, Value};

/// Why there is no document. Shown on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandoffError {
    TooLong {
        bytes: usize,
    },
    /// The text is not what was written: its checksum is another, or gone.
    Damaged,
    /// It is not YAML.
    Unreadable(ReadError),
    /// A newer version wrote it, and says that this one would misunderstand it.
    TooNew {
        needs: u64,
    },
    /// The keys that lead to a field, as they are written there, and what is wrong with it.
    Field {
        path: String,
        cause: String,
    },
}

impl Display for HandoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot read the handoff: ")?;
        match self {
            Self::TooLong { bytes } => write!(f, "it has {bytes} bytes"),
            Self::Damaged => f.write_str("its checksum is wrong or missing"),
            Self::Unreadable(error) => error.fmt(f),
            Self::TooNew { needs } => write!(f, "it needs a version that reads format {needs}"),
            Self::Field { path, cause } => write!(f, "{path}{}", printable::line(cause)),
        }
    }
}

impl std::error::Error for HandoffError {}

/// What is wrong with a value, on its way up to the whole document: each record and list on the way adds its key.
#[derive(Debug)]
pub(in crate::handoff) struct Fault {
    /// The innermost key first.
    keys: Vec<String>,
    cause: String,
}

impl Fault {
    pub(in crate::handoff) fn new(cause: impl Into<String>) -> Self {
        Self { keys: Vec::new(), cause: cause.into() }
    }

    /// Something else than what is needed.
    pub(in crate::handoff) fn wrong(needed: &str, found: &Value) -> Self {
        Self::new(format!("need {needed}, found {}", describe(found)))
    }

    /// The same fault, seen from the value that has the faulty one under this key.
    pub(in crate::handoff) fn within(mut self, key: impl Display) -> Self {
        self.keys.push(format!("{key}: "));
        self
    }
}

impl From<Fault> for HandoffError {
    fn from(fault: Fault) -> Self {
        let path = fault.keys.iter().rev().map(String::as_str).collect();
        Self::Field { path, cause: fault.cause }
    }
}

/// Numbers and symbols as they are. Other content may be long, or secret.
fn describe(value: &Value) -> String {
    match value.plain() {
        Value::Int(number) => number.to_string(),
        Value::Symbol(name) => format!(":{}", name.escape_debug().take(40).collect::<String>()),
        other => other.kind().to_owned(),
    }
}
