//! Text -> values: turns the command line and the file that it names into one range-checked [`Config`].
//!
//! The steps, one file each: `words` finds the options of the command line and where the program begins, `file` makes the
//! same words of a TOML file, `profiles` chooses among its profiles, `layers` puts all of them on top of each other, and
//! `resolve` reads and checks the values. `options` has a row for every option, and the values that they are read into; `definition`
//! says what a row can tell. `print` and `schema` go the other way.
//!
//! Never prints, exits, opens a file, asks the system or reads the environment: what it needs comes in as parameters, and
//! what is wrong leaves as [`Problems`], complete before anything is opened.

mod bind;

mod definition;
mod difference;
mod einhorns;
mod env_file;
mod error;
mod expansion;
mod file;
mod layers;
mod nearest;
mod options;
mod origin;
mod paths;
mod print;
mod profiles;
mod resolve;
mod schema;
mod sections;
mod serialized;
mod shell_signs;
mod slots;
mod srv;
mod taken;
mod usage;
mod values;
mod words;

#[cfg(test)]
pub(crate) mod tests;

pub use bind::{Bind, BindFlags, SHARED_DIRECTORY};
pub use definition::{Commanded, Effect, Kind, Takes};
pub use difference::{Difference, differences, effect_of, keep_commanded, keep_fixed};
pub use einhorns::is_called_einhorn;
pub use error::{ConfigError, Problems};
pub use expansion::Variable;
pub use file::further_names;
pub use options::{Config, Definition, Family, commanded, flags, keys};
pub use origin::{Origin, Provided, Word};
pub use paths::{
    Directory, default_socket_path, lock_path, options_without_path, pid_path, service_directory, service_unit,
    socket_path,
};
pub use print::print;
pub use schema::schema;
pub use sections::{Env, Log as LogSettings, LogLevel, WorkerSetup};
pub use serialized::{from_foreign_words, to_args, unknown_to_einhorn};
pub use slots::SlotSetup;
pub use usage::{Detail, command_line, usage};
pub use values::{NUMBER_MAX, Nice, WorkerCount, is_masters};

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::config::definition::Act;
use crate::config::sections::Presence;
use crate::config::words::End;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    /// Run the program; it is empty only when `--with-state-fd` brings it along.
    Run(Box<Config>),
    Help,
    /// No program was given.
    Usage,
    Version,
    UpgradeCheck,
    /// Be the process that keeps the workers' output readable.
    Relay,
    /// Be the process that holds the listening sockets for the next master.
    Holder,
    PrintConfig(Box<Config>),
    /// The program may be missing.
    CheckConfig(Box<Config>),
    ConfigSchema,
}

/// Reads the text of a file.
pub type ReadFile<'a> = &'a dyn Fn(&Path, Trust) -> Result<String, Unread>;

/// Whether a file has to be one that other users cannot change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    Needed,
    /// The command line says that it is trusted.
    Given,
}

/// Why the text of a file cannot be had, in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// There is no such file.
    Missing(String),
    Other(String),
}

/// A check, as far as it has to be known before any file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedCheck {
    pub file: Option<PathBuf>,
    /// As which user to look.
    pub user: Option<String>,
}

/// Whether this command line asks for a check. What is wrong with it, [`parse`] says.
pub fn asked_check(args: Vec<OsString>) -> Option<AskedCheck> {
    let (words, _) = words::split(args).ok()?;
    let last = |flag: &str| words.iter().rev().find(|word| word.flag == flag);
    let value = |flag: &str| last(flag)?.value.clone();
    last("check-config").map(|_| AskedCheck {
        file: value("config").map(PathBuf::from),
        user: value("as").map(|user| user.to_string_lossy().into_owned()),
    })
}

/// What of a command line is taken as something else than was written, a sentence for each.
pub fn taken(argv0: &OsStr, args: Vec<OsString>) -> Vec<String> {
    words::split(args).map_or_else(|_| Vec::new(), |(words, end)| taken::take(argv0, with_binds(words, &end)).1)
}

/// With what the words of the program bind.
fn with_binds(mut words: Vec<Word>, end: &End) -> Vec<Word> {
    if let End::Program(program) = end {
        let binds = srv::binds(&words, program);
        words.extend(binds);
    }
    words
}

/// Reads a command line, and the files that it names; `args` are the words after `argv0`, `variable` is what a file may refer to.
///
/// As in einhorn, `-h`, `--version` and `--upgrade-check` act when they are reached: what is wrong before them is an
/// error, what comes after them is never looked at. What they come after is read for itself, without any file. What einhorn takes
/// and makes no sense is taken as the nearest that does; [`taken()`] says so.
///
/// # Errors
/// Everything that is wrong, in the order in which it was found.
pub fn parse(
    argv0: &OsStr,
    args: Vec<OsString>,
    read_file: ReadFile<'_>,
    variable: Variable<'_>,
) -> Result<Invocation, Problems> {
    let (words, end) = words::split(args)?;
    let (words, _said) = taken::take(argv0, with_binds(words, &end));
    let line = words::settle(words);
    let program = match end {
        End::Program(program) => program,
        End::Act(act) => return invoke(argv0, line, act),
    };
    let mut problems = Vec::new();
    let is_asked = |flag: &str| line.iter().any(|word| word.flag == flag);
    let (is_print, is_check) = (is_asked("print-config"), is_asked("check-config"));
    if is_asked("as") && !is_check {
        problems.push(ConfigError::new("--as: need --check-config too, a start takes no other user on".to_owned()));
    }
    let trust = if is_asked("trust-config") { Trust::Given } else { Trust::Needed };
    let read_file = |path: &Path| read_file(path, trust);
    let below = read_layers(&line, &read_file, variable, &mut problems);
    let line = line.into_iter().chain(words_of(&program)).collect();
    let words = layers::complete(layers::merge([vec![layers::defaults()], below, vec![line]].concat()));
    let mut config = resolve::read_each(argv0, Provided::new(words), &mut problems);
    read_env_files(&mut config, &read_file, &mut problems);
    if problems.is_empty() {
        problems = resolve::check_together(&config);
    }
    if config.program.first().is_some_and(|name| name.is_empty()) {
        problems.push(ConfigError::new(format!("{}: its name is empty", config.given.spelled_at("command", 0))));
    }
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    Ok(if is_print {
        Invocation::PrintConfig(Box::new(config))
    } else if is_check {
        Invocation::CheckConfig(Box::new(config))
    } else if config.program.is_empty() && config.with_state_fd.is_none() {
        if config.given.is_given("config") {
            return Err(ConfigError::no_program().into());
        }
        Invocation::Usage
    } else {
        Invocation::Run(Box::new(config))
    })
}

type ReadTrusted<'a> = dyn Fn(&Path) -> Result<String, Unread> + 'a;

/// Checks what came before a flag that acts when it is reached.
fn invoke(argv0: &OsStr, line: Vec<Word>, act: Act) -> Result<Invocation, Problems> {
    let mut problems = Vec::new();
    resolve::read_each(argv0, Provided::new(layers::merge([layers::defaults(), line])), &mut problems);
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    Ok(match act {
        Act::Help => Invocation::Help,
        Act::Version => Invocation::Version,
        Act::UpgradeCheck => Invocation::UpgradeCheck,
        Act::Relay => Invocation::Relay,
        Act::Holder => Invocation::Holder,
        Act::ConfigSchema => Invocation::ConfigSchema,
    })
}

/// The layers between the defaults and the command line: the file, and the profiles that were asked for.
fn read_layers(
    line: &[Word],
    read_file: &ReadTrusted<'_>,
    variable: Variable<'_>,
    problems: &mut Vec<ConfigError>,
) -> Vec<Vec<Word>> {
    let asked = |flag: &'static str| line.iter().filter(move |word| word.flag == flag);
    let profiles: Vec<_> = asked("profile").filter_map(named).collect();
    let Some(path) = asked("config").next_back().and_then(|word| word.value.clone()) else {
        let need = "is a profile of a file, need --config FILE too";
        problems.extend(profiles.first().map(|(name, spelled)| ConfigError::bad_value(spelled, name.as_ref(), need)));
        return Vec::new();
    };
    if let Err(need) = values::path(&path) {
        problems.push(ConfigError::bad_value("--config", &path, &need));
        return Vec::new();
    }
    let text = match read_file(Path::new(&path)) {
        Ok(text) => text,
        Err(Unread::Missing(message) | Unread::Other(message)) => {
            problems.push(ConfigError::new(message));
            return Vec::new();
        }
    };
    let document = file::read(&path.to_string_lossy(), &text, variable, problems);
    let profiles = profiles::layers(&document, &profiles, problems);
    let every_layer = document.profiles.iter().map(|profile| &profile.words).chain([&document.words]);
    problems.extend(every_layer.flat_map(|layer| layers::contradictions(layer)));
    [vec![document.words], profiles].concat()
}

/// A profile's name, and the option that asks for it as it was spelled.
fn named(word: &Word) -> Option<(String, String)> {
    let name = word.value.as_ref()?.to_string_lossy().into_owned();
    Some((name, word.origin.spelled(&word.flag)))
}

fn words_of(program: &[OsString]) -> impl Iterator<Item = Word> {
    program.iter().map(|word| Word {
        flag: "command".to_owned(),
        origin: Origin::CommandLine("cannot run the program".to_owned()),
        value: Some(word.clone()),
    })
}

/// The later of two equal names counts, at its place.
fn read_env_files(config: &mut Config, read_file: &ReadTrusted<'_>, problems: &mut Vec<ConfigError>) {
    let mut variables = std::mem::take(&mut config.env.from_files);
    for (file, origin) in config.env.files.iter().zip(config.given.origins("env.env-file")) {
        match read_file(&file.path) {
            Ok(text) => variables.extend(env_file::read(&file.path.to_string_lossy(), &text, problems)),
            Err(Unread::Missing(_)) if file.presence == Presence::Optional => {}
            Err(Unread::Missing(message) | Unread::Other(message)) => {
                let spelled = origin.spelled("env.env-file");
                problems.push(ConfigError::new(format!("{spelled}: {message}")));
            }
        }
    }
    config.env.from_files = env_file::last_of_each(variables);
}
