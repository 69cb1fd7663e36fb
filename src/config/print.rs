//! Writes the effective settings as a file that would give the same: each value with where it comes from. Works from the
//! values as they were given, so that there is one way to read them and one way to write them.

use std::ffi::OsStr;

use toml::Value;

use crate::base::printable::is_hidden;
use crate::config::definition::{Kind, Shape};
use crate::config::error::ConfigError;
use crate::config::expansion::escaped;
use crate::config::options::{Config, Definition, keys};
use crate::config::origin::{Word, split_at_equals};

/// The settings as TOML, each line with its origin.
///
/// # Errors
/// A value that is no UTF-8, which the command line can give and TOML cannot hold.
pub fn print(config: &Config) -> Result<String, ConfigError> {
    let mut keys: Vec<&Definition> = keys().collect();
    // What is run comes first.
    keys.sort_by_key(|key| key.name != "command");
    let mut text = String::new();
    let mut tables: Vec<&str> = keys.iter().map(|key| key.place().0).collect();
    tables.dedup();
    tables.sort_by_key(|table| !table.is_empty());
    tables.dedup();
    for table in tables {
        let (maps, others): (Vec<&Definition>, Vec<&Definition>) =
            keys.iter().filter(|key| key.place().0 == table).partition(|key| key.kind == Kind::Map);
        section(&mut text, table, &lines(config, &others)?);
        for map in maps {
            section(&mut text, map.name, &entries(config, map)?);
        }
    }
    Ok(text)
}

fn section(text: &mut String, table: &str, lines: &[(String, String)]) {
    if lines.is_empty() {
        return;
    }
    if !table.is_empty() {
        text.push_str(&format!("\n[{table}]\n"));
    }
    let widest =
        lines.iter().map(|(setting, _)| setting.chars().count()).filter(|width| *width <= COMMENT_COLUMN).max();
    for (setting, origin) in lines {
        text.push_str(&format!("{setting:width$}  # {origin}\n", width = widest.unwrap_or_default()));
    }
}

/// Longer lines have their comment behind them, and do not move the others'.
const COMMENT_COLUMN: usize = 60;

fn lines(config: &Config, keys: &[&Definition]) -> Result<Vec<(String, String)>, ConfigError> {
    let mut lines = Vec::new();
    for key in keys {
        let words: Vec<&Word> = config.given.words(key.name).filter(|word| word.value.is_some()).collect();
        let Some(last) = words.last() else { continue };
        let mut values = Vec::new();
        for word in &words {
            values.push(value(key, text_of(word, word.value.as_deref().unwrap_or_default())?));
        }
        let value =
            if key.kind == Kind::List { Value::Array(values) } else { values.pop().unwrap_or(Value::Boolean(true)) };
        lines.push((format!("{} = {}", key.place().1, toml(&value)), last.origin.shown(key.name)));
    }
    Ok(lines)
}

fn entries(config: &Config, key: &Definition) -> Result<Vec<(String, String)>, ConfigError> {
    let mut lines = Vec::new();
    for word in config.given.words(key.name) {
        let given = word.value.as_deref().unwrap_or_default();
        let (name, content) = split_at_equals(given.as_encoded_bytes());
        let name = text_of(word, std::os::unix::ffi::OsStrExt::from_bytes(name))?;
        let content = text_of(word, content.unwrap_or_default())?;
        let content = escaped(content);
        lines.push((format!("{} = {}", quoted(name), toml_string(&content)), word.origin.shown(key.name)));
    }
    Ok(lines)
}

fn text_of<'a>(word: &Word, value: &'a OsStr) -> Result<&'a str, ConfigError> {
    let need = "cannot stand in a file, which holds text in UTF-8 only";
    value.to_str().ok_or_else(|| ConfigError::bad_value(&word.origin.spelled(&word.flag), value, need))
}

/// A number where one is meant and TOML would read the same one; a string otherwise.
fn value(key: &Definition, text: &str) -> Value {
    let is_number = match key.shape {
        Shape::Count(_) | Shape::CountOrWord(_) | Shape::Number(_) | Shape::Level(_) | Shape::Share(_) => true,
        Shape::Time(_) | Shape::TimeOrWord(_) => true,
        Shape::Truth | Shape::Text(_) | Shape::Permissions(_) => false,
        Shape::Choice(_) | Shape::CommandLine(_) | Shape::Bind(_) => false,
    };
    match (key.kind, text.parse::<i64>(), text.parse::<f64>()) {
        (Kind::Switch, _, _) => Value::Boolean(text == "true"),
        (_, Ok(whole), _) if is_number && whole.to_string() == text => Value::Integer(whole),
        (_, _, Ok(float)) if is_number && Value::Float(float).to_string() == text => Value::Float(float),
        _ => Value::String(escaped(text).into_owned()),
    }
}

/// A key that need not be bare.
fn quoted(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_bare { name.to_owned() } else { toml_string(name) }
}

fn toml(value: &Value) -> String {
    match value {
        Value::String(text) => toml_string(text),
        Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// As the crate writes it, unless that would show a character as it is that must not reach a terminal.
fn toml_string(text: &str) -> String {
    let written = Value::String(text.to_owned()).to_string();
    if !written.contains(is_hidden) {
        return written;
    }
    let escaped = text.chars().map(|char| match char {
        '"' | '\\' => format!("\\{char}"),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        hidden if is_hidden(hidden) => format!("\\U{:08X}", u32::from(hidden)),
        plain => plain.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Invocation;
    use crate::config::tests::{parse_with, words};

    #[test]
    fn no_string_is_printed_that_steers_a_terminal_and_each_is_read_back() {
        for text in ["a\u{9b}2J", "\u{202e}b\"\\\n\t\u{1b}", "\u{feff}", "\u{7f}\r\0", "plain é"] {
            let written = toml(&Value::Array(vec![Value::String(text.to_owned())]));
            assert!(!written.contains(is_hidden), "{written:?}");
            let read: toml::Table = toml::from_str(&format!("x = {written}")).unwrap();
            assert_eq!(read["x"][0].as_str(), Some(text));
        }
    }

    /// In each kind of line that has one: a value, a list, and the entry of a table.
    #[test]
    fn no_origin_steers_a_terminal_or_begins_a_line() {
        let file = "w\nnumber = 9 # \u{1b}[2J\u{9b}2J\u{202e}.toml";
        let toml = "command = 'x'\nbind = ['127.0.0.1:1']\n[env.set]\nA = 'b'\n";
        let Ok(Invocation::CheckConfig(config)) =
            parse_with(words(&["--config", file, "--check-config"]), &[(file, toml)])
        else {
            panic!("it is a configuration")
        };
        let printed = print(&config).unwrap();
        assert!(!printed.contains(|char| is_hidden(char) && char != '\n'), "{printed:?}");
        let shown = "# w\\x0anumber = 9 # \\x1b[2J\\x9b2J\\u{202e}.toml:";
        assert_eq!(printed.matches(shown).count(), 3, "{printed}");
        assert!(!printed.lines().any(|line| line.starts_with("number = 9")), "{printed}");
    }
}
