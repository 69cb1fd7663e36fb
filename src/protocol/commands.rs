//! Every command of the control socket, one row each: its word and arguments, the role that it needs, its line in `help`, the
//! subcommand of einhyrningsinsctl that sends it, and the reader of its requests. The control thread, `help`, the client and the tests of
//! the manual use the rows. The supervisor executes the commands.

use crate::base::{Pid, Signal, Version};
use crate::pool::UpgradeStyle;
use crate::protocol::arguments::{count, die_signal, signals, strings};
use crate::protocol::settings::{self, Change};
use crate::protocol::upgrade::UpgradeAsked;
use crate::yaml::{self, Value};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Ack {
        pid: Pid,
    },
    Ping {
        pid: Pid,
        request_id: String,
        /// Of the id.
        is_number: bool,
    },
    /// An ack or a ping that does not say whose; the request is shown as Ruby would.
    WithoutPid {
        shown: String,
    },
    Ehlo {
        user: String,
    },
    Help,
    State,
    Status,
    /// What an upgrade would change in the configuration.
    Diff,
    /// Which releases there were.
    History,
    Increment,
    Decrement,
    SetWorkers(u32),
    Quieter,
    Louder,
    Upgrade(UpgradeAsked),
    Pause,
    Resume,
    Abort,
    /// To this version, or to the one before.
    Rollback(Option<Version>),
    Reload,
    Signal(Vec<Signal>),
    /// Gracefully, if no signal is named.
    Die(Option<Signal>),
    /// The changes, and the whole of what was given as Ruby shows it.
    Config {
        changes: Vec<Change>,
        shown: String,
    },
    /// Arguments that cannot be; the reply says why.
    Refused(String),
    Unknown {
        shown: String,
    },
    WithoutCommand,
    /// Not YAML, not a map, or beyond the limits.
    Unreadable,
}

/// One command.
pub struct Command {
    pub word: &'static str,
    /// As `help` shows them; empty for a command without arguments.
    pub arguments: &'static str,
    /// Its line in `help`; empty for a command that only programs send.
    pub help: &'static str,
    pub speaker: Speaker,
    pub takes_signals: bool,
    /// The subcommand of einhyrningsinsctl that sends it; without one, only `raw` does.
    pub subcommand: Option<Subcommand>,
    read: fn(&Value) -> Result<Asked, String>,
}

/// Which clients may send a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// Administrators only.
    Operator,
    /// Every client, for a worker. The master closes the connection without an answer, since some workers forget to close it.
    Worker,
}

/// A subcommand of einhyrningsinsctl. Several commands may belong to one; exactly one of them has its help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subcommand {
    pub name: &'static str,
    pub help: Option<&'static str>,
}

const UPGRADE_ARGUMENTS: &str = "args: none, or a YAML map, such as {reason: fix the login}";

/// Sorted by word.
pub static COMMANDS: &[Command] = &[
    row("abort", |_| Ok(Asked::Abort))
        .help("Give up the upgrade under way, or the version that is on trial")
        .subcommand("abort", "Give up the upgrade under way or the version on trial, and go back to the last good one"),
    row("config", |request| strings(request).and_then(|args| config(&args)))
        .arguments("args: a YAML map, such as {signal_timeout: 30}")
        .help("Change settings while running"),
    row("dec", |_| Ok(Asked::Decrement)).help("Run one worker less").part_of("workers"),
    row("die", |request| die_signal(request).map(Asked::Die))
        .arguments("args: [SIGNAL], default: the graceful one, USR2")
        .help("Tell all workers to go, start no more, and end when they are gone")
        .takes_signals()
        .subcommand(
            "die",
            "Send a signal (the graceful one, mostly USR2) to every worker, launch no more, and end when all are gone",
        ),
    row("diff", |_| Ok(Asked::Diff)).help("Show what an upgrade would change in the configuration").subcommand(
        "diff",
        "Show what an upgrade would change, now that the configuration file may say something else",
    ),
    row("ehlo", |request| Ok(Asked::Ehlo { user: to_text(request.get("user")) })),
    row("help", |_| Ok(Asked::Help)).help("Show this list"),
    row("history", |_| Ok(Asked::History)).help("Show which releases there were, and how they fared").subcommand(
        "history",
        "Show the last 20 releases: what each runs, when it came, which user asked for it and why, and how it fared",
    ),
    row("inc", |_| Ok(Asked::Increment)).help("Run one worker more").part_of("workers"),
    row("louder", |_| Ok(Asked::Louder)).help("Log more").part_of("logs-level"),
    row("pause", |_| Ok(Asked::Pause))
        .help("Replace no more workers until resume")
        .subcommand("pause", "Hold the upgrade under way: no more workers are replaced until `resume`"),
    row("quieter", |_| Ok(Asked::Quieter)).help("Log less").subcommand("logs-level", "Set how much the master logs"),
    row("reload", |_| Ok(Asked::Reload)).help("Replace the master itself, and leave the workers alone"),
    row("resume", |_| Ok(Asked::Resume))
        .help("Go on with an upgrade that was paused")
        .subcommand("resume", "Go on with an upgrade that was paused"),
    row("rollback", |request| rollback(request).map(Asked::Rollback))
        .arguments("args: [VERSION], default: the version before")
        .help("Go back to a version before")
        .subcommand("rollback", "Go back to the version before, or to one that `history` shows and that is kept"),
    row("set_workers", |request| strings(request).and_then(|args| count(&args)).map(Asked::SetWorkers))
        .arguments("args: COUNT")
        .help("Run so many workers")
        .subcommand("workers", "Set how many workers there shall be"),
    row("signal", |request| strings(request).and_then(|args| signals(&args)).map(Asked::Signal))
        .arguments("args: SIG1 [SIG2 ...]")
        .help("Send signals to all workers")
        .takes_signals()
        .subcommand("signal", "Send signals to every worker"),
    row("state", |_| Ok(Asked::State)).help("Show the state document").part_of("status"),
    row("status", |_| Ok(Asked::Status))
        .help("Show the workers, the upgrade under way and some counters")
        .subcommand("status", "Show the master and its workers"),
    row("upgrade", |request| UpgradeAsked::read(UpgradeStyle::Smooth, request).map(Asked::Upgrade))
        .arguments(UPGRADE_ARGUMENTS)
        .help("Replace all workers, a few at a time")
        .subcommand("upgrade", "Replace the workers by new ones, and wait until that is done or has failed"),
    row("upgrade_fleet", |request| UpgradeAsked::read(UpgradeStyle::Fleet, request).map(Asked::Upgrade))
        .arguments(UPGRADE_ARGUMENTS)
        .help("Replace all workers, the new ones first")
        .part_of("upgrade"),
    row("worker:ack", |request| Ok(with_pid(request, |pid| Asked::Ack { pid })))
        .arguments("pid: PID")
        .help("For workers: say that one serves")
        .for_workers(),
    // Only a worker's library pings.
    row("worker:ping", |request| {
        let id = request.get("request_id");
        let (request_id, is_number) = (to_text(id), id.is_some_and(Value::is_number));
        Ok(with_pid(request, |pid| Asked::Ping { pid, request_id, is_number }))
    })
    .for_workers(),
];

/// The help of a subcommand of einhyrningsinsctl; empty if no command names it.
pub fn subcommand_help(name: &str) -> &'static str {
    let found = COMMANDS.iter().filter_map(|command| command.subcommand).filter(|subcommand| subcommand.name == name);
    found.filter_map(|subcommand| subcommand.help).next().unwrap_or_default()
}

const fn row(word: &'static str, read: fn(&Value) -> Result<Asked, String>) -> Command {
    let (arguments, help) = ("", "");
    Command { word, arguments, help, speaker: Speaker::Operator, takes_signals: false, subcommand: None, read }
}

/// Each sets one property of the command.
impl Command {
    const fn arguments(self, arguments: &'static str) -> Self {
        Self { arguments, ..self }
    }

    const fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }

    const fn for_workers(self) -> Self {
        Self { speaker: Speaker::Worker, ..self }
    }

    const fn takes_signals(self) -> Self {
        Self { takes_signals: true, ..self }
    }

    const fn subcommand(self, name: &'static str, help: &'static str) -> Self {
        Self { subcommand: Some(Subcommand { name, help: Some(help) }), ..self }
    }

    const fn part_of(self, name: &'static str) -> Self {
        Self { subcommand: Some(Subcommand { name, help: None }), ..self }
    }
}

impl Command {
    pub(in crate::protocol) fn find(word: &str) -> Option<&'static Self> {
        COMMANDS.iter().find(|command| command.word == word)
    }

    pub(in crate::protocol) fn read(&self, request: &Value) -> Asked {
        (self.read)(request).unwrap_or_else(Asked::Refused)
    }
}

fn rollback(request: &Value) -> Result<Option<Version>, String> {
    if request.get("args").is_none_or(|args| matches!(args.plain(), Value::Nil | Value::Bool(false))) {
        return Ok(None);
    }
    let args = strings(request)?;
    let Some(given) = args.first() else { return Ok(None) };
    let version = given.parse().map_err(|_| format!("Invalid version: '{given}'. Must be the number of a version."))?;
    Ok(Some(Version(version)))
}

fn config(args: &[String]) -> Result<Asked, String> {
    let (changes, shown) = settings::parse(args)?;
    Ok(Asked::Config { changes, shown })
}

/// The pid may be a number or, as some clients have it, a string of digits (einhorn ignored those for ever).
fn with_pid(request: &Value, make: impl FnOnce(Pid) -> Asked) -> Asked {
    let pid = request.get("pid").and_then(|pid| match pid.plain() {
        Value::Int(pid) => i32::try_from(*pid).ok(),
        Value::Str(digits) => digits.parse().ok(),
        _ => None,
    });
    match pid {
        Some(pid) => make(Pid(pid)),
        None => Asked::WithoutPid { shown: yaml::inspect(request) },
    }
}

/// Ruby's `to_s`.
fn to_text(value: Option<&Value>) -> String {
    value.map(yaml::text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subcommand_has_one_help() {
        for name in COMMANDS.iter().filter_map(|command| command.subcommand).map(|subcommand| subcommand.name) {
            let all = COMMANDS.iter().filter_map(|command| command.subcommand);
            let helps = all.filter(|subcommand| subcommand.name == name && subcommand.help.is_some());
            assert_eq!(helps.count(), 1, "{name}");
        }
    }

    #[test]
    fn commands_stand_by_name() {
        assert!(COMMANDS.windows(2).all(|pair| pair[0].word < pair[1].word));
    }
}
