//! Decides what a plain scalar is to Psych 4.0.4 (its `ScalarScanner`): YAML 1.1's types, with Psych's own turns.
//! The reader asks to type a scalar, the writer asks to know which strings need quotes.

use crate::yaml::plain::Plain;
use crate::yaml::value::Value;
use crate::yaml::{number, timestamp};

/// Words have five characters at most, so a longer scalar that begins like one needs no look.
const WORD_CHARS_MAX: usize = 5;

pub(super) fn resolve(text: &str) -> Plain {
    if text.is_empty() {
        return Plain::Value(Value::Nil);
    }
    if begins_like_a_word(text) || text.contains('\n') {
        return if text.chars().nth(WORD_CHARS_MAX).is_some() { Plain::Str } else { word(text) };
    }
    if let Some(stamp) = timestamp::parse(text) {
        return stamp;
    }
    if let Some(special) = special_float(text) {
        return Plain::Value(Value::Float(special));
    }
    if let Some(name) = text.strip_prefix(':').filter(|name| !name.is_empty()) {
        return Plain::Value(Value::symbol(symbol_name(name)));
    }
    number::parse(text).unwrap_or(Plain::Str)
}

/// A letter or one of some signs in the first place, or in the second after what cannot begin a number.
fn begins_like_a_word(text: &str) -> bool {
    let in_class = |c: char| c.is_alphabetic() || "_ \t\n\x0b\x0c\r!@#$%^&*(){}<>|/\\~;=".contains(c);
    let mut chars = text.chars();
    let first = chars.next();
    let cannot_begin_a_number = |c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':' | '-');
    first.is_some_and(in_class) || (first.is_some_and(cannot_begin_a_number) && chars.next().is_some_and(in_class))
}

/// The beginnings of lines as Ruby's `^` finds them: not after a newline that ends the text.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1).filter(|at| *at < text.len());
    [0].into_iter().chain(after_breaks).map(|start| &text[start..])
}

fn word(text: &str) -> Plain {
    let folded = fold_case(text);
    if lines(&folded).any(|line| !line.starts_with(['y', 't', 'o', 'n', 'f', '~'])) {
        return Plain::Str;
    }
    let is_one_of =
        |words: &[&str]| lines(&folded).any(|line| words.contains(&line.split('\n').next().unwrap_or(line)));
    if folded == "~" || is_one_of(&["null"]) {
        Plain::Value(Value::Nil)
    } else if is_one_of(&["yes", "true", "on"]) {
        Plain::Value(Value::Bool(true))
    } else if is_one_of(&["no", "false", "off"]) {
        Plain::Value(Value::Bool(false))
    } else {
        Plain::Str
    }
}

/// Lower case as Ruby's `/i` compares: the long s is an s, and the ff ligature is two letters.
fn fold_case(text: &str) -> String {
    text.to_lowercase().replace('ſ', "s").replace('ﬀ', "ff")
}

fn special_float(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        ".inf" | "+.inf" => Some(f64::INFINITY),
        "-.inf" => Some(f64::NEG_INFINITY),
        ".nan" => Some(f64::NAN),
        _ => None,
    }
}

/// The name in `:name`, `:"name"` and `:'name'`; what follows the last quote is dropped, as Psych drops it.
fn symbol_name(name: &str) -> &str {
    let quoted = name.chars().next().filter(|c| matches!(c, '"' | '\'')).and_then(|quote| {
        let inner = &name[1..];
        inner.rfind(quote).map(|end| &inner[..end])
    });
    quoted.map_or(name, |inner| inner.strip_prefix(':').unwrap_or(inner))
}
