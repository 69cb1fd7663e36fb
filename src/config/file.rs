//! A configuration file, text -> words: the same words as those of a command line, each with its place. Knows the keys from
//! the definition and the shape of each value, never its meaning. Collects every problem and opens nothing.

use std::borrow::Cow;
use std::ffi::OsString;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::config::bind::{BindKey, TABLE_KEYS};
use crate::config::definition::{Kind, Shape};
use crate::config::error::{ConfigError, shown};
use crate::config::expansion::{self, EXPANDED_MAX, Fault, Variable};
use crate::config::nearest::nearest;
use crate::config::options::{Definition, keys, known_elsewhere, variables};
use crate::config::origin::{Origin, Place, Word};
use crate::config::shell_signs;

/// Where the profiles stand, and what one of them may say beside the keys.
const PROFILES: &str = "profiles";
const INHERITS: &str = "inherits";
/// The table of variables.
const ENV: &str = "env";
/// Any single value.
const ANY: Shape = Shape::Text("");

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub words: Vec<Word>,
    pub profiles: Vec<Profile>,
}

/// `[profiles.NAME]`
#[derive(Debug)]
pub(super) struct Profile {
    pub name: String,
    /// The profiles that it begins with.
    pub inherits: Vec<(String, Place)>,
    pub words: Vec<Word>,
    /// Variables without a value, which matter only to a profile that counts.
    pub unset: Vec<ConfigError>,
}

/// Reads the text of a file; `name` is how errors call it. What is wrong is added to `problems`, in the order of the text.
pub(super) fn read(name: &str, text: &str, variable: Variable<'_>, problems: &mut Vec<ConfigError>) -> Document {
    let (positions, left) = (positions(text), EXPANDED_MAX);
    let mut reader = Reader { file: name.into(), positions, found: Vec::new(), variable, left, unset: Vec::new() };
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut document = Document::default();
    // What was made out of a broken text would be refused for what it is not.
    if errors.is_empty() {
        document = reader.root(root.get_ref());
    }
    let errors = errors.into_iter().map(|error| {
        let span = error.span().unwrap_or(text.len()..text.len());
        let message = match (error.message(), text.get(span.clone())) {
            ("duplicate key", Some(key)) => format!("duplicate key {key:?}"),
            (message, _) => message.to_owned(),
        };
        (span, message)
    });
    for (span, message) in without_echoes(errors.collect()) {
        reader.refuse(&span, message);
    }
    reader.found.sort_by_key(|(at, _)| *at);
    problems.extend(reader.found.into_iter().map(|(_, problem)| problem));
    document
}

/// Behind a bracket that is not closed, each line of the file is an error, and the place of the one that counts is the end of the file. It
/// is told where the first of the others is, and they are left out.
fn without_echoes(mut errors: Vec<(Range<usize>, String)>) -> Vec<(Range<usize>, String)> {
    errors.sort_by_key(|(span, _)| span.start);
    let is_unclosed =
        |message: &str| message.starts_with("unclosed array") || message.starts_with("unclosed inline table");
    let is_echo = |message: &str| message.starts_with("missing comma") || message.starts_with("missing key for inline");
    let unclosed = errors.iter().find(|(_, message)| is_unclosed(message)).map(|(_, message)| message.clone());
    let first = errors.iter().position(|(_, message)| is_echo(message));
    if let (Some(message), Some(first)) = (unclosed, first) {
        errors.truncate(first + 1);
        errors[first].1 = format!("{message} before this place");
    }
    errors
}

/// The names that a file knows beside those of the definition: other names of keys, what a bind may say when it is a table,
/// and what a profile alone may say. Each with its table.
pub fn further_names() -> Vec<String> {
    let aliases = keys().filter_map(|key| key.alias).map(str::to_owned);
    let of_binds = TABLE_KEYS.iter().map(|(key, ..)| format!("bind.{key}"));
    aliases.chain(of_binds).chain([format!("{PROFILES}.{INHERITS}")]).collect()
}

type Node<'i> = Spanned<DeValue<'i>>;
type Entry<'a, 'i> = (&'a Spanned<Cow<'i, str>>, &'a Node<'i>);
/// A value as the command line would have it, and where it stands.
type Text = (String, Range<usize>);

struct Reader<'v> {
    file: Arc<str>,
    positions: Vec<(u32, u32)>,
    /// Each with the byte where it was found.
    found: Vec<(usize, ConfigError)>,
    variable: Variable<'v>,
    /// How much longer variables may make the text.
    left: usize,
    /// As `found`: variables without a value.
    unset: Vec<(usize, ConfigError)>,
}

impl Reader<'_> {
    fn root(&mut self, root: &DeTable<'_>) -> Document {
        let mut document = Document::default();
        for entry in root {
            if entry.0.get_ref() == PROFILES {
                document.profiles = self.profiles(entry.1);
            } else {
                self.entry("", entry, &mut document.words);
                self.found.append(&mut self.unset);
            }
        }
        document
    }

    fn profiles(&mut self, value: &Node<'_>) -> Vec<Profile> {
        let Some(table) = self.table(PROFILES, value) else { return Vec::new() };
        table.iter().filter_map(|(name, value)| self.profile(name.get_ref(), value)).collect()
    }

    fn profile(&mut self, name: &str, value: &Node<'_>) -> Option<Profile> {
        let table = self.table(&format!("{PROFILES}.{name}"), value)?;
        let mut profile = Profile { name: name.to_owned(), inherits: Vec::new(), words: Vec::new(), unset: Vec::new() };
        for entry in table {
            if entry.0.get_ref() == INHERITS {
                profile.inherits = self.inherited(entry.1);
            } else {
                self.entry("", entry, &mut profile.words);
            }
        }
        profile.unset = std::mem::take(&mut self.unset).into_iter().map(|(_, problem)| problem).collect();
        Some(profile)
    }

    /// The profiles that one begins with, each with its place.
    fn inherited(&mut self, value: &Node<'_>) -> Vec<(String, Place)> {
        let found = match value.get_ref() {
            DeValue::Array(items) => self.array(INHERITS, items),
            DeValue::String(text) => self.expanded(INHERITS, text, &value.span()).into_iter().collect(),
            _ => self.mistaken(INHERITS, value, "a string or a list of strings").into_iter().collect(),
        };
        found.into_iter().map(|(text, span)| (text, self.place(INHERITS, &span))).collect()
    }

    /// One key and its value; a table of the definition leads to further ones.
    fn entry(&mut self, table: &str, (key, value): Entry<'_, '_>, words: &mut Vec<Word>) {
        let name = if table.is_empty() { key.get_ref().to_string() } else { format!("{table}.{}", key.get_ref()) };
        if keys().any(|key| key.place().0 == name) {
            let Some(inner) = self.table(&name, value) else { return };
            return inner.iter().for_each(|entry| self.entry(&name, entry, words));
        }
        match keys().find(|known| known.name == name || known.alias == Some(&name)) {
            Some(known) => self.values(known, &name, value, words),
            None => self.unknown(table, &name, &key.span()),
        }
    }

    fn values(&mut self, key: &Definition, name: &str, value: &Node<'_>, words: &mut Vec<Word>) {
        let found: Vec<Text> = match key.kind {
            Kind::Switch => self.switch(name, value).into_iter().collect(),
            Kind::Single => self.single(key, name, value).into_iter().collect(),
            Kind::List => self.list(key, name, value),
            Kind::Map => self.map(name, value),
        };
        for (text, span) in found {
            let word = self.word(key, name, Some(text.into()), &span);
            // Two names of one key, both used.
            let first = || words.iter().find(|first| first.flag == word.flag);
            if let Some(first) = (key.kind == Kind::Single).then(first).flatten() {
                let other = first.origin.referred(&first.flag);
                self.found.push((span.start, ConfigError::conflict(&word.origin.spelled(&word.flag), &other)));
            }
            words.push(word);
        }
        if key.kind == Kind::List && value.get_ref().as_array().is_some_and(|items| items.is_empty()) {
            words.push(self.word(key, name, None, &value.span()));
        }
    }

    fn word(&self, key: &Definition, name: &str, value: Option<OsString>, span: &Range<usize>) -> Word {
        Word { flag: key.name.to_owned(), origin: Origin::File(self.place(name, span)), value }
    }

    fn switch(&mut self, name: &str, value: &Node<'_>) -> Option<Text> {
        match value.get_ref() {
            DeValue::Boolean(on) => Some((on.to_string(), value.span())),
            DeValue::String(text) if expansion::has_any(text) => {
                let (text, span) = self.expanded(name, text, &value.span())?;
                if text != "true" && text != "false" {
                    self.refuse(&span, format!("{name}: need true or false, not {}", shown(&text)));
                    return None;
                }
                Some((text, span))
            }
            _ => self.mistaken(name, value, "true or false"),
        }
    }

    /// A single value. Permissions are octal digits, so an integer of any base but 8 and 10 is taken for a mistake.
    fn text(&mut self, shape: Shape, name: &str, value: &Node<'_>, need: &str) -> Option<Text> {
        let is_permissions = matches!(shape, Shape::Permissions(_));
        match value.get_ref() {
            DeValue::Integer(number) if is_permissions && ![8, 10].contains(&number.radix()) => {
                self.mistaken(name, value, "octal digits, as in \"0660\" or 0o660")
            }
            DeValue::String(text) => self.expanded(name, text, &value.span()),
            other => match scalar(shape, other) {
                Some(text) => Some((text, value.span())),
                None => self.mistaken(name, value, need),
            },
        }
    }

    fn single(&mut self, key: &Definition, name: &str, value: &Node<'_>) -> Option<Text> {
        match value.get_ref() {
            DeValue::Array(words) if key.is_command_line() => {
                let words = self.array(name, words).into_iter().map(|(word, _)| word);
                Some((shell_words::join(words), value.span()))
            }
            // Each word by itself: what a variable holds is not split.
            DeValue::String(line) if key.is_command_line() && expansion::has_any(line) => {
                let words = self.split(name, line, value).into_iter().map(|(word, _)| word);
                Some((shell_words::join(words), value.span()))
            }
            _ => self.text(key.shape, name, value, "a string or a number"),
        }
    }

    /// An array, or a single value for a list of one. A command in one string is split as a shell would.
    fn list(&mut self, key: &Definition, name: &str, value: &Node<'_>) -> Vec<Text> {
        match value.get_ref() {
            DeValue::Array(items) if key.is_bind() => items.iter().filter_map(|item| self.bind(name, item)).collect(),
            DeValue::Array(items) => self.array(name, items),
            DeValue::String(line) if key.is_command_line() => self.command_line(name, line, value),
            DeValue::Table(_) if key.is_bind() => self.bind(name, value).into_iter().collect(),
            _ => self.text(key.shape, name, value, "a list of strings").into_iter().collect(),
        }
    }

    fn command_line(&mut self, name: &str, line: &str, value: &Node<'_>) -> Vec<Text> {
        if let Some(sign) = shell_signs::first(line) {
            let instead =
                "write worker.directory for cd, env.set for variables, or [\"/bin/sh\", \"-c\", \"exec PROGRAM ...\"]";
            let message =
                format!("{name} {line:?}: no shell reads it, so {sign} would be taken as it stands: {instead}");
            self.refuse(&value.span(), message);
            return Vec::new();
        }
        self.split(name, line, value)
    }

    /// The words of a command line, each with what its variables hold.
    fn split(&mut self, name: &str, line: &str, value: &Node<'_>) -> Vec<Text> {
        let words = shell_words::split(line).unwrap_or_else(|_| {
            self.refuse(&value.span(), format!("{name} {line:?}: need a command line with its quotes closed"));
            Vec::new()
        });
        words.iter().filter_map(|word| self.expanded(name, word, &value.span())).collect()
    }

    fn array(&mut self, name: &str, items: &DeArray<'_>) -> Vec<Text> {
        items.iter().filter_map(|item| self.text(ANY, name, item, "strings in this list")).collect()
    }

    /// `NAME = VALUE` in a table of them.
    fn map(&mut self, name: &str, value: &Node<'_>) -> Vec<Text> {
        let Some(table) = self.table(name, value) else { return Vec::new() };
        let mut found = Vec::new();
        for (key, value) in table {
            let full = format!("{name}.{}", key.get_ref());
            // What stands below a header belongs to it, which is easily forgotten, and would make a variable of it.
            if variables().any(|table| table == name) && keys().any(|known| known.place() == ("", key.get_ref())) {
                let message = format!("{full}: is the name of a setting, which stands above the first table");
                self.refuse(&key.span(), message);
            } else if key.get_ref().contains('=') {
                self.refuse(&key.span(), format!("{name}: {:?} cannot be a name, it has a =", key.get_ref()));
            } else if let Some((text, span)) = self.text(ANY, &full, value, "a string or a number") {
                found.push((format!("{}={text}", key.get_ref()), span));
            }
        }
        found
    }

    /// A bind, as a string or as a table, in its short form.
    fn bind(&mut self, name: &str, value: &Node<'_>) -> Option<Text> {
        match value.get_ref() {
            DeValue::String(text) => self.expanded(name, text, &value.span()),
            DeValue::Table(table) => self.bind_table(table, value.span()),
            _ => self.mistaken(name, value, "strings or tables in this list"),
        }
    }

    fn bind_table(&mut self, table: &DeTable<'_>, span: Range<usize>) -> Option<Text> {
        let (mut address, mut flags) = (None, String::new());
        for (key, value) in table {
            let name = format!("bind.{}", key.get_ref());
            match TABLE_KEYS.iter().find(|(known, ..)| known == key.get_ref()).map(|(_, kind, _)| kind) {
                Some(BindKey::Address) => match value.get_ref() {
                    DeValue::String(text) => address = Some(self.expanded(&name, text, &value.span())?),
                    _ => self.mistaken(&name, value, "a string")?,
                },
                Some(BindKey::Flag(flag)) => {
                    let (on, _) = self.switch(&name, value)?;
                    flags.push_str(&if on == "true" { format!(",{flag}") } else { String::new() });
                }
                Some(BindKey::Setting(shape)) => {
                    if let Some((text, span)) = self.text(*shape, &name, value, "a string or a number") {
                        if text.contains(',') {
                            self.refuse(&span, format!("{name}: cannot have a comma"));
                        }
                        flags.push_str(&format!(",{}={text}", key.get_ref()));
                    }
                }
                None => {
                    let near = nearest(key.get_ref(), TABLE_KEYS.iter().map(|(known, ..)| *known));
                    self.unknown_key(key.get_ref(), &key.span(), near);
                }
            }
        }
        if address.is_none() {
            self.refuse(&span, "bind: need an address in this table, as in address = \"0.0.0.0:80\"".to_owned());
        }
        address.map(|(address, span)| (address + &flags, span))
    }

    /// A string, with what its variables hold.
    fn expanded(&mut self, name: &str, text: &str, span: &Range<usize>) -> Option<Text> {
        let fault = match expansion::expand(text, self.variable) {
            Ok(expanded) if expanded.len() <= text.len().saturating_add(self.left) => {
                self.left -= expanded.len().saturating_sub(text.len());
                return Some((expanded.into_owned(), span.clone()));
            }
            Ok(_) => Fault::Other(format!("variables make the file longer by more than {EXPANDED_MAX} bytes")),
            Err(fault) => fault,
        };
        match fault {
            Fault::Other(need) => self.refuse(span, format!("{name}: {need}")),
            Fault::Unset(variable) => {
                let message = format!(
                    "{name}: the variable {variable} is not set where this runs: set it, write ${{{variable}:-DEFAULT}}, or $${{{variable}}} \
                     for what stays as it is"
                );
                self.unset.push((span.start, ConfigError::in_file(&self.place("", span), &message)));
            }
        }
        None
    }

    fn table<'t, 'i>(&mut self, name: &str, value: &'t Node<'i>) -> Option<&'t DeTable<'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => self.mistaken(name, value, "a table"),
        }
    }

    fn unknown(&mut self, table: &str, name: &str, span: &Range<usize>) {
        let tables = keys().map(|key| key.place().0).filter(|table| !table.is_empty());
        let known = keys().map(|key| key.name).chain(keys().filter_map(|key| key.alias));
        let known: Vec<&str> = known.chain([PROFILES]).chain(tables).collect();
        // To forget the table, or to be still in one, is as likely as a slip of the fingers.
        let bare = bare_name(table, name);
        let displaced = known.iter().find(|known| **known == bare || bare_name(table_of(known), known) == bare);
        // A variable, as it stands in a shell.
        if table == ENV
            && bare.starts_with(|char: char| char.is_ascii_uppercase())
            && !bare.contains(|char: char| char.is_ascii_lowercase())
        {
            return self.unknown_key(name, span, Some(&format!("{ENV}.set.{bare}")));
        }
        let elsewhere = || known_elsewhere(bare).map(|key| key.name);
        let near = displaced.copied().or_else(elsewhere).or_else(|| nearest(name, known.iter().copied()));
        self.unknown_key(name, span, near.filter(|near| *near != name));
    }

    fn unknown_key(&mut self, name: &str, span: &Range<usize>, nearest: Option<&str>) {
        let problem = ConfigError::unknown_key(&self.place(name, span), nearest);
        self.found.push((span.start, problem));
    }

    fn mistaken<T>(&mut self, name: &str, value: &Node<'_>, need: &str) -> Option<T> {
        let what = kind_of(value.get_ref());
        self.refuse(&value.span(), format!("{name}: need {need}, not {what}"));
        None
    }

    fn refuse(&mut self, span: &Range<usize>, message: String) {
        let problem = ConfigError::in_file(&self.place("", span), &message);
        self.found.push((span.start, problem));
    }

    fn place(&self, key: &str, span: &Range<usize>) -> Place {
        let (line, column) = self.positions[span.start.min(self.positions.len() - 1)];
        Place { file: Arc::clone(&self.file), line: line as usize, column: column as usize, key: key.to_owned() }
    }
}

/// The line and the column of each byte of a text, and of its end: from 1, in characters, as editors count. A file may have a place for
/// each of a hundred thousand words on one line, so that counting anew for each would take too long.
fn positions(text: &str) -> Vec<(u32, u32)> {
    let mut positions = Vec::with_capacity(text.len() + 1);
    let mut next = (1, 1);
    for char in text.chars() {
        positions.resize(positions.len() + char.len_utf8(), next);
        next = if char == '\n' { (next.0 + 1, 1) } else { (next.0, next.1 + 1) };
    }
    positions.push(next);
    positions
}

fn table_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(table, _)| table)
}

/// The key without its table.
fn bare_name<'a>(table: &str, name: &'a str) -> &'a str {
    name.strip_prefix(table).map_or(name, |rest| rest.trim_start_matches('.'))
}

/// A single value as a command line would have it. Integers of another base become decimal; but permissions are read as
/// octal digits, so those of an octal integer stay.
fn scalar(shape: Shape, value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) if number.radix() == 8 && matches!(shape, Shape::Permissions(_)) => {
            Some(number.as_str().to_owned())
        }
        DeValue::Integer(number) => {
            let decimal = i128::from_str_radix(number.as_str(), number.radix());
            Some(decimal.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_where_counting_finds_it() {
        for text in ["", "a", "a\nb\n", "ä\n日本🦄 x\n\n", &"xä🦄\n".repeat(100), &"日".repeat(200)] {
            let positions = positions(text);
            assert_eq!(positions.len(), text.len() + 1);
            for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                let before = &text[..at];
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                assert_eq!(positions[at], (line as u32, column as u32), "{at} in {text:?}");
            }
        }
    }
}
