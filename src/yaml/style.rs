//! Decides how a scalar is written, in Psych's two steps: what Psych asks for, and what libyaml makes of that.
//! Writes nothing itself.

use std::borrow::Cow;

use crate::yaml::base64;
use crate::yaml::number::ruby_float;
use crate::yaml::plain::Plain;
use crate::yaml::resolve::{lines, resolve};
use crate::yaml::value::Value;
use crate::yaml::word_class::is_word;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// In which styles a reader would come to the right type without a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Implicit {
    Always,
    /// Symbols, numbers: in quotes they would be strings, so libyaml puts a `!` before the quotes.
    WhenPlain,
    Never,
}

/// A scalar as Psych hands it to libyaml.
pub(super) struct Scalar<'a> {
    pub text: Cow<'a, str>,
    pub tag: Option<&'static str>,
    pub implicit: Implicit,
    pub style: Style,
}

/// The scalar that a value is written as; none for collections.
pub(super) fn scalar_of(value: &Value) -> Option<Scalar<'_>> {
    match value {
        Value::Nil => Some(unquoted("")),
        Value::Bool(yes) => Some(unquoted(if *yes { "true" } else { "false" })),
        Value::Int(number) => Some(unquoted(number.to_string())),
        Value::BigInt(digits) => Some(unquoted(digits)),
        Value::Float(number) => Some(unquoted(float_text(*number))),
        Value::Str(text) => Some(string(text)),
        Value::Bytes(bytes) => Some(binary(bytes)),
        Value::Symbol(name) => Some(symbol(name)),
        Value::Time(time) => Some(unquoted(time.to_string())),
        Value::Shared(inner) => scalar_of(inner),
        Value::Seq(_) | Value::Map(_) | Value::Set(_) => None,
    }
}

fn unquoted<'a>(text: impl Into<Cow<'a, str>>) -> Scalar<'a> {
    Scalar { text: text.into(), tag: None, implicit: Implicit::WhenPlain, style: Style::Plain }
}

fn tagged<'a>(tag: &'static str, text: impl Into<Cow<'a, str>>, style: Style) -> Scalar<'a> {
    Scalar { text: text.into(), tag: Some(tag), implicit: Implicit::Never, style }
}

fn float_text(number: f64) -> String {
    if number.is_nan() {
        ".nan".into()
    } else if number.is_infinite() {
        if number < 0.0 { "-.inf".into() } else { ".inf".into() }
    } else {
        ruby_float(number)
    }
}

fn symbol(name: &str) -> Scalar<'_> {
    if name.is_empty() { tagged("!ruby/symbol", "", Style::Plain) } else { unquoted(format!(":{name}")) }
}

fn binary(bytes: &[u8]) -> Scalar<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => string(text),
        Ok(_) | Err(_) => tagged("!binary", base64::encode(bytes), Style::Literal),
    }
}

fn string(text: &str) -> Scalar<'_> {
    if text == "<<" {
        return tagged("!!str", text, Style::Single);
    }
    let style = if has_inner_break(text) {
        Style::Literal
    } else if text == "y" || text == "n" || begins_with_a_sign(text) {
        Style::Double
    } else if resolve(text) != Plain::Str || is_bad_octal(text) {
        Style::Single
    } else {
        Style::Plain
    };
    Scalar { text: text.into(), tag: None, implicit: Implicit::Always, style }
}

/// A newline that is neither the last character nor the one before a last newline.
fn has_inner_break(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.strip_suffix('\n').unwrap_or(body).contains('\n')
}

/// A line whose first character is none of a word, and without a double quote after it.
fn begins_with_a_sign(text: &str) -> bool {
    lines(text).any(|line| {
        let mut rest = line.chars();
        rest.next().is_some_and(|first| !is_word(first)) && rest.find(|c| matches!(c, '"' | '\n')) != Some('"')
    })
}

/// Octal digits up to an 8 or a 9, after a zero: what other readers may take for a number.
fn is_bad_octal(text: &str) -> bool {
    text.strip_prefix('0')
        .is_some_and(|rest| rest.trim_start_matches(|c| matches!(c, '0'..='7')).starts_with(['8', '9']))
}

/// Where the scalar will stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// Before the `:` on one line with its value: no line is folded there.
    SimpleKey,
    Elsewhere,
}

/// Which styles can carry a text outside of `[]` and `{}`, and whether it has line breaks.
#[derive(Debug)]
pub(super) struct Possible {
    pub multiline: bool,
    plain: bool,
    single: bool,
    block: bool,
}

pub(super) fn is_blank(c: char) -> bool {
    c == ' '
}

/// Line breaks of YAML 1.1.
pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_space_or_break(c: char) -> bool {
    is_blank(c) || is_break(c) || matches!(c, '\t' | '\0')
}

/// What libyaml writes as it is; a tab and everything above U+FFFF are not.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{fffd}') && c != '\u{feff}'
}

/// What one look over a text finds.
#[derive(Default)]
struct Findings {
    indicator: bool,
    special: bool,
    line_break: bool,
    space_after_break: bool,
    break_after_space: bool,
}

pub(super) fn possible_styles(text: &str) -> Possible {
    let found = look_over(text);
    let at_edge = |is: fn(char) -> bool| text.starts_with(is) || text.ends_with(is);
    let breaks_quotes = found.break_after_space || found.special;
    let single = !found.space_after_break && !breaks_quotes;
    Possible {
        multiline: found.line_break,
        plain: single && !found.line_break && !found.indicator && !at_edge(is_blank),
        single,
        block: !breaks_quotes && !text.ends_with(is_blank),
    }
}

fn look_over(text: &str) -> Findings {
    let mut found = Findings { indicator: text.starts_with("---") || text.starts_with("..."), ..Findings::default() };
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let before_space = chars.peek().is_none_or(|next| is_space_or_break(*next));
        found.indicator |= match before {
            None => is_leading_indicator(c, before_space),
            Some(_) if c == ':' => before_space,
            Some(last) => c == '#' && is_space_or_break(last),
        };
        found.special |= !is_printable(c);
        found.line_break |= is_break(c);
        found.space_after_break |= is_blank(c) && before.is_some_and(is_break);
        found.break_after_space |= is_break(c) && before.is_some_and(is_blank);
        before = Some(c);
    }
    found
}

fn is_leading_indicator(c: char, before_space: bool) -> bool {
    match c {
        '-' | '?' | ':' => before_space,
        other => "#,[]{}&*!|>'\"%@`".contains(other),
    }
}

/// The style that libyaml ends with.
pub(super) fn final_style(scalar: &Scalar<'_>, possible: &Possible, position: Position) -> Style {
    let in_key = position == Position::SimpleKey;
    let needs_quotes = !possible.plain || (scalar.text.is_empty() && in_key);
    let style = match scalar.style {
        _ if in_key && possible.multiline => Style::Double,
        Style::Plain if needs_quotes => Style::Single,
        Style::Literal if !possible.block || in_key => Style::Double,
        wanted @ (Style::Plain | Style::Single | Style::Double | Style::Literal) => wanted,
    };
    if style == Style::Single && !possible.single { Style::Double } else { style }
}

/// The tag that is written out before the scalar.
pub(super) fn written_tag(scalar: &Scalar<'_>, style: Style) -> Option<&'static str> {
    match scalar.implicit {
        Implicit::Never => scalar.tag,
        Implicit::WhenPlain if style != Style::Plain => Some("!"),
        Implicit::WhenPlain | Implicit::Always => None,
    }
}
