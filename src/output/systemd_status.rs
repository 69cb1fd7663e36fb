//! How the service stands, and how sd_notify(3) says it: the phase, a line for people, and each step forward. It is told what there
//! is to see, says the difference to what was said last, and sends nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::printable;
use crate::base::{Mono, Slot, Version};
use crate::output::calendar::{Calendar, rfc3339};
use crate::output::waits;
use crate::pool::Pool;

/// By how much each step forward puts off the end of the manager's patience with a start or an upgrade.
const EXTENSION: Duration = Duration::from_secs(300);

/// How many of the slots that wait, or stay down, are named.
const NAMED_SLOTS_MAX: usize = 10;

/// As far as sd_notify(3) tells states apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Serving,
    Replacing,
    Stopping,
}

/// What is being replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replacing {
    Nothing,
    /// The program of the master alone.
    Master,
    /// All that an upgrade replaces; it may still be being prepared.
    Workers,
}

/// Whether as many workers as are wanted have served once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Readiness {
    #[default]
    NotYet,
    Reached,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) phase: Phase,
    pub(crate) status: String,
    pub(crate) version: Version,
    /// The most workers of `version` that have acked at a time: each is a step forward, once.
    pub(crate) acked: u32,
}

impl Stand {
    /// Before anything was said.
    pub(crate) fn unknown() -> Self {
        Self { phase: Phase::Starting, status: String::new(), version: Version(0), acked: 0 }
    }

    /// The stand after this one.
    pub(crate) fn next(&self, pool: &Pool, readiness: Readiness, exchange: Replacing, failure: Option<&str>) -> Self {
        let phase = match (pool.is_stopping(), readiness, exchange) {
            (true, _, _) => Phase::Stopping,
            (false, Readiness::NotYet, _) => Phase::Starting,
            (false, Readiness::Reached, Replacing::Nothing) => Phase::Serving,
            (false, Readiness::Reached, Replacing::Master | Replacing::Workers) => Phase::Replacing,
        };
        let (version, acked) = (pool.modern(), pool.acked_count());
        let acked = if version == self.version { acked.max(self.acked) } else { acked };
        Self { phase, status: status(pool, phase, exchange, failure), version, acked }
    }

    /// What has changed since `told`, as lines. The watchdog hears of a step, too: the manager puts off its end with the other's.
    pub(crate) fn changes_since(&self, told: &Self, now: Mono) -> Vec<String> {
        let mut lines = Vec::new();
        if self.phase != told.phase {
            match self.phase {
                Phase::Starting => {}
                Phase::Serving => lines.push("READY=1".to_owned()),
                Phase::Replacing => {
                    lines.extend(["RELOADING=1".to_owned(), format!("MONOTONIC_USEC={}", now.as_nanos() / 1000)]);
                }
                Phase::Stopping => lines.push("STOPPING=1".to_owned()),
            }
        }
        if self.status != told.status {
            lines.push(format!("STATUS={}", one_message(&self.status)));
        }
        if self.is_step_from(told) {
            lines.push(format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros()));
        }
        lines
    }

    /// Whether a start or an upgrade has got on.
    pub(crate) fn is_step_from(&self, told: &Self) -> bool {
        let before = if self.version == told.version { told.acked } else { 0 };
        matches!(self.phase, Phase::Starting | Phase::Replacing) && self.acked > before
    }
}

/// As systemd reads it. A line break would be the beginning of another line. A backslash takes the meaning of what stands behind it,
/// and systemd drops a message whole that ends with one; of two, one is left.
fn one_message(status: &str) -> String {
    printable::line(status).replace('\\', "\\\\")
}

/// `4/4 serving, version 7`
fn status(pool: &Pool, phase: Phase, exchange: Replacing, failure: Option<&str>) -> String {
    if phase == Phase::Stopping {
        return format!("stopping, {} workers left", pool.workers().len());
    }
    let (serving, target, version) = (pool.serving_count(), pool.settings().target, pool.modern());
    if pool.upgrading().is_some() {
        let (acked, stage) = (pool.acked_count(), pool.stage_size());
        let stage = if stage < target { format!(", stage of {stage}") } else { String::new() };
        let paused = if pool.is_paused() { ", paused" } else { "" };
        let waiting = waiting(pool);
        let long_wait = pool.long_wait().map_or_else(String::new, |wait| format!(", {}", waits::brief(&wait)));
        return format!(
            "{serving}/{target} serving, upgrading to version {version}: {acked}/{target} acked{stage}{paused}{waiting}{long_wait}"
        );
    }
    let about_to = match (phase, exchange) {
        (Phase::Replacing, Replacing::Master) => ", replacing the master",
        (Phase::Replacing, Replacing::Workers) => ", preparing an upgrade",
        _ => "",
    };
    let failure = failure.map_or(String::new(), |failure| format!(". {failure}"));
    let (trial, waiting, down) = (trial(pool), waiting(pool), down(pool));
    format!("{serving}/{target} serving, version {version}{about_to}{trial}{waiting}{down}{failure}")
}

/// Until when, rather than for how long: it does not change from second to second.
fn trial(pool: &Pool) -> String {
    let Some(trial) = pool.state().trial else { return String::new() };
    let (failures, max) = (trial.failures, pool.settings().max_failures);
    let ends_at = pool.trial_deadline().map(|moment| Calendar::now().wall(moment).seconds);
    let until = ends_at.map_or_else(String::new, |seconds| format!(" until {}", rfc3339(seconds)));
    format!(", on trial{until}, {failures} of {max} failures")
}

fn waiting(pool: &Pool) -> String {
    named("waiting after deaths", pool.waiting_slots().into_iter().map(|(slot, ..)| slot).collect())
}

/// With what the first of them ended; the others have as a rule ended with the same.
fn down(pool: &Pool) -> String {
    let down = pool.down_slots();
    let Some((_, first)) = down.first() else { return String::new() };
    named(&format!("down after exit status {}", first.code), down.into_iter().map(|(slot, _)| slot).collect())
}

/// systemd drops a message of more than 4 KiB, so that not every slot of many is named.
fn named(what: &str, slots: Vec<Slot>) -> String {
    let named: Vec<String> = slots.iter().take(NAMED_SLOTS_MAX).map(Slot::to_string).collect();
    match slots.len() - named.len() {
        _ if named.is_empty() => String::new(),
        0 => format!(", {what}: slot {}", named.join(" ")),
        more => format!(", {what}: slot {} and {more} more", named.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Ending, Pid, WorkerIndex};
    use crate::pool::{AckMode, Command, Event, Group, Settings};

    const NOW: Mono = Mono::from_nanos(5_000);

    struct Play {
        pool: Pool,
        told: Stand,
        readiness: Readiness,
    }

    impl Play {
        fn begin(readiness: Readiness) -> Self {
            let settings = Settings { target: 2, ack: AckMode::Manual, max_unacked: 2, ..Settings::default() };
            let mut play = Self { pool: Pool::new(settings), told: Stand::unknown(), readiness };
            play.happen(Event::Started);
            play
        }

        fn happen(&mut self, event: Event) {
            self.pool.handle(NOW, event, &mut Vec::new());
        }

        fn launch(&mut self, pid: i32, index: u32) {
            let (index, version) = (WorkerIndex(index), self.pool.modern());
            self.happen(Event::WorkerSpawned { pid: Pid(pid), index, version });
            self.happen(Event::WorkerExeced { pid: Pid(pid) });
        }

        fn ack(&mut self, pid: i32) {
            self.happen(Event::WorkerAcked { pid: Pid(pid) });
        }

        fn die(&mut self, pid: i32) {
            self.happen(Event::WorkerExited { pid: Pid(pid), ending: Ending::Code(1) });
            self.happen(Event::WorkerReaped { pid: Pid(pid), group: Group::Empty });
        }

        fn say(&mut self, exchange: Replacing, failure: Option<&str>) -> Vec<String> {
            let stand = self.told.next(&self.pool, self.readiness, exchange, failure);
            let lines = stand.changes_since(&self.told, NOW);
            self.told = stand;
            lines
        }
    }

    #[test]
    fn each_worker_that_acks_is_a_step_of_the_start() {
        let mut play = Play::begin(Readiness::NotYet);
        assert_eq!(play.say(Replacing::Nothing, None), ["STATUS=0/2 serving, version 0"]);
        play.launch(11, 0);
        play.launch(12, 1);
        assert_eq!(play.say(Replacing::Nothing, None), [""; 0]);
        play.ack(11);
        let step = ["STATUS=1/2 serving, version 0", "EXTEND_TIMEOUT_USEC=300000000"];
        assert_eq!(play.say(Replacing::Nothing, None), step);
        play.ack(12);
        play.readiness = Readiness::Reached;
        assert_eq!(play.say(Replacing::Nothing, None), ["READY=1", "STATUS=2/2 serving, version 0"]);
        assert_eq!(play.say(Replacing::Nothing, None), [""; 0]);
    }

    #[test]
    fn workers_that_ack_and_die_again_and_again_are_no_steps() {
        let mut play = Play::begin(Readiness::NotYet);
        play.launch(11, 0);
        play.ack(11);
        assert_eq!(play.say(Replacing::Nothing, None).len(), 2);
        play.die(11);
        let waits = "STATUS=0/2 serving, version 0, waiting after deaths: slot 0";
        assert_eq!(play.say(Replacing::Nothing, None), [waits]);
        play.launch(12, 1);
        play.ack(12);
        let waits = "STATUS=1/2 serving, version 0, waiting after deaths: slot 0";
        assert_eq!(play.say(Replacing::Nothing, None), [waits]);
    }

    #[test]
    fn a_step_is_one_of_its_version_and_of_a_start_or_an_upgrade() {
        let stand = |phase, version, acked| Stand { phase, status: String::new(), version: Version(version), acked };
        let before = stand(Phase::Replacing, 3, 2);
        assert!(stand(Phase::Replacing, 4, 1).is_step_from(&before));
        assert!(stand(Phase::Replacing, 3, 3).is_step_from(&before));
        assert!(!stand(Phase::Replacing, 4, 0).is_step_from(&before));
        assert!(!stand(Phase::Serving, 4, 1).is_step_from(&before));
        assert!(!stand(Phase::Stopping, 4, 1).is_step_from(&before));
    }

    #[test]
    fn a_re_exec_reports_reloading_only_after_ready() {
        let mut play = Play::begin(Readiness::NotYet);
        assert_eq!(play.say(Replacing::Workers, None), ["STATUS=0/2 serving, version 0"]);

        let mut play = Play::begin(Readiness::Reached);
        let preparing = ["RELOADING=1", "MONOTONIC_USEC=5", "STATUS=0/2 serving, version 0, preparing an upgrade"];
        assert_eq!(play.say(Replacing::Workers, None), preparing);
        let failed = ["READY=1", "STATUS=0/2 serving, version 0. Upgrade failed: no"];
        assert_eq!(play.say(Replacing::Nothing, Some("Upgrade failed: no")), failed);
        let replacing = play.say(Replacing::Master, None);
        assert_eq!(replacing.last().map(String::as_str), Some("STATUS=0/2 serving, version 0, replacing the master"));
    }

    #[test]
    fn the_end_is_said() {
        let mut play = Play::begin(Readiness::Reached);
        play.launch(11, 0);
        play.say(Replacing::Nothing, None);
        play.happen(Event::CommandGiven(Command::StopGracefully));
        assert_eq!(play.say(Replacing::Workers, None), ["STOPPING=1", "STATUS=stopping, 1 workers left"]);
    }

    /// A failure has words of a configuration, or of the program that was refused.
    #[test]
    fn a_status_is_one_message_and_steers_no_terminal() {
        let mut play = Play::begin(Readiness::Reached);
        let failure = "Upgrade failed: a\nMAINPID=1\u{1b}[2J\u{9b}2J\u{202e}\u{ffff}C:\\";
        let said = play.say(Replacing::Nothing, Some(failure));
        let shown = r"Upgrade failed: a\\x0aMAINPID=1\\x1b[2J\\x9b2J\\u{202e}\\u{ffff}C:\\";
        assert_eq!(said, ["READY=1".to_owned(), format!("STATUS=0/2 serving, version 0. {shown}")]);
    }

    #[test]
    fn of_many_slots_that_wait_some_are_named() {
        let target = 1000;
        let settings = Settings { target, ack: AckMode::Manual, max_unacked: target, ..Settings::default() };
        let mut play = Play { pool: Pool::new(settings), told: Stand::unknown(), readiness: Readiness::NotYet };
        play.happen(Event::Started);
        for number in 0..target {
            play.launch(1000 + i32::try_from(number).unwrap(), number);
            play.die(1000 + i32::try_from(number).unwrap());
        }
        let waits = "waiting after deaths: slot 0 1 2 3 4 5 6 7 8 9 and 990 more";
        assert_eq!(play.say(Replacing::Nothing, None), [format!("STATUS=0/1000 serving, version 0, {waits}")]);
    }
}
