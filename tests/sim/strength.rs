//! What a bad release may cost. Held where nothing goes wrong but what releases do (`deploy`), as long as the last version that came
//! through its trial is sound:
//! - I39 when a worker of a bad version dies, as many serve again as shall, after a bounded number of launches and in a bounded time.
//!
//! Held everywhere:
//! - I40 no version is given up for its failures while it serves in every slot. I42 when no upgrade is under way, and none is being
//!   gone back from, no two workers that stay have the same slot, and in our manner each has the index of its slot.

use std::time::Duration;

use einhyrningsins::base::{Mono, Version};
use einhyrningsins::pool::{Manner, UpgradeFailure};

use crate::hold;
use crate::release::Fault;
use crate::run::Run;
use crate::world::Process;

/// The longest that can lie between two launches: the longest pause (30 s), the ack's timer or limit (90 s), the end of a
/// worker that takes the room of another (30 s), and the age at which a bad one dies (400 s).
const EACH_MAX: Duration = Duration::from_secs(30 + 90 + 30 + 400);

/// A time in which fewer serve than shall.
#[derive(Clone, Copy, Debug)]
struct Shortfall {
    since: Mono,
    launches: u32,
    launches_max: u32,
}

/// Whether as many serve as shall.
#[derive(Debug, Default)]
pub struct Strength {
    shortfall: Option<Shortfall>,
    /// How many have served of those that shall; one more that is wanted was not there before any worker died.
    reached: u32,
}

impl Strength {
    pub fn note_launch(&mut self) {
        self.shortfall.iter_mut().for_each(|shortfall| shortfall.launches += 1);
    }
}

impl Run {
    /// What is wanted may be another from here on. That fewer serve than are wanted then is no fault of a release, unless it was before.
    pub fn measure_strength_anew(&mut self) {
        if self.strength.shortfall.take().is_none() {
            let most = if self.ledger.upgrading.is_some() { self.strength.reached } else { u32::MAX };
            self.strength.reached = self.world.serving().min(most);
        }
    }

    /// An upgrade begins. What serves of bad versions by now will be missing when it dies: old workers are not launched again.
    pub fn count_on_sound_workers(&mut self) {
        self.measure_strength_anew();
        let workers = self.world.workers.iter().map(|&at| &self.world.processes[at]);
        let sound = workers.filter(|process| process.serves() && self.releases.fault(process.version) == Fault::Sound);
        self.strength.reached = self.strength.reached.min(sound.count() as u32);
    }

    /// The modern version and those that are gone back to, one after the other, if it and they fail: down to one that is sound and has come
    /// through its trial. None: there is none, or one of them is without a trial.
    fn way_back(&self) -> Option<Vec<Version>> {
        let ledger = &self.ledger;
        let mut way = Vec::new();
        for version in [ledger.modern, ledger.good].into_iter().chain(ledger.earlier.iter().rev().copied()) {
            way.push(version);
            if ledger.proven.contains(&version) {
                return (self.releases.fault(version) == Fault::Sound).then_some(way);
            }
        }
        None
    }

    /// Whether the version that is modern for good is a bad one.
    pub fn is_lost(&self) -> bool {
        self.way_back().is_none()
    }

    /// Each failure that is borne leads to one launch, and a version that is gone back to is launched in every slot.
    fn launches_max(&self, way: &[Version]) -> u32 {
        let of_version = |version: &Version| {
            let settings = self.ledger.set_for(*version);
            settings.target + settings.max_failures + 1
        };
        way.iter().map(of_version).sum()
    }

    pub fn audit_strength(&mut self, serving: u32, old_untold: u32) {
        self.audit_slots(old_untold);
        if !self.plan.deploys {
            return;
        }
        let ledger = &self.ledger;
        let is_moving = ledger.rollout.is_some() || ledger.returning;
        let (target, unavailable) = (ledger.settings.target, ledger.settings.unavailable());
        let reached = if ledger.upgrading.is_some() { 0 } else { serving };
        self.strength.reached = self.strength.reached.max(reached).min(target);
        let wanted = self.strength.reached.min(if is_moving { target.saturating_sub(unavailable) } else { target });
        let way = self.way_back().filter(|_| serving < wanted && ledger.ever_acked);
        let Some(way) = way else {
            let ended = self.strength.shortfall.take().is_some_and(|_| serving >= wanted);
            self.coverage.shortfalls += u64::from(ended);
            return;
        };
        let (now, launches_max) = (self.now, self.launches_max(&way));
        let shortfall = *self.strength.shortfall.get_or_insert(Shortfall { since: now, launches: 0, launches_max });
        let Shortfall { since, launches, launches_max } = shortfall;
        hold!(
            "I39",
            launches <= launches_max,
            "{serving} of {wanted} serve after {launches} launches, way back {way:?}"
        );
        let in_time = now <= since.after(EACH_MAX * (launches_max + 1));
        hold!("I39", in_time, "{serving} of {wanted} serve since {:?}, way back {way:?}", now.since(since));
    }

    /// Whether fewer serve than shall, although the last good version can run.
    pub fn is_short(&self) -> bool {
        self.strength.shortfall.is_some()
    }

    pub fn judge_giving_up(&self, reason: &UpgradeFailure) {
        let for_failures = match reason {
            UpgradeFailure::Failures(_) | UpgradeFailure::TooMany(_) | UpgradeFailure::NothingServes => true,
            UpgradeFailure::Stopping
            | UpgradeFailure::CheckFailed(_)
            | UpgradeFailure::Unfit(_)
            | UpgradeFailure::DeadlinePassed(_)
            | UpgradeFailure::Aborted
            | UpgradeFailure::RolledBack
            | UpgradeFailure::Final(_) => false,
        };
        let (serving, target) = (self.modern_serving(), self.ledger.settings.target);
        hold!("I40", !for_failures || serving < target, "given up for {reason:?}, and {serving} of {target} serve");
    }

    fn audit_slots(&self, old_untold: u32) {
        let ledger = &self.ledger;
        if ledger.upgrading.is_some() || ledger.returning || old_untold > 0 || ledger.stopping.is_some() {
            return;
        }
        let stays = |process: &&Process| !process.told;
        let mut held = 0_u128;
        for process in self.world.workers.iter().map(|&at| &self.world.processes[at]).filter(stays) {
            let bit = 1 << process.slot.0;
            hold!("I42", held & bit == 0, "slot {} is held twice, by {} too", process.slot, process.pid);
            held |= bit;
            let same = ledger.settings.manner == Manner::Einhorn || process.index.0 == process.slot.0;
            hold!("I42", same, "{} has index {} in slot {}", process.pid, process.index, process.slot);
        }
    }
}
