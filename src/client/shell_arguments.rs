//! The command line of einhornsh, as Ruby's reads it: options anywhere, one name. Reads words only.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Command, CommandFactory, Parser};

/// Talk to a running einhyrningsins, or a Ruby einhorn, line by line
#[derive(Clone, Debug, Default, PartialEq, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, infer_long_args = true, args_override_self = true)]
struct Words {
    #[arg(short, long)]
    help: bool,
    #[arg(short = 'c', long, allow_hyphen_values = true)]
    command_name: Option<String>,
    #[arg(short = 'd', long, allow_hyphen_values = true)]
    socket_path: Option<PathBuf>,
    #[arg(short = 'e', long, allow_hyphen_values = true)]
    execute: Option<String>,
    names: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::client) struct ShellArguments {
    pub(in crate::client) command_name: Option<String>,
    pub(in crate::client) socket_path: Option<PathBuf>,
    /// Commands to run instead of reading them.
    pub(in crate::client) execute: Option<String>,
}

/// Why there is no shell.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::client) enum NoShell {
    Help,
    /// More than one name.
    TooMany,
    Wrong {
        message: String,
    },
}

pub(in crate::client) const USAGE: &str = "\
Usage: einhornsh [-c NAME | -d PATH | NAME] [-e COMMANDS]

Talks to a running einhyrningsins, or a Ruby einhorn. Without -e it reads commands from
standard input, `help` lists them, several on a line are parted by `;`.

    -h, --help                  Print this and exit with 1, as einhorn's does
    -c, --command-name NAME     The master that was started with this -c
    -d, --socket-path PATH      The master's control socket, before any name
    -e, --execute COMMANDS      Run these and exit
";

/// What the shell's command line may say.
pub(in crate::client) fn definition() -> Command {
    Words::command()
}

impl ShellArguments {
    pub(in crate::client) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, NoShell> {
        let read = Words::try_parse_from(words);
        // clap explains with a usage of its own; the first line is what is wrong.
        let wrong = |error: clap::Error| {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            NoShell::Wrong { message: line.strip_prefix("error: ").unwrap_or(line).to_owned() }
        };
        let Words { help, command_name, socket_path, execute, names } = read.map_err(wrong)?;
        match (help, names.len()) {
            (true, _) => Err(NoShell::Help),
            (false, 0 | 1) => {
                let command_name = command_name.or(names.into_iter().next());
                Ok(Self { command_name, socket_path, execute })
            }
            (false, _) => Err(NoShell::TooMany),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<ShellArguments, NoShell> {
        ShellArguments::read(words.iter().map(OsString::from))
    }

    #[test]
    fn the_options_are_rubys() {
        let named = |name: &str| ShellArguments { command_name: Some(name.to_owned()), ..ShellArguments::default() };
        assert_eq!(read(&[]), Ok(ShellArguments::default()));
        for words in
            [&["web"][..], &["-c", "web"], &["-cweb"], &["--command-name=web"], &["--comm", "web"], &["--", "web"]]
        {
            assert_eq!(read(words), Ok(named("web")), "{words:?}");
        }
        assert_eq!(read(&["other", "-c", "web"]), Ok(named("web")));
        let all = read(&["-d", "/x", "web", "-e", "inc; dec"]).unwrap();
        assert_eq!((all.socket_path, all.execute.as_deref()), (Some(PathBuf::from("/x")), Some("inc; dec")));
        assert_eq!(read(&["-e", "-x"]).unwrap().execute.as_deref(), Some("-x"));
    }

    #[test]
    fn anything_else_gets_no_shell() {
        assert_eq!(read(&["-h"]), Err(NoShell::Help));
        assert_eq!(read(&["a", "b"]), Err(NoShell::TooMany));
        for words in [&["-x"][..], &["-e"], &["--nope"]] {
            let Err(NoShell::Wrong { message }) = read(words) else { panic!("{words:?}") };
            assert!(message.contains(words[0]) && !message.contains("error"), "{message}");
        }
    }
}
