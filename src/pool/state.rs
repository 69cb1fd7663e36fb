//! All that a pool holds between two events: what it decides by, and what it hands on. This is the format of a handoff, too: each
//! name here is a key there. A field has been there since format 2, or has `#[serde(default)]` (an `Option` needs none), so that every document loads for
//! ever; a renamed field, or one with another meaning, is a new format (`handoff::ours`).
//!
//! It checks what another image wrote, and decides nothing about workers.

use crate::pool::action::ExitReason;
use crate::pool::worker::StopSignal;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Mono, Pid, Signal, Slot, Version, WorkerIndex};
use crate::pool::backoff::Backoff;
use crate::pool::command::{Terms, UpgradeStyle};
use crate::pool::settings::Settings;
use crate::pool::slot_deaths::SlotDeaths;
use crate::pool::stage::Upgrade;
use crate::pool::wait::NotedWait;
use crate::pool::worker::{Leftover, Worker};

/// The least pid of a worker: a signal to 0, -1 or 1 would reach everything but a worker.
const PID_FIRST: i32 = 2;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub settings: Settings,
    /// What a failed upgrade goes back to: the settings of `good`. The same as `settings` while none is under way.
    pub fallback: Settings,
    /// In the order of their launch.
    pub workers: Vec<Worker>,
    /// Those that were asked for, and are not there yet.
    #[serde(default)]
    pub launches: Vec<Launch>,
    pub leftovers: Vec<Leftover>,
    /// Set until all that are missing are launched without a pause: in the beginning, in a fleet upgrade, and on the way back.
    pub launch_at_once: bool,
    /// What new workers are, and all shall be.
    pub modern: Version,
    /// What a failed upgrade goes back to.
    pub good: Version,
    /// The highest ever given; no version is given twice.
    pub newest: Version,
    pub preparing: Option<Preparing>,
    pub upgrade: Option<Upgrade>,
    pub stopping: Option<Stopping>,
    pub backoff: Backoff,
    pub last_spinup: Option<Mono>,
    pub last_upgraded: Option<Mono>,
    pub last_style: Option<UpgradeStyle>,
    pub last_linger_note: Option<Mono>,
    pub ever_acked: bool,
    /// The versions before `good` that can be gone back to, the oldest first.
    #[serde(default)]
    pub earlier: Vec<Earlier>,
    /// That of the modern version.
    #[serde(default)]
    pub trial: Option<Trial>,
    /// `good` had served in every slot, and had not come through its trial when the next upgrade began.
    #[serde(default)]
    pub good_is_on_trial: bool,
    /// How often `good` has failed in the upgrade under way, while it is on trial.
    #[serde(default)]
    pub good_failures: u32,
    /// An upgrade was given up, and the workers of before are not all there again.
    #[serde(default)]
    pub returning: bool,
    /// None serves, after some did; this was told.
    #[serde(default)]
    pub dark: bool,
    /// Those whose last workers died young.
    #[serde(default)]
    pub slots: BTreeMap<Slot, SlotDeaths>,
    /// The version of which it was told that its workers go to the background.
    #[serde(default)]
    pub daemonized: Option<Version>,
    /// What the upgrade under way waits for, or has waited for, as far as it was told.
    pub noted_wait: Option<NotedWait>,
    /// A worker has outlived its early life.
    #[serde(default)]
    pub established: bool,
    /// Slots that are not filled again, since their workers ended with a code of `no_restart`.
    #[serde(default)]
    pub down: BTreeMap<Slot, Down>,
    /// The version of workers that ran under a killed master. What it ran is not known: its release is what was configured at the adoption.
    #[serde(default)]
    pub adopted: Option<Version>,
}

impl State {
    /// That of a pool to which nothing has happened yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            fallback: settings,
            workers: Vec::new(),
            launches: Vec::new(),
            leftovers: Vec::new(),
            launch_at_once: false,
            modern: Version(0),
            good: Version(0),
            newest: Version(0),
            preparing: None,
            upgrade: None,
            stopping: None,
            backoff: Backoff::default(),
            last_spinup: None,
            last_upgraded: None,
            last_style: None,
            last_linger_note: None,
            ever_acked: false,
            earlier: Vec::new(),
            trial: None,
            good_is_on_trial: false,
            good_failures: 0,
            returning: false,
            dark: false,
            slots: BTreeMap::new(),
            daemonized: None,
            noted_wait: None,
            established: false,
            down: BTreeMap::new(),
            adopted: None,
        }
    }

    /// That of a new master which goes on with what is there of a killed one's workers: an upgrade is asked for, so that workers of
    /// its own take their places, new ones first. What the other was about to do is over.
    pub fn after_death(self, settings: Settings, is_there: impl Fn(Pid) -> bool) -> Self {
        let version = if self.upgrade.is_some() { self.good } else { self.modern };
        let newest = self.preparing.map_or(self.newest, |preparing| preparing.version.max(self.newest));
        let preparing = Preparing {
            version: Version(newest.0 + 1),
            style: UpgradeStyle::Smooth,
            terms: Terms::default(),
            asked_again: false,
            dropped: false,
        };
        Self {
            workers: self.workers.into_iter().filter(|worker| is_there(worker.pid)).collect(),
            modern: version,
            good: version,
            newest,
            preparing: Some(preparing),
            ever_acked: self.ever_acked,
            adopted: self.adopted,
            last_spinup: self.last_spinup.or(Some(Mono::from_nanos(0))),
            ..Self::new(settings)
        }
    }

    /// Whether a pool can be in this state; to be asked of what another image wrote.
    ///
    /// # Errors
    /// What stands under which key that no pool has, as `key: what`.
    pub fn check(&self) -> Result<(), String> {
        self.settings.check().map_err(|cause| format!("settings: {cause}"))?;
        self.fallback.check().map_err(|cause| format!("fallback: {cause}"))?;
        let of_workers = self.workers.iter().map(|worker| (worker.pid, worker.version));
        for (pid, version) in of_workers.clone() {
            self.check_version(version).map_err(|cause| format!("workers: {pid}: version: {cause}"))?;
        }
        let earlier = self.earlier.iter().map(|earlier| ("earlier", earlier.version));
        let launches = self.launches.iter().map(|launch| ("launches", launch.version));
        let others = earlier.chain(launches);
        for (key, version) in [("modern", self.modern), ("good", self.good)].into_iter().chain(others) {
            self.check_version(version).map_err(|cause| format!("{key}: {cause}"))?;
        }
        for earlier in &self.earlier {
            earlier.settings.check().map_err(|cause| format!("earlier: {}: {cause}", earlier.version))?;
        }
        check_pids(of_workers.map(|(pid, _)| pid)).map_err(|cause| format!("workers: {cause}"))?;
        check_pids(self.leftovers.iter().map(|leftover| leftover.pid)).map_err(|cause| format!("leftovers: {cause}"))
    }

    /// Nothing may be of a version that is yet to come: a later one would be given the same.
    fn check_version(&self, version: Version) -> Result<(), String> {
        if version <= self.newest {
            return Ok(());
        }
        Err(format!("need a version up to {}, found {version}", self.newest))
    }
}

fn check_pids(pids: impl Iterator<Item = Pid>) -> Result<(), String> {
    let mut known = BTreeSet::new();
    for pid in pids {
        if pid.0 < PID_FIRST {
            return Err(format!("need a process id above 1, found {pid}"));
        }
        if !known.insert(pid) {
            return Err(format!("process {pid} stands there twice"));
        }
    }
    Ok(())
}

/// A launch that was asked for and is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    pub index: WorkerIndex,
    pub slot: Slot,
    pub version: Version,
    /// In force when it was asked for; it may be another when it is answered.
    pub graceful: Signal,
    pub asked_at: Mono,
}

/// An upgrade that has not begun: its program is being looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preparing {
    pub version: Version,
    pub style: UpgradeStyle,
    /// Another upgrade was asked for while it was being looked for. A deploy may have come in between, so what is found then may be what
    /// was there before it.
    pub asked_again: bool,
    #[serde(default)]
    pub terms: Terms,
    /// It was aborted: what is found is dropped.
    #[serde(default)]
    pub dropped: bool,
}

/// The modern version is on trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Its workers that died, stopped or missed their ack.
    pub failures: u32,
}

/// Why a slot is not filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Down {
    /// That of its last worker; workers of others may fill the slot.
    pub version: Version,
    /// With which exit code it ended.
    pub code: i32,
    pub at: Mono,
}

/// A version that can be gone back to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Earlier {
    pub version: Version,
    pub settings: Settings,
    /// Whether it has come through its trial.
    pub proven: bool,
}

/// That the master is to end, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// What a worker that is launched too late is told.
    pub stop_signal: StopSignal,
    /// How long it may take then; none means for ever.
    pub grace: Option<Duration>,
    pub reason: ExitReason,
    /// When the workers will be told, where the stop has a delay; until then they serve. None: they were.
    pub tell_at: Option<Mono>,
    /// When the workers that are still there will be told TERM.
    pub term_at: Option<Mono>,
    /// Whether `Exit` was asked for; then nothing is handed on.
    #[serde(skip)]
    pub concluded: bool,
}
