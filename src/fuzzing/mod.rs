//! The fuzz targets: each takes any bytes, hands them to one reader of text from outside, and asserts what must hold of the
//! result. `fuzz/` makes a libFuzzer program of them (`make fuzz`), and the tests below replay `fuzz/corpus` on any Rust.
//! Compiled for tests and with `--cfg fuzzing` only, never into the product.
//!
//! A target must not write files, wait, or depend on anything but its input. Where it needs an internal function of a room, that
//! room has a file `fuzzing.rs` which leads there.

mod binds;
mod command_lines;
mod configurations;
mod documents;
mod env_files;
mod handoffs;
mod life;
mod replies;
mod requests;

#[cfg(test)]
mod tests;

use crate::config::Config;
use crate::yaml::Value;

/// What Psych takes for quotes of a symbol, in pairs of the same.
const QUOTES: [char; 2] = ['\'', '"'];

/// One target, and the name of its corpus below `fuzz/corpus`.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

/// In the order in which `make fuzz` runs them.
pub const TARGETS: [Target; 8] = [
    Target { name: "requests", run: requests::requests },
    Target { name: "yaml", run: documents::yaml },
    Target { name: "handoff", run: handoffs::handoff },
    Target { name: "toml", run: configurations::toml },
    Target { name: "binds", run: binds::binds },
    Target { name: "argv", run: command_lines::argv },
    Target { name: "replies", run: replies::replies },
    Target { name: "env-file", run: env_files::env_file },
];

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// Whether Psych reads a value as it wrote it. It does not with two kinds of symbols, and we do as Ruby does: one that begins with a
/// quote and has the same one later (`:"'a'b"` is written `:'a'b`, and that is read as `:a`), and one that has a line break, which is read
/// as a string.
fn survives_psych(value: &Value) -> bool {
    let is_quoted =
        |name: &str| QUOTES.iter().any(|quote| name.strip_prefix(*quote).is_some_and(|rest| rest.contains(*quote)));
    value.as_symbol().is_none_or(|name| !is_quoted(name) && !name.contains('\n'))
        && value.parts().is_none_or(|mut parts| parts.all(survives_psych))
}

/// A configuration as the next image gets it.
fn handed_on(config: &Config) -> Result<Config, String> {
    let text = serde_json::to_string(config).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Whether a text can be shown as one line of a log or on a screen.
fn is_one_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}
