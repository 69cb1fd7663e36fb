//! What two configurations differ in, and what it takes for a difference to show. Decides what stays when a file is read
//! again: what was set on the control socket since, and what cannot change while the master runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use serde::Serialize;

use crate::config::definition::{Effect, Kind};
use crate::config::options::{Config, Definition, aliases, commanded, keys};
use crate::config::origin::{Origin, Provided, Word, split_at_equals};

/// One option that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// With its table; an entry of a table of names with its name: `env.set.RAILS_ENV`.
    pub key: String,
    /// None: no value. What is set in the environment is never shown, only that it is.
    pub from: Option<String>,
    pub to: Option<String>,
    /// Where the new value comes from: `web.toml:12`.
    pub origin: String,
    pub effect: Effect,
}

/// What differs, in the order of the definition.
pub fn differences(old: &Config, new: &Config) -> Vec<Difference> {
    let mut found = Vec::new();
    for key in keys() {
        let shown = |given: &Provided| shown(given, key);
        if key.kind == Kind::Map {
            found.extend(of_map(&old.given, &new.given, key));
        } else if shown(&old.given) != shown(&new.given) {
            let origin = new.given.origin(key.name).shown(key.name);
            let (from, to) = (shown(&old.given), shown(&new.given));
            found.push(Difference { key: key.name.to_owned(), from, to, origin, effect: effect(key, old, new) });
        }
    }
    found.extend(of_env_files(old, new));
    found
}

/// Keeps, for what the control socket has changed since `loaded` was read, the value that is in force, unless the file says
/// something else than it did then.
pub fn keep_commanded(new: &mut Config, loaded: &Config, running: &Config) {
    let is_kept = |option: &&Definition| {
        let is_commanded = *running.given.origin(option.name) == Origin::ControlSocket;
        is_commanded
            && aliases(option.name).iter().all(|name| new.given.effective(name) == loaded.given.effective(name))
    };
    let kept: Vec<&Definition> = commanded().into_iter().map(|(option, _)| option).filter(is_kept).collect();
    keep(new, running, kept);
}

/// Keeps what cannot change while the master runs.
pub fn keep_fixed(new: &mut Config, running: &Config) {
    let is_fixed = |option: &&Definition| effect(option, new, running) == Effect::Restart;
    // Of `nice` the workers' part with it: half of a value would be hard to tell of.
    let kept: Vec<&Definition> = keys().filter(is_fixed).collect();
    keep(new, running, kept);
}

fn keep(new: &mut Config, running: &Config, options: Vec<&Definition>) {
    for option in options {
        let names = aliases(option.name);
        new.given.replace(&names, names.iter().flat_map(|name| running.given.words(name)).cloned());
    }
    new.read_again();
}

/// What it takes for a new value of this key to count. `nice` counts for new workers in its second part alone.
pub fn effect_of(key: &str) -> Effect {
    let option = keys().find(|option| option.name == key || option.alias == Some(key));
    option.map_or(Effect::AtOnce, |option| option.effect)
}

fn effect(key: &Definition, old: &Config, new: &Config) -> Effect {
    let of_master = key.name == "nice" && old.nice.master != new.nice.master;
    if of_master { Effect::Restart } else { key.effect }
}

fn shown(given: &Provided, key: &Definition) -> Option<String> {
    let values: Vec<String> = given.values(key.name).iter().map(|value| value.to_string_lossy().into_owned()).collect();
    // A switch that is off says nothing, unless it may be on by default.
    let is_nothing = |value: &str| value == "false" && key.default == Some("false");
    let values: Vec<String> = values.into_iter().filter(|value| !is_nothing(value)).collect();
    (!values.is_empty()).then(|| values.join(if key.is_command_line() { " " } else { ", " }))
}

fn of_map(old: &Provided, new: &Provided, key: &Definition) -> Vec<Difference> {
    let (mut old, mut new) = (entries(old, key.name), entries(new, key.name));
    let names: BTreeSet<Vec<u8>> = old.keys().chain(new.keys()).cloned().collect();
    let mut found = Vec::new();
    for name in names {
        let (was, is) = (old.remove(&name), new.remove(&name));
        if was.as_ref().map(|(value, _)| value) != is.as_ref().map(|(value, _)| value) {
            let origin = is.as_ref().map_or_else(|| Origin::Default.shown(key.name), |(_, origin)| origin.clone());
            let show = |value: Option<(OsString, String)>, word: &str| {
                value.map(
                    |(value, _)| if key.is_secret { word.to_owned() } else { value.to_string_lossy().into_owned() },
                )
            };
            let (effect, key) = (key.effect, format!("{}.{}", key.name, String::from_utf8_lossy(&name)));
            let (from, to) = (show(was, "(a value)"), show(is, "(another value)"));
            found.push(Difference { key, from, to, origin, effect });
        }
    }
    found
}

/// The entries of a table by name, each with its origin.
fn entries(given: &Provided, key: &str) -> BTreeMap<Vec<u8>, (OsString, String)> {
    let entry = |word: &Word| {
        let (name, value) = split_at_equals(word.value.as_deref()?.as_bytes());
        Some((name.to_vec(), (value.unwrap_or_default().to_owned(), word.origin.shown(key))))
    };
    given.words(key).filter_map(entry).collect()
}

/// The files may be the same, and say something else.
fn of_env_files(old: &Config, new: &Config) -> Option<Difference> {
    let of = |config: &Config| config.env.from_files.iter().cloned().collect::<BTreeSet<_>>();
    let (was, is) = (of(old), of(new));
    let names: BTreeSet<String> =
        was.symmetric_difference(&is).map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    (!names.is_empty()).then(|| Difference {
        key: "env.env-file".to_owned(),
        from: Some("(as it was read)".to_owned()),
        to: Some(format!("(differs in {})", names.into_iter().collect::<Vec<_>>().join(", "))),
        origin: new.given.origin("env.env-file").shown("env.env-file"),
        effect: Effect::NewWorkers,
    })
}
