//! Tests of the whole room: command lines in, values or error lines out.

mod boundary;
mod each_option;
mod errors;
mod fuzz;

use std::ffi::{OsStr, OsString};

use crate::config::{Config, ConfigError, Invocation, parse};

pub fn words(args: &[&str]) -> Vec<OsString> {
    args.iter().map(OsString::from).collect()
}

pub fn try_parse(args: &[&str]) -> Result<Invocation, ConfigError> {
    parse(OsStr::new("einhorn"), words(args))
}

/// What these words become when they are the whole command line, which must name a program.
#[track_caller]
pub fn run(args: &[&str]) -> Config {
    match try_parse(args) {
        Ok(Invocation::Run(config)) => *config,
        other => panic!("{args:?}: {other:?}"),
    }
}

/// What these options become, followed by a program.
#[track_caller]
pub fn config(options: &[&str]) -> Config {
    run(&[options, &["program"]].concat())
}

/// The one line that says what is wrong with these options.
#[track_caller]
pub fn error(options: &[&str]) -> String {
    match try_parse(&[options, &["program"]].concat()) {
        Err(error) => error.to_string(),
        Ok(other) => panic!("{options:?}: {other:?}"),
    }
}
