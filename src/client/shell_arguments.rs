//! The command line of einhornsh, as Ruby's reads it: options anywhere, one name. Reads words only.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Command, CommandFactory, Parser};

/// Talk to a running einhyrningsins, or a Ruby einhorn, line by line
#[derive(Clone, Debug, Default, PartialEq, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, infer_long_args = true, args_override_self = true)]
pub(super) struct ShellArguments {
    #[arg(short, long)]
    pub(super) help: bool,
    #[arg(short = 'c', long, allow_hyphen_values = true)]
    pub(super) command_name: Option<String>,
    #[arg(short = 'd', long, allow_hyphen_values = true)]
    pub(super) socket_path: Option<PathBuf>,
    // Commands to run instead of reading them.
    #[arg(short = 'e', long, allow_hyphen_values = true)]
    pub(super) execute: Option<String>,
    pub(super) names: Vec<String>,
}

pub(super) const USAGE: &str = "\
Usage: einhornsh [-c NAME | -d PATH | NAME] [-e COMMANDS]

Talks to a running einhyrningsins, or a Ruby einhorn. Without -e it reads commands from
standard input, `help` lists them, several on a line are parted by `;`.

    -h, --help                  Print this and exit with 1, as einhorn's does
    -c, --command-name NAME     The master that was started with this -c
    -d, --socket-path PATH      The master's control socket, before any name
    -e, --execute COMMANDS      Run these and exit
";

/// What the shell's command line may say.
pub(super) fn definition() -> Command {
    ShellArguments::command()
}

impl ShellArguments {
    /// # Errors
    /// What is wrong; nothing is where help is asked for.
    pub(super) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, Option<String>> {
        // clap explains with a usage of its own; the first line is what is wrong.
        let wrong = |error: clap::Error| {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            Some(line.strip_prefix("error: ").unwrap_or(line).to_owned())
        };
        let mut given = Self::try_parse_from(words).map_err(wrong)?;
        if given.help {
            return Err(None);
        }
        let name = given.names.pop();
        given.command_name = given.command_name.or(name);
        if given.names.is_empty() { Ok(given) } else { Err(Some("more than one name".to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<ShellArguments, Option<String>> {
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
        assert_eq!(read(&["-h"]), Err(None));
        assert_eq!(read(&["a", "b"]), Err(Some("more than one name".to_owned())));
        for words in [&["-x"][..], &["-e"], &["--nope"]] {
            let Err(Some(message)) = read(words) else { panic!("{words:?}") };
            assert!(message.contains(words[0]) && !message.contains("error"), "{message}");
        }
    }
}
