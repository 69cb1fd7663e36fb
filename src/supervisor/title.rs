//! What ps(1) shows the master as: einhorn's words, since scripts look for them.

use std::ffi::{OsStr, OsString};

use crate::config::Config;

/// `einhorn: ./server --port 80`; with a command name NAME `einhorn: ruby NAME`, as einhorn has it whatever it runs.
pub(in crate::supervisor) fn of(config: &Config) -> OsString {
    let words: Vec<OsString> = match &config.command_name {
        Some(name) => vec!["ruby".into(), name.into()],
        None => config.program.clone(),
    };
    let words = std::iter::once(OsString::from("einhorn:")).chain(words);
    words.collect::<Vec<_>>().join(OsStr::new(" "))
}
