//! What two configurations differ in, and what it takes for a difference to show. Decides what stays when a file is read
//! again: what was set on the control socket since, and what cannot change while the master runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use serde::Serialize;

use crate::config::Config;
use crate::config::definition::{Kind, keys};
use crate::config::origin::{Given, Origin};
use crate::config::words::{Word, split_at_equals};

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

/// What is opened once, under a name that others know.
const FIXED: [&str; 4] = ["command-name", "socket-path", "pidfile", "lockfile"];
/// What a worker is born with.
const OF_WORKERS: [&str; 10] = [
    "bind",
    "preload",
    "ipv4-only",
    "ipv6-only",
    "kill-children-on-exit",
    "drop-env-var",
    "nice",
    "command-socket-as-fd",
    "gc-before-fork",
    "command",
];

/// What differs, in the order of the definition.
pub fn differences(old: &Config, new: &Config) -> Vec<Difference> {
    let mut found = Vec::new();
    for key in keys() {
        let shown = |given: &Given| shown(given, &key.name);
        if key.kind == Kind::Map {
            found.extend(of_map(&old.given, &new.given, &key.name));
        } else if shown(&old.given) != shown(&new.given) {
            let origin = new.given.origin(&key.name).shown(&key.name);
            let (from, to) = (shown(&old.given), shown(&new.given));
            found.push(Difference { from, to, origin, effect: effect(&key.name, old, new), key: key.name });
        }
    }
    found.extend(of_env_files(old, new));
    found
}

/// Keeps, for what the control socket has changed since `loaded` was read, the value that is in force, unless the file says
/// something else than it did then.
pub fn keep_commanded(new: &mut Config, loaded: &Config, running: &Config) {
    let commanded = |flag: &str| *running.given.origin(flag) == Origin::ControlSocket;
    let same = |new: &Config, flag: &str| new.given.agrees(flag, &loaded.given);
    for (flag, copy) in COMMANDABLE {
        if commanded(flag) && same(new, flag) {
            copy(new, running);
            new.given.copy(flag, &running.given);
        }
    }
}

/// Keeps what cannot change while the master runs.
pub fn keep_fixed(new: &mut Config, running: &Config) {
    new.command_name.clone_from(&running.command_name);
    new.socket_path.clone_from(&running.socket_path);
    new.pidfile.clone_from(&running.pidfile);
    new.lockfile.clone_from(&running.lockfile);
    if new.nice.master != running.nice.master {
        // The workers' part with it: half of a value would be hard to tell of.
        new.nice.clone_from(&running.nice);
        new.given.copy("nice", &running.given);
    }
    for flag in FIXED {
        new.given.copy(flag, &running.given);
    }
}

type Copy = fn(&mut Config, &Config);

/// What commands on the control socket can change.
const COMMANDABLE: [(&str, Copy); 8] = [
    ("number", |new, running| new.number = running.number),
    ("seconds", |new, running| new.seconds = running.seconds),
    ("signal-timeout", |new, running| new.signal_timeout = running.signal_timeout),
    ("max-unacked", |new, running| new.max_unacked = running.max_unacked),
    ("max-upgrade-additional", |new, running| new.max_upgrade_additional = running.max_upgrade_additional),
    ("ack-timeout", |new, running| new.ack_timeout = running.ack_timeout),
    ("retries", |new, running| new.retries = running.retries),
    ("log.level", |new, running| new.log.level = running.log.level),
];

/// What it takes for a new value of this key to count. `nice` counts for new workers in its second part alone.
pub fn effect_of(key: &str) -> Effect {
    if FIXED.contains(&key) {
        Effect::Restart
    } else if OF_WORKERS.contains(&key) || key.starts_with("env.") || key.starts_with("worker.") {
        Effect::NewWorkers
    } else {
        Effect::AtOnce
    }
}

fn effect(key: &str, old: &Config, new: &Config) -> Effect {
    let of_master = key == "nice" && old.nice.master != new.nice.master;
    if of_master { Effect::Restart } else { effect_of(key) }
}

fn shown(given: &Given, key: &str) -> Option<String> {
    let values: Vec<String> = given.values(key).iter().map(|value| value.to_string_lossy().into_owned()).collect();
    // A switch that is off says nothing.
    let values: Vec<String> = values.into_iter().filter(|value| value != "false").collect();
    (!values.is_empty()).then(|| values.join(if key == "command" { " " } else { ", " }))
}

fn of_map(old: &Given, new: &Given, key: &str) -> Vec<Difference> {
    let (mut old, mut new) = (entries(old, key), entries(new, key));
    let names: BTreeSet<Vec<u8>> = old.keys().chain(new.keys()).cloned().collect();
    let mut found = Vec::new();
    for name in names {
        let (was, is) = (old.remove(&name), new.remove(&name));
        if was.as_ref().map(|(value, _)| value) != is.as_ref().map(|(value, _)| value) {
            let origin = is.as_ref().map_or_else(|| Origin::Default.shown(key), |(_, origin)| origin.clone());
            let hidden = key == "env.set";
            let show = |value: Option<(OsString, String)>, word: &str| {
                value.map(|(value, _)| if hidden { word.to_owned() } else { value.to_string_lossy().into_owned() })
            };
            let key = format!("{key}.{}", String::from_utf8_lossy(&name));
            let (from, to) = (show(was, "(a value)"), show(is, "(another value)"));
            found.push(Difference { key, from, to, origin, effect: Effect::NewWorkers });
        }
    }
    found
}

/// The entries of a table by name, each with its origin.
fn entries(given: &Given, key: &str) -> BTreeMap<Vec<u8>, (OsString, String)> {
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
