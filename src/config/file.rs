//! A configuration file, text -> words: the same words as those of a command line, each with its place. Knows the keys from
//! the definition and the shape of each value, never its meaning. Collects every problem and opens nothing.

use std::ffi::OsString;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::config::ConfigError;
use crate::config::bind::SHARED_DIRECTORY;
use crate::config::definition::{Kind, Shape};
use crate::config::nearest::nearest;
use crate::config::options::{Definition, keys};
use crate::config::origin::{Origin, Place};
use crate::config::positions::Positions;
use crate::config::words::Word;

/// Where the profiles stand, and what one of them may say beside the keys.
const PROFILES: &str = "profiles";
const INHERITS: &str = "inherits";
/// What a bind may say when it is a table; the order is that of the short form.
const BIND_KEYS: [&str; 5] = ["address", "reuse-addr", "nonblock", "mode", SHARED_DIRECTORY];

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
}

/// Reads the text of a file; `name` is how errors call it. What is wrong is added to `problems`, in the order of the text.
pub(super) fn read(name: &str, text: &str, problems: &mut Vec<ConfigError>) -> Document {
    let positions = Positions::of(text);
    let mut reader = Reader { file: name.into(), positions, found: Vec::new() };
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut document = Document::default();
    // What was made out of a broken text would be complained of for what it is not.
    if errors.is_empty() {
        document = reader.root(root.get_ref());
    }
    for error in errors {
        let span = error.span().unwrap_or(text.len()..text.len());
        let message = match (error.message(), text.get(span.clone())) {
            ("duplicate key", Some(key)) => format!("duplicate key {key:?}"),
            (message, _) => message.to_owned(),
        };
        reader.complain(&span, message);
    }
    reader.found.sort_by_key(|(position, _)| *position);
    problems.extend(reader.found.into_iter().map(|(_, problem)| problem));
    document
}

/// The names that a file knows beside those of the definition: other names of keys, what a bind may say when it is a table,
/// and what a profile alone may say. Each with its table.
pub fn further_names() -> Vec<String> {
    let aliases = keys().filter_map(|key| key.alias).map(str::to_owned);
    let of_binds = BIND_KEYS.iter().map(|key| format!("bind.{key}"));
    aliases.chain(of_binds).chain([format!("{PROFILES}.{INHERITS}")]).collect()
}

type Entry<'a, 'i> = (&'a Spanned<std::borrow::Cow<'i, str>>, &'a Spanned<DeValue<'i>>);

struct Reader<'a> {
    file: Arc<str>,
    positions: Positions<'a>,
    /// With the line and column of each.
    found: Vec<((usize, usize), ConfigError)>,
}

impl Reader<'_> {
    fn root(&mut self, root: &DeTable<'_>) -> Document {
        let mut document = Document::default();
        for entry in root {
            if entry.0.get_ref() == PROFILES {
                document.profiles = self.profiles(entry.1);
            } else {
                self.entry("", entry, &mut document.words);
            }
        }
        document
    }

    fn profiles(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<Profile> {
        let Some(table) = self.table(PROFILES, value) else { return Vec::new() };
        table.iter().filter_map(|(name, value)| self.profile(name.get_ref(), value)).collect()
    }

    fn profile(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<Profile> {
        let table = self.table(&format!("{PROFILES}.{name}"), value)?;
        let mut profile = Profile { name: name.to_owned(), inherits: Vec::new(), words: Vec::new() };
        for entry in table {
            if entry.0.get_ref() == INHERITS {
                profile.inherits = self.strings(INHERITS, entry.1);
            } else {
                self.entry("", entry, &mut profile.words);
            }
        }
        Some(profile)
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

    fn values(&mut self, key: &Definition, name: &str, value: &Spanned<DeValue<'_>>, words: &mut Vec<Word>) {
        let found: Vec<(Option<String>, Range<usize>)> = match key.kind {
            Kind::Switch => self.switch(name, value).into_iter().collect(),
            Kind::Single => self.single(key, name, value).into_iter().collect(),
            Kind::List => self.list(key, name, value),
            Kind::Map => self.map(name, value),
        };
        for (value, span) in found {
            let origin = Origin::File(self.place(name, &span));
            let word = Word { flag: key.name.to_owned(), origin, value: value.map(OsString::from) };
            self.refuse_second(key, &word, words);
            words.push(word);
        }
    }

    /// Two names of one key, both used.
    fn refuse_second(&mut self, key: &Definition, word: &Word, words: &[Word]) {
        let Origin::File(place) = &word.origin else { return };
        if key.kind != Kind::Single {
            return;
        }
        if let Some(first) = words.iter().find(|first| first.flag == word.flag) {
            let other = first.origin.referred(&first.flag);
            let problem = ConfigError::Conflict { spelled: word.origin.spelled(&word.flag), other };
            self.found.push(((place.line, place.column), problem));
        }
    }

    fn switch(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<(Option<String>, Range<usize>)> {
        match value.get_ref() {
            DeValue::Boolean(on) => Some((Some(on.to_string()), value.span())),
            _ => self.mistaken(name, value, "true or false"),
        }
    }

    /// What `scalar` makes of a value, unless it is an integer of a base in which nobody writes permissions.
    fn plain(&mut self, shape: Shape, name: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        match value.get_ref() {
            DeValue::Integer(number)
                if matches!(shape, Shape::Permissions(_)) && ![8, 10].contains(&number.radix()) =>
            {
                self.mistaken(name, value, "octal digits, as in \"0660\" or 0o660")
            }
            value => scalar(shape, value),
        }
    }

    fn single(
        &mut self,
        key: &Definition,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<(Option<String>, Range<usize>)> {
        let problem_count = self.found.len();
        match (self.plain(key.shape, name, value), value.get_ref()) {
            (None, _) if self.found.len() > problem_count => None,
            (Some(text), _) => Some((Some(text), value.span())),
            (None, DeValue::Array(words)) if key.is_command_line() => {
                let words: Vec<String> = self.array(name, words).into_iter().map(|(word, _)| word).collect();
                Some((Some(shell_words::join(words)), value.span()))
            }
            (None, _) => self.mistaken(name, value, "a string or a number"),
        }
    }

    /// An array, or a single value for a list of one. A command in one string is split as a shell would.
    fn list(
        &mut self,
        key: &Definition,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Vec<(Option<String>, Range<usize>)> {
        let found: Vec<(String, Range<usize>)> = match value.get_ref() {
            DeValue::Array(items) if key.is_bind() => items.iter().filter_map(|item| self.bind(name, item)).collect(),
            DeValue::Array(items) => self.array(name, items),
            DeValue::String(line) if key.is_command_line() => self.command_line(name, line, value),
            DeValue::Table(_) if key.is_bind() => self.bind(name, value).into_iter().collect(),
            DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
                self.none(name, value, "a list of strings")
            }
            other => scalar(key.shape, other).map(|text| (text, value.span())).into_iter().collect(),
        };
        let is_empty_array = value.get_ref().as_array().is_some_and(|items| items.is_empty());
        let cleared = is_empty_array.then(|| (None, value.span()));
        found.into_iter().map(|(text, span)| (Some(text), span)).chain(cleared).collect()
    }

    fn command_line(&mut self, name: &str, line: &str, value: &Spanned<DeValue<'_>>) -> Vec<(String, Range<usize>)> {
        match shell_words::split(line) {
            Ok(words) => words.into_iter().map(|word| (word, value.span())).collect(),
            Err(_) => {
                self.complain(&value.span(), format!("{name} {line:?}: need a command line with its quotes closed"));
                Vec::new()
            }
        }
    }

    fn array(&mut self, name: &str, items: &DeArray<'_>) -> Vec<(String, Range<usize>)> {
        let mut found = Vec::new();
        for item in items {
            match scalar(Shape::Text("VALUE"), item.get_ref()) {
                Some(text) => found.push((text, item.span())),
                None => {
                    let _told: Option<()> = self.mistaken(name, item, "strings in this list");
                }
            }
        }
        found
    }

    /// `NAME = VALUE` in a table of them.
    fn map(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Vec<(Option<String>, Range<usize>)> {
        let Some(table) = self.table(name, value) else { return Vec::new() };
        let mut found = Vec::new();
        for (key, value) in table {
            let full = format!("{name}.{}", key.get_ref());
            match scalar(Shape::Text("VALUE"), value.get_ref()) {
                // What stands below a header belongs to it, which is easily forgotten, and would make a variable of it.
                _ if name == "env.set" && keys().any(|known| known.place() == ("", key.get_ref())) => {
                    let said = format!("{full}: is the name of a setting, which stands above the first table");
                    self.complain(&key.span(), said);
                }
                _ if key.get_ref().contains('=') => {
                    self.complain(&key.span(), format!("{name}: {:?} cannot be a name, it has a =", key.get_ref()));
                }
                Some(text) => found.push((Some(format!("{}={text}", key.get_ref())), value.span())),
                None => {
                    let _told: Option<()> = self.mistaken(&full, value, "a string or a number");
                }
            }
        }
        found
    }

    /// A bind, as a string or as a table, in its short form.
    fn bind(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<(String, Range<usize>)> {
        match value.get_ref() {
            DeValue::String(text) => Some((text.to_string(), value.span())),
            DeValue::Table(table) => self.bind_table(table, value.span()),
            _ => self.mistaken(name, value, "strings or tables in this list"),
        }
    }

    fn bind_table(&mut self, table: &DeTable<'_>, span: Range<usize>) -> Option<(String, Range<usize>)> {
        let (mut address, mut flags) = (None, String::new());
        for (key, value) in table {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("address", DeValue::String(text)) => address = Some((text.to_string(), value.span())),
                ("reuse-addr", DeValue::Boolean(on)) => flags.push_str(if *on { ",r" } else { "" }),
                ("nonblock", DeValue::Boolean(on)) => flags.push_str(if *on { ",n" } else { "" }),
                (SHARED_DIRECTORY, DeValue::Boolean(on)) => flags.push_str(if *on { ",shared-directory" } else { "" }),
                ("mode", _) => {
                    let mode = self.plain(Shape::Permissions("MODE"), "bind.mode", value);
                    flags.push_str(&mode.map(|mode| format!(",mode={mode}")).unwrap_or_default());
                }
                ("address", _) => self.mistaken(&format!("bind.{}", key.get_ref()), value, "a string")?,
                ("reuse-addr" | "nonblock" | SHARED_DIRECTORY, _) => {
                    self.mistaken(&format!("bind.{}", key.get_ref()), value, "true or false")?;
                }
                (unknown, _) => {
                    let near = nearest(unknown, BIND_KEYS.into_iter()).map(str::to_owned);
                    self.report(&key.span(), |place| ConfigError::UnknownKey { place, nearest: near }, unknown);
                }
            }
        }
        if address.is_none() {
            self.complain(&span, "bind: need an address in this table, as in address = \"0.0.0.0:80\"".to_owned());
        }
        address.map(|(address, span)| (address + &flags, span))
    }

    /// A string or a list of strings, each with its place.
    fn strings(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Vec<(String, Place)> {
        let found = match value.get_ref() {
            DeValue::Array(items) => self.array(name, items),
            DeValue::String(text) => vec![(text.to_string(), value.span())],
            _ => self.none(name, value, "a string or a list of strings"),
        };
        found.into_iter().map(|(text, span)| (text, self.place(name, &span))).collect()
    }

    fn table<'t, 'i>(&mut self, name: &str, value: &'t Spanned<DeValue<'i>>) -> Option<&'t DeTable<'i>> {
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
        let near = displaced.copied().or_else(|| nearest(name, known.iter().copied()));
        let near = near.filter(|near| *near != name).map(str::to_owned);
        self.report(span, |place| ConfigError::UnknownKey { place, nearest: near }, name);
    }

    fn mistaken<T>(&mut self, name: &str, value: &Spanned<DeValue<'_>>, need: &str) -> Option<T> {
        let what = kind_of(value.get_ref());
        self.complain(&value.span(), format!("{name}: need {need}, not {what}"));
        None
    }

    fn none<T>(&mut self, name: &str, value: &Spanned<DeValue<'_>>, need: &str) -> Vec<T> {
        self.mistaken(name, value, need).into_iter().collect()
    }

    fn complain(&mut self, span: &Range<usize>, message: String) {
        self.report(span, |place| ConfigError::InFile { place, message }, "");
    }

    fn report(&mut self, span: &Range<usize>, problem: impl FnOnce(Place) -> ConfigError, key: &str) {
        let place = self.place(key, span);
        self.found.push(((place.line, place.column), problem(place)));
    }

    fn place(&self, key: &str, span: &Range<usize>) -> Place {
        let (line, column) = self.positions.line_and_column(span.start);
        Place { file: Arc::clone(&self.file), line, column, key: key.to_owned() }
    }
}

fn table_of(name: &str) -> &str {
    name.split_once('.').map_or("", |(table, _)| table)
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
