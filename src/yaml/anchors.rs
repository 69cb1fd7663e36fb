//! Finds the objects that stand in a document more than once, and numbers them as Psych does: from 1, in the order in
//! which they are met for the second time. Writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::yaml::value::Value;

/// What stands in an object's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// The object itself, which nothing else refers to.
    None,
    /// `&1` and the object.
    Anchor(usize),
    /// `*1` alone.
    Alias(usize),
}

#[derive(Default)]
pub(super) struct Anchors {
    ids: BTreeMap<*const Value, usize>,
    met: BTreeSet<*const Value>,
}

impl Anchors {
    pub(super) fn of(document: &Value) -> Self {
        let mut anchors = Self::default();
        anchors.scan(document);
        anchors.met.clear();
        anchors
    }

    fn scan(&mut self, value: &Value) {
        if let Some(identity) = identity(value) {
            if !self.met.insert(identity) {
                let next = self.ids.len() + 1;
                self.ids.entry(identity).or_insert(next);
                return;
            }
        }
        value.parts().into_iter().flatten().for_each(|part| self.scan(part));
    }

    /// What to write where this value stands, if it were written next.
    pub(super) fn peek(&self, value: &Value) -> Reference {
        let Some((identity, id)) = identity(value).and_then(|identity| Some((identity, *self.ids.get(&identity)?)))
        else {
            return Reference::None;
        };
        if self.met.contains(&identity) { Reference::Alias(id) } else { Reference::Anchor(id) }
    }

    /// The same, and remembers that the value has been written.
    pub(super) fn take(&mut self, value: &Value) -> Reference {
        let reference = self.peek(value);
        self.met.extend(identity(value));
        reference
    }
}

/// Where a shared object lives, if it is of a type that Psych writes by reference: strings, symbols and numbers it repeats.
fn identity(value: &Value) -> Option<*const Value> {
    let mut found = None;
    let mut inner = value;
    while let Value::Shared(shared) = inner {
        found = Some(Arc::as_ptr(shared));
        inner = shared;
    }
    found.filter(|_| matches!(inner, Value::Time(_) | Value::Seq(_) | Value::Map(_) | Value::Set(_)))
}
