//! The words for what the pool has to say. Where einhorn has a line for it, it is einhorn's line: scripts look for them, and
//! clients that wait for an upgrade are sent them.

use std::time::Duration;

use log::Level;

use crate::base::exit_code::EX_CONFIG;
use crate::base::{AckMode, Ending, Pid, Signal, printable};
use crate::config::{Config, Difference, Effect};
use crate::output::waits;
use crate::pool::{AckIgnored, Acked, Asked, Blocked, Elsewhere, Notice, UpgradeFailure, UpgradeStyle};
use crate::protocol::PAUSED;

/// What `--version` says to a script that takes us for Ruby's einhorn.
pub(crate) const EINHORN_VERSION: &str = "1.1.1";

/// How the last line begins of an upgrade that came to nothing.
pub(crate) const FAILED: &str = "Upgrade failed: ";

/// Which clients are told beside the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    LogOnly,
    /// All that wait for an upgrade.
    Subscribers,
    /// Of those the ones that ask in JSON, as einhorn's clients do not: they know einhorn's lines alone.
    OwnSubscribers,
}

/// One line, but for the reason of a failed upgrade, which may have several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) text: String,
    pub(crate) audience: Audience,
}

/// The line for a notice; `connections` are those of the worker that it says is waited for. How a worker ended unexpectedly is one more, see [`cause_of_death`].
#[expect(clippy::too_many_lines, reason = "one match of all notices: the compiler sees that none is missing")]
pub(crate) fn line(notice: &Notice, config: &Config, connections: Option<usize>) -> Line {
    match notice {
        Notice::LaunchingMany { count } => logged(Level::Info, format!("Launching {count} new workers")),
        Notice::Launched { pid, index } => watched(Level::Info, format!("===> Launched {pid} (index: {index})")),
        Notice::Relaunching { since, interval_s, deaths } => {
            let since = since.as_secs_f64();
            let line = format!(
                "Last spinup was {since}s ago, and spinup_interval is {interval_s}s, so spinning up a new process."
            );
            match deaths {
                0 => logged(Level::Debug, line),
                _ => {
                    watched(Level::Info, format!("{line} (there have been {deaths} consecutive unacked worker deaths)"))
                }
            }
        }
        Notice::LaunchBlocked(Blocked::Unacked { unacked, max }) => logged(
            Level::Info,
            format!(
                "There are {unacked} unacked new workers, and max_unacked is {max}, so not spinning up a new process."
            ),
        ),
        Notice::LaunchBlocked(Blocked::Capacity { over, modern, total }) => logged(
            Level::Info,
            format!(
                "Already {over} over the number of workers during upgrade, {modern} new workers of {total} total. \
                 Waiting for old workers to exit before spinning up a process."
            ),
        ),
        Notice::UpgradeWaits { version, wait, at } => Line {
            level: Level::Info,
            text: format!("Upgrade to version {version} {}", waits::sentence(wait, *at, connections)),
            audience: Audience::OwnSubscribers,
        },
        Notice::GaveUp { deaths } => {
            logged(Level::Error, format!("Giving up: {deaths} workers in a row died before any was ACKed (--retries)"))
        }
        Notice::ExecStuck { pid, after } => logged(
            Level::Error,
            format!("Worker {pid} has not completed exec within {}s. Sending SIGKILL.", after.as_secs()),
        ),
        Notice::AckReceived { pid } => logged(Level::Info, format!("Received a manual ACK from {pid}")),
        Notice::AckIgnored { pid, reason } => logged(Level::Error, ack_ignored(*pid, *reason, config)),
        Notice::TimerPassed { pid, .. } => {
            let seconds = timer_seconds(config);
            logged(Level::Info, format!("Worker {pid} has been up for {seconds}s, so we are considering it alive."))
        }
        Notice::UpTo { acked, target, broken_streak } => {
            let mode = match config.ack {
                AckMode::Timer(_) => "timer",
                AckMode::Manual => "manual",
            };
            let streak = match broken_streak {
                0 => String::new(),
                deaths => format!(", breaking the streak of {deaths} consecutive unacked workers dying"),
            };
            logged(Level::Info, format!("Up to {acked} / {target} {mode} ACKs{streak}"))
        }
        Notice::AckMissed { pid, after } => {
            watched(Level::Warn, format!("Worker {pid} sent no ACK within {}, stopping it", seconds(*after)))
        }
        Notice::StoppedTooLong { pid, after } => watched(
            Level::Warn,
            format!("Worker {pid} has been stopped by a signal for {}, replacing it", seconds(*after)),
        ),
        Notice::Exited { pid, acked: Acked::Yes, .. } => watched(Level::Info, format!("===> Exited worker {pid}")),
        Notice::Exited { pid, acked: Acked::Never, .. } => {
            watched(Level::Info, format!("===> Exited worker {pid} before it was ACKed"))
        }
        Notice::GroupHasSurvivors { pid } => logged(
            Level::Info,
            format!("Worker {pid} left processes behind in its group, passing the signal on to them"),
        ),
        Notice::LeftElsewhere { group, signal, elsewhere } => {
            logged(Level::Warn, left_elsewhere(*group, *signal, elsewhere))
        }
        Notice::Daemonized { pid, program } => logged(
            Level::Error,
            format!(
                "Worker {pid} has gone to the background: it ended at once with status 0 and left {} behind, which cannot be supervised. \
                 Have the program stay in the foreground (without an option such as --daemon, or with one such as --foreground)",
                printable::line(program)
            ),
        ),
        Notice::Sending { signal, pids } => watched(Level::Info, format!("Sending {signal} to {}", list(pids))),
        Notice::Resending { signal, pid } => watched(
            Level::Error,
            format!(
                "Re-sending {signal} to already-signaled child {pid}. It may be slow to spin down, or it may be \
                 swallowing {signal}s."
            ),
        ),
        Notice::SentAll { signal, pids } => {
            logged(Level::Info, format!("Successfully sent {signal}s to {} processes: {}", pids.len(), list(pids)))
        }
        Notice::KillingLate { pid, after } => {
            logged(Level::Info, format!("Child {pid} is still active after {}s. Sending SIGKILL.", after.as_secs()))
        }
        Notice::Lingering { pids, longest } => logged(
            Level::Warn,
            format!(
                "Still running up to {}s after the stop signal: {} (a signal timeout, -t, would kill them)",
                longest.as_secs(),
                list(pids)
            ),
        ),
        Notice::CullingOld { count } => watched(Level::Info, format!("Killing off {count} old workers.")),
        Notice::CullingGradually { count } => {
            watched(Level::Info, format!("Smooth upgrade: killing off {count} old workers."))
        }
        Notice::CullingStale { count } => {
            watched(Level::Info, format!("Killing off {count} workers of a given-up version that never ACKed."))
        }
        Notice::CullingSurplus { count } => logged(
            Level::Info,
            format!("Have too many workers at the current version, so killing off {count} of them."),
        ),
        Notice::UpgradeStarted { style, from } => {
            let style = match style {
                UpgradeStyle::Smooth => "smooth",
                UpgradeStyle::Fleet => "fleet",
            };
            watched(Level::Info, format!("Starting {style} upgrade from version {from}..."))
        }
        Notice::UpgradeStartedOver { acked, target } => watched(
            Level::Info,
            format!("Currently upgrading ({acked} / {target} ACKs; bumping version and starting over)..."),
        ),
        Notice::Upgraded { version } => {
            watched(Level::Info, format!("Upgraded successfully to version {version} (Einhorn {EINHORN_VERSION})."))
        }
        Notice::StageServes { slots, target, bake } => {
            watched(Level::Info, format!("{slots} of {target} run the new version, watching it for {}", seconds(*bake)))
        }
        Notice::Paused { version, slots, target } => watched(
            Level::Info,
            format!("{PAUSED}: {slots} of {target} run version {version}; `resume` goes on, `abort` goes back"),
        ),
        Notice::Resumed { version } => watched(Level::Info, format!("Upgrade to version {version} goes on")),
        Notice::TrialPassed { version } => {
            logged(Level::Info, format!("Version {version} is good: its workers have outlived their early life"))
        }
        Notice::SlotWaits { slot, deaths, wait } => logged(
            Level::Warn,
            format!(
                "Slot {slot} waits: {deaths} of its workers died young in a row, the next one comes in {}",
                seconds(*wait)
            ),
        ),
        Notice::StopDelayed { delay } => logged(
            Level::Info,
            format!("Stopping: the workers serve for another {}; a second signal ends that", seconds(*delay)),
        ),
        Notice::NothingServes => logged(Level::Error, "No worker serves any more".to_owned()),
        Notice::StartIsVain { pid, code } => logged(
            Level::Error,
            format!(
                "Giving up: worker {pid} exited with {}, which no restart mends (worker.no-restart). Mend what it has said, and start again",
                status(*code)
            ),
        ),
        Notice::SlotStaysDown { slot, pid, code } => logged(
            Level::Error,
            format!(
                "Slot {slot} stays down: worker {pid} exited with {}, which no restart mends (worker.no-restart). Mend what it has said, and \
                 upgrade",
                status(*code)
            ),
        ),
        Notice::UpgradeFailed { version, reason: UpgradeFailure::Stopping, .. } => {
            logged(Level::Info, format!("Upgrade to version {version} given up because we're exiting"))
        }
        Notice::UpgradeFailed { version, back_to, reason } => {
            let why = failure(reason);
            let (first, more) = parted(&why);
            let text = format!("Upgrade to version {version} failed: {first}. Going back to version {back_to}{more}");
            logged(Level::Error, text)
        }
        Notice::UpgradeRefused { reason } => {
            logged(Level::Error, format!("Upgrade refused, nothing was changed: {reason}"))
        }
        Notice::NotUpgradingWhileStopping => {
            logged(Level::Info, "Not reloading einhorn because we're exiting".to_owned())
        }
    }
}

fn left_elsewhere(group: Pid, signal: Signal, elsewhere: &Elsewhere) -> String {
    let Elsewhere { worker, wrapper, program } = elsewhere;
    let (wrapper, program) = (printable::line(wrapper), printable::line(program));
    let who = if wrapper.is_empty() { format!("Worker {worker}") } else { format!("Worker {worker} ({wrapper})") };
    format!(
        "{who} has ended and left {program} behind in process group {group}, sending {signal} to it. A wrapper has to wait for its program \
         and to pass signals on; name what shall stay in worker.leave"
    )
}

/// The first line of a reason, and the others, each with the break before it.
fn parted(why: &str) -> (&str, &str) {
    why.split_at(why.find('\n').unwrap_or(why.len()))
}

/// Why a version is given up, of the version.
pub(crate) fn failure(reason: &UpgradeFailure) -> String {
    match reason {
        UpgradeFailure::Failures(count) => format!("{count} new workers in a row died or did not ACK"),
        UpgradeFailure::TooMany(count) => {
            format!("{count} of its workers died, stopped or did not ACK in their early life")
        }
        UpgradeFailure::NothingServes => "none of its workers serves any more".to_owned(),
        UpgradeFailure::CheckFailed(why) => format!("its check failed: {why}"),
        UpgradeFailure::Unfit(what) => what.clone(),
        UpgradeFailure::DeadlinePassed(limit) => format!("it was not done within {}", seconds(*limit)),
        UpgradeFailure::Aborted => "it was aborted".to_owned(),
        UpgradeFailure::RolledBack => "it was rolled back".to_owned(),
        UpgradeFailure::Final(code) => {
            format!("a worker exited with {}, which no restart mends (worker.no-restart)", status(*code))
        }
        UpgradeFailure::Stopping => "einhorn is going down".to_owned(),
    }
}

/// The one that sysexits.h has for it is known by its name, too.
pub(crate) fn status(code: i32) -> String {
    let name = if code == i32::from(EX_CONFIG) { " (EX_CONFIG, its configuration is wrong)" } else { "" };
    format!("status {code}{name}")
}

/// einhorn says only that a worker exited; how it ended is what an operator asks next.
pub(crate) fn cause_of_death(notice: &Notice) -> Option<String> {
    match notice {
        Notice::Exited { pid, ending: Ending::Code(code), asked: Asked::No, .. } => {
            Some(format!("Worker {pid} exited unexpectedly with status {code}"))
        }
        Notice::Exited { pid, ending: Ending::Signal(signal), asked: Asked::No, .. } => {
            Some(format!("Worker {pid} was killed by SIG{signal}"))
        }
        _ => None,
    }
}

/// `number: 4 -> 8 (web.toml:12)`
pub(crate) fn difference(difference: &Difference) -> String {
    let Difference { key, from, to, origin, effect } = difference;
    let none = || "nothing".to_owned();
    let (from, to) = (from.clone().unwrap_or_else(none), to.clone().unwrap_or_else(none));
    match effect {
        Effect::AtOnce | Effect::NewWorkers => format!("{key}: {from} -> {to} ({origin})"),
        Effect::Restart => {
            format!("{key}: {from} -> {to} ({origin}) needs the master to be started again, it stays {from} till then")
        }
    }
}

/// The last line for clients that wait for an upgrade, once it is decided.
pub(crate) fn verdict(notice: &Notice) -> Option<String> {
    match notice {
        Notice::Upgraded { .. } => Some("Upgrade done".to_owned()),
        Notice::UpgradeFailed { reason: UpgradeFailure::Stopping, .. } | Notice::NotUpgradingWhileStopping => {
            Some(format!("{FAILED}einhorn is going down"))
        }
        Notice::UpgradeFailed { reason, back_to, .. } => {
            let why = failure(reason);
            let (first, more) = parted(&why);
            Some(format!("{FAILED}{first}, version {back_to} goes on{more}"))
        }
        Notice::UpgradeRefused { reason } => Some(format!("{FAILED}{reason}")),
        _ => None,
    }
}

fn logged(level: Level, text: String) -> Line {
    Line { level, text, audience: Audience::LogOnly }
}

fn watched(level: Level, text: String) -> Line {
    Line { level, text, audience: Audience::Subscribers }
}

fn ack_ignored(pid: Pid, reason: AckIgnored, config: &Config) -> String {
    match reason {
        AckIgnored::Unknown => format!("Could not find state for PID {pid}; ignoring ACK."),
        AckIgnored::Repeated => format!("Pid {pid} already ACKed; ignoring new ACK."),
        AckIgnored::NotManual => format!(
            "Received a manual ACK for {pid}, but ack_mode is {{:type=>:timer, :timeout=>{}}}. Ignoring ACK.",
            timer_seconds(config)
        ),
    }
}

/// As Ruby shows an array of numbers.
fn list(pids: &[Pid]) -> String {
    let pids: Vec<String> = pids.iter().map(Pid::to_string).collect();
    format!("[{}]", pids.join(", "))
}

pub(crate) fn seconds(span: Duration) -> String {
    format!("{}s", span.as_millis() as f64 / 1000.0)
}

/// As Ruby shows it: the default is an integer, what was given is a float.
fn timer_seconds(config: &Config) -> String {
    let AckMode::Timer(after) = config.ack else { return "0".to_owned() };
    if config.is_ack_given() { format!("{:?}", after.as_secs_f64()) } else { after.as_secs().to_string() }
}
