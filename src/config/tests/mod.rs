//! Tests of the whole room: command lines in, values or error lines out.

mod bad_files;
mod boundary;
mod each_option;
mod env_files;
mod errors;
mod files;
pub(crate) mod linear;
mod precedence;
mod round_trip;
mod samples;
mod variables;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::config::{Config, Invocation, Problems, Unread, parse};

pub fn words(args: &[&str]) -> Vec<OsString> {
    args.iter().map(OsString::from).collect()
}

pub fn try_parse(args: &[&str]) -> Result<Invocation, Problems> {
    parse_words(words(args))
}

/// What a command line becomes where there is no file.
pub fn parse_words(args: Vec<OsString>) -> Result<Invocation, Problems> {
    parse_with(args, &[])
}

/// The same where there are these files.
pub fn parse_with(args: Vec<OsString>, files: &[(&str, &str)]) -> Result<Invocation, Problems> {
    parse_among(args, files, &[])
}

/// The same where these variables are set, too.
pub fn parse_among(
    args: Vec<OsString>,
    files: &[(&str, &str)],
    environ: &[(&str, &str)],
) -> Result<Invocation, Problems> {
    let read_file = |path: &Path, _| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned());
        found.ok_or_else(|| Unread::Missing(format!("cannot find {}", path.display().to_string().escape_debug())))
    };
    let variable = |name: &str| environ.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
    parse(OsStr::new("einhorn"), args, &read_file, &variable)
}

/// What a command line becomes where the program goes by this name.
pub fn parse_as(argv0: &str, args: &[&str]) -> Result<Invocation, Problems> {
    let no_file = |path: &Path, _| Err(Unread::Missing(format!("cannot find {}", path.display())));
    parse(OsStr::new(argv0), words(args), &no_file, &|_| None)
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

/// xorshift64*: the same seed gives the same test everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}
