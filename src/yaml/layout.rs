//! Where the parts of a document stand: indentation as libyaml counts it, and which keys fit on one line.

use crate::yaml::Value;
use crate::yaml::anchors::Reference;
use crate::yaml::style::possible_styles;
use crate::yaml::style::scalar_of;

/// Keys longer than this, in bytes and with their tag, are written as `? key`.
const SIMPLE_KEY_BYTES_MAX: usize = 128;
const STEP: usize = 2;

/// What a node is to the one around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Root,
    Item,
    SimpleKey,
    /// A value, or a key after `?`.
    Entry,
}

/// The column of a collection's entries. None stands for the outside of the root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Indent(Option<usize>);

impl Indent {
    pub(super) const OUTSIDE: Self = Self(None);

    pub(super) fn column(self) -> usize {
        self.0.unwrap_or(0)
    }

    /// For a collection in block style.
    pub(super) fn block(self) -> Self {
        Self(Some(self.0.map_or(0, |column| column + STEP)))
    }

    /// For the later lines of a scalar.
    pub(super) fn scalar(self) -> usize {
        self.column() + STEP
    }
}

/// Whether the key fits before a `:` on one line.
pub(super) fn is_simple_key(key: &Value, reference: Reference) -> bool {
    let anchor_bytes = match reference {
        Reference::None => 0,
        Reference::Anchor(id) => id.to_string().len(),
        Reference::Alias(id) => return id.to_string().len() <= SIMPLE_KEY_BYTES_MAX,
    };
    let key = key.plain();
    if let Some(scalar) = scalar_of(key) {
        let bytes = scalar.text.len() + tag_bytes(scalar.tag) + anchor_bytes;
        return bytes <= SIMPLE_KEY_BYTES_MAX && !possible_styles(&scalar.text).multiline;
    }
    key.as_seq().is_some_and(<[Value]>::is_empty) || key.as_map().is_some_and(<[(Value, Value)]>::is_empty)
}

fn tag_bytes(tag: Option<&str>) -> usize {
    tag.map_or(0, str::len)
}
