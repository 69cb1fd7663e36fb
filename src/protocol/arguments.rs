//! The arguments of a request, judged as einhorn judges them; an error is the reply.

use crate::base::Signal;
use crate::yaml::{self, Limits, Value};

/// How many signals one request may send to every worker.
const SIGNALS_MAX: usize = 64;

/// The most workers that `set_workers` takes, with einhorn as here; `config` sets more.
pub const SET_WORKERS_MAX: u32 = 1000;

/// Names that Ruby knows beside the usual ones.
const ALIASES: [(&str, &str); 3] = [("CLD", "CHLD"), ("IOT", "ABRT"), ("POLL", "IO")];

/// `args`, which must be strings.
pub(in crate::protocol) fn strings(request: &Value) -> Result<Vec<String>, String> {
    let args = request.get("args").filter(|args| !matches!(args.plain(), Value::Nil | Value::Bool(false)));
    let Some(args) = args else { return Err("No args provided".to_owned()) };
    let Some(args) = args.as_seq() else { return Err("Args must be an array".to_owned()) };
    args.iter().map(string).collect()
}

fn string(arg: &Value) -> Result<String, String> {
    let refused = || format!("Argument is a {}, not a string: {}", class(arg), yaml::inspect(arg));
    arg.as_str().map(str::to_owned).ok_or_else(refused)
}

/// Arguments that are one YAML document, joined by blanks so that they need no quotes.
pub(in crate::protocol) fn document(args: &[String]) -> Result<Value, String> {
    let given = yaml::read(&args.join(" "), Limits::UNTRUSTED);
    given.map_err(|error| format!("Could not parse argument. Must be a YAML-encoded hash: {error}"))
}

/// The keys and values of a map.
pub(in crate::protocol) fn pairs(given: &Value) -> Result<&[(Value, Value)], String> {
    given.as_map().ok_or_else(|| format!("Parsed argument is a {}, not a hash", class(given)))
}

/// A key's name: it may be a symbol, a string, or a string with a colon before it.
pub(in crate::protocol) fn key_name(key: &Value) -> Option<&str> {
    key.as_symbol().or(key.as_str()).map(|name| name.strip_prefix(':').unwrap_or(name))
}

/// Ruby's name for what a value is.
pub(in crate::protocol) fn class(value: &Value) -> &'static str {
    match value.plain() {
        Value::Nil => "NilClass",
        Value::Bool(true) => "TrueClass",
        Value::Bool(false) => "FalseClass",
        Value::Int(_) | Value::BigInt(_) => "Integer",
        Value::Float(_) => "Float",
        Value::Str(_) | Value::Bytes(_) => "String",
        Value::Symbol(_) => "Symbol",
        Value::Time(_) => "Time",
        Value::Seq(_) => "Array",
        Value::Map(_) => "Hash",
        Value::Set(_) => "Set",
        Value::Shared(inner) => class(inner),
    }
}

/// The first argument as a number of workers; what follows its digits, and further arguments, mean nothing.
pub(in crate::protocol) fn count(args: &[String]) -> Result<u32, String> {
    let given = args.first().map_or("", String::as_str);
    let count = leading_number(given).filter(|count| (1..=SET_WORKERS_MAX).contains(count));
    count.ok_or_else(|| format!("Invalid count: '{given}'. Must be an integer in [1,1000)."))
}

/// Ruby's `to_i` as far as it is in range.
fn leading_number(text: &str) -> Option<u32> {
    let text = text.trim_start();
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '_').unwrap_or(text.len());
    text[..end].replace('_', "").parse().ok()
}

/// Signals by name, with or without `SIG`, in any case.
pub(in crate::protocol) fn signals(args: &[String]) -> Result<Vec<Signal>, String> {
    if args.len() > SIGNALS_MAX {
        return Err(format!("Too many signals: {} at once, {SIGNALS_MAX} are possible", args.len()));
    }
    args.iter().map(|name| signal(name)).collect()
}

/// The signal of `die`: the first of its arguments, if it has any; it may have no arguments at all.
pub(in crate::protocol) fn die_signal(request: &Value) -> Result<Option<Signal>, String> {
    if request.get("args").is_none_or(Value::is_nil) {
        return Ok(None);
    }
    let signals = signals(&strings(request)?)?;
    Ok(signals.first().copied())
}

fn signal(name: &str) -> Result<Signal, String> {
    let upper = name.to_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let canonical = ALIASES.iter().find(|(alias, _)| *alias == bare).map_or(bare, |(_, name)| name);
    // Only one `SIG` is taken off.
    let known = if canonical.starts_with("SIG") { None } else { Signal::from_name(canonical) };
    known.ok_or_else(|| format!("Invalid signal: {}", yaml::inspect(&Value::str(bare))))
}
