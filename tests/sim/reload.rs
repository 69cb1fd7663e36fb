//! The configuration around the pool: the machine of the reload (`machines::reload`), in a world where its jobs fail, hang or cannot
//! be started, and commands come at any time. What the pool is offered comes out of it. Held:
//! - I29 the configuration in force is that of the version that the pool calls modern, the one to be gone back to is that of the
//!   good one, and the pool decides by them.
//! - I30 every client that asked for an upgrade hears once how it ended, and hears of no other.
//! - I31 what a command has set stays, whatever upgrade begins or is given up, over re-execs.
//! - I32 jobs end in their order, each with its answer; one that takes long is told of every 30 s; no exec while there is one.

use std::collections::{BTreeMap, VecDeque};

use einhyrningsins::base::{ClientId, Mono, Version};
use einhyrningsins::machines::reload::{Configuration, Hearers, Input, JOB_NOTE, Output, Reload, Start};
use einhyrningsins::pool::{Event, Notice, Settings};
use serde::{Deserialize, Serialize};

use crate::hold;
use crate::plan::settings;
use crate::run::{Cause, Run};

/// How many clients ask for upgrades, and how many jobs wait at the most.
const CLIENTS: u64 = 4;
const JOBS_MAX: usize = 4;

/// A configuration: the version that it came with, what stood in the file then, and what was commanded since.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    version: Version,
    read: Settings,
    commanded: Commanded,
}

/// What commands have set last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Commanded {
    target: Option<u32>,
    /// What `config` may set, and no more of it.
    pace: Option<Settings>,
}

#[derive(Clone, Debug)]
pub enum Change {
    Target(u32),
    Pace(Box<Settings>),
}

impl Commanded {
    fn set(&mut self, change: &Change) {
        match change {
            Change::Target(target) => self.target = Some(*target),
            Change::Pace(pace) => self.pace = Some(**pace),
        }
    }

    fn over(&self, read: Settings) -> Settings {
        let Settings { target, ack, ack_timeout, retries, .. } = read;
        let set = self.pace.map_or(read, |pace| Settings { target, ack, ack_timeout, retries, ..pace });
        Settings { target: self.target.unwrap_or(target), ..set }
    }
}

impl Configuration for Model {
    type Change = Change;

    fn set(&mut self, change: &Change) {
        self.commanded.set(change);
    }

    fn in_place_of(self, in_force: &Self) -> Self {
        Self { commanded: in_force.commanded, ..self }
    }

    fn settings(&self) -> Settings {
        self.commanded.over(self.read)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Upgrade(Version),
    Comparison(u64),
}

#[derive(Clone, Copy, Debug)]
struct Job {
    purpose: Purpose,
    hangs: bool,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    ForBegin,
    ForEnd,
}

/// The model of what surrounds the machine.
pub struct Reloading {
    machine: Reload<Model, u64>,
    /// The oldest first; and since when it has been the oldest, or was told of.
    jobs: VecDeque<Job>,
    since: Mono,
    file: Settings,
    commanded: Commanded,
    clients: BTreeMap<ClientId, Waits>,
    comparisons: u64,
}

impl Reloading {
    pub fn new(settings: Settings) -> Self {
        Self::of(Version(0), settings)
    }

    /// The file is that of the version which a new master begins with.
    pub fn of(version: Version, settings: Settings) -> Self {
        let model = Model { version, read: settings, commanded: Commanded::default() };
        Self {
            machine: Reload::new(model),
            jobs: VecDeque::new(),
            since: Mono::from_nanos(0),
            file: settings,
            commanded: Commanded::default(),
            clients: BTreeMap::new(),
            comparisons: 0,
        }
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.machine.deadline()
    }

    /// As the machine says it.
    pub fn is_busy(&self) -> bool {
        self.machine.is_busy()
    }

    pub fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    pub fn job_can_end(&self) -> bool {
        self.jobs.front().is_some_and(|job| !job.hangs)
    }

    pub fn has_waiting_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// What hangs goes on.
    pub fn forgive(&mut self) {
        self.jobs.iter_mut().for_each(|job| job.hangs = false);
    }

    /// The machine of the next image knows what this one knew.
    pub fn hand_on(&mut self) {
        let text = |machine: &Reload<Model, u64>| serde_json::to_string(machine).expect("it can be written");
        let went = text(&self.machine);
        self.machine = serde_json::from_str(&went).expect("it can be read");
        let came = text(&self.machine);
        hold!("I12", came == went, "{went} comes out as {came}");
    }

    fn begins(&mut self, purpose: Purpose, hangs: bool, now: Mono) {
        if self.jobs.is_empty() {
            self.since = now;
        }
        self.jobs.push_back(Job { purpose, hangs });
    }

    fn ends(&mut self, purpose: Purpose, now: Mono) {
        let oldest = self.jobs.pop_front().map(|job| job.purpose);
        hold!("I32", oldest == Some(purpose), "{purpose:?} ends, and the oldest is {oldest:?}");
        self.since = now;
    }
}

impl Run {
    /// The pool waits for this version, and no re-exec comes first.
    pub fn prepare_here(&mut self, version: Version) {
        let wanted = self.ledger.outstanding == Some(version);
        hold!("I27", wanted, "{version} is prepared and not wanted");
        let one = self.reloading().jobs.iter().any(|job| matches!(job.purpose, Purpose::Upgrade(_)));
        hold!("I32", !one, "two versions are prepared at once");
        let start = self.start_job(Purpose::Upgrade(version));
        let event = self.drive_reload(Input::Prepare { version, start });
        self.replies.extend(event);
    }

    /// A client wants to know what an upgrade would change.
    pub fn compare(&mut self) {
        let reloading = self.reloading();
        if reloading.jobs.len() < JOBS_MAX {
            reloading.comparisons += 1;
            let asker = reloading.comparisons;
            let start = self.start_job(Purpose::Comparison(asker));
            let told = self.coverage.comparisons_refused;
            self.drive_reload(Input::Compare { asker, start });
            let is_told = self.coverage.comparisons_refused > told;
            hold!("I32", is_told == (start == Start::Impossible), "a comparison is refused: {is_told}, and {start:?}");
        }
    }

    fn start_job(&mut self, purpose: Purpose) -> Start {
        if self.rng.chance(self.plan.job_starts_not) {
            self.coverage.jobs_not_started += 1;
            return Start::Impossible;
        }
        let (hangs, now) = (self.rng.chance(self.plan.job_hangs), self.now);
        self.reloading().begins(purpose, hangs, now);
        Start::Done
    }

    /// What comes of the oldest job is told the pool at once. One that hangs may go on after a long time.
    pub fn end_job(&mut self) -> Option<Event> {
        let hangs = self.reloading().jobs.front()?.hangs;
        if hangs && !self.rng.one_in(16) {
            return None;
        }
        self.drive_reload(Input::JobEnded)
    }

    /// A client asks for an upgrade, or a signal does.
    pub fn ask_for_upgrade(&mut self) {
        if self.master.is_some() && self.rng.one_in(2) {
            let client = ClientId(self.rng.below(CLIENTS));
            self.reloading().clients.insert(client, Waits::ForBegin);
            self.drive_reload(Input::UpgradeAsked(client));
        }
    }

    /// A command sets this. What the pool shall decide by then, now and when the upgrade under way is given up.
    pub fn change(&mut self, change: Change) -> Vec<(Version, Settings)> {
        self.reloading().commanded.set(&change);
        self.drive_reload(Input::Commanded(vec![change]));
        let known = self.pool.known_versions();
        let machine = &self.reloading().machine;
        known.into_iter().map(|version| (version, machine.of(version).settings())).collect()
    }

    /// Those of versions that cannot be gone back to any more are dropped.
    pub fn keep_configurations(&mut self) {
        if self.master.is_some() {
            let known = self.ledger.earlier.iter().copied().chain([self.ledger.good]);
            let known = known.collect();
            self.drive_reload(Input::Keep(known));
        }
    }

    /// What the pool says of an upgrade, before the ledger takes note of it.
    pub fn follow_upgrade(&mut self, notice: &Notice) {
        let input = match notice {
            _ if self.master.is_none() => return,
            Notice::UpgradeStarted { from, .. } => Input::UpgradeBegun { after: Some(*from) },
            Notice::UpgradeStartedOver { .. } => Input::UpgradeBegun { after: None },
            Notice::Upgraded { .. } => Input::UpgradeDone,
            Notice::UpgradeFailed { back_to, .. } => Input::UpgradeGivenUp { to: *back_to },
            Notice::UpgradeRefused { .. } | Notice::NotUpgradingWhileStopping => Input::UpgradeRefused,
            _ => return,
        };
        if matches!(input, Input::UpgradeBegun { .. }) {
            self.reloading().clients.values_mut().for_each(|waits| *waits = Waits::ForEnd);
        }
        self.drive_reload(input);
    }

    /// In each turn of the loop.
    pub fn note_slow_job(&mut self) {
        if self.reloading().deadline().is_some_and(|due| due <= self.now) {
            let since = self.reloading().since;
            self.drive_reload(Input::TimePassed);
            hold!("I32", self.reloading().since > since, "a job takes long, and it is not told");
        }
    }

    /// After every step.
    pub fn audit_reload(&self) {
        let (Some(master), ledger) = (&self.master, &self.ledger) else { return };
        let reloading = &master.reloading;
        let (in_force, fallback) = (reloading.machine.in_force(), reloading.machine.of(ledger.good));
        for version in &ledger.earlier {
            let known = reloading.machine.of(*version).version;
            hold!("I29", known == *version, "that of {version} is to be gone back to, and that of {known} is kept");
        }
        let versions = (in_force.version, fallback.version);
        hold!(
            "I29",
            versions == (ledger.modern, ledger.good),
            "in force, and to go back to, are those of {versions:?}"
        );
        let set = (in_force.settings(), fallback.settings());
        hold!("I29", set == (ledger.settings, ledger.fallback), "the pool shall decide by {set:?}");
        let commanded = reloading.commanded;
        let kept = (commanded.over(set.0), commanded.over(set.1));
        hold!("I31", kept == set, "{commanded:?} was commanded, in force are {set:?}");
        let jobs = &reloading.jobs;
        hold!("I32", reloading.is_busy() != jobs.is_empty(), "the machine has jobs: {}", reloading.is_busy());
        let due = (!jobs.is_empty()).then(|| reloading.since.after(JOB_NOTE));
        hold!("I32", reloading.deadline() == due, "a job is to be told of at {:?}, not {due:?}", reloading.deadline());
    }

    fn reloading(&mut self) -> &mut Reloading {
        &mut self.master().reloading
    }

    fn drive_reload(&mut self, input: Input<Model, u64>) -> Option<Event> {
        let (mut event, mut inputs) = (None, VecDeque::from([input]));
        while let Some(input) = inputs.pop_front() {
            self.trace.line(|| format!("         reload: {input:?}"));
            let (mut outputs, now) = (Vec::new(), self.now);
            self.reloading().machine.handle(now, input, &mut outputs);
            for output in outputs {
                self.trace.line(|| format!("         reload -> {output:?}"));
                inputs.extend(self.perform_reload(output, &mut event));
            }
        }
        event
    }

    fn perform_reload(&mut self, output: Output<Model, u64>, event: &mut Option<Event>) -> Option<Input<Model, u64>> {
        let now = self.now;
        match output {
            Output::Open(version) => {
                self.reloading().ends(Purpose::Upgrade(version), now);
                return Some(Input::Opened { version, result: self.open(version) });
            }
            Output::Ready { version, settings } => *event = Some(Event::ReleaseReady { version, settings: *settings }),
            Output::Refuse { version, reason } => *event = Some(Event::ReleaseRefused { version, reason }),
            Output::TellDifferences(asker) => {
                self.reloading().ends(Purpose::Comparison(asker), now);
                self.coverage.comparisons += 1;
            }
            Output::RefuseComparison(asker) => {
                hold!("I32", self.reloading().comparisons == asker, "the comparison {asker} is refused");
                self.coverage.comparisons_refused += 1;
            }
            Output::Begin { before } => {
                let Cause::Ready(version) = self.step.cause else { panic!("I29 broken: {before:?} begins by itself") };
                self.judge_change(before.version, version);
            }
            Output::GoBack { before } => {
                let now = self.reloading().machine.in_force().version;
                self.judge_change(before.version, now);
            }
            Output::Conclude(hearers) => self.conclude(&hearers),
            Output::NoteSlow => {
                let since = std::mem::replace(&mut self.reloading().since, now);
                hold!("I32", self.reloading().has_jobs() && since.after(JOB_NOTE) <= now, "no job takes long");
                self.coverage.jobs_slow += 1;
            }
        }
        None
    }

    /// The file may be bad, or what it names cannot be opened.
    fn open(&mut self, version: Version) -> Result<Model, String> {
        if self.rng.chance(self.plan.refused) {
            return Err("no such file".to_owned());
        }
        if self.rng.chance(self.plan.renews) {
            let renewed = settings(&mut self.rng, self.plan.target_max);
            let renewed = self.plan.adapt(renewed);
            let target = if self.plan.keeps_target { self.reloading().file.target } else { renewed.target };
            let manner = self.reloading().file.manner;
            self.reloading().file = Settings { target, manner, ..renewed };
        }
        Ok(Model { version, read: self.reloading().file, commanded: Commanded::default() })
    }

    fn judge_change(&mut self, before: Version, now: Version) {
        let in_force = self.reloading().machine.in_force().version;
        let modern = self.ledger.modern;
        hold!("I29", (before, in_force) == (modern, now), "{before} is followed by {in_force}, not {modern} by {now}");
    }

    fn conclude(&mut self, hearers: &Hearers) {
        for (client, waits) in std::mem::take(&mut self.reloading().clients) {
            let (hears, end) = match hearers {
                Hearers::Only(clients) => (clients.contains(&client), Waits::ForBegin),
                Hearers::AllBut(clients) => (!clients.contains(&client), Waits::ForEnd),
            };
            hold!("I30", hears == (waits == end), "{client:?} waits {waits:?}, and {hearers:?} hear {end:?}");
            if hears {
                self.coverage.ends_told += 1;
            } else {
                self.reloading().clients.insert(client, waits);
            }
        }
    }
}
