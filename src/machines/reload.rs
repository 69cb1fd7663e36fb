//! The reload: from one configuration to the next while the master runs, and back. A job beside the loop reads the
//! configuration; what it says counts when the upgrade begins that it came with, and no longer when that upgrade is given up. The
//! machine reads, compares and opens nothing itself: each output is a request. It knows no configuration either, but what
//! [`Configuration`] tells.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{ClientId, Mono, Version};
use crate::pool::Settings;

/// How long a job may take before it is said that it does, and how often it is said then.
pub const JOB_NOTE: Duration = Duration::from_secs(30);

/// Why a job cannot be started.
pub const TOO_MUCH: &str = "too much is being prepared already, try again";

/// What the machine has to know of a configuration.
pub trait Configuration: Clone {
    /// What a command on the control socket sets.
    type Change;

    fn set(&mut self, change: &Self::Change);

    /// This one, which was just read, as it is to count in place of `in_force`: what commands have set there stays.
    fn in_place_of(self, in_force: &Self) -> Self;

    /// What the pool decides by.
    fn settings(&self) -> Settings;
}

/// The machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "C: Serialize", deserialize = "C: Deserialize<'de>"))]
pub struct Reload<C, A> {
    in_force: C,
    /// Those of the other versions that can be gone back to.
    #[serde(default = "Vec::new")]
    others: Vec<(Version, C)>,
    /// That of the good version, in a handoff that does not know of the others.
    #[serde(default, skip_serializing)]
    fallback: Option<C>,
    /// The clients that asked for an upgrade that has neither begun nor been refused.
    askers: Vec<ClientId>,
    /// What is in force when the upgrade begins that the pool has just been offered.
    #[serde(skip)]
    coming: Option<C>,
    /// Those under way, the oldest first. No re-exec takes place while there are any.
    #[serde(skip)]
    jobs: VecDeque<Job<A>>,
    /// When it is said that the oldest of them takes long.
    #[serde(skip)]
    note_due: Option<Mono>,
}

/// What a job is for.
#[derive(Clone, Debug)]
enum Job<A> {
    Upgrade(Version),
    /// A client wants to know what an upgrade would change.
    Comparison(A),
}

/// Whether a job could be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Done,
    /// Too many wait.
    Impossible,
}

/// What happens to the machine. `A` is the client that is to be answered, with the form of the answer.
#[derive(Clone, Debug)]
pub enum Input<C: Configuration, A> {
    /// The pool wants this version, which is to be prepared in this image; a job does so.
    Prepare {
        version: Version,
        start: Start,
    },
    /// A client wants to know what an upgrade would change; a job reads the configuration.
    Compare {
        asker: A,
        start: Start,
    },
    /// The oldest job has ended.
    JobEnded,
    /// To `Open`: the configuration as it was read, or why the version cannot be started.
    Opened {
        version: Version,
        result: Result<C, String>,
    },
    /// A client asked for an upgrade, and waits for its end.
    UpgradeAsked(ClientId),
    /// Commands have set something.
    Commanded(Vec<C::Change>),
    /// The pool says that the upgrade it was offered begins, after this version; or begins anew in place of another.
    UpgradeBegun {
        after: Option<Version>,
    },
    UpgradeDone,
    /// It goes back to this version.
    UpgradeGivenUp {
        to: Version,
    },
    /// These can be gone back to.
    Keep(Vec<Version>),
    /// None begins: what was asked for last is refused.
    UpgradeRefused,
    /// Some time has passed.
    TimePassed,
}

/// What the machine asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Output<C, A> {
    /// Open what the oldest job has found for this version. Answer: `Opened`.
    Open(Version),
    /// Tell the pool that the version can be started.
    Ready { version: Version, settings: Box<Settings> },
    /// Tell the pool that it cannot.
    Refuse { version: Version, reason: String },
    /// Answer with how that which the oldest job has read differs from what is in force.
    TellDifferences(A),
    /// Answer that nothing can be read.
    RefuseComparison(A),
    /// What the upgrade came with is in force in place of `before`: say what is different, and go by it.
    Begin { before: C },
    /// What was in force before the upgrade is so again, in place of `before`: go by it.
    GoBack { before: C },
    /// Tell these clients how the upgrade ended that they asked for.
    Conclude(Hearers),
    /// Say that the oldest job takes long.
    NoteSlow,
}

/// Among the clients that wait for the end of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hearers {
    Only(Vec<ClientId>),
    /// These wait for an upgrade that is still being prepared.
    AllBut(Vec<ClientId>),
}

impl<C: Configuration, A> Reload<C, A> {
    /// That of a master that has just been started.
    pub fn new(in_force: C) -> Self {
        let (coming, jobs, note_due) = (None, VecDeque::new(), None);
        Self { in_force, others: Vec::new(), fallback: None, askers: Vec::new(), coming, jobs, note_due }
    }

    /// The machine as it was handed on to a pool whose good version is this one.
    pub fn resumed(&mut self, good: Version) {
        let of_good = self.fallback.take().map(|fallback| (good, fallback));
        self.others.extend(of_good);
    }

    pub fn in_force(&self) -> &C {
        &self.in_force
    }

    /// What is in force when this version is gone back to. That in force, if it is not known.
    pub fn of(&self, version: Version) -> &C {
        self.others.iter().find(|(known, _)| *known == version).map_or(&self.in_force, |(_, of)| of)
    }

    /// Whether a job is under way, of which the next image would know nothing.
    pub fn is_busy(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Whether one of them is for a version to come.
    pub fn is_preparing(&self) -> bool {
        self.jobs.iter().any(|job| matches!(job, Job::Upgrade(_)))
    }

    /// When it wants to hear of `TimePassed` at the latest.
    pub fn deadline(&self) -> Option<Mono> {
        self.note_due
    }

    /// Takes an input; what it asks for is to be done in the order given, and each request answered before the next input.
    pub fn handle(&mut self, now: Mono, input: Input<C, A>, outputs: &mut Vec<Output<C, A>>) {
        match input {
            Input::Prepare { version, start: Start::Done } => self.await_job(now, Job::Upgrade(version)),
            Input::Prepare { version, start: Start::Impossible } => {
                outputs.push(Output::Refuse { version, reason: TOO_MUCH.to_owned() });
            }
            Input::Compare { asker, start: Start::Done } => self.await_job(now, Job::Comparison(asker)),
            Input::Compare { asker, start: Start::Impossible } => outputs.push(Output::RefuseComparison(asker)),
            Input::JobEnded => self.on_job_ended(now, outputs),
            Input::Opened { version, result: Ok(read) } => {
                // Something may have been commanded since the job began.
                let coming = self.coming.insert(read.in_place_of(&self.in_force));
                outputs.push(Output::Ready { version, settings: Box::new(coming.settings()) });
            }
            Input::Opened { version, result: Err(reason) } => outputs.push(Output::Refuse { version, reason }),
            Input::UpgradeAsked(client) if self.askers.contains(&client) => {}
            Input::UpgradeAsked(client) => self.askers.push(client),
            Input::Commanded(changes) => self.on_commanded(&changes),
            Input::UpgradeBegun { after } => self.on_begun(after, outputs),
            Input::UpgradeDone => outputs.push(self.conclude()),
            Input::UpgradeGivenUp { to } => self.on_given_up(to, outputs),
            Input::Keep(versions) => self.others.retain(|(version, _)| versions.contains(version)),
            Input::UpgradeRefused => {
                outputs.push(Output::Conclude(Hearers::Only(std::mem::take(&mut self.askers))));
            }
            Input::TimePassed => self.on_time_passed(now, outputs),
        }
    }

    fn await_job(&mut self, now: Mono, job: Job<A>) {
        self.jobs.push_back(job);
        self.note_due.get_or_insert(now.after(JOB_NOTE));
    }

    fn on_job_ended(&mut self, now: Mono, outputs: &mut Vec<Output<C, A>>) {
        let Some(job) = self.jobs.pop_front() else { return };
        self.note_due = self.is_busy().then(|| now.after(JOB_NOTE));
        outputs.push(match job {
            Job::Upgrade(version) => Output::Open(version),
            Job::Comparison(asker) => Output::TellDifferences(asker),
        });
    }

    /// Also in those that can be gone back to: what was commanded is meant to stay.
    fn on_commanded(&mut self, changes: &[C::Change]) {
        for configuration in std::iter::once(&mut self.in_force).chain(self.others.iter_mut().map(|(_, of)| of)) {
            changes.iter().for_each(|change| configuration.set(change));
        }
    }

    fn on_begun(&mut self, after: Option<Version>, outputs: &mut Vec<Output<C, A>>) {
        self.askers.clear();
        let Some(coming) = self.coming.take() else { return };
        let before = std::mem::replace(&mut self.in_force, coming);
        self.others.extend(after.map(|version| (version, before.clone())));
        outputs.push(Output::Begin { before });
    }

    fn on_given_up(&mut self, to: Version, outputs: &mut Vec<Output<C, A>>) {
        if let Some(at) = self.others.iter().position(|(version, _)| *version == to) {
            let (_, of_before) = self.others.swap_remove(at);
            let before = std::mem::replace(&mut self.in_force, of_before);
            outputs.push(Output::GoBack { before });
        }
        outputs.push(self.conclude());
    }

    /// A client that waits for an upgrade that is still being prepared hears the end of that one.
    fn conclude(&self) -> Output<C, A> {
        Output::Conclude(Hearers::AllBut(self.askers.clone()))
    }

    /// A job cannot be stopped, and what keeps it (a name server, a disk) cannot be seen from here. But it can be said.
    fn on_time_passed(&mut self, now: Mono, outputs: &mut Vec<Output<C, A>>) {
        if self.note_due.take_if(|due| *due <= now).is_some() {
            self.note_due = Some(now.after(JOB_NOTE));
            outputs.push(Output::NoteSlow);
        }
    }
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
