//! What one seed draws before it begins: settings, and how often what goes wrong (swarm testing: most faults are off in
//! most seeds, so that each is seen alone, in company, and all the time).

use std::num::NonZeroU8;
use std::time::Duration;

use einhyrningsins::base::{ExitCodes, Signal};
use einhyrningsins::pool::{AckMode, Manner, Settings, Share, Stages};

use crate::final_end::MISCONFIGURED;
use crate::rng::Rng;

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Time,
    Exec,
    Ack,
    StrayAck,
    Ping,
    Die,
    Massacre,
    Heed,
    Report,
    Freeze,
    /// A worker of a release whose workers do.
    StopItself,
    /// The same of one whose workers accept nothing.
    SeeUnfit,
    Thaw,
    GroupEnds,
    GroupReport,
    Release,
    /// The check of an upgrade ends.
    Check,
    /// The check of the next program ends, or the master is told to replace itself.
    Master,
    Command,
    Stranger,
}

/// Rates are out of 256.
#[derive(Clone, Debug)]
pub struct Plan {
    pub settings: Settings,
    pub pid_count: usize,
    pub target_max: u32,
    pub steps: u64,
    pub begin_ns: u64,
    pub kinds: Vec<Kind>,
    pub exec_fails: u64,
    pub exec_hangs: u64,
    pub acks_never: u64,
    pub acks_twice: u64,
    pub dies_after_ack: u64,
    pub deaf_to_graceful: u64,
    pub deaf_to_all: u64,
    pub fragile: u64,
    pub has_children: u64,
    pub children_deaf: u64,
    /// How often a worker leaves something in another group, and that in turn.
    pub has_strays: u64,
    pub fork_fails: u64,
    pub refused: u64,
    pub release_at_once: u64,
    /// How often a release comes with settings of its own, and whether the target stays as it was all the same.
    pub renews: u64,
    pub keeps_target: bool,
    /// Whether no settings allow fewer workers than the target to serve.
    pub keeps_all: bool,
    /// Out of 1024 commands.
    pub stops: u64,
    /// Out of 65,536 turns: one costs as much as hundreds of steps.
    pub reexecs: u64,
    /// The master dies, out of 65,536 turns.
    pub deaths: u64,
    /// Whether there is a master, with the steps of its re-execs and reloads; what follows is how often each of them fails.
    pub has_master: bool,
    pub program_unknown: u64,
    pub check_starts_not: u64,
    pub check_fails: u64,
    pub check_hangs: u64,
    pub check_silent: u64,
    pub job_starts_not: u64,
    pub job_hangs: u64,
    pub program_changes: u64,
    pub log_unread: u64,
    pub threads_busy: u64,
    pub handover_fails: u64,
    pub goes_back: u64,
    /// How often the check of an upgrade fails.
    pub version_fails: u64,
    /// How many releases are bad; and whether nothing else goes wrong (`deploy`).
    pub bad_releases: u64,
    pub deploys: bool,
    /// Out of 256 turns of `deploy`.
    pub commands: u64,
}

/// Enough for those that were told to go and do not; the simulator has a bit for each.
const PIDS_OF_DEPLOYS: usize = 120;

const REEXECS: [u64; 6] = [0, 0, 8, 32, 64, 256];
const DEATHS: [u64; 4] = [0, 0, 16, 128];
const OFTEN: [u64; 4] = [0, 8, 64, 250];
/// What programs end at gracefully: einhorn's workers, gunicorn, nginx, Apache.
pub const GRACEFUL: [Signal; 5] = [Signal::USR2, Signal::USR2, Signal::TERM, Signal::QUIT, Signal::INT];
const SELDOM: [u64; 6] = [0, 0, 0, 4, 32, 160];

impl Plan {
    pub fn draw(rng: &mut Rng) -> Self {
        let target_max = if rng.one_in(24) { 30 } else { 1 + rng.below(6) as u32 };
        Self {
            settings: settings(rng, target_max),
            pid_count: 2 * target_max as usize + 2 + rng.below(8) as usize,
            target_max,
            steps: rng.pick(&[200, 1_000, 5_000, 20_000]),
            begin_ns: rng.pick(&[0, 1, 1_000_000_000, 1 << 60]),
            kinds: kinds(rng),
            exec_fails: rng.pick(&SELDOM),
            exec_hangs: rng.pick(&SELDOM),
            acks_never: rng.pick(&SELDOM),
            acks_twice: rng.pick(&OFTEN),
            dies_after_ack: rng.pick(&SELDOM),
            deaf_to_graceful: rng.pick(&OFTEN),
            deaf_to_all: rng.pick(&SELDOM),
            fragile: rng.pick(&SELDOM),
            has_children: rng.pick(&OFTEN),
            children_deaf: rng.pick(&OFTEN),
            has_strays: rng.pick(&OFTEN),
            fork_fails: rng.pick(&SELDOM),
            refused: rng.pick(&SELDOM),
            release_at_once: rng.pick(&OFTEN),
            renews: rng.pick(&OFTEN),
            keeps_target: rng.one_in(4),
            keeps_all: false,
            stops: rng.pick(&[0, 0, 1, 8, 64]),
            reexecs: rng.pick(&REEXECS),
            deaths: rng.pick(&DEATHS),
            has_master: rng.one_in(2),
            program_unknown: rng.pick(&SELDOM),
            check_starts_not: rng.pick(&SELDOM),
            check_fails: rng.pick(&SELDOM),
            check_hangs: rng.pick(&SELDOM),
            check_silent: rng.pick(&OFTEN),
            job_starts_not: rng.pick(&SELDOM),
            job_hangs: rng.pick(&SELDOM),
            program_changes: rng.pick(&SELDOM),
            log_unread: rng.pick(&OFTEN),
            threads_busy: rng.pick(&OFTEN),
            handover_fails: rng.pick(&SELDOM),
            goes_back: rng.pick(&SELDOM),
            version_fails: rng.pick(&SELDOM),
            bad_releases: rng.pick(&[0, 0, 128, 256]),
            deploys: false,
            commands: 0,
        }
    }

    /// Nothing goes wrong but what releases do.
    pub fn deploys(rng: &mut Rng) -> Self {
        let target_max = 1 + rng.below(6) as u32;
        let calm = Self::calm(on_trial(settings(rng, target_max)), target_max);
        Self {
            pid_count: PIDS_OF_DEPLOYS,
            steps: rng.pick(&[1_000, 5_000, 20_000]),
            acks_twice: rng.pick(&OFTEN),
            refused: rng.pick(&SELDOM),
            release_at_once: rng.pick(&OFTEN),
            renews: rng.pick(&OFTEN),
            keeps_target: rng.one_in(4),
            reexecs: rng.pick(&REEXECS),
            deaths: rng.pick(&DEATHS),
            has_master: rng.one_in(2),
            version_fails: rng.pick(&SELDOM),
            bad_releases: rng.pick(&[128, 200, 256]),
            deploys: true,
            commands: rng.pick(&[1, 4, 16, 64]),
            ..calm
        }
    }

    /// As settings must be in this run.
    pub fn adapt(&self, settings: Settings) -> Settings {
        let settings = if self.keeps_all { all_available(settings) } else { settings };
        if self.deploys { on_trial(settings) } else { settings }
    }

    /// Nothing goes wrong.
    pub fn calm(settings: Settings, target_max: u32) -> Self {
        Self {
            settings,
            pid_count: 8 * target_max as usize + 8,
            target_max,
            steps: 0,
            begin_ns: 0,
            kinds: Vec::new(),
            exec_fails: 0,
            exec_hangs: 0,
            acks_never: 0,
            acks_twice: 0,
            dies_after_ack: 0,
            deaf_to_graceful: 0,
            deaf_to_all: 0,
            fragile: 0,
            has_children: 0,
            children_deaf: 0,
            has_strays: 0,
            fork_fails: 0,
            refused: 0,
            release_at_once: 0,
            renews: 0,
            keeps_target: true,
            keeps_all: false,
            stops: 0,
            reexecs: 0,
            deaths: 0,
            has_master: false,
            program_unknown: 0,
            check_starts_not: 0,
            check_fails: 0,
            check_hangs: 0,
            check_silent: 0,
            job_starts_not: 0,
            job_hangs: 0,
            program_changes: 0,
            log_unread: 0,
            threads_busy: 0,
            handover_fails: 0,
            goes_back: 0,
            version_fails: 0,
            bad_releases: 0,
            deploys: false,
            commands: 0,
        }
    }
}

pub fn settings(rng: &mut Rng, target_max: u32) -> Settings {
    let ms = Duration::from_millis;
    let ack =
        if rng.one_in(2) { AckMode::Manual } else { AckMode::Timer(ms(rng.pick(&[0, 200, 1_000, 5_000, 30_000]))) };
    Settings {
        target: 1 + rng.below(u64::from(target_max)) as u32,
        ack,
        ack_timeout: rng.pick(&[None, None, Some(ms(1_000)), Some(ms(5_000)), Some(ms(60_000))]),
        spacing_s: rng.pick(&[1e-9, 0.1, 1.0, 1.0, 7.5]),
        max_unacked: rng.pick(&[1, 2, target_max, target_max]),
        max_upgrade_additional: rng.pick(&[None, None, Some(1), Some(2), Some(target_max)]),
        signal_timeout: rng.pick(&[None, None, Some(ms(0)), Some(ms(1_000)), Some(ms(30_000))]),
        graceful: rng.pick(&GRACEFUL),
        retries: rng.pick(&[None, None, Some(1), Some(2), Some(5)]),
        manner: rng.pick(&[Manner::Einhorn, Manner::Own, Manner::Own]),
        early_life: ms(rng.pick(&[0, 1_000, 30_000, 30_000])),
        max_failures: rng.pick(&[0, 1, 3, 3, 20]),
        stages: stages(rng),
        bake: ms(rng.pick(&[0, 0, 1_000, 60_000])),
        has_check: rng.one_in(3),
        max_surge: rng.pick(&[None, None, Some(Share::Count(1)), Some(Share::Percent(25)), Some(Share::Count(0))]),
        max_unavailable: rng.pick(&[Share::Count(0), Share::Count(0), Share::Count(1), Share::Percent(50)]),
        stop_delay: ms(rng.pick(&[0, 0, 1, 5_000, 60_000])),
        no_restart: match rng.below(4) {
            0 | 1 => exit_codes(&[MISCONFIGURED]),
            2 => exit_codes(&[]),
            // Those of workers that die at their ack, and of children that could not be executed.
            _ => exit_codes(&[1, 127, MISCONFIGURED]),
        },
    }
}

fn exit_codes(codes: &[i32]) -> ExitCodes {
    let codes: Vec<_> = codes.iter().filter_map(|code| NonZeroU8::new(*code as u8)).collect();
    ExitCodes::new(&codes).expect("there are not too many")
}

/// The same, with a trial, and with an end of each worker that was told to go.
fn on_trial(settings: Settings) -> Settings {
    let signal_timeout = settings.signal_timeout.or(Some(Duration::from_secs(30)));
    let early_life = settings.early_life.max(Duration::from_secs(1));
    Settings { signal_timeout, early_life, max_failures: settings.max_failures.max(1), ..settings }
}

/// The same, with as many workers serving as ever.
pub fn all_available(settings: Settings) -> Settings {
    Settings { max_surge: None, max_unavailable: Share::Count(0), ..settings }
}

/// The most often all at once.
pub fn stages(rng: &mut Rng) -> Stages {
    let shares: &[Share] = match rng.below(6) {
        0 => &[Share::Count(1)],
        1 => &[Share::Percent(25)],
        2 => &[Share::Count(1), Share::Percent(50), Share::Percent(100)],
        3 => &[Share::Percent(50), Share::Count(1)],
        _ => &[],
    };
    Stages::new(shares).expect("there are not too many")
}

/// A bag to draw from; what is in it thrice happens thrice as often.
fn kinds(rng: &mut Rng) -> Vec<Kind> {
    let mut bag = Vec::new();
    let mut put = |kind, times| bag.extend(std::iter::repeat_n(kind, times));
    for kind in [
        Kind::Time,
        Kind::Exec,
        Kind::Ack,
        Kind::Heed,
        Kind::Report,
        Kind::GroupReport,
        Kind::Release,
        Kind::Master,
        Kind::Check,
        Kind::StopItself,
        Kind::SeeUnfit,
    ] {
        put(kind, rng.pick(&[1, 4, 12]));
    }
    for kind in [Kind::StrayAck, Kind::Ping, Kind::Die, Kind::Freeze, Kind::Thaw, Kind::GroupEnds, Kind::Command] {
        put(kind, rng.pick(&[0, 1, 1, 6]));
    }
    for kind in [Kind::Massacre, Kind::Stranger] {
        put(kind, rng.pick(&[0, 0, 1]));
    }
    bag
}
