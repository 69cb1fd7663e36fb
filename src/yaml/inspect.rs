//! Shows a value as Ruby 3.1's `inspect` does, for log lines that read as einhorn's. Nothing reads it back.
//!
//! Recurses into the value: depth is the caller's to bound, as the reader's limits do.

use crate::yaml::emitter::escape_letter;
use crate::yaml::number::ruby_float;
use crate::yaml::value::Value;
use crate::yaml::word_class::is_word;

/// The value as Ruby would show it: `{"command"=>"worker:ack", :args=>["HUP", nil]}`.
pub fn inspect(value: &Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Bool(yes) => yes.to_string(),
        Value::Int(number) => number.to_string(),
        Value::BigInt(digits) => digits.clone(),
        Value::Float(number) => ruby_float(*number),
        Value::Str(text) => quoted(text),
        Value::Bytes(bytes) => quoted_bytes(bytes),
        Value::Symbol(name) if is_bare_symbol(name) => format!(":{name}"),
        // Ruby keeps a symbol of ASCII alone in that encoding, and shows its control characters as bytes.
        Value::Symbol(name) if name.is_ascii() => format!(":{}", quoted_bytes(name.as_bytes())),
        Value::Symbol(name) => format!(":{}", quoted(name)),
        Value::Time(time) => time.inspect(),
        Value::Seq(items) => format!("[{}]", list(items)),
        Value::Map(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}=>{}", inspect(key), inspect(value))).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Set(members) => format!("#<Set: {{{}}}>", list(members)),
        Value::Shared(inner) => inspect(inner),
    }
}

/// The value as Ruby's `to_s` gives it.
pub fn text(value: &Value) -> String {
    match value.plain() {
        Value::Nil => String::new(),
        Value::Str(text) | Value::Symbol(text) => text.clone(),
        other => inspect(other),
    }
}

fn list(items: &[Value]) -> String {
    items.iter().map(inspect).collect::<Vec<String>>().join(", ")
}

fn quoted(text: &str) -> String {
    let mut shown = String::from("\"");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match short_escape(c, chars.peek().copied()) {
            Some(escape) => shown.push_str(&escape),
            None if is_shown(c) => shown.push(c),
            None if c as u32 > 0xffff => shown.push_str(&format!("\\u{{{:X}}}", u32::from(c))),
            None => shown.push_str(&format!("\\u{:04X}", u32::from(c))),
        }
    }
    shown + "\""
}

fn quoted_bytes(bytes: &[u8]) -> String {
    let mut shown = String::from("\"");
    for (at, byte) in bytes.iter().enumerate() {
        let next = bytes.get(at + 1).map(|byte| char::from(*byte));
        match short_escape(char::from(*byte), next) {
            Some(escape) => shown.push_str(&escape),
            None if matches!(byte, b' '..=b'~') => shown.push(char::from(*byte)),
            None => shown.push_str(&format!("\\x{byte:02X}")),
        }
    }
    shown + "\""
}

/// The escapes with a letter, and the sharp that would begin an interpolation.
fn short_escape(c: char, next: Option<char>) -> Option<String> {
    let begins_interpolation = c == '#' && matches!(next, Some('{' | '$' | '@'));
    escape_letter(c).or(begins_interpolation.then_some(c)).map(|letter| format!("\\{letter}"))
}

/// Whether Ruby takes the character for printable. The standard library's notion is narrower: it also escapes blanks,
/// invisible format characters and those for private use, which Ruby shows.
fn is_shown(c: char) -> bool {
    if c == '\u{85}' {
        return true;
    }
    if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
        return false;
    }
    // A mark is escaped only where it begins a text, so the question is asked behind a letter.
    let is_known = format!("a{c}").escape_debug().count() == 2 || matches!(c, '"' | '\'' | '\\');
    is_known || c.is_whitespace() || is_private_use(c) || is_format(c)
}

fn is_private_use(c: char) -> bool {
    matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}')
}

fn is_format(c: char) -> bool {
    let low =
        matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}' | '\u{180e}');
    let middle = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}');
    let high = matches!(c, '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}');
    let top = matches!(c, '\u{13430}'..='\u{13438}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}');
    low || middle || high || top || matches!(c, '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

/// Whether a symbol needs no quotes: a name, a method's name, a variable's name, or an operator.
fn is_bare_symbol(name: &str) -> bool {
    const OPERATORS: &str = " [] []= + - * / % ** ! != !~ == === =~ <=> < <= > >= << >> & | ^ ~ +@ -@ ` ";
    if !name.is_empty() && !name.contains(' ') && OPERATORS.contains(&format!(" {name} ")) {
        return true;
    }
    if let Some(variable) = name.strip_prefix("@@").or_else(|| name.strip_prefix('@')) {
        return is_identifier(variable);
    }
    if let Some(variable) = name.strip_prefix('$') {
        return is_global(variable);
    }
    let stem = name.strip_suffix(['?', '!', '=']).unwrap_or(name);
    is_identifier(stem)
}

fn is_identifier(name: &str) -> bool {
    let is_part = |c: char| if c.is_ascii() { is_word(c) } else { is_shown(c) };
    !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty() && name.chars().all(is_part)
}

fn is_global(name: &str) -> bool {
    let mut chars = name.chars();
    let is_special = match (chars.next(), chars.next(), chars.next()) {
        (Some(c), None, None) => "~*$?!@/\\;,.=:<>\"&`'+0".contains(c),
        (Some('-'), Some(c), None) => is_word(c),
        _ => false,
    };
    let is_number = name.chars().all(|c| c.is_ascii_digit()) && name.starts_with(|c| c != '0');
    is_special || is_number || is_identifier(name)
}
