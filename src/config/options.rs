//! The one definition of every option: the parser of the command line, the help text, the keys of the file and their schema
//! all come from the structs below, so an option cannot exist in one and be missing in another. Holds the values as
//! written; `resolve` reads them, and `definition` says what the structs define.
//!
//! A field's name is its flag's, its doc comment the help. Order and headings are those of the help text.

use std::ffi::{OsStr, OsString};

use clap::{Args, FromArgMatches, Parser};

use crate::config::ConfigError;
use crate::config::definition::definition;
use crate::config::words::Word;

const SOCKETS: &str = "Sockets";
const WORKERS: &str = "Workers";
const UPGRADES: &str = "Acks and upgrades";
const CONTROL: &str = "Control socket and files";
const OUTPUT: &str = "Output";
const CONFIGURATION: &str = "Configuration file";
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

/// All that can be said, in either place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Parser)]
#[command(name = "einhyrningsins", no_binary_name = true, args_override_self = true)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct Everything {
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    pub sections: Sections,
    #[command(flatten)]
    pub once: Once,
}

/// What both can say: each flag here has a key of the same name in the file.
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
    #[arg(short = '4', long, help_heading = SOCKETS)]
    pub ipv4_only: Option<bool>,

    /// Accept IPv6 connections only
    #[arg(short = '6', long, help_heading = SOCKETS)]
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
    #[arg(short, long, help_heading = WORKERS)]
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
    #[arg(long, help_heading = UPGRADES)]
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
    #[arg(long, help_heading = UPGRADES)]
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
    #[arg(short = 'g', long, help_heading = CONTROL)]
    pub command_socket_as_fd: Option<bool>,

    /// Permissions of the control socket, in octal (default 0600, with --socket-group 0660)
    #[arg(long, value_name = "MODE", help_heading = CONTROL)]
    pub socket_mode: Option<Raw>,

    /// Group of the control socket; its members may do everything there
    #[arg(long, value_name = "GROUP", help_heading = CONTROL)]
    pub socket_group: Option<Raw>,

    /// Say more; undoes one -q
    #[arg(short, long, help_heading = OUTPUT)]
    pub verbose: Option<bool>,

    /// Say less; undoes one -v
    #[arg(short, long, help_heading = OUTPUT)]
    pub quiet: Option<bool>,

    /// Send warnings and errors to syslog too
    #[arg(long, help_heading = OUTPUT)]
    pub syslog: Option<bool>,
}

/// What only the file can say. The long name is the key's, with its table before the point; on the command line, none of
/// these is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Sections {
    /// The program and its arguments, as a list of words; what stands on the command line replaces it
    #[arg(long = "command", value_name = "WORD", hide = true)]
    pub command: Vec<Raw>,

    /// Variables that each worker has in its environment
    #[arg(long = "env.set", value_name = "NAME=VALUE", hide = true)]
    pub env_set: Vec<Raw>,

    /// Variables that no worker has, neither from the master nor from a file
    #[arg(long = "env.unset", value_name = "VAR", hide = true)]
    pub env_unset: Vec<Raw>,

    /// Files with one NAME=VALUE in a line, read at each start and upgrade; env.set goes before them
    #[arg(long = "env.env-file", value_name = "PATH", hide = true)]
    pub env_env_file: Vec<Raw>,

    /// User that the workers run as, by name or number, with all groups of that user
    #[arg(long = "worker.user", value_name = "USER", hide = true)]
    pub worker_user: Option<Raw>,

    /// Group that the workers run as (default: the first group of the user)
    #[arg(long = "worker.group", value_name = "GROUP", hide = true)]
    pub worker_group: Option<Raw>,

    /// Working directory of the workers (default: the master's)
    #[arg(long = "worker.directory", value_name = "PATH", hide = true)]
    pub worker_directory: Option<Raw>,

    /// File mode creation mask of the workers, in octal (default: the master's)
    #[arg(long = "worker.umask", value_name = "MODE", hide = true)]
    pub worker_umask: Option<Raw>,

    /// Resource limits of the workers: a number, a size such as "512MiB", "unlimited", or "SOFT:HARD"
    #[arg(long = "worker.rlimits", value_name = "NAME=VALUE", hide = true)]
    pub worker_rlimits: Vec<Raw>,

    /// Signal that tells a worker to finish its work and to exit
    #[arg(long = "worker.graceful-signal", value_name = "SIGNAL", hide = true)]
    pub worker_graceful_signal: Option<Raw>,

    /// Users, beside root and the master's own, who may do everything on the control socket
    #[arg(long = "control.allow-users", value_name = "USER", hide = true)]
    pub control_allow_users: Vec<Raw>,

    /// Groups whose members may do everything on the control socket
    #[arg(long = "control.allow-groups", value_name = "GROUP", hide = true)]
    pub control_allow_groups: Vec<Raw>,

    /// What is logged: everything down to this level
    #[arg(long = "log.level", value_name = "debug|info|warn|error", hide = true)]
    pub log_level: Option<Raw>,

    /// Where the log goes
    #[arg(long = "log.target", value_name = "stderr|syslog|both", hide = true)]
    pub log_target: Option<Raw>,

    /// What of the log goes to syslog: everything down to this level
    #[arg(long = "log.syslog-level", value_name = "debug|info|warn|error", hide = true)]
    pub log_syslog_level: Option<Raw>,

    /// The facility that syslog is told, such as daemon or local0
    #[arg(long = "log.facility", value_name = "FACILITY", hide = true)]
    pub log_facility: Option<Raw>,

    /// The name that syslog is told
    #[arg(long = "log.ident", value_name = "NAME", hide = true)]
    pub log_ident: Option<Raw>,
}

/// What makes sense on a command line only. `words` acts on the first four when it reaches them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Once {
    /// Show this text
    #[arg(short, long, help_heading = OTHER)]
    pub help: Option<bool>,

    /// Show the version
    #[arg(long, help_heading = OTHER)]
    pub version: Option<bool>,

    /// Internal: show that this program could take over from a running master, and exit
    #[arg(long, help_heading = OTHER)]
    pub upgrade_check: Option<bool>,

    /// Show a JSON schema of the configuration file, for editors
    #[arg(long, help_heading = CONFIGURATION)]
    pub config_schema: Option<bool>,

    /// Read the settings from this TOML file; what the command line says goes before them
    #[arg(long, value_name = "FILE", help_heading = CONFIGURATION)]
    pub config: Option<Raw>,

    /// Apply [profiles.NAME] of the file on top of the rest. Can be repeated, the last one goes before the others
    #[arg(long, value_name = "NAME", help_heading = CONFIGURATION)]
    pub profile: Vec<Raw>,

    /// Show the settings as they would be used, as a TOML file, with where each comes from
    #[arg(long, help_heading = CONFIGURATION)]
    pub print_config: Option<bool>,

    /// Check all that can be checked without a start, show everything that is wrong, and exit
    #[arg(long, help_heading = CONFIGURATION)]
    pub check_config: Option<bool>,

    /// Internal: go on from the state in this file descriptor
    #[arg(long, value_name = "FD", help_heading = OTHER)]
    pub with_state_fd: Option<Raw>,
}

impl Everything {
    /// Fills the structs. The words are known options with a value where one is due, so clap has nothing left to refuse.
    pub fn from_words(words: &[Word]) -> Result<Self, ConfigError> {
        let normal = words.iter().filter_map(Word::to_normal_form);
        let matches = definition().clone().try_get_matches_from(normal);
        matches.and_then(|found| Self::from_arg_matches(&found)).map_err(|refusal| {
            let text = refusal.to_string();
            ConfigError::Unread(text.lines().next().unwrap_or_default().to_owned())
        })
    }
}
