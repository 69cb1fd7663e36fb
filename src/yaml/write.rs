//! Writes a value as a whole document, byte for byte as Psych 4.0.4 does.
//!
//! Recurses into the value: depth is the caller's to bound, as the reader's limits do.

use crate::yaml::anchors::{Anchors, Reference};
use crate::yaml::emitter::Emitter;
use crate::yaml::style::{Position, Scalar, Style, final_style, possible_styles, scalar_of, written_tag};
use crate::yaml::value::Value;

const SET_TAG: &str = "!ruby/object:Set";

/// Keys longer than this, in bytes and with their tag, are written as `? key`.
const SIMPLE_KEY_BYTES_MAX: usize = 128;
const STEP: usize = 2;

/// What every member of a set maps to.
static MEMBER: Value = Value::Bool(true);

/// The document for a value, from `---` to the last newline.
pub fn write(value: &Value) -> String {
    let mut writer = Writer { emitter: Emitter::new(), anchors: Anchors::of(value) };
    writer.emitter.mark("---");
    writer.node(value, Place::Root, Indent::OUTSIDE);
    writer.emitter.finish()
}

struct Writer {
    emitter: Emitter,
    anchors: Anchors,
}

impl Writer {
    fn node(&mut self, value: &Value, place: Place, indent: Indent) {
        match self.anchors.take(value) {
            Reference::None => {}
            Reference::Anchor(id) => self.emitter.mark(&format!("&{id}")),
            Reference::Alias(id) => {
                self.emitter.mark(&format!("*{id}"));
                // A colon right after would belong to the alias's name.
                if place == Place::SimpleKey {
                    self.emitter.blank();
                }
                return;
            }
        }
        match value.plain() {
            Value::Seq(items) => self.sequence(items, place, indent),
            Value::Map(pairs) => self.mapping(pairs.iter().map(|(key, value)| (key, value)), indent),
            Value::Set(members) => self.set(members, indent),
            scalar => {
                if let Some(scalar) = scalar_of(scalar) {
                    self.scalar(&scalar, place, indent);
                }
            }
        }
    }

    fn sequence(&mut self, items: &[Value], place: Place, indent: Indent) {
        if items.is_empty() {
            return self.emitter.mark("[]");
        }
        let under_a_key = place == Place::Entry && !self.emitter.is_at_indentation();
        let indent = if under_a_key { indent } else { indent.block() };
        for item in items {
            self.emitter.indent_to(indent.column());
            self.emitter.entry("-");
            self.node(item, Place::Item, indent);
        }
    }

    fn mapping<'a>(&mut self, pairs: impl ExactSizeIterator<Item = (&'a Value, &'a Value)>, indent: Indent) {
        if pairs.len() == 0 {
            return self.emitter.mark("{}");
        }
        let indent = indent.block();
        for (key, value) in pairs {
            self.emitter.indent_to(indent.column());
            self.key(key, indent);
            self.node(value, Place::Entry, indent);
        }
    }

    /// A key and the colon after it.
    fn key(&mut self, key: &Value, indent: Indent) {
        if is_simple_key(key, self.anchors.peek(key)) {
            self.node(key, Place::SimpleKey, indent);
            return self.emitter.attach(":");
        }
        self.emitter.entry("?");
        self.node(key, Place::Entry, indent);
        self.emitter.indent_to(indent.column());
        self.emitter.entry(":");
    }

    /// An object with one variable, which is a hash of the members.
    fn set(&mut self, members: &[Value], indent: Indent) {
        self.emitter.mark(SET_TAG);
        let indent = indent.block();
        self.emitter.indent_to(indent.column());
        self.key(&Value::str("hash"), indent);
        self.mapping(members.iter().map(|member| (member, &MEMBER)), indent);
    }

    fn scalar(&mut self, scalar: &Scalar<'_>, place: Place, indent: Indent) {
        let position = match place {
            Place::SimpleKey => Position::SimpleKey,
            Place::Root | Place::Item | Place::Entry => Position::Elsewhere,
        };
        let style = final_style(scalar, &possible_styles(&scalar.text), position);
        if let Some(tag) = written_tag(scalar, style) {
            self.emitter.mark(tag);
        }
        let column = indent.scalar();
        match style {
            Style::Plain => self.emitter.plain(&scalar.text, column, position),
            Style::Single => self.emitter.single_quoted(&scalar.text, column, position),
            Style::Double => self.emitter.double_quoted(&scalar.text, column, position),
            Style::Literal => self.emitter.literal(&scalar.text, column),
        }
    }
}

/// What a node is to the one around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Root,
    Item,
    SimpleKey,
    /// A value, or a key after `?`.
    Entry,
}

/// The column of a collection's entries. None stands for the outside of the root.
#[derive(Clone, Copy, Debug)]
struct Indent(Option<usize>);

impl Indent {
    const OUTSIDE: Self = Self(None);

    fn column(self) -> usize {
        self.0.unwrap_or(0)
    }

    /// For a collection in block style.
    fn block(self) -> Self {
        Self(Some(self.0.map_or(0, |column| column + STEP)))
    }

    /// For the later lines of a scalar.
    fn scalar(self) -> usize {
        self.column() + STEP
    }
}

/// Whether the key fits before a `:` on one line.
fn is_simple_key(key: &Value, reference: Reference) -> bool {
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
