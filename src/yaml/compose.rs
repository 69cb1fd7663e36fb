//! Builds a value out of the parser's events, within limits. Keeps its own stack, so that deep input costs no recursion.

use std::collections::BTreeMap;
use std::mem;

use saphyr_parser::{Event, ScalarStyle, Tag};

use crate::yaml::base64;
use crate::yaml::limits::{Aliases, Limits, Location, ReadError};
use crate::yaml::line_breaks::Marks;
use crate::yaml::plain::Plain;
use crate::yaml::resolve::resolve;
use crate::yaml::value::Value;

/// A value with what it would cost written out: nodes, and collections within collections.
#[derive(Clone)]
struct Node {
    value: Value,
    size: usize,
    height: usize,
}

/// A collection whose end has not come.
struct Open {
    parts: Parts,
    anchor: usize,
    at: Location,
    size: usize,
    height: usize,
}

enum Parts {
    Seq(Vec<Value>),
    /// With a key whose value has not come.
    Map(Vec<(Value, Value)>, Option<Value>),
    /// The object of Ruby's that a set is.
    Set(Vec<(Value, Value)>, Option<Value>),
}

pub(super) struct Composer {
    limits: Limits,
    marks: Option<Marks>,
    open: Vec<Open>,
    root: Value,
    /// By the parser's number, from 1; complete values only.
    anchored: BTreeMap<usize, Node>,
    nodes: usize,
    extra_nodes: usize,
}

impl Composer {
    pub(super) fn new(limits: Limits, marks: Option<Marks>) -> Self {
        Self { limits, marks, open: Vec::new(), root: Value::Nil, anchored: BTreeMap::new(), nodes: 0, extra_nodes: 0 }
    }

    pub(super) fn finish(self) -> Value {
        self.root
    }

    pub(super) fn take(&mut self, event: Event<'_>, at: Location) -> Result<(), ReadError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => Ok(()),
            Event::DocumentStart(_) | Event::DocumentEnd => Ok(()),
            Event::Alias(id) => self.alias(id, at),
            Event::Scalar(text, style, anchor, tag) => {
                self.count(at)?;
                let text = match &self.marks {
                    Some(marks) => marks.restore(&text, style),
                    None => text.into_owned(),
                };
                let value = scalar(text, style, tag.as_deref(), at)?;
                self.close(Node { value, size: 1, height: 0 }, anchor);
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => {
                if let Some(tag) = tag.as_deref().filter(|tag| !is_core(tag, "seq")) {
                    return Err(unknown_tag(tag, at));
                }
                self.open(Parts::Seq(Vec::new()), anchor, at)
            }
            Event::MappingStart(anchor, tag) => self.open(map_parts(tag.as_deref(), at)?, anchor, at),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn count(&mut self, at: Location) -> Result<(), ReadError> {
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            return Err(ReadError::new(at, format!("the document has more than {} nodes", self.limits.nodes)));
        }
        Ok(())
    }

    fn check_depth(&self, more: usize, at: Location) -> Result<(), ReadError> {
        if self.open.len() + more > self.limits.depth {
            return Err(ReadError::new(at, format!("the document is nested deeper than {}", self.limits.depth)));
        }
        Ok(())
    }

    fn open(&mut self, parts: Parts, anchor: usize, at: Location) -> Result<(), ReadError> {
        self.count(at)?;
        self.check_depth(1, at)?;
        self.open.push(Open { parts, anchor, at, size: 1, height: 1 });
        Ok(())
    }

    fn end(&mut self) -> Result<(), ReadError> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.parts {
            Parts::Seq(items) => Value::Seq(items),
            Parts::Set(pairs, _) => set_of(pairs, open.at)?,
            Parts::Map(pairs, _) => Value::Map(last_of_each_key(pairs)),
        };
        self.close(Node { value, size: open.size, height: open.height }, open.anchor);
        Ok(())
    }

    fn alias(&mut self, id: usize, at: Location) -> Result<(), ReadError> {
        let Aliases::Allowed { extra_nodes } = self.limits.aliases else {
            return Err(ReadError::new(at, "aliases are not allowed here"));
        };
        let Some(node) = self.anchored.get(&id).cloned() else {
            return Err(ReadError::new(at, "the alias refers to a value that contains it"));
        };
        self.count(at)?;
        self.check_depth(node.height, at)?;
        self.extra_nodes = self.extra_nodes.saturating_add(node.size);
        if self.extra_nodes > extra_nodes {
            return Err(ReadError::new(at, format!("aliases add more than {extra_nodes} nodes")));
        }
        self.close(node, 0);
        Ok(())
    }

    /// Puts a complete value where it belongs, and remembers it if it has an anchor.
    fn close(&mut self, mut node: Node, anchor: usize) {
        if anchor > 0 {
            node.value = node.value.share();
            self.anchored.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = node.value;
            return;
        };
        parent.size = parent.size.saturating_add(node.size);
        parent.height = parent.height.max(node.height + 1);
        match &mut parent.parts {
            Parts::Seq(items) => items.push(node.value),
            Parts::Map(pairs, key) | Parts::Set(pairs, key) => match key.take() {
                Some(key) => pairs.push((key, node.value)),
                None => *key = Some(node.value),
            },
        }
    }
}

/// Keeps each key where it first stood, with what it was given last, as a Ruby hash does.
fn last_of_each_key(mut pairs: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
    let mut first_places: BTreeMap<Value, usize> = BTreeMap::new();
    let mut kept = 0;
    for place in 0..pairs.len() {
        let (key, value) = (pairs[place].0.clone(), mem::replace(&mut pairs[place].1, Value::Nil));
        let target = *first_places.entry(key).or_insert(kept);
        if target == kept {
            pairs.swap(kept, place);
            kept += 1;
        }
        pairs[target].1 = value;
    }
    pairs.truncate(kept);
    pairs
}

/// The members of a set from the one variable of Ruby's object: a hash of each to true.
fn set_of(pairs: Vec<(Value, Value)>, at: Location) -> Result<Value, ReadError> {
    let object = Value::Map(last_of_each_key(pairs));
    let Some(members) = object.get("hash").and_then(Value::as_map) else {
        return Err(ReadError::new(at, "a set needs a map under the key hash"));
    };
    if let Some((_, value)) = members.iter().find(|(_, value)| value.as_bool() != Some(true)) {
        return Err(ReadError::new(at, format!("a set maps its members to true, not to {}", value.kind())));
    }
    Ok(Value::Set(members.iter().map(|(member, _)| member.clone()).collect()))
}

fn is_core(tag: &Tag, suffix: &str) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == suffix
}

/// The suffix of a tag of one's own, like `!binary`.
fn local_suffix(tag: &Tag) -> Option<&str> {
    (tag.handle == "!").then_some(tag.suffix.as_str())
}

fn map_parts(tag: Option<&Tag>, at: Location) -> Result<Parts, ReadError> {
    match tag {
        Some(tag) if local_suffix(tag) == Some("ruby/object:Set") => Ok(Parts::Set(Vec::new(), None)),
        Some(tag) if !is_core(tag, "map") => Err(unknown_tag(tag, at)),
        Some(_) | None => Ok(Parts::Map(Vec::new(), None)),
    }
}

fn unknown_tag(tag: &Tag, at: Location) -> ReadError {
    let name: String = format!("{}{}", tag.handle, tag.suffix).escape_debug().take(100).collect();
    ReadError::new(at, format!("tag {name} is unknown"))
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>, at: Location) -> Result<Value, ReadError> {
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain { typed(text, at) } else { Ok(Value::Str(text)) };
    };
    if tag.is_yaml_core_schema() {
        return match tag.suffix.as_str() {
            "str" => Ok(Value::Str(text)),
            "int" | "bool" | "null" => typed(text, at),
            "float" => float(text, at),
            "binary" => Ok(binary(&text)),
            _ => Err(unknown_tag(tag, at)),
        };
    }
    match local_suffix(tag) {
        Some("ruby/sym" | "ruby/symbol") => Ok(Value::Symbol(text)),
        Some("binary") => Ok(binary(&text)),
        // The lone `!` says that quotes do not make a string here.
        _ if tag.handle.is_empty() && tag.suffix == "!" => typed(text, at),
        _ => Err(unknown_tag(tag, at)),
    }
}

/// The value of a plain scalar.
fn typed(text: String, at: Location) -> Result<Value, ReadError> {
    match resolve(&text) {
        Plain::Value(value) => Ok(value),
        Plain::Str | Plain::Ambiguous => Ok(Value::Str(text)),
        Plain::TooLarge => Err(ReadError::new(at, "the number is too large")),
    }
}

fn float(text: String, at: Location) -> Result<Value, ReadError> {
    let value = typed(text, at)?;
    let wrong = || ReadError::new(at, format!("{} is not a float", value.kind()));
    value.as_float().map(Value::Float).ok_or_else(wrong)
}

/// Ruby's string of bytes; one of ASCII alone is the same as text.
fn binary(text: &str) -> Value {
    let bytes = base64::decode(text);
    match String::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Value::Str(text),
        Ok(text) => Value::Bytes(text.into_bytes()),
        Err(error) => Value::Bytes(error.into_bytes()),
    }
}
