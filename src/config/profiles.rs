//! Which profiles of a file count, and in which order: those that were asked for, each after what it inherits. Reads no
//! value.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::error::ConfigError;
use crate::config::file::{Document, Profile};
use crate::config::nearest::nearest;
use crate::config::origin::Word;

/// How many profiles may inherit one from the other in a row; a person has lost count long before.
const DEPTH_MAX: usize = 32;

/// How many profiles an error lists.
const LISTED_MAX: usize = 20;

/// The words of the profiles named, the last one on top. A profile that is reached twice counts where it is reached last.
pub(super) fn layers(
    document: &Document,
    asked: &[(String, String)],
    problems: &mut Vec<ConfigError>,
) -> Vec<Vec<Word>> {
    let profiles = document.profiles.iter().map(|profile| (profile.name.as_str(), profile)).collect();
    let mut order: Vec<&Profile> = Vec::new();
    for (name, spelled) in asked {
        let (path, found, met) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut walk = Walk { document, profiles: &profiles, path, found, met, problems };
        walk.add(name, &|| format!("{spelled} {name}"));
        order.extend(walk.found);
    }
    let mut met = BTreeSet::new();
    order.reverse();
    order.retain(|profile| met.insert(profile.name.as_str()));
    problems.extend(order.iter().rev().flat_map(|profile| profile.unset.clone()));
    order.into_iter().rev().map(|profile| profile.words.clone()).collect()
}

/// The way from a profile to all that it inherits.
struct Walk<'a, 'b> {
    document: &'a Document,
    profiles: &'b BTreeMap<&'a str, &'a Profile>,
    /// The names that lead to where the walk is.
    path: Vec<String>,
    /// Each after what it inherits, and each once: a file of diamonds must not take for ever.
    found: Vec<&'a Profile>,
    /// The names of those.
    met: BTreeSet<&'a str>,
    problems: &'b mut Vec<ConfigError>,
}

impl<'a> Walk<'a, '_> {
    fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.document.profiles.iter().map(|profile| profile.name.as_str())
    }

    fn refuse(&mut self, spelled: &str, reason: &str) {
        self.problems.push(ConfigError::new(format!("{spelled}: {reason}")));
    }

    /// Adds the profile after all that it inherits. `spelled` is how an error names the place that asks for it.
    fn add(&mut self, name: &str, spelled: &dyn Fn() -> String) {
        let Some(&profile) = self.profiles.get(name) else {
            let more = self.names().nth(LISTED_MAX).map(|_| "...");
            let known: Vec<&str> = self.names().take(LISTED_MAX).chain(more).collect();
            let hint = match nearest(name, self.names()) {
                Some(near) => format!("did you mean {near:?}?"),
                None if known.is_empty() => "the file has none".to_owned(),
                None => format!("the file has {}", known.join(", ")),
            };
            return self.refuse(&spelled(), &format!("there is no such profile, {hint}"));
        };
        if self.path.iter().any(|known| known == name) {
            let circle = format!("{} -> {name}", self.path.join(" -> "));
            return self.refuse(&spelled(), &format!("the profiles inherit each other in a circle, {circle}"));
        }
        if self.path.len() >= DEPTH_MAX {
            return self.refuse(&spelled(), &format!("more than {DEPTH_MAX} profiles inherit one from the other"));
        }
        if self.met.contains(name) {
            return;
        }
        self.path.push(name.to_owned());
        for (inherited, place) in &profile.inherits {
            self.add(inherited, &|| format!("{}: {} {inherited}", place.position(), place.shown_key()));
        }
        self.path.pop();
        self.met.insert(&profile.name);
        self.found.push(profile);
    }
}
