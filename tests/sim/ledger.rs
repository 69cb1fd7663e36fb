//! What the pool as a whole has been told and has said, kept by the simulator itself: versions, upgrade, failures,
//! launches. Invariants are judged by this and by `World`, never by what the pool remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use einhyrningsins::base::{Ending, Mono, Pid, Signal, Slot, Version, WorkerIndex};
use einhyrningsins::pool::{
    AckMode, Command, DAEMON_GRACE, EARLIER_MAX, Event, ExitReason, Group, Manner, QUIT_GRACE, Settings, TERM_GRACE,
    Terms, UpgradeStyle,
};

use crate::final_end::FinalEnd;
use crate::rollout::Rollout;
use crate::run::StopSignal;
use crate::world::{Known, Launching, Process, World};
use crate::young::Young;

#[derive(Clone, Debug)]
pub struct Ledger {
    pub settings: Settings,
    /// What an upgrade that is given up leads back to: the settings of `good`.
    pub fallback: Settings,
    /// What came with the release that was found last.
    pub offered: Settings,
    /// What was set for versions that are neither wanted nor gone back to, when they were last.
    pub gone: BTreeMap<Version, Settings>,
    pub modern: Version,
    pub good: Version,
    pub newest: Version,
    pub upgrading: Option<UpgradeStyle>,
    /// The style of an upgrade that was asked for and has neither started nor been refused (L3).
    pub asked: Option<UpgradeStyle>,
    pub asked_terms: Terms,
    /// What can be gone back to beside `good`, the oldest first.
    pub earlier: Vec<Version>,
    /// Versions that have come through their trial.
    pub proven: BTreeSet<Version>,
    /// The failures of the modern version, while it is on trial.
    pub trial: Option<u32>,
    /// Those of the good version in the upgrade under way, while it is on trial.
    pub good_failures: u32,
    pub rollout: Option<Rollout>,
    /// The modern version was gone back to, and does not serve in every slot yet.
    pub returning: bool,
    /// None serves since some did.
    pub dark: bool,
    pub young: BTreeMap<Slot, Young>,
    /// Since when workers are stopped.
    pub stopped_at: BTreeMap<Pid, Mono>,
    /// A `PrepareRelease` that is not answered.
    pub outstanding: Option<Version>,
    /// Requests for an upgrade, and how many of them had come when it was asked for.
    pub request_count: u64,
    pub prepared_after: u64,
    /// What the supervisor could launch: prepared, and not forgotten.
    pub releases: Vec<Version>,
    /// That of a master that died. It is not known what it ran, so it is none of `earlier`.
    pub adopted: Option<Version>,
    pub stopping: Option<ExitReason>,
    /// When the workers hear of a stop that is delayed, and what.
    pub stop_due: Option<(Mono, StopSignal)>,
    /// When a graceful end becomes one by TERM.
    pub term_due: Option<Mono>,
    pub exited: bool,
    /// Modern workers that died or missed their ack, unasked, since the last ack, upgrade or return.
    pub deaths: u32,
    /// Those of them that fell into the upgrade under way.
    pub failures: u32,
    pub failed_launches: u32,
    /// When the last launch was asked for, and the last that failed.
    pub last_asked: Mono,
    pub last_failed: Option<Mono>,
    pub ever_acked: bool,
    pub last_spinup: Option<Mono>,
    /// When the log last named those who linger.
    pub last_linger_note: Mono,
    pub launching: Vec<Launching>,
    pub leftover_count: usize,
    /// The version of which it was told last that its workers go to the background, and one of which this is to be told.
    pub daemonized: Option<Version>,
    pub daemon_to_tell: Option<Pid>,
    /// Whether a worker has outlived its early life.
    pub established: bool,
    /// Slots that stay down, with the version that is not to fill them.
    pub down: BTreeMap<Slot, Version>,
    /// A worker that ended so that no restart mends it, until something is made of it.
    pub final_end: Option<FinalEnd>,
    pub serial: u64,
    /// Below it the number of serving workers must not fall at all (L2); 0 where workers may die.
    pub floor: u32,
    /// Acks since the last `UpTo`, and how long a streak the latest broke.
    pub acks_to_tell: u32,
    pub broken_streak: u32,
}

impl Ledger {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            fallback: settings,
            offered: settings,
            gone: BTreeMap::new(),
            modern: Version(0),
            good: Version(0),
            newest: Version(0),
            upgrading: None,
            asked: None,
            asked_terms: Terms::default(),
            earlier: Vec::new(),
            proven: BTreeSet::from([Version(0)]),
            trial: None,
            good_failures: 0,
            rollout: None,
            returning: false,
            dark: false,
            young: BTreeMap::new(),
            outstanding: None,
            request_count: 0,
            prepared_after: 0,
            releases: vec![Version(0)],
            adopted: None,
            stopping: None,
            stop_due: None,
            term_due: None,
            exited: false,
            deaths: 0,
            failures: 0,
            failed_launches: 0,
            last_asked: Mono::from_nanos(0),
            last_failed: None,
            ever_acked: false,
            last_spinup: None,
            last_linger_note: Mono::from_nanos(0),
            launching: Vec::new(),
            leftover_count: 0,
            daemonized: None,
            daemon_to_tell: None,
            established: false,
            down: BTreeMap::new(),
            final_end: None,
            serial: 0,
            floor: 0,
            acks_to_tell: 0,
            stopped_at: BTreeMap::new(),
            broken_streak: 0,
        }
    }

    /// Takes in an event that the pool is about to hear.
    pub fn note(&mut self, world: &mut World, now: Mono, event: &Event) {
        match event {
            Event::CommandGiven(command) => self.note_command(now, command),
            Event::WorkerSpawned { pid, index, version } => {
                let launch = self.take_launch(*index, *version);
                self.stopped_at.remove(pid);
                (self.failed_launches, self.last_failed) = (0, None);
                self.serial += 1;
                let Some(at) = world.at(*pid) else { return };
                if world.processes[at].known == Known::Group {
                    self.leftover_count -= 1;
                }
                world.processes[at].begin(launch, self.serial, now);
                world.workers.push(at);
            }
            Event::SpawnFailed { index, version } => {
                self.take_launch(*index, *version);
                if self.last_failed.replace(self.last_asked) != Some(self.last_asked) {
                    self.failed_launches += 1;
                }
            }
            Event::WorkerAcked { pid } => {
                let Some(at) = world.worker_at(*pid) else { return };
                let process = &world.processes[at];
                if self.acks_by_hand(process) && process.acked_at.is_none() {
                    self.acknowledge(world, at, now);
                }
            }
            Event::WorkerExeced { pid } => note_worker(world, *pid, |process| process.execed = true),
            Event::WorkerStopped { pid } => self.note_stop(world, *pid, now),
            Event::WorkerContinued { pid } => {
                note_worker(world, *pid, |process| process.stopped = false);
                self.stopped_at.remove(pid);
            }
            Event::WorkerExited { pid, ending } => {
                if let Some(at) = world.worker_at(*pid) {
                    self.note_exit(world, at, *ending, now);
                }
            }
            Event::LeftoverFound { group, elsewhere } => self.note_stray(world, *group, elsewhere.worker, now),
            Event::WorkerReaped { pid, group } => {
                let Some(at) = world.at(*pid) else { return };
                world.processes[at].killed = false;
                world.processes[at].known = match group {
                    Group::Empty => Known::Nothing,
                    Group::HasSurvivors => Known::Group,
                };
                self.leftover_count -= usize::from(*group == Group::Empty);
            }
            Event::GroupEmptied { pid } => {
                let Some(at) = world.at(*pid) else { return };
                world.processes[at].known = Known::Nothing;
                world.processes[at].left_by = None;
                self.leftover_count -= 1;
            }
            Event::ReleaseReady { version, settings } => {
                self.outstanding = None;
                self.offered = *settings;
                self.releases.push(*version);
            }
            Event::ReleaseRefused { .. } => self.outstanding = None,
            Event::CheckEnded { version, result } => self.note_check(*version, result.is_ok()),
            Event::Started
            | Event::Resumed
            | Event::WorkerPinged { .. }
            | Event::VersionUnfit { .. }
            | Event::DeadlinePassed => {}
        }
    }

    fn note_stop(&mut self, world: &mut World, pid: Pid, now: Mono) {
        let serving = world.worker_at(pid).map(|at| world.processes[at]).filter(|process| process.serves());
        serving.into_iter().for_each(|process| self.count_against_trial(&process));
        note_worker(world, pid, |process| process.stopped = true);
        self.stopped_at.insert(pid, now);
    }

    fn note_command(&mut self, now: Mono, command: &Command) {
        match command {
            Command::Upgrade { style, terms } => {
                (self.asked, self.asked_terms) = (Some(*style), *terms);
                self.request_count += 1;
            }
            Command::Stop(Signal::QUIT) if self.stopping != Some(ExitReason::GaveUp) => {
                self.stopping = Some(ExitReason::Quit);
            }
            Command::Stop(_) | Command::StopGracefully | Command::StopGracefullyThenTerm => {
                self.stopping = self.stopping.or(Some(ExitReason::Stopped));
            }
            Command::SetTarget(target) => {
                self.each_known(|_, settings| settings.target = *target);
                self.down.clear();
            }
            Command::Configure(known) => {
                self.each_known(|version, settings| {
                    let new = known.iter().find(|(known, _)| *known == version);
                    *settings = new.map_or(*settings, |(_, new)| *new);
                });
                self.down.clear();
            }
            Command::Pause => self.rollout.iter_mut().for_each(|rollout| rollout.pause(now)),
            Command::Resume => self.rollout.iter_mut().for_each(|rollout| rollout.resume(now)),
            Command::Forward(_) | Command::ForwardTo { .. } | Command::Abort | Command::RollBack(_) => {}
        }
    }

    fn each_known(&mut self, change: impl Fn(Version, &mut Settings)) {
        change(self.modern, &mut self.settings);
        change(self.good, &mut self.fallback);
        for version in &self.earlier {
            change(*version, self.gone.get_mut(version).expect("it was set"));
        }
    }

    /// What is set for a version, or was when it was last of any concern.
    pub fn set_for(&self, version: Version) -> &Settings {
        if version == self.modern {
            &self.settings
        } else if version == self.good {
            &self.fallback
        } else {
            &self.gone[&version]
        }
    }

    /// Whether an ack of this worker's counts. One of a version that is gone has acked or has been told to go, so nothing
    /// depends on it, and it is judged as those are that are gone back to.
    pub fn acks_by_hand(&self, process: &Process) -> bool {
        let set = if process.version == self.modern { &self.settings } else { &self.fallback };
        set.ack == AckMode::Manual
    }

    /// A version is wanted, with what came with it.
    pub fn begin_upgrade(&mut self, now: Mono, version: Version) {
        match self.upgrading {
            None => {
                if self.trial.is_some() {
                    self.retire_good();
                }
                self.good_failures = 0;
                self.good = self.modern;
                self.fallback = self.settings;
            }
            Some(_) => {
                self.gone.insert(self.modern, self.settings);
            }
        }
        self.settings = self.offered;
        self.newest = version;
        self.modern = version;
        self.upgrading = self.asked.take();
        self.trial = has_trial(&self.settings).then_some(0);
        self.rollout = Some(Rollout::begin(now, self.asked_terms, &self.settings));
        self.returning = false;
        self.forget_failures();
    }

    pub fn finish_upgrade(&mut self) {
        (self.upgrading, self.rollout, self.good_failures) = (None, None, 0);
        if self.trial.is_none() {
            self.prove();
        }
    }

    /// The modern version is good.
    pub fn prove(&mut self) {
        self.retire_good();
        self.trial = None;
        self.proven.insert(self.modern);
        self.good = self.modern;
        self.fallback = self.settings;
    }

    fn retire_good(&mut self) {
        self.gone.insert(self.good, self.fallback);
        if self.good != self.modern && self.adopted != Some(self.good) {
            self.earlier.push(self.good);
            if self.earlier.len() > EARLIER_MAX {
                // However many bad ones come in a row, there is one to go back to.
                let last_proven = self.earlier.iter().rposition(|version| self.proven.contains(version));
                self.earlier.remove(usize::from(last_proven == Some(0)));
            }
        }
    }

    /// All is as it was before.
    pub fn go_back(&mut self, back_to: Version) {
        self.gone.insert(self.modern, self.settings);
        if let Some(at) = self.earlier.iter().position(|version| *version == back_to) {
            self.gone.insert(self.good, self.fallback);
            self.earlier.truncate(at);
            self.good = back_to;
            self.fallback = self.gone[&back_to];
        }
        self.settings = self.fallback;
        (self.upgrading, self.rollout, self.trial, self.good_failures) = (None, None, None, 0);
        self.modern = self.good;
        self.returning = true;
        if !self.proven.contains(&self.modern) {
            match has_trial(&self.settings).then(|| self.earlier.pop()).flatten() {
                Some(version) => {
                    self.trial = Some(0);
                    self.good = version;
                    self.fallback = self.gone[&version];
                }
                None => {
                    self.proven.insert(self.modern);
                }
            }
        }
        self.forget_failures();
    }

    /// Whether its slot is above the target. In einhorn's manner none is.
    pub fn is_surplus(&self, process: &Process) -> bool {
        process.slot.0 >= self.settings.target && self.settings.manner == Manner::Own
    }

    /// A worker of the version on trial failed, in a slot that is wanted.
    pub fn count_against_trial(&mut self, process: &Process) {
        if self.is_surplus(process) {
            return;
        }
        if process.version == self.modern {
            self.trial.iter_mut().for_each(|failures| *failures += 1);
        } else if process.version == self.good && !self.proven.contains(&self.good) && self.upgrading.is_some() {
            self.good_failures += 1;
        }
    }

    /// The answer to the check that runs is a word about the version.
    fn note_check(&mut self, version: Version, passed: bool) {
        if let Some(rollout) = self.rollout.as_mut().filter(|_| version == self.modern) {
            rollout.note_check(passed);
        }
    }

    fn forget_failures(&mut self) {
        self.deaths = 0;
        self.failures = 0;
        (self.failed_launches, self.last_failed) = (0, None);
        self.young.clear();
        self.down.clear();
    }

    fn note_exit(&mut self, world: &mut World, at: usize, ending: Ending, now: Mono) {
        self.note_established(world, now);
        world.workers.retain(|&worker| worker != at);
        self.leftover_count += 1;
        let detached = self.note_detached(world, at, ending, now);
        let process = &mut world.processes[at];
        process.known = Known::Ended;
        if !process.told {
            process.kill_at = Some(self.patience(now));
            let process = *process;
            let final_code = self.final_code(&process, ending);
            match final_code {
                Some(code) => self.note_final_end(&process, code),
                None => self.count_failure(&process, now),
            }
            if detached && process.acked_at.is_some() && process.version == self.modern {
                self.deaths += 1;
                self.failures += u32::from(self.upgrading.is_some());
            }
        }
    }

    /// When what a worker has left is killed that was not told to go.
    fn patience(&self, now: Mono) -> Mono {
        now.after(self.settings.signal_timeout.unwrap_or(TERM_GRACE))
    }

    /// A worker that leaves something elsewhere and ends well, soon and unasked has gone to the background.
    fn note_detached(&mut self, world: &mut World, at: usize, ending: Ending, now: Mono) -> bool {
        let Process { pid, told, spawned_at, version, .. } = world.processes[at];
        let is_early = now.since(spawned_at) < Duration::from_secs(10);
        if told || ending != Ending::Code(0) || !is_early {
            return false;
        }
        let grace = self.settings.signal_timeout.unwrap_or(DAEMON_GRACE).min(DAEMON_GRACE);
        let mut detached = false;
        for left in world.processes.iter_mut().filter(|it| it.left_by == Some(pid) && it.known == Known::Ended) {
            left.last_signal = Signal::TERM;
            left.kill_at = earlier(left.kill_at, Some(now.after(grace)));
            detached = true;
        }
        if detached && self.daemonized.replace(version) != Some(version) {
            self.daemon_to_tell = Some(pid);
        }
        detached
    }

    /// What was found is as its worker is, or as what else that has left, or as what is launched now.
    fn note_stray(&mut self, world: &mut World, group: Pid, worker: Pid, now: Mono) {
        let Some(at) = world.at(group).filter(|&at| world.processes[at].known == Known::Nothing) else { return };
        let alive = world.worker_at(worker);
        let is_left = |it: &Process| it.left_by == Some(worker) && it.known != Known::Nothing;
        let model = alive.or_else(|| world.processes.iter().position(is_left)).map(|at| world.processes[at]);
        let graceful = model.map_or(self.settings.graceful, |model| model.graceful);
        let has_limit = model.is_some_and(|model| alive.is_none() || model.told);
        self.leftover_count += 1;
        let patience = self.patience(now);
        let stray = &mut world.processes[at];
        stray.known = Known::Ended;
        stray.left_by = Some(worker);
        stray.graceful = graceful;
        stray.last_signal = model.filter(|_| has_limit).map_or(graceful, |model| model.last_signal);
        stray.kill_at = model.filter(|_| has_limit).map_or(Some(patience), |model| model.kill_at);
        stray.killed = false;
    }

    /// A worker died, missed its ack, or was stopped for too long before it, that was not told to go.
    pub fn count_failure(&mut self, process: &Process, now: Mono) {
        self.note_young_death(process, now);
        self.count_against_trial(process);
        if process.acked_at.is_none() && process.version == self.modern {
            self.deaths += 1;
            self.failures += u32::from(self.upgrading.is_some());
        }
    }

    pub fn acknowledge(&mut self, world: &mut World, at: usize, now: Mono) {
        let process = &mut world.processes[at];
        process.acked_at = Some(now);
        process.execed = true;
        self.ever_acked = true;
        self.acks_to_tell += 1;
        self.broken_streak = 0;
        let (slot, version) = (process.slot, process.version);
        self.note_ack_in_slot(slot, version);
        if process.version == self.modern {
            self.broken_streak = std::mem::take(&mut self.deaths);
            self.failures = 0;
        }
    }

    fn take_launch(&mut self, index: WorkerIndex, version: Version) -> Launching {
        let at = self.launching.iter().position(|launch| (launch.index, launch.version) == (index, version));
        at.map(|at| self.launching.remove(at)).expect("the simulator answers only launches that were asked for")
    }

    /// How long workers may take to end after a stop.
    pub fn stop_grace(&self, stop: StopSignal) -> Option<Duration> {
        let timeout = self.settings.signal_timeout;
        match stop {
            StopSignal::Signal(Signal::TERM) => timeout.or(Some(TERM_GRACE)),
            StopSignal::Signal(Signal::QUIT) => Some(timeout.unwrap_or(QUIT_GRACE).min(QUIT_GRACE)),
            StopSignal::Signal(_) | StopSignal::Graceful => timeout,
            StopSignal::GracefulThenTerm => None,
        }
    }

    /// What a stop at this moment is that follows others: one that is graceful puts off no TERM that is to come.
    pub fn once_more(&self, now: Mono, stop: StopSignal) -> StopSignal {
        let is_delayed = self.stop_due.is_some_and(|(_, before)| before == StopSignal::GracefulThenTerm);
        match stop {
            StopSignal::Signal(_) => stop,
            StopSignal::Graceful | StopSignal::GracefulThenTerm if self.term_due.is_some_and(|due| due <= now) => {
                StopSignal::Signal(Signal::TERM)
            }
            StopSignal::Graceful if is_delayed || self.term_due.is_some() => StopSignal::GracefulThenTerm,
            StopSignal::Graceful | StopSignal::GracefulThenTerm => stop,
        }
    }
}

/// What a version with these settings has to come through.
pub fn has_trial(settings: &Settings) -> bool {
    settings.max_failures > 0 && !settings.early_life.is_zero()
}

fn note_worker(world: &mut World, pid: einhyrningsins::base::Pid, change: impl FnOnce(&mut crate::world::Process)) {
    if let Some(at) = world.worker_at(pid) {
        change(&mut world.processes[at]);
    }
}

pub fn earlier(one: Option<Mono>, other: Option<Mono>) -> Option<Mono> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (moment, None) | (None, moment) => moment,
    }
}
