//! The command line: what is taken leaves the program's words alone, is carried to the next image as words that mean the same,
//! and is a command line again.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::config::{Config, Invocation, NUMBER_MAX, Provided, Trust, Unread, parse, to_args};
use crate::fuzzing::checks::handed_on;
use crate::fuzzing::checks::is_one_line;

/// More words than this are not an input that can be understood.
const WORDS_MAX: usize = 64;

/// What a command line is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fuzzing) enum Read {
    /// A program is run.
    Run,
    /// Something else is asked for, such as help.
    Other,
    Refused,
}

/// Each line of the input is a word.
pub fn argv(data: &[u8]) {
    let words = data.split(|byte| *byte == b'\n').take(WORDS_MAX);
    hold(words.map(|word| OsString::from_vec(word.to_vec())).collect());
}

/// Asserts what must hold of a command line.
pub(in crate::fuzzing) fn hold(args: Vec<OsString>) -> Read {
    match read(args.clone()) {
        Ok(Invocation::Run(config)) => {
            check(&args, &config);
            Read::Run
        }
        Ok(
            Invocation::Help
            | Invocation::Usage
            | Invocation::Version
            | Invocation::UpgradeCheck
            | Invocation::Relay
            | Invocation::Holder
            | Invocation::ConfigSchema
            | Invocation::PrintConfig(_)
            | Invocation::CheckConfig(_),
        ) => Read::Other,
        Err(problems) => {
            assert!(!problems.is_empty());
            problems.iter().for_each(|problem| check_problem(&args, problem));
            Read::Refused
        }
    }
}

/// A problem is one line, and says more than that the parser of clap has refused something that we took.
fn check_problem(args: &[OsString], problem: &str) {
    assert!(is_one_line(problem) && !problem.starts_with("cannot read the options"), "{args:?}: {problem:?}");
}

fn read(args: Vec<OsString>) -> Result<Invocation, Vec<String>> {
    let no_file = |path: &Path, _: Trust| {
        Err(Unread::Missing(format!("cannot find {}", path.display().to_string().escape_debug())))
    };
    parse(OsStr::new("einhorn"), args, &no_file, &|_| None)
        .map_err(|problems| problems.0.iter().map(ToString::to_string).collect())
}

fn check(args: &[OsString], config: &Config) {
    assert!(args.ends_with(&config.program), "{args:?} runs {:?}", config.program);
    assert!((1..=NUMBER_MAX).contains(&config.number.of(0)) && config.log.level.verbosity() <= 2, "{args:?}");
    assert!(config.program.iter().all(|word| !word.as_bytes().is_empty()) || config.program.len() > 1, "{args:?}");
    assert_eq!(handed_on(config).as_ref(), Ok(config), "{args:?} is another configuration in the next image");
    let again = to_args(config);
    match read(again.clone()) {
        Ok(Invocation::Run(read)) => {
            let settings = |config: &Config| Config { given: Provided::default(), ..config.clone() };
            assert_eq!(settings(&read), settings(config), "{args:?} as {again:?}");
        }
        other => panic!("{args:?} as {again:?}: {other:?}"),
    }
}

#[cfg(test)]
#[path = "command_lines_tests.rs"]
mod tests;
