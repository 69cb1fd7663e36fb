//! What of a configuration leads through a link that a deploy switches and cannot be pinned with the version: a sentence for each,
//! that says what to write instead. Looks at nothing.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::base::printable;
use crate::config::Config;
use crate::release::links::Links;

/// `argv` is what is pinned already, as far as it can be.
pub(crate) fn sentences(config: &Config, links: &Links, argv: &[OsString]) -> Vec<String> {
    let of_words = argv.iter().filter_map(|word| {
        let advice = "write the path as an argument of its own, or relative to worker.directory";
        Some(config.blame("command", &sentence(links, "the argument", word, advice)?))
    });
    let advice = "write the path relative to worker.directory";
    let of_variable =
        |(name, value): &(OsString, OsString)| sentence(links, &format!("the variable {}", shown(name)), value, advice);
    let of_set = config.env.set.iter().enumerate().filter_map(|(at, variable)| Some((at, of_variable(variable)?)));
    let of_files = config.env.from_files.iter().filter_map(of_variable);
    let of_files = of_files.map(|cause| config.blame("env.env-file", &cause));
    of_words.chain(config.blame_items("env.set", of_set)).chain(of_files).collect()
}

fn sentence(links: &Links, what: &str, text: &OsStr, advice: &str) -> Option<String> {
    let link = shown(links.named_in(text)?.as_os_str());
    Some(format!("{what} {} goes through the link {link} and is not pinned with the version: {advice}", shown(text)))
}

fn shown(text: &OsStr) -> String {
    printable::bytes(text.as_bytes())
}
