//! The record of releases: which versions there were, what each one runs, who asked for it and why, and what came of it. It goes by
//! what the pool tells and decides nothing; the next image goes on with it. How it is shown is `releases`.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::{Pid, Signal, Version, wire};
use crate::output::death::Death;
use crate::pool::{Notice, UpgradeFailure};
use crate::release::exec_spec::ExecSpec;

/// How many entries are kept. That of the version that is gone back to is one of them, however old it is.
const ENTRIES_MAX: usize = 20;

/// How many pinned words of a command line.
const PINNED_MAX: usize = 8;

/// Since the first image was started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct History {
    /// The oldest first.
    entries: VecDeque<Entry>,
    /// Of the upgrade that was asked for last, until it begins or is refused.
    asked: Option<Request>,
    /// The last worker that ended without having been told to, or missed its ack.
    pub(crate) last_death: Option<Death>,
    /// The last such one of the version whose upgrade is under way.
    pub(crate) failure: Option<Death>,
    /// Children that did not become their programs, and why; each until its end is known.
    pub(crate) never_executed: Vec<(Pid, String)>,
}

/// One version, or one attempt to have one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// None: it was refused before it had a number.
    pub(crate) version: Option<Version>,
    pub(crate) place: Option<Place>,
    pub(crate) request: Request,
    /// Seconds since 1970, by the wall clock.
    pub(crate) began: i64,
    pub(crate) ended: Option<i64>,
    pub(crate) result: Outcome,
    /// In one or more lines, fit to be shown.
    pub(crate) why: Option<String>,
}

/// What a version runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Where the program's file is, without any link on the way.
    #[serde(with = "wire")]
    pub(crate) program: PathBuf,
    /// None: where the master is.
    #[serde(default, with = "wire")]
    pub(crate) directory: Option<PathBuf>,
    /// The words of its command line that are pinned, the first ones.
    #[serde(default, with = "wire")]
    pub(crate) pinned: Vec<OsString>,
}

/// Who asked, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) asker: Asker,
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Asker {
    /// The master was started with it.
    Start,
    /// The master before kept no record: Ruby's einhorn, or one of ours of that time.
    Takeover,
    Signal(Signal),
    /// On the control socket. The user's name is known once it has been looked up.
    Client {
        uid: u32,
        user: Option<String>,
        pid: Pid,
    },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Running,
    Done,
    Failed,
    Refused,
    /// Another upgrade took its place before it was done.
    Replaced,
    /// The master was told to end before it was done.
    Stopped,
    Aborted,
    /// It was done, and then given up by a command.
    RolledBack,
}

impl Outcome {
    fn of(reason: &UpgradeFailure) -> Self {
        match reason {
            UpgradeFailure::Failures(_) | UpgradeFailure::TooMany(_) | UpgradeFailure::NothingServes => Self::Failed,
            UpgradeFailure::CheckFailed(_) | UpgradeFailure::Unfit(_) | UpgradeFailure::DeadlinePassed(_) => {
                Self::Failed
            }
            UpgradeFailure::Final(_) => Self::Failed,
            UpgradeFailure::Stopping => Self::Stopped,
            UpgradeFailure::Aborted => Self::Aborted,
            UpgradeFailure::RolledBack => Self::RolledBack,
        }
    }
}

/// What is known beside a notice.
pub(crate) struct Known<'a> {
    /// The version that is launched.
    pub(crate) modern: Version,
    /// The version that is gone back to.
    pub(crate) good: Version,
    /// What `modern` runs.
    pub(crate) place: Option<Place>,
    /// Why an upgrade came to nothing, if the notice says that it did.
    pub(crate) why: Option<&'a str>,
    /// Seconds since 1970.
    pub(crate) now: i64,
}

impl History {
    /// That of a master that has just been started, with this version.
    pub(crate) fn of_start(version: Version, place: Option<Place>, now: i64) -> Self {
        let mut history = Self::default();
        history.add(Entry::new(Some(version), place, Request::from(Asker::Start), now), version);
        history
    }

    /// One that there was none of until now: of what has been before, only what runs is known.
    pub(crate) fn begin_late(&mut self, known: Known<'_>) {
        if self.entries.is_empty() {
            let entry = Entry::new(Some(known.modern), known.place, Request::from(Asker::Takeover), known.now);
            self.add(Entry { result: Outcome::Done, ended: Some(known.now), ..entry }, known.good);
        }
    }

    /// An upgrade was asked for. One that begins answers the last request of all that came before.
    pub(crate) fn ask(&mut self, request: Request) {
        self.asked = Some(request);
    }

    /// The user whose name is not known yet.
    pub(crate) fn nameless(&self) -> Option<u32> {
        match self.asked.as_ref()?.asker {
            Asker::Client { uid, user: None, .. } => Some(uid),
            Asker::Client { .. } | Asker::Start | Asker::Takeover | Asker::Signal(_) => None,
        }
    }

    pub(crate) fn name(&mut self, named: u32, name: String) {
        if let Some(Request { asker: Asker::Client { uid, user, .. }, .. }) = &mut self.asked {
            if *uid == named {
                *user = Some(name);
            }
        }
    }

    /// One line for each notice that says how a version fares.
    pub(crate) fn hear(&mut self, notice: &Notice, known: Known<'_>) {
        let (now, why) = (known.now, known.why);
        match notice {
            Notice::UpgradeStarted { .. } | Notice::UpgradeStartedOver { .. } => self.begin(known),
            Notice::Upgraded { .. } => self.end_running(Outcome::Done, None, now),
            Notice::GaveUp { .. } => self.end_running(Outcome::Failed, why, now),
            Notice::UpgradeFailed { version, reason, .. } => self.end(*version, Outcome::of(reason), why, now),
            Notice::UpgradeRefused { .. } | Notice::NotUpgradingWhileStopping => self.refuse(known),
            Notice::UpTo { acked, target, .. } if acked >= target => self.end_start(now),
            _ => {}
        }
    }

    /// A worker ended without having been told to, or missed its ack.
    pub(crate) fn note_death(&mut self, death: Death) {
        if self.entries.back().is_some_and(|entry| entry.version == Some(death.version)) {
            self.failure = Some(death.clone());
        }
        self.last_death = Some(death);
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// That of a version.
    pub(crate) fn of(&self, version: Version) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.version == Some(version))
    }

    /// That of the last attempt, if it came to nothing.
    pub(crate) fn last_failure(&self) -> Option<&Entry> {
        self.entries.back().filter(|entry| match entry.result {
            Outcome::Failed | Outcome::Refused | Outcome::Aborted | Outcome::RolledBack => true,
            Outcome::Running | Outcome::Done | Outcome::Replaced | Outcome::Stopped => false,
        })
    }

    fn begin(&mut self, known: Known<'_>) {
        let request = self.take_request();
        let why = format!("version {} took its place", known.modern);
        self.end_running(Outcome::Replaced, Some(&why), known.now);
        self.failure = None;
        self.add(Entry::new(Some(known.modern), known.place, request, known.now), known.good);
    }

    fn refuse(&mut self, known: Known<'_>) {
        let entry = Entry::new(None, None, self.take_request(), known.now);
        self.add(entry.ended(Outcome::Refused, known.why, known.now), known.good);
    }

    /// The master asks for none by itself, but a document may be lost on the way from one image to the next.
    fn take_request(&mut self) -> Request {
        self.asked.take().unwrap_or(Request::from(Asker::Takeover))
    }

    /// A version that was done may still be given up.
    fn end(&mut self, version: Version, result: Outcome, why: Option<&str>, now: i64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.version == Some(version)) {
            *entry = entry.clone().ended(result, why, now);
        }
    }

    fn end_running(&mut self, result: Outcome, why: Option<&str>, now: i64) {
        if let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.result == Outcome::Running) {
            *entry = entry.clone().ended(result, why, now);
        }
    }

    /// A start is done when as many serve as are wanted; there is no other notice of that.
    fn end_start(&mut self, now: i64) {
        let start = self.entries.back().is_some_and(|entry| entry.request.asker == Asker::Start);
        if start {
            self.end_running(Outcome::Done, None, now);
        }
    }

    fn add(&mut self, entry: Entry, good: Version) {
        self.entries.push_back(entry);
        if self.entries.len() > ENTRIES_MAX {
            let oldest = self.entries.iter().position(|entry| entry.version != Some(good));
            oldest.map(|oldest| self.entries.remove(oldest));
        }
    }
}

impl Entry {
    fn new(version: Option<Version>, place: Option<Place>, request: Request, began: i64) -> Self {
        Self { version, place, request, began, ended: None, result: Outcome::Running, why: None }
    }

    fn ended(self, result: Outcome, why: Option<&str>, now: i64) -> Self {
        Self { result, ended: Some(now), why: why.map(str::to_owned), ..self }
    }
}

impl Place {
    pub(crate) fn of(exec_spec: &ExecSpec) -> Self {
        let pinned = exec_spec.pinned.iter().take(PINNED_MAX).cloned().collect();
        Self { program: exec_spec.real_file(), directory: exec_spec.directory.clone(), pinned }
    }

    /// What tells it best from other releases: the first word that leads into one, or the directory that the program of the system
    /// is started in, or the program.
    pub(crate) fn path(&self) -> &Path {
        let of_word = self.pinned.first().map(Path::new);
        let of_directory = self.directory.as_deref().filter(|directory| !self.program.starts_with(directory));
        of_word.or(of_directory).unwrap_or(&self.program)
    }
}

impl From<Asker> for Request {
    fn from(asker: Asker) -> Self {
        Self { asker, reason: None }
    }
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Replaced => "replaced",
            Self::Stopped => "stopped",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled back",
        }
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
