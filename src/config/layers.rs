//! Puts what was said in several places on top of each other: default, file, profiles, command line. The later layer counts;
//! lists are replaced whole, tables are merged name by name. Reads no value but whether a switch is on.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;

use crate::config::definition::{Kind, Subject};
use crate::config::error::ConfigError;
use crate::config::options::{Definition, OPTIONS, aliases, find, variables};
use crate::config::origin::{Origin, Word};

/// The lowest layer.
pub(super) fn defaults() -> Vec<Word> {
    let word = |option: &Definition| {
        let value = option.default?.into();
        Some(Word { flag: option.name.to_owned(), origin: Origin::Default, value: Some(value) })
    };
    OPTIONS.iter().filter_map(word).collect()
}

/// Puts each layer on top of those before it. From the top down, so that each word is looked at once, however many layers
/// there are.
pub(super) fn merge(layers: impl IntoIterator<Item = Vec<Word>>) -> Vec<Word> {
    let layers: Vec<Vec<Word>> = layers.into_iter().collect();
    let mut above = Above::new();
    let mut kept: Vec<Vec<bool>> = Vec::with_capacity(layers.len());
    for layer in layers.iter().rev() {
        kept.push(layer.iter().map(|word| !above.contains(&slot(word))).collect());
        add(&mut above, layer);
    }
    let mut keeps = kept.into_iter().rev().flatten().collect::<Vec<_>>().into_iter();
    layers.into_iter().flatten().filter(|_| keeps.next().unwrap_or(true)).collect()
}

/// Adds the defaults that nothing stands in for. A default may have been replaced by an alternative that a higher layer then
/// turned off: it counts again, as if neither had been said.
pub(super) fn complete(mut words: Vec<Word>) -> Vec<Word> {
    for default in defaults() {
        let is_said = words.iter().any(|word| word.flag == default.flag);
        if !is_said && !words.iter().any(|word| word.is_active() && is_alternative(word, &default)) {
            words.push(default);
        }
    }
    words
}

/// What one place says twice, in two ways of which only one can count.
pub(super) fn contradictions(layer: &[Word]) -> Vec<ConfigError> {
    let mut found = Vec::new();
    // The first of each flag that has alternatives; there are only a few such flags.
    let mut firsts: Vec<&Word> = Vec::new();
    for word in layer.iter().filter(|word| word.is_active() && subject(word).is_some()) {
        if let Some(other) = firsts.iter().find(|other| other.flag != word.flag && is_alternative(other, word)) {
            found.push(ConfigError::conflict(&word.origin.spelled(&word.flag), &other.origin.referred(&other.flag)));
        }
        if !firsts.iter().any(|first| first.flag == word.flag) {
            firsts.push(word);
        }
    }
    found
}

/// What the layers above give: options, and the entries of tables by option and name.
type Above<'a> = BTreeSet<(&'a str, Option<&'a [u8]>)>;

fn add<'a>(above: &mut Above<'a>, layer: &'a [Word]) {
    for word in layer {
        above.insert(slot(word));
        if word.flag == "env.unset" {
            above.extend(variables().map(|table| (table, word.value.as_ref().map(|name| name.as_bytes()))));
        }
        // What is off does not hide its alternatives.
        if word.is_active() {
            above.extend(aliases(&word.flag).into_iter().map(|alias| (alias, None)));
        }
    }
}

/// What a word of a higher layer replaces.
fn slot(word: &Word) -> (&str, Option<&[u8]>) {
    let is_map = find(&word.flag).is_some_and(|option| option.kind == Kind::Map);
    (&word.flag, if is_map { word.map_name() } else { None })
}

fn is_alternative(one: &Word, other: &Word) -> bool {
    subject(one).is_some() && subject(one) == subject(other)
}

fn subject(word: &Word) -> Option<Subject> {
    find(&word.flag).and_then(|option| option.subject)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn words(text: &str) -> Vec<Word> {
        let word = |pair: &str| {
            let (flag, value) = pair.split_once('=').unwrap();
            let value = (!value.is_empty()).then(|| OsString::from(value));
            Word { flag: flag.to_owned(), origin: Origin::ControlSocket, value }
        };
        text.split_whitespace().map(word).collect()
    }

    fn merged(layers: &[&str]) -> String {
        let show = |word: Word| format!("{}={}", word.flag, word.value.unwrap_or_default().to_string_lossy());
        merge(layers.iter().map(|layer| words(layer))).into_iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_later_layer_counts_and_lists_are_replaced() {
        assert_eq!(merged(&["number=1 bind=a:1 bind=b:2", "number=2", "bind=c:3"]), "number=2 bind=c:3");
        assert_eq!(merged(&["bind=a:1", "bind="]), "bind=");
    }

    #[test]
    fn tables_are_merged_by_name_and_an_unset_variable_is_set_no_more() {
        assert_eq!(merged(&["env.set=A=1 env.set=B=2", "env.set=B=3"]), "env.set=A=1 env.set=B=3");
        assert_eq!(merged(&["env.set=A=1 env.set=B=2", "env.unset=A"]), "env.set=B=2 env.unset=A");
        assert_eq!(merged(&["worker.slots.env=A=1 env.set=A=2", "env.unset=A"]), "env.unset=A");
        assert_eq!(merged(&["env.unset=A", "env.set=A=1"]), "env.unset=A env.set=A=1");
        assert_eq!(
            merged(&["worker.rlimits=cpu=1", "worker.rlimits=core=0"]),
            "worker.rlimits=cpu=1 worker.rlimits=core=0"
        );
    }

    #[test]
    fn alternatives_replace_each_other_unless_they_are_off() {
        assert_eq!(merged(&["ack-mode=5", "manual=true"]), "manual=true");
        assert_eq!(merged(&["manual=true", "ack-mode=5"]), "ack-mode=5");
        assert_eq!(merged(&["ack-mode=5", "manual=false"]), "ack-mode=5 manual=false");
        assert_eq!(merged(&["log.level=info", "quiet=true", "verbose=true"]), "verbose=true");
    }

    #[test]
    fn a_default_comes_back_when_its_alternative_is_turned_off() {
        let layers = [defaults(), words("verbose=true"), words("verbose=false")];
        let words = complete(merge(layers));
        let level = words.iter().find(|word| word.flag == "log.level").unwrap();
        assert_eq!((level.value.as_deref(), &level.origin), (Some("info".as_ref()), &Origin::Default));
    }

    #[test]
    fn one_place_cannot_say_two_alternatives() {
        let line = |text: &str| contradictions(&words(text)).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(line("manual=true ack-mode=5"), ["--ack-mode: cannot stand together with --manual"]);
        assert_eq!(line("manual=false ack-mode=5 bind=a bind=b"), [""; 0]);
    }

    #[test]
    fn each_default_belongs_to_a_key_and_that_of_no_switch_is_on() {
        for option in OPTIONS {
            assert!(option.is_key() || option.default.is_none(), "{}", option.name);
            assert!(
                option.default != Some("true") || !option.is_key() || option.kind != Kind::Switch,
                "{}",
                option.name
            );
        }
    }
}
