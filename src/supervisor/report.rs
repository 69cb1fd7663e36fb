//! The words for what the pool has to say. Where einhorn has a line for it, it is einhorn's line: scripts look for them.

use std::time::Duration;

use crate::config::{Ack, Config};
use crate::pool::{AckIgnored, Acked, Asked, Blocked, Ending, Notice, Pid, UpgradeFailure, UpgradeStyle};

/// Logs one notice.
pub(in crate::supervisor) fn tell(notice: &Notice, config: &Config) {
    match notice {
        Notice::LaunchingMany { .. }
        | Notice::Launched { .. }
        | Notice::Relaunching { .. }
        | Notice::LaunchBlocked(_)
        | Notice::GaveUp { .. } => tell_launch(notice),
        Notice::ExecStuck { .. }
        | Notice::AckReceived { .. }
        | Notice::AckIgnored { .. }
        | Notice::TimerPassed { .. }
        | Notice::UpTo { .. }
        | Notice::AckMissed { .. } => tell_ack(notice, config),
        Notice::Exited { pid, ending, acked, asked } => tell_exit(*pid, *ending, *acked, *asked),
        Notice::GroupOutlived { .. }
        | Notice::Sending { .. }
        | Notice::Resending { .. }
        | Notice::SentAll { .. }
        | Notice::KillingLate { .. }
        | Notice::Lingering { .. } => tell_signal(notice),
        Notice::CullingOld { count } => log::info!("Killing off {count} old workers."),
        Notice::CullingGradually { count } => log::info!("Smooth upgrade: killing off {count} old workers."),
        Notice::CullingStale { count } => {
            log::info!("Killing off {count} workers of a given-up version that never ACKed.");
        }
        Notice::CullingSurplus { count } => {
            log::info!("Have too many workers at the current version, so killing off {count} of them.");
        }
        Notice::UpgradeStarted { .. }
        | Notice::UpgradeStartedOver { .. }
        | Notice::Upgraded { .. }
        | Notice::UpgradeFailed { .. }
        | Notice::UpgradeRefused { .. }
        | Notice::NotUpgradingWhileStopping => tell_upgrade(notice),
    }
}

fn tell_launch(notice: &Notice) {
    match notice {
        Notice::LaunchingMany { count } => log::info!("Launching {count} new workers"),
        Notice::Launched { pid, index } => log::info!("===> Launched {pid} (index: {index})"),
        Notice::Relaunching { since, interval_s, deaths } => {
            let line = format!(
                "Last spinup was {}s ago, and spinup_interval is {interval_s}s, so spinning up a new process.",
                since.as_secs_f64()
            );
            match deaths {
                0 => log::debug!("{line}"),
                _ => log::info!("{line} (there have been {deaths} consecutive unacked worker deaths)"),
            }
        }
        Notice::LaunchBlocked(Blocked::Unacked { unacked, max }) => log::info!(
            "There are {unacked} unacked new workers, and max_unacked is {max}, so not spinning up a new process."
        ),
        Notice::LaunchBlocked(Blocked::Capacity { over, modern, total }) => log::info!(
            "Already {over} over the number of workers during upgrade, {modern} new workers of {total} total. \
             Waiting for old workers to exit before spinning up a process."
        ),
        Notice::GaveUp { deaths } => {
            log::error!("Giving up: {deaths} workers in a row died before any was ACKed (--retries)");
        }
        _ => {}
    }
}

fn tell_ack(notice: &Notice, config: &Config) {
    match notice {
        Notice::ExecStuck { pid, limit } => {
            log::error!("Worker {pid} did not become its program within {}s. Sending SIGKILL.", limit.as_secs());
        }
        Notice::AckReceived { pid } => log::info!("Received a manual ACK from {pid}"),
        Notice::AckIgnored { pid, reason } => tell_ack_ignored(*pid, *reason, config),
        Notice::TimerPassed { pid, .. } => {
            log::info!("Worker {pid} has been up for {}s, so we are considering it alive.", timer_seconds(config));
        }
        Notice::UpTo { acked, target, broken_streak } => {
            let mode = match config.ack {
                Ack::Timer(_) => "timer",
                Ack::Manual => "manual",
            };
            let streak = match broken_streak {
                0 => String::new(),
                deaths => format!(", breaking the streak of {deaths} consecutive unacked workers dying"),
            };
            log::info!("Up to {acked} / {target} {mode} ACKs{streak}");
        }
        Notice::AckMissed { pid, after } => {
            log::warn!("Worker {pid} did not ACK within {}, so it has to go", seconds(*after));
        }
        _ => {}
    }
}

fn tell_ack_ignored(pid: Pid, reason: AckIgnored, config: &Config) {
    match reason {
        AckIgnored::Unknown => log::error!("Could not find state for PID {pid}; ignoring ACK."),
        AckIgnored::Repeated => log::error!("Pid {pid} already ACKed; ignoring new ACK."),
        AckIgnored::NotManual => {
            let timeout = timer_seconds(config);
            log::error!(
                "Received a manual ACK for {pid}, but ack_mode is {{:type=>:timer, :timeout=>{timeout}}}. Ignoring ACK."
            );
        }
    }
}

/// einhorn says only that a worker exited; how it ended unasked is what an operator asks next.
fn tell_exit(pid: Pid, ending: Ending, acked: Acked, asked: Asked) {
    match acked {
        Acked::Yes => log::info!("===> Exited worker {pid}"),
        Acked::Never => log::info!("===> Exited worker {pid} before it was ACKed"),
    }
    match (asked, ending) {
        (Asked::Yes, _) => {}
        (Asked::No, Ending::Code(code)) => log::warn!("Worker {pid} ended unasked with exit status {code}"),
        (Asked::No, Ending::Signal(signal)) => log::warn!("Worker {pid} was killed by SIG{signal}"),
    }
}

fn tell_signal(notice: &Notice) {
    match notice {
        Notice::GroupOutlived { pid } => {
            log::info!("Worker {pid} left processes behind in its group, passing the signal on to them");
        }
        Notice::Sending { signal, pids } => log::info!("Sending {signal} to {}", list(pids)),
        Notice::Resending { signal, pid } => log::error!(
            "Re-sending {signal} to already-signaled child {pid}. It may be slow to spin down, or it may be swallowing \
             {signal}s."
        ),
        Notice::SentAll { signal, pids } => {
            log::info!("Successfully sent {signal}s to {} processes: {}", pids.len(), list(pids));
        }
        Notice::KillingLate { pid, after } => {
            log::info!("Child {pid} is still active after {}s. Sending SIGKILL.", after.as_secs());
        }
        Notice::Lingering { pids, longest } => log::warn!(
            "Still there although told to go up to {}s ago: {} (a signal timeout, -t, would kill them)",
            longest.as_secs(),
            list(pids)
        ),
        _ => {}
    }
}

fn tell_upgrade(notice: &Notice) {
    match notice {
        Notice::UpgradeStarted { style, from } => {
            let style = match style {
                UpgradeStyle::Smooth => "smooth",
                UpgradeStyle::Fleet => "fleet",
            };
            log::info!("Starting {style} upgrade from version {from}...");
        }
        Notice::UpgradeStartedOver { acked, target } => {
            log::info!("Currently upgrading ({acked} / {target} ACKs; bumping version and starting over)...");
        }
        Notice::Upgraded { version } => {
            let ours = env!("CARGO_PKG_VERSION");
            log::info!("Upgraded successfully to version {version} (einhyrningsins {ours}).");
        }
        Notice::UpgradeFailed { version, back_to, reason } => match reason {
            UpgradeFailure::Failures(count) => log::error!(
                "Upgrade to version {version} failed: {count} new workers in a row died or did not ACK. \
                 Going back to version {back_to}"
            ),
            UpgradeFailure::Stopping => log::info!("Upgrade to version {version} given up because we're exiting"),
        },
        Notice::UpgradeRefused { reason } => log::error!("Upgrade refused, nothing was changed: {reason}"),
        Notice::NotUpgradingWhileStopping => log::info!("Not reloading einhorn because we're exiting"),
        _ => {}
    }
}

/// As Ruby shows an array of numbers.
fn list(pids: &[Pid]) -> String {
    let pids: Vec<String> = pids.iter().map(Pid::to_string).collect();
    format!("[{}]", pids.join(", "))
}

fn seconds(span: Duration) -> String {
    format!("{}s", span.as_millis() as f64 / 1000.0)
}

/// As Ruby shows it: the default is an integer, what was given is a float.
fn timer_seconds(config: &Config) -> String {
    let Ack::Timer(after) = config.ack else { return "0".to_owned() };
    if config.is_ack_given() { format!("{:?}", after.as_secs_f64()) } else { after.as_secs().to_string() }
}
