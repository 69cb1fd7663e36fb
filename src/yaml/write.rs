//! Writes a value as a whole document, byte for byte as Psych 4.0.4 does.
//!
//! Recurses into the value: depth is the caller's to bound, as the reader's limits do.

use crate::yaml::Value;
use crate::yaml::anchors::Anchors;
use crate::yaml::anchors::Reference;
use crate::yaml::layout::Indent;
use crate::yaml::layout::Place;
use crate::yaml::layout::is_simple_key;
use crate::yaml::pen::Fold;
use crate::yaml::pen::Pen;
use crate::yaml::style::Position;
use crate::yaml::style::Scalar;
use crate::yaml::style::Style;
use crate::yaml::style::final_style;
use crate::yaml::style::possible_styles;
use crate::yaml::style::scalar_of;
use crate::yaml::style::written_tag;

const SET_TAG: &str = "!ruby/object:Set";

/// What every member of a set maps to.
static MEMBER: Value = Value::Bool(true);

/// The document for a value, from `---` to the last newline.
pub fn write(value: &Value) -> String {
    let mut writer = Writer { pen: Pen::new(), anchors: Anchors::of(value) };
    writer.pen.mark("---");
    writer.node(value, Place::Root, Indent::OUTSIDE);
    writer.pen.finish()
}

struct Writer {
    pen: Pen,
    anchors: Anchors,
}

impl Writer {
    fn node(&mut self, value: &Value, place: Place, indent: Indent) {
        match self.anchors.take(value) {
            Reference::None => {}
            Reference::Anchor(id) => self.pen.mark(&format!("&{id}")),
            Reference::Alias(id) => {
                self.pen.mark(&format!("*{id}"));
                // A colon right after would belong to the alias's name.
                if place == Place::SimpleKey {
                    self.pen.blank();
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
            return self.pen.mark("[]");
        }
        let under_a_key = place == Place::Entry && !self.pen.is_at_indentation();
        let indent = if under_a_key { indent } else { indent.block() };
        for item in items {
            self.pen.indent_to(indent.column());
            self.pen.entry("-");
            self.node(item, Place::Item, indent);
        }
    }

    fn mapping<'a>(&mut self, pairs: impl ExactSizeIterator<Item = (&'a Value, &'a Value)>, indent: Indent) {
        if pairs.len() == 0 {
            return self.pen.mark("{}");
        }
        let indent = indent.block();
        for (key, value) in pairs {
            self.pen.indent_to(indent.column());
            self.key(key, indent);
            self.node(value, Place::Entry, indent);
        }
    }

    /// A key and the colon after it.
    fn key(&mut self, key: &Value, indent: Indent) {
        if is_simple_key(key, self.anchors.peek(key)) {
            self.node(key, Place::SimpleKey, indent);
            return self.pen.attach(":");
        }
        self.pen.entry("?");
        self.node(key, Place::Entry, indent);
        self.pen.indent_to(indent.column());
        self.pen.entry(":");
    }

    /// An object with one variable, which is a hash of the members.
    fn set(&mut self, members: &[Value], indent: Indent) {
        self.pen.mark(SET_TAG);
        let indent = indent.block();
        self.pen.indent_to(indent.column());
        self.key(&Value::str("hash"), indent);
        self.mapping(members.iter().map(|member| (member, &MEMBER)), indent);
    }

    fn scalar(&mut self, scalar: &Scalar<'_>, place: Place, indent: Indent) {
        let (position, fold) = match place {
            Place::SimpleKey => (Position::SimpleKey, Fold::Never),
            Place::Root | Place::Item | Place::Entry => (Position::Elsewhere, Fold::Allowed),
        };
        let style = final_style(scalar, &possible_styles(&scalar.text), position);
        if let Some(tag) = written_tag(scalar, style) {
            self.pen.mark(tag);
        }
        let column = indent.scalar();
        match style {
            Style::Plain => self.pen.plain(&scalar.text, column, fold),
            Style::Single => self.pen.single_quoted(&scalar.text, column, fold),
            Style::Double => self.pen.double_quoted(&scalar.text, column, fold),
            Style::Literal => self.pen.literal(&scalar.text, column),
        }
    }
}
