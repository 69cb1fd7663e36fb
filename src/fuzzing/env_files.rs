//! A file of `env.env-file`: what is taken can be put into an environment, and comes out of a handoff as it went in.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::config::{Config, Invocation, from_words, parse, to_words};
use crate::fuzzing::is_one_line;

const CONFIGURATION: &str = "command = ['server']\n[env]\nenv-file = ['variables']\n";

pub fn env_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read_file = |path: &Path| Ok(if path == Path::new("web.toml") { CONFIGURATION } else { text }.to_owned());
    let argv0 = OsStr::new("einhyrningsins");
    match parse(argv0, ["--config", "web.toml"].map(Into::into).to_vec(), &read_file) {
        Ok(Invocation::Run(config)) => check(argv0, &config),
        Ok(other) => panic!("{other:?}"),
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

fn check(argv0: &OsStr, config: &Config) {
    let variables = &config.env.from_files;
    for (at, (name, value)) in variables.iter().enumerate() {
        let (bytes, value) = (name.as_bytes(), value.as_bytes());
        let fits = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        assert!(fits && !bytes.is_empty() && !bytes[0].is_ascii_digit() && !value.contains(&0), "{name:?}");
        assert!(!bytes.starts_with(b"EINHORN_") && !bytes.starts_with(b"LISTEN_"), "{name:?} is the master's");
        assert!(!variables[..at].iter().any(|(other, _)| other == name), "{name:?} is there twice");
    }
    assert_eq!(from_words(argv0, to_words(config)).as_ref(), Ok(config));
}
