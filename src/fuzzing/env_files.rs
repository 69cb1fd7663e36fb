//! A file of `env.env-file`: what is taken can be put into an environment, comes out of a handoff as it went in, and is read as the
//! same when it is written in quotes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::config::{Config, Invocation, Problems, Trust, is_masters, parse};
use crate::fuzzing::checks::handed_on;
use crate::fuzzing::checks::is_one_line;

const ARGV0: &str = "einhyrningsins";

const CONFIGURATION: &str = "command = ['server']\n[env]\nenv-file = ['variables']\n";

pub fn env_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match read(text) {
        Ok(config) => check(&config),
        Err(problems) => {
            assert!(!problems.0.is_empty());
            let lines = text.lines().count();
            for problem in problems.0.iter().map(ToString::to_string) {
                let number = problem.strip_prefix("variables:").and_then(|rest| rest.split(':').next()?.parse().ok());
                assert!(number.is_some_and(|number: usize| (1..=lines).contains(&number)), "{problem:?} has no place");
                assert!(is_one_line(&problem), "{problem:?}");
            }
        }
    }
}

fn read(text: &str) -> Result<Config, Problems> {
    let read_file =
        |path: &Path, _: Trust| Ok(if path == Path::new("web.toml") { CONFIGURATION } else { text }.to_owned());
    match parse(OsStr::new(ARGV0), ["--config", "web.toml"].map(Into::into).to_vec(), &read_file, &|_| None)? {
        Invocation::Run(config) => Ok(*config),
        other => panic!("{other:?}"),
    }
}

fn check(config: &Config) {
    let variables = &config.env.from_files;
    for (at, (name, value)) in variables.iter().enumerate() {
        let (bytes, value) = (name.as_bytes(), value.as_bytes());
        let fits = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        assert!(fits && !bytes.is_empty() && !bytes[0].is_ascii_digit() && !value.contains(&0), "{name:?}");
        assert!(!is_masters(bytes), "{name:?} is the master's");
        assert!(!variables[..at].iter().any(|(other, _)| other == name), "{name:?} is there twice");
    }
    assert_eq!(handed_on(config).as_ref(), Ok(config));
    let written: String = variables.iter().map(in_quotes).collect();
    match read(&written) {
        Ok(again) => assert_eq!(again.env.from_files, *variables, "written as {written:?}"),
        Err(problems) => panic!("{written:?}: {problems:?}"),
    }
}

/// A line that says the same: between double quotes.
fn in_quotes((name, value): &(OsString, OsString)) -> String {
    let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
    format!("export {name}=\"{}\"\n", value.replace('\\', r"\\").replace('"', "\\\""))
}
