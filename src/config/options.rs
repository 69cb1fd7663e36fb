//! The one definition of every option: clap's parser, the help text and (later) the file's keys all come from the structs
//! below, so a flag cannot exist in one and be missing in another. Holds the values as written; `resolve` reads them.
//!
//! A field's name is its flag's, its doc comment the flag's help. Order and headings are those of the help text.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Args, Command, CommandFactory, FromArgMatches, Parser};

use crate::config::ConfigError;
use crate::config::words::Word;

const SOCKETS: &str = "Sockets";
const WORKERS: &str = "Workers";
const UPGRADES: &str = "Acks and upgrades";
const CONTROL: &str = "Control socket and files";
const OUTPUT: &str = "Output";
const OTHER: &str = "Other";

/// A value as it was written, not yet read or checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw(pub OsString);

impl From<OsString> for Raw {
    fn from(text: OsString) -> Self {
        Self(text)
    }
}

impl Raw {
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

/// All that the command line may say: the settings, and what makes sense only there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Parser)]
#[command(name = "einhyrningsins", no_binary_name = true, args_override_self = true)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct CommandLine {
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    pub once: Once,
}

/// The settings: each flag here has a key of the same name in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Options {
    /// Open a listening socket and pass it to every worker: ADDR:PORT, with ,r for SO_REUSEADDR and ,n for O_NONBLOCK, or
    /// unix:/path, with ,mode=0660 for its permissions. Can be repeated
    #[arg(short, long, value_name = "ADDR", help_heading = SOCKETS)]
    pub bind: Vec<Raw>,

    /// Length of the accept queue of each socket (default 1024)
    #[arg(short = 'l', long, value_name = "N", help_heading = SOCKETS)]
    pub backlog: Option<Raw>,

    /// Accept IPv4 connections only
    #[arg(short = '4', long, num_args = 0, default_missing_value = "true", help_heading = SOCKETS)]
    pub ipv4_only: Option<bool>,

    /// Accept IPv6 connections only
    #[arg(short = '6', long, num_args = 0, default_missing_value = "true", help_heading = SOCKETS)]
    pub ipv6_only: Option<bool>,

    /// How many workers to run (default 1)
    #[arg(short, long, value_name = "N", help_heading = WORKERS)]
    pub number: Option<Raw>,

    /// Least time from one start to the next when workers die, in seconds (default 1)
    #[arg(short, long, value_name = "SECONDS", help_heading = WORKERS)]
    pub seconds: Option<Raw>,

    /// Give up after this many new workers in a row never came up (default: go on for ever)
    #[arg(short, long, value_name = "COUNT", help_heading = WORKERS)]
    pub retries: Option<Raw>,

    /// Kill a worker that is still there this many seconds after it was told to go (default: wait for ever)
    #[arg(short = 't', long, value_name = "SECONDS", help_heading = WORKERS)]
    pub signal_timeout: Option<Raw>,

    /// If the master dies unexpectedly, tell its workers to go
    #[arg(short, long, num_args = 0, default_missing_value = "true", help_heading = WORKERS)]
    pub kill_children_on_exit: Option<bool>,

    /// Remove a variable from the environment of the workers. Can be repeated
    #[arg(long, value_name = "VAR", help_heading = WORKERS)]
    pub drop_env_var: Vec<Raw>,

    /// Nice levels of the master and of the workers, and the program that sets them
    #[arg(long, value_name = "MASTER[:WORKER[:RENICE_CMD]]", help_heading = WORKERS)]
    pub nice: Option<Raw>,

    /// When a worker counts as up: MODE seconds after its start (default 1), or with "manual" once it says so on the
    /// control socket. -m without a MODE is --manual
    #[arg(short = 'm', long, value_name = "MODE", help_heading = UPGRADES)]
    pub ack_mode: Option<Raw>,

    /// Manual acks, due within 60 seconds
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = UPGRADES)]
    pub manual: Option<bool>,

    /// Replace a worker that has not acked within this time, such as 90 or "1m 30s" (manual acks only)
    #[arg(long, value_name = "DURATION", help_heading = UPGRADES)]
    pub ack_timeout: Option<Raw>,

    /// Most workers that may be unacked at a time during an upgrade
    #[arg(long, value_name = "N", help_heading = UPGRADES)]
    pub max_unacked: Option<Raw>,

    /// Most workers above --number that may run during an upgrade
    #[arg(long, value_name = "N", help_heading = UPGRADES)]
    pub max_upgrade_additional: Option<Raw>,

    /// Command line to become when the master replaces itself, split as a shell would
    #[arg(long, value_name = "CMDLINE", help_heading = UPGRADES)]
    pub reexec_as: Option<Raw>,

    /// Load this code once and fork workers from it
    #[arg(short, long, value_name = "PATH", help_heading = UPGRADES)]
    pub preload: Option<Raw>,

    /// Accepted for einhorn's sake; means nothing to workers that are executed
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = UPGRADES)]
    pub gc_before_fork: Option<bool>,

    /// Name shown by ps, and part of the default file names
    #[arg(short, long, value_name = "NAME", help_heading = CONTROL)]
    pub command_name: Option<Raw>,

    /// Where to open the control socket (default: einhorn.sock in the directory for temporary files)
    #[arg(short = 'd', long, value_name = "PATH", help_heading = CONTROL)]
    pub socket_path: Option<Raw>,

    /// Where to write the master's pid (default: einhorn.pid beside the default socket)
    #[arg(short = 'e', long, value_name = "PATH", help_heading = CONTROL)]
    pub pidfile: Option<Raw>,

    /// File to lock while the master runs (default: einhorn.lock, or with -d the socket's path and .lock)
    #[arg(short = 'f', long, value_name = "PATH", help_heading = CONTROL)]
    pub lockfile: Option<Raw>,

    /// Pass each worker an open connection to the control socket, named by EINHORN_SOCK_FD
    #[arg(short = 'g', long, num_args = 0, default_missing_value = "true", help_heading = CONTROL)]
    pub command_socket_as_fd: Option<bool>,

    /// Permissions of the control socket, in octal (default 0600, with --socket-group 0660)
    #[arg(long, value_name = "MODE", help_heading = CONTROL)]
    pub socket_mode: Option<Raw>,

    /// Group of the control socket; its members may do everything there
    #[arg(long, value_name = "GROUP", help_heading = CONTROL)]
    pub socket_group: Option<Raw>,

    /// Say more; undoes one -q
    #[arg(short, long, num_args = 0, default_missing_value = "true", help_heading = OUTPUT)]
    pub verbose: Option<bool>,

    /// Say less; undoes one -v
    #[arg(short, long, num_args = 0, default_missing_value = "true", help_heading = OUTPUT)]
    pub quiet: Option<bool>,

    /// Send warnings and errors to syslog too
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = OUTPUT)]
    pub syslog: Option<bool>,
}

/// What makes sense on a command line only. `words` acts on the first three when it reaches them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Once {
    /// Show this text
    #[arg(short, long, num_args = 0, default_missing_value = "true", help_heading = OTHER)]
    pub help: Option<bool>,

    /// Show the version
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = OTHER)]
    pub version: Option<bool>,

    /// Internal: show that this program can be executed, and exit
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = OTHER)]
    pub upgrade_check: Option<bool>,

    /// Internal: go on from the state in this file descriptor
    #[arg(long, value_name = "FD", help_heading = OTHER)]
    pub with_state_fd: Option<Raw>,
}

impl CommandLine {
    /// Fills the struct. The words are known flags with a value where one is due, so clap has nothing left to refuse.
    pub fn from_words(words: &[Word]) -> Result<Self, ConfigError> {
        let normal = words.iter().map(Word::to_normal_form);
        let matches = definition().try_get_matches_from(normal);
        matches.and_then(|found| Self::from_arg_matches(&found)).map_err(|refusal| {
            let text = refusal.to_string();
            ConfigError::Unread(text.lines().next().unwrap_or_default().to_owned())
        })
    }
}

/// What `words` must know of a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    pub long: String,
    pub short: Option<char>,
    /// What the help calls the value; `None` for a flag that takes none.
    pub value_name: Option<String>,
}

/// The flags in the order of the help text.
pub fn flags() -> Vec<Flag> {
    definition().get_arguments().map(flag).collect()
}

/// clap's view of the definition, completed, so that what it derives can be asked for.
pub fn definition() -> Command {
    let mut command = CommandLine::command();
    command.build();
    command
}

pub fn flag(arg: &Arg) -> Flag {
    let value_name = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let takes_value = arg.get_num_args().is_some_and(|range| range.takes_values());
    Flag {
        long: arg.get_long().unwrap_or_default().to_owned(),
        short: arg.get_short(),
        value_name: value_name.filter(|_| takes_value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_a_long_name_a_heading_and_a_help_line() {
        for arg in definition().get_arguments() {
            assert!(arg.get_long().is_some(), "{arg:?}");
            assert!(arg.get_help_heading().is_some(), "{arg:?}");
            assert!(arg.get_help().is_some(), "{arg:?}");
            assert!(!arg.is_positional(), "{arg:?}");
        }
    }

    #[test]
    fn field_names_are_flag_names() {
        for arg in definition().get_arguments() {
            assert_eq!(arg.get_id().as_str().replace('_', "-"), arg.get_long().unwrap());
        }
    }

    #[test]
    fn the_definition_knows_which_flags_take_a_value() {
        let of = |long: &str| flags().into_iter().find(|flag| flag.long == long).unwrap();
        assert_eq!(of("number").value_name.as_deref(), Some("N"));
        assert_eq!(of("number").short, Some('n'));
        assert_eq!(of("bind").value_name.as_deref(), Some("ADDR"));
        assert_eq!(of("quiet").value_name, None);
        assert_eq!(of("manual").value_name, None);
        assert_eq!(of("version").short, None);
    }

    #[test]
    fn short_names_are_einhorns_and_the_seeds() {
        let shorts: String = flags().iter().filter_map(|flag| flag.short).collect();
        let mut sorted: Vec<char> = shorts.chars().collect();
        sorted.sort_unstable();
        assert_eq!(sorted.into_iter().collect::<String>(), "46bcdefghklmnpqrstv");
    }
}
