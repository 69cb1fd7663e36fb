//! Text -> values: turns the command line (and later a file) into one range-checked [`Config`].
//!
//! Three steps, one file each: `words` finds the options and where the program begins, `options` is the one definition of
//! every flag (parser, help and file keys), `resolve` reads and checks the values. Never prints, exits, opens a file, asks
//! the system or reads the environment: what it needs comes in as parameters, and what is wrong leaves as a
//! [`ConfigError`], complete before anything is opened.

mod bind;
mod error;
mod nearest;
mod options;
mod origin;
mod paths;
mod resolve;
mod usage;
mod values;
mod words;

#[cfg(test)]
mod tests;

pub use bind::{Bind, BindFlags, SOCKET_PATH_MAX};
pub use error::ConfigError;
pub use origin::{Origin, Origins};
pub use paths::{default_socket_path, lock_path, pid_path, socket_path};
pub use resolve::{Ack, Config, Family, NUMBER_MAX, Nice};
pub use usage::{Detail, usage};

use std::ffi::{OsStr, OsString};

use crate::config::options::CommandLine;
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
}

/// Reads a command line; `args` are the words after `argv0`.
///
/// As in einhorn, `-h`, `--version` and `--upgrade-check` act when they are reached: what is wrong before them is an
/// error, what comes after them is never looked at.
pub fn parse(argv0: &OsStr, args: Vec<OsString>) -> Result<Invocation, ConfigError> {
    let split = words::split(args, &options::flags())?;
    let words = words::settle(split.words);
    let origins = Origins::of_words(&words);
    let options = CommandLine::from_words(&words)?;
    let config = resolve::read_each(argv0, &options, origins)?;
    match split.end {
        End::Help => Ok(Invocation::Help),
        End::Version => Ok(Invocation::Version),
        End::UpgradeCheck => Ok(Invocation::UpgradeCheck),
        End::Program(program) => run(Config { program, ..config }, &options),
    }
}

/// The checks that need the whole: options that exclude each other, and the program.
fn run(config: Config, options: &CommandLine) -> Result<Invocation, ConfigError> {
    resolve::check_together(&config, options)?;
    match config.program.first() {
        Some(name) if name.is_empty() => Err(ConfigError::EmptyProgram),
        None if config.with_state_fd.is_none() => Ok(Invocation::Usage),
        Some(_) | None => Ok(Invocation::Run(Box::new(config))),
    }
}
