//! How much a document may ask for, and why and where one is refused.

use std::fmt;

use saphyr_parser::Marker;

/// Whether `*1` may refer back to `&1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aliases {
    Forbidden,
    /// Up to this many nodes more than the document has, were every alias written out.
    Allowed {
        extra_nodes: usize,
    },
}

/// How much a document may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub input_bytes: usize,
    /// Collections within collections.
    pub depth: usize,
    /// Scalars and collections together.
    pub nodes: usize,
    pub aliases: Aliases,
}

impl Limits {
    /// For what anyone may send: a control message. The parser keeps the tokens of a flow collection until it knows that it
    /// is no key, some 100 bytes for each byte of input at worst; so the length is what bounds the memory.
    pub const UNTRUSTED: Self = Self { input_bytes: 64 << 10, depth: 32, nodes: 10_000, aliases: Aliases::Forbidden };

    /// For what a master has written: its state, with references to what occurs twice.
    pub const TRUSTED: Self = Self {
        input_bytes: 256 << 20,
        depth: 32,
        nodes: 10_000_000,
        aliases: Aliases::Allowed { extra_nodes: 1_000_000 },
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::UNTRUSTED
    }
}

/// Why a document was refused, and where. Shown on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub cause: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read yaml at line {}, column {}: {}", self.line, self.column, self.cause)
    }
}

impl std::error::Error for ReadError {}

impl ReadError {
    pub(in crate::yaml) fn new(at: Location, cause: impl Into<String>) -> Self {
        Self { line: at.line, column: at.column, cause: cause.into() }
    }
}

/// A place in the text; line and column from 1.
#[derive(Clone, Copy, Debug)]
pub(in crate::yaml) struct Location {
    pub line: usize,
    pub column: usize,
}

impl Location {
    pub(in crate::yaml) const START: Self = Self { line: 1, column: 1 };
}

impl From<Marker> for Location {
    fn from(marker: Marker) -> Self {
        Self { line: marker.line().max(1), column: marker.col() + 1 }
    }
}
