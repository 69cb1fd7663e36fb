//! The TOML file: what is taken can be printed (`--print-config`) and says the same when it is read again; what is wrong has its
//! place in the file.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::config::{Config, Invocation, Problems, Provided, Trust, keys, parse, print};
use crate::fuzzing::checks::is_one_line;

const FILE: &str = "web.toml";

pub fn toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match read(text) {
        Ok(config) => check(&config),
        Err(problems) => {
            assert!(!problems.0.is_empty());
            let lines = text.split('\n').count();
            problems.0.iter().for_each(|problem| check_place(&problem.to_string(), lines));
        }
    }
}

/// Without any file of variables: those are `env_files`' concern.
fn read(text: &str) -> Result<Config, Problems> {
    let read_file = |path: &Path, _: Trust| Ok(if path == Path::new(FILE) { text } else { "" }.to_owned());
    // So that there is one with each kind of value.
    let variable = |name: &str| (name.len() > 1).then(|| OsString::from(&name[1..]));
    let args = ["--config", FILE, "--print-config"].map(OsString::from).to_vec();
    match parse(OsStr::new("einhyrningsins"), args, &read_file, &variable)? {
        Invocation::PrintConfig(config) => Ok(*config),
        other => panic!("{other:?}"),
    }
}

fn check(config: &Config) {
    let printed = print(config).unwrap_or_else(|error| panic!("a file's settings cannot stand in a file: {error}"));
    let again = read(&printed).unwrap_or_else(|problems| panic!("what was printed is refused: {problems}\n{printed}"));
    assert_eq!(values(&again), values(config), "printed as\n{printed}");
    let printed_again = print(&again).unwrap_or_else(|error| panic!("{error}"));
    let settings =
        |text: &str| text.lines().map(|line| line.split("  # ").next().map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(settings(&printed_again), settings(&printed), "{printed}\nand then\n{printed_again}");
}

/// The settings, and how each was given; not where, which differs.
fn values(config: &Config) -> (Config, Vec<Vec<OsString>>) {
    let words = |name: &str| config.given.values(name).into_iter().map(OsStr::to_owned).collect();
    (Config { given: Provided::default(), ..config.clone() }, keys().map(|key| words(key.name)).collect())
}

/// An error is one line that begins with the place: the file, the line and the column.
fn check_place(problem: &str, lines: usize) {
    let place = problem.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':'));
    let mut numbers = place.into_iter().flat_map(|place| place.split(':')).map(|number| number.parse::<usize>().ok());
    let (line, column) = (numbers.next().flatten(), numbers.next().flatten());
    assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{problem:?} has no line");
    assert!(column.is_some_and(|column| column >= 1), "{problem:?} has no column");
    assert!(is_one_line(problem), "{problem:?}");
}
