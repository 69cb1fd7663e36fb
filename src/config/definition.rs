//! What can be known of an option: its names, its values, where it may be said, what it takes for a change to count. The options
//! themselves stand in `options`, one row each. Reads no value.

use std::ffi::OsStr;

use serde::Serialize;

/// What a value must be, to be shown after the option and the refused value.
pub(super) type Need = String;

/// One option. `C` is the struct that its value is written to.
pub struct Definition<C: 'static> {
    /// The long name, without dashes, and the key of the file, with its table: `number`, `worker.user`.
    pub name: &'static str,
    pub short: Option<char>,
    /// Another name of the key.
    pub alias: Option<&'static str>,
    /// What other programs call it: no name here, but a hint.
    pub elsewhere: &'static [&'static str],
    pub kind: Kind,
    pub shape: Shape,
    pub group: Group,
    pub help: &'static str,
    /// The value where none is given. An option without a default then has no value; the code that uses it decides what that means, and
    /// what depends on another option (modes, paths).
    pub default: Option<&'static str>,
    pub effect: Effect,
    /// Whether einhorn has it, too.
    pub is_einhorns: bool,
    /// Options of one subject set the same thing: the last one given counts, and one layer can give only one of them.
    pub subject: Option<Subject>,
    /// How `config` on the control socket may set it; `None` if it may not.
    pub commanded: Option<Commanded>,
    /// A flag that is acted on when the command line is read up to it.
    pub act: Option<Act>,
    /// Whether of `NAME=VALUE` only the name may be shown.
    pub is_secret: bool,
    /// What einhorn takes and its reader refuses: the nearest text that it accepts, if there is one.
    pub nearest: Option<fn(&str) -> Option<String>>,
    /// Reads a value; of a switch, only that it is on.
    pub read: fn(&mut C, &OsStr) -> Result<(), Need>,
}

/// How many values an option has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Switch,
    Single,
    List,
    /// A table of names and values.
    Map,
}

/// What a value looks like, and what the help calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Truth,
    Text(&'static str),
    /// A whole number from 1.
    Count(&'static str),
    /// A whole number from 0.
    Number(&'static str),
    /// A whole number from 1, or a word.
    CountOrWord(&'static str),
    /// A nice level.
    Level(&'static str),
    /// A whole number, or a text such as `25%`.
    Share(&'static str),
    /// A number of seconds, or a text such as `1m 30s`.
    Time(&'static str),
    /// A number of seconds, or a word.
    TimeOrWord(&'static str),
    /// Octal digits.
    Permissions(&'static str),
    /// One of these words, parted by `|`.
    Choice(&'static str),
    /// A command line in one text, or its words.
    CommandLine(&'static str),
    /// An address in one text, or a table.
    Bind(&'static str),
}

/// A heading of the help, or a table of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    pub heading: &'static str,
    pub place: Place,
    /// Of its options, unless an option says otherwise.
    pub effect: Effect,
}

/// Where an option may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Anywhere,
    File,
    CommandLine,
}

/// What it takes for a new value to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It counts as soon as it is read.
    AtOnce,
    /// It counts for the workers that are launched from then on, which an upgrade makes all of them.
    NewWorkers,
    /// The master has to be stopped and started.
    Restart,
}

/// What several options set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    AckMode,
    Family,
    LogLevel,
    LogTarget,
    Stages,
}

/// How `config` on the control socket sets an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commanded {
    /// What `config` calls it.
    pub name: &'static str,
    pub takes: Takes,
}

/// What `config` takes as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A whole number from 1 up to this.
    Count(u32),
    /// The same, or nil for no limit.
    CountOrNil(u32),
    /// A number of seconds.
    Seconds,
    SecondsOrNil,
    /// One of einhorn's grades, 0 to 2.
    Verbosity,
}

/// What the program does instead of running another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Help,
    Version,
    UpgradeCheck,
    Relay,
    Holder,
    ConfigSchema,
}

/// An option that is true or false, and false where nothing else is said.
pub(super) const fn switch<C>(group: Group, name: &'static str) -> Definition<C> {
    let default = match group.place {
        Place::Anywhere | Place::File => Some("false"),
        Place::CommandLine => None,
    };
    Definition { default, ..new(group, name, Kind::Switch, Shape::Truth) }
}

pub(super) const fn single<C>(group: Group, name: &'static str, shape: Shape) -> Definition<C> {
    new(group, name, Kind::Single, shape)
}

pub(super) const fn list<C>(group: Group, name: &'static str, shape: Shape) -> Definition<C> {
    new(group, name, Kind::List, shape)
}

/// A table of names and values.
pub(super) const fn map<C>(group: Group, name: &'static str) -> Definition<C> {
    new(group, name, Kind::Map, Shape::Text("NAME=VALUE"))
}

const fn new<C>(group: Group, name: &'static str, kind: Kind, shape: Shape) -> Definition<C> {
    Definition {
        name,
        short: None,
        alias: None,
        elsewhere: &[],
        kind,
        shape,
        group,
        help: "",
        default: None,
        effect: group.effect,
        is_einhorns: !matches!(group.place, Place::File),
        subject: None,
        commanded: None,
        act: None,
        is_secret: false,
        nearest: None,
        read: |_, _| Ok(()),
    }
}

/// A method for each property, which sets it.
macro_rules! properties {
    ($($name:ident($($value:ident: $type:ty)?) => $field:ident: $set:expr),+ $(,)?) => {
        impl<C> Definition<C> {
            $(pub const fn $name(self $(, $value: $type)?) -> Self {
                Self { $field: $set, ..self }
            })+
        }
    };
}

properties! {
    help(text: &'static str) => help: text,
    short(letter: char) => short: Some(letter),
    alias(name: &'static str) => alias: Some(name),
    elsewhere(names: &'static [&'static str]) => elsewhere: names,
    default(value: &'static str) => default: Some(value),
    without_default() => default: None,
    effect(effect: Effect) => effect: effect,
    not_einhorns() => is_einhorns: false,
    subject(subject: Subject) => subject: Some(subject),
    act(act: Act) => act: Some(act),
    secret() => is_secret: true,
    nearest(nearest: fn(&str) -> Option<String>) => nearest: Some(nearest),
    read(read: fn(&mut C, &OsStr) -> Result<(), Need>) => read: read,
}

impl<C> Definition<C> {
    pub const fn commanded(self, name: &'static str, takes: Takes) -> Self {
        Self { commanded: Some(Commanded { name, takes }), ..self }
    }

    pub fn is_flag(&self) -> bool {
        self.group.place != Place::File
    }

    pub fn is_key(&self) -> bool {
        self.group.place != Place::CommandLine
    }

    pub fn is_command_line(&self) -> bool {
        matches!(self.shape, Shape::CommandLine(_))
    }

    pub fn is_bind(&self) -> bool {
        matches!(self.shape, Shape::Bind(_))
    }

    /// What the help calls the value, or each of the values. `None` for a switch.
    pub fn value_name(&self) -> Option<&'static str> {
        match self.shape {
            Shape::Truth => None,
            Shape::Text(name)
            | Shape::Count(name)
            | Shape::CountOrWord(name)
            | Shape::Number(name)
            | Shape::Level(name) => Some(name),
            Shape::Share(name) | Shape::Time(name) | Shape::TimeOrWord(name) => Some(name),
            Shape::Permissions(name) | Shape::Choice(name) | Shape::CommandLine(name) | Shape::Bind(name) => Some(name),
        }
    }

    /// The table that the key stands in, and its name there. Top-level keys stand in "".
    pub fn place(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or(("", self.name))
    }
}
