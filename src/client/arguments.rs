//! The command line of einhyrningsinsctl. Reads words only: no environment, no socket.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::base::Share;
use crate::config::{self, Config, NUMBER_MAX};
use crate::protocol::subcommand_help;

/// Ask and command a running einhyrningsins, or a Ruby einhorn
#[derive(Clone, Debug, PartialEq, Parser)]
#[command(name = "einhyrningsinsctl", version, infer_long_args = true)]
#[command(
    after_help = "Without a subcommand: a shell, or the lines of standard input. Exit codes: 0 done, 1 refused or failed, \
                        2 usage, 3 no master there, 4 timed out, 5 paused, 130 Ctrl-C"
)]
pub(super) struct Arguments {
    /// The master that was started with this -c
    #[arg(short = 'c', long, value_name = "NAME", global = true)]
    pub(super) command_name: Option<String>,

    /// The master's control socket, before any name
    #[arg(short = 'd', long, value_name = "PATH", global = true)]
    pub(super) socket_path: Option<PathBuf>,

    /// Run these commands of the shell, parted by `;`, and exit
    #[arg(short = 'e', long, value_name = "CMD", allow_hyphen_values = true)]
    pub(super) execute: Option<String>,

    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What the commands of the control socket say of theirs stands in their rows.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub(super) enum Command {
    #[command(about = subcommand_help("status"))]
    Status {
        /// One line of JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Again each second, until Ctrl-C
        #[arg(long)]
        watch: bool,
        /// One line, and exit 0 only if all wanted workers serve and the master is not stopping
        #[arg(long, conflicts_with_all = ["json", "watch"])]
        check: bool,
        /// With --check: so many workers are enough
        #[arg(long, value_name = "N", requires = "check", value_parser = clap::value_parser!(u32).range(1..))]
        ready: Option<u32>,
    },
    #[command(about = subcommand_help("upgrade"))]
    Upgrade {
        /// All new workers first, then the old ones go; without it a few at a time
        #[arg(long)]
        fleet: bool,
        /// Why, for the log and the record of releases
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// So many workers first, such as 1 or 25%, the others after --bake
        #[arg(long, value_name = "N", value_parser = share)]
        canary: Option<Share>,
        /// How long the first workers are watched
        #[arg(long, value_name = "TIME", value_parser = duration)]
        bake: Option<Duration>,
        /// Give the upgrade up if it is not done within this time
        #[arg(long, value_name = "TIME", value_parser = duration)]
        deadline: Option<Duration>,
        /// Once it is done, watch the new workers through their early life, and no longer than TIME; fail if they are given up
        #[arg(long, value_name = "TIME", value_parser = duration, num_args = 0..=1, require_equals = true)]
        watch: Option<Option<Duration>>,
        /// How long to wait in all, such as 5m or 90; the upgrade goes on after it
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
        /// Once it is done, wait until no old worker is left, and no longer than TIME
        #[arg(long, value_name = "TIME", value_parser = duration, num_args = 0..=1, require_equals = true)]
        wait_old: Option<Option<Duration>>,
    },
    #[command(about = subcommand_help("pause"))]
    Pause,
    #[command(about = subcommand_help("resume"))]
    Resume,
    #[command(about = subcommand_help("abort"))]
    Abort,
    #[command(about = subcommand_help("rollback"))]
    Rollback {
        /// The number of the version, as `history` shows it
        #[arg(value_name = "VERSION")]
        version: Option<u64>,
    },
    #[command(about = subcommand_help("diff"))]
    Diff,
    #[command(about = subcommand_help("history"))]
    History {
        /// One line of JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    #[command(about = subcommand_help("workers"), allow_negative_numbers = true)]
    Workers {
        /// A number, or so many more (+1) or less (-1)
        #[arg(value_name = "N|+1|-1", value_parser = workers)]
        count: Workers,
    },
    #[command(about = subcommand_help("signal"))]
    Signal {
        #[arg(value_name = "SIG", required = true)]
        signals: Vec<String>,
    },
    #[command(about = subcommand_help("die"))]
    Die {
        #[arg(value_name = "SIG")]
        signal: Option<String>,
        /// Wait until the master is gone, and no longer than TIME
        #[arg(long, value_name = "TIME", value_parser = duration, num_args = 0..=1, require_equals = true)]
        wait: Option<Option<Duration>>,
    },
    #[command(about = subcommand_help("logs-level"))]
    LogsLevel {
        #[arg(value_enum)]
        level: Level,
    },
    /// Send any command of the control socket and print what the master answers
    #[command(disable_help_flag = true)]
    Raw {
        #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// The shell, with the arguments of einhornsh
    #[command(disable_help_flag = true)]
    Shell {
        #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<std::ffi::OsString>,
    },
}

/// How the number of workers shall change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Workers {
    Exactly(u32),
    More(u32),
    Less(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Level {
    Debug,
    Info,
    Error,
    /// One level more than now
    Louder,
    /// One level less than now
    Quieter,
}

/// What a master takes; so many more or less is the most that makes sense.
fn workers(text: &str) -> Result<Workers, String> {
    let (make, digits): (fn(u32) -> Workers, _) = match text.as_bytes().first() {
        Some(b'+') => (Workers::More, &text[1..]),
        Some(b'-') => (Workers::Less, &text[1..]),
        Some(_) | None => (Workers::Exactly, text),
    };
    let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let allowed = number.filter(|number| (1..=NUMBER_MAX).contains(number));
    allowed.map(make).ok_or_else(|| format!("a number from 1 to {NUMBER_MAX}, or +1 or -1, is expected"))
}

/// As the file has it.
fn share(text: &str) -> Result<Share, String> {
    let mut config = Config::default();
    let row = config::keys().find(|row| row.name == "upgrade.canary");
    row.map_or(Ok(()), |row| (row.read)(&mut config, text.as_ref()))?;
    config.rollout.stages.pop().ok_or_else(|| "a number of workers is expected".to_owned())
}

/// Bare numbers are seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let read = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).map_err(|error| format!("{error}; try 90 or 1m 30s"))?,
    };
    if read.is_zero() { Err("a time above zero is expected".to_owned()) } else { Ok(read) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::protocol::COMMANDS;

    fn read(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(["einhyrningsinsctl"].into_iter().chain(line.split_whitespace()))
    }

    fn command(line: &str) -> Command {
        read(line).unwrap().command.unwrap()
    }

    #[test]
    fn the_definition_holds_together() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn the_subcommands_are_those_that_commands_name_and_two_more() {
        let of_commands = COMMANDS.iter().filter_map(|command| command.subcommand).map(|subcommand| subcommand.name);
        let expected: BTreeSet<&str> = of_commands.chain(["raw", "shell"]).collect();
        let definition = <Arguments as clap::CommandFactory>::command();
        assert_eq!(definition.get_subcommands().map(clap::Command::get_name).collect::<BTreeSet<_>>(), expected);
        assert!(
            definition
                .get_subcommands()
                .all(|known| known.get_about().is_some_and(|about| !about.to_string().is_empty()))
        );
    }

    #[test]
    fn each_subcommand_is_read() {
        assert_eq!(command("status --json"), Command::Status { json: true, watch: false, check: false, ready: None });
        let check = Command::Status { json: false, watch: false, check: true, ready: Some(3) };
        assert_eq!(command("status --check --ready 3"), check);
        let timeout = Some(Duration::from_secs(300));
        let reason = Some("login".to_owned());
        let none = Command::Upgrade {
            fleet: false,
            reason: None,
            canary: None,
            bake: None,
            deadline: None,
            watch: None,
            timeout: None,
            wait_old: None,
        };
        assert_eq!(command("upgrade"), none);
        let (canary, bake) = (Some(Share::Percent(25)), Some(Duration::from_secs(120)));
        let (deadline, watch) = (Some(Duration::from_secs(600)), Some(Some(Duration::from_secs(10))));
        let staged = Command::Upgrade {
            fleet: false,
            reason: None,
            canary,
            bake,
            deadline,
            watch,
            timeout: None,
            wait_old: None,
        };
        assert_eq!(command("upgrade --canary 25% --bake 2m --deadline 10m --watch=10s"), staged);
        assert_eq!(command("rollback"), Command::Rollback { version: None });
        assert_eq!(command("rollback 3"), Command::Rollback { version: Some(3) });
        let expected = Command::Upgrade {
            fleet: true,
            reason,
            canary: None,
            bake: None,
            deadline: None,
            watch: None,
            timeout,
            wait_old: None,
        };
        assert_eq!(command("upgrade --fleet --reason login --timeout 5m"), expected);
        assert_eq!(command("diff"), Command::Diff);
        assert_eq!(command("history --json"), Command::History { json: true });
        assert_eq!(command("workers 3"), Command::Workers { count: Workers::Exactly(3) });
        assert_eq!(command("workers +1"), Command::Workers { count: Workers::More(1) });
        assert_eq!(command("workers -1"), Command::Workers { count: Workers::Less(1) });
        let signals = vec!["USR1".to_owned(), "HUP".to_owned()];
        assert_eq!(command("signal USR1 HUP"), Command::Signal { signals });
        assert_eq!(command("die"), Command::Die { signal: None, wait: None });
        assert_eq!(command("die --wait TERM"), Command::Die { signal: Some("TERM".to_owned()), wait: Some(None) });
        let wait_old = |line: &str| match command(line) {
            Command::Upgrade { wait_old, .. } => wait_old,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait_old("upgrade --wait-old"), Some(None));
        assert_eq!(wait_old("upgrade --wait-old=5m --fleet"), Some(timeout));
        assert_eq!(command("logs-level quieter"), Command::LogsLevel { level: Level::Quieter });
        let words = ["signal", "-h", "--x"].map(str::to_owned).to_vec();
        assert_eq!(command("raw signal -h --x"), Command::Raw { words });
        let words = ["-e", "inc"].map(Into::into).to_vec();
        assert_eq!(command("shell -e inc"), Command::Shell { words });
    }

    #[test]
    fn the_master_is_named_before_or_behind_the_subcommand() {
        for line in [
            "-c web -d /x status",
            "status -c web -d /x",
            "-d /x status --command-name=web",
            "-c other status --socket-path /x -c web",
            "-cweb workers -1 -d/x",
            "signal -d /x USR1 -c web",
            "die --wait -c web TERM -d /x",
            "upgrade --fleet -c web --reason login -d /x",
            "raw -d /x -c web state",
        ] {
            let arguments = read(line).unwrap();
            assert_eq!(arguments.command_name.as_deref(), Some("web"), "{line}");
            assert_eq!(arguments.socket_path, Some(PathBuf::from("/x")), "{line}");
        }
        let words = ["signal", "-d", "/x"].map(str::to_owned).to_vec();
        assert_eq!(read("raw signal -d /x").unwrap().command, Some(Command::Raw { words }));
    }

    #[test]
    fn commands_of_the_shell_stand_in_place_of_a_subcommand() {
        assert_eq!(read("").unwrap().command, None);
        for line in ["-e inc", "-einc -c web", "--execute inc", "--exec=inc"] {
            let arguments = read(line).unwrap();
            assert_eq!((arguments.execute.as_deref(), arguments.command), (Some("inc"), None), "{line}");
        }
        assert_eq!(read("-e -x").unwrap().execute.as_deref(), Some("-x"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for line in [
            "nope",
            "workers",
            "workers x",
            "workers 0",
            "workers 100001",
            "workers ++1",
            "workers 1.5",
            "workers -0",
            "upgrade --timeout 0",
            "upgrade --timeout soon",
            "upgrade --canary 0",
            "upgrade --canary x",
            "rollback x",
            "signal",
            "raw",
            "logs-level loud",
            "status more",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn bare_numbers_are_seconds() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
    }
}
