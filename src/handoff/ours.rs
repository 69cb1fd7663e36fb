//! Our part of the document: everything that a master holds, as JSON, in one text that einhorn looks for nothing in. What is in
//! there is told by the types that are held (`pool::State`, and `supervisor::held`): they are the format.
//!
//! What is unknown is not looked at: a field that a reader must not overlook raises `NEEDS`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::handoff::error::{Fault, HandoffError};

/// Our key in the document.
pub(in crate::handoff) const OURS: &str = "einhyrningsins";

/// The format of what we write. 1 was never released.
const FORMAT: u64 = 2;

/// The least format that a reader must know not to misunderstand it.
const NEEDS: u64 = 2;

/// The text. It is JSON, and may be read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ours(String);

/// First which versions may read it, then the rest.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format: u64,
    needs: u64,
    held: T,
}

#[derive(Deserialize)]
struct Needs {
    needs: u64,
}

impl Ours {
    /// # Errors
    /// Something of it has no form in JSON, in a sentence: a mistake in this program.
    pub fn of<T: Serialize>(held: &T) -> Result<Self, String> {
        let envelope = Envelope { format: FORMAT, needs: NEEDS, held };
        serde_json::to_string_pretty(&envelope).map(Self).map_err(|error| format!("cannot write the handoff: {error}"))
    }

    /// # Errors
    /// It is no JSON, or needs a newer reader.
    pub(in crate::handoff) fn from_text(text: String) -> Result<Self, HandoffError> {
        let Needs { needs } = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        if needs > FORMAT { Err(HandoffError::TooNew { needs }) } else { Ok(Self(text)) }
    }

    pub(in crate::handoff) fn text(&self) -> &str {
        &self.0
    }

    /// What was held.
    ///
    /// # Errors
    /// A field is missing, or is not what it must be.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, HandoffError> {
        let envelope: Envelope<T> = serde_json::from_str(&self.0).map_err(|error| wrong(&error))?;
        Ok(envelope.held)
    }
}

fn wrong(error: &serde_json::Error) -> HandoffError {
    Fault::new(error.to_string()).within(format!(":{OURS}")).into()
}
