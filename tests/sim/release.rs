//! How the workers of a release behave. Each version is drawn a fault when its upgrade begins; a worker has it, or not, from its launch on.
//! It is independent of what goes wrong by chance outside: in `deploy` nothing else goes wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use einhyrningsins::base::{Mono, Pid, Slot, Version};
use einhyrningsins::pool::Event;

use crate::ledger::earlier;
use crate::rng::Rng;
use crate::run::Run;
use crate::world::{Heeds, Life, Process};

/// What is wrong with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Sound,
    DiesAtLaunch,
    /// Before its ack or after it, within its early life or later.
    DiesAtAge,
    NeverAcks,
    /// It ignores the signal that tells it to go.
    Hangs,
    /// It dies at an age in some lives in a row, and in the next it does not.
    Flaps,
    DiesInSlot,
    /// Some of them die, or all, as soon as all slots run the release.
    DiesWhenFull,
    /// By job control.
    Stops,
    /// The master sees that connections wait.
    AcceptsNothing,
    /// It ends with the code that says so.
    IsMisconfigured,
}

const BAD: [Fault; 10] = [
    Fault::DiesAtLaunch,
    Fault::DiesAtAge,
    Fault::NeverAcks,
    Fault::Hangs,
    Fault::Flaps,
    Fault::DiesInSlot,
    Fault::DiesWhenFull,
    Fault::Stops,
    Fault::AcceptsNothing,
    Fault::IsMisconfigured,
];

/// Ages on both sides of each limit: the ack's timer and timeout, the early life of a slot (10 s) and that of a trial (1 s or 30 s).
const AGES_MS: [u64; 8] = [1, 300, 900, 3_000, 9_000, 12_000, 29_000, 400_000];

/// How long a worker of a bad release takes to its ack. A sound one does not miss the shortest ack timeout.
const ACKS_AFTER_MS: [u64; 5] = [0, 0, 0, 500, 3_000];
const SOUND_ACKS_AFTER_MS: [u64; 4] = [0, 0, 0, 500];

#[derive(Clone, Copy, Debug)]
pub struct Release {
    pub fault: Fault,
    /// How many of its workers have the fault, out of 256.
    chance: u64,
    age: Duration,
    slot: Slot,
    acks_after: Duration,
    /// So many lives in a row are good, then so many are bad.
    good_lives: u64,
    bad_lives: u64,
    lives: u64,
}

/// What will become of a process by itself, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    pub dies_at: Option<Mono>,
    pub acks_at: Option<Mono>,
    pub stops_at: Option<Mono>,
    /// When it is seen that connections wait.
    pub seen_at: Option<Mono>,
    pub accepts_nothing: bool,
    pub is_misconfigured: bool,
    /// It has stopped itself, or will now, and nothing but a signal makes it go on.
    pub stays_stopped: bool,
}

impl Fate {
    fn next(&self) -> Option<Mono> {
        earlier(self.dies_at, earlier(self.acks_at, earlier(self.stops_at, self.seen_at)))
    }
}

/// The releases of all versions.
#[derive(Debug, Default)]
pub struct Releases {
    of: BTreeMap<Version, Release>,
    /// When the next fate is due, at the earliest.
    due: Option<Mono>,
}

impl Releases {
    /// A version is launched from now on. The first one is sound.
    pub fn draw(&mut self, rng: &mut Rng, version: Version, bad: u64, target: u32) -> Fault {
        let ms = Duration::from_millis;
        let fault = if rng.chance(bad) { rng.pick(&BAD) } else { Fault::Sound };
        let acks_after = match fault {
            Fault::Sound if bad == 0 => 0,
            Fault::Sound => rng.pick(&SOUND_ACKS_AFTER_MS),
            _ => rng.pick(&ACKS_AFTER_MS),
        };
        let release = Release {
            fault,
            chance: rng.pick(&[256, 256, 128, 32]),
            age: ms(rng.pick(&AGES_MS)),
            slot: Slot(rng.below(u64::from(target)) as u32),
            acks_after: ms(acks_after),
            good_lives: 1 + rng.below(4),
            bad_lives: 1 + rng.below(6),
            lives: 0,
        };
        self.of.insert(version, release);
        fault
    }

    pub fn fault(&self, version: Version) -> Fault {
        self.of.get(&version).map_or(Fault::Sound, |release| release.fault)
    }

    /// Every release, and every one to come, is sound.
    fn forgive(&mut self) {
        *self = Self::default();
    }
}

impl Run {
    pub fn draw_release(&mut self, version: Version) {
        let (bad, target) = (self.plan.bad_releases, self.ledger.settings.target);
        let fault = self.releases.draw(&mut self.rng, version, bad, target);
        if fault == Fault::Sound {
            self.coverage.faults.count(&fault);
        }
        self.trace.line(|| format!("         version {version}: {fault:?}"));
    }

    /// A worker was launched: what its release makes of it.
    pub fn afflict(&mut self, pid: Pid, slot: Slot, version: Version) {
        let at = self.world.at(pid).expect("it was launched");
        let process = &mut self.world.processes[at];
        process.fate = Fate::default();
        let Some(release) = self.releases.of.get_mut(&version) else { return };
        release.lives += 1;
        if !release.acks_after.is_zero() && process.acks_left > 0 {
            process.fate.acks_at = Some(self.now.after(release.acks_after));
        }
        let life = release.lives % (release.good_lives + release.bad_lives);
        let (fault, has_fault) = (release.fault, self.rng.chance(release.chance));
        let at_age = Some(self.now.after(release.age));
        match fault {
            Fault::Sound | Fault::DiesWhenFull => {}
            Fault::DiesAtLaunch if has_fault => process.fate.dies_at = Some(self.now),
            Fault::DiesAtAge if has_fault => process.fate.dies_at = at_age,
            Fault::IsMisconfigured if has_fault => {
                (process.fate.dies_at, process.fate.is_misconfigured) = (at_age, true);
            }
            Fault::Flaps if life >= release.good_lives => process.fate.dies_at = at_age,
            Fault::DiesInSlot if slot == release.slot => process.fate.dies_at = at_age,
            Fault::NeverAcks if has_fault => {
                (process.acks_left, process.fate.acks_at) = (0, None);
                self.coverage.faults.count(&fault);
            }
            Fault::Hangs if has_fault => process.heeds = self.rng.pick(&[Heeds::NotGraceful, Heeds::OnlyKill]),
            Fault::Stops if has_fault => process.fate.stops_at = at_age,
            Fault::AcceptsNothing if has_fault => process.fate.seen_at = at_age,
            Fault::DiesAtLaunch
            | Fault::DiesAtAge
            | Fault::Flaps
            | Fault::DiesInSlot
            | Fault::NeverAcks
            | Fault::Hangs
            | Fault::Stops
            | Fault::AcceptsNothing
            | Fault::IsMisconfigured => {}
        }
        self.releases.due = earlier(self.releases.due, process.fate.next());
    }

    /// When a worker dies, acks or stops by itself next.
    pub fn next_fate(&self) -> Option<Mono> {
        self.releases.due
    }

    /// What was due by now can happen.
    pub fn let_fates_come(&mut self) {
        if self.releases.due.is_none_or(|due| due > self.now) {
            return;
        }
        let (now, mut next) = (self.now, None);
        let is_due = |moment: &mut Option<Mono>| moment.take_if(|moment| *moment <= now).is_some();
        for process in self.world.processes.iter_mut().filter(|process| process.life == Life::Alive) {
            let fate = &mut process.fate;
            is_due(&mut fate.acks_at);
            if is_due(&mut fate.dies_at) {
                process.doomed = true;
                self.coverage.faults.count(&self.releases.fault(process.version));
            }
            fate.stays_stopped |= is_due(&mut fate.stops_at);
            fate.accepts_nothing |= is_due(&mut fate.seen_at);
            next = earlier(next, process.fate.next());
        }
        self.releases.due = next;
    }

    /// The master has seen that connections wait at the sockets of a version.
    pub fn see_unfit(&mut self) -> Option<Event> {
        let fits = |process: &Process| process.life == Life::Alive && process.fate.accepts_nothing;
        let at = self.world.find(&mut self.rng, fits)?;
        let process = &mut self.world.processes[at];
        process.fate.accepts_nothing = false;
        self.coverage.faults.count(&Fault::AcceptsNothing);
        Some(Event::VersionUnfit { version: process.version, reason: String::new() })
    }

    /// A worker stops itself.
    pub fn stop_itself(&mut self) -> Option<Event> {
        let at = self.world.find(&mut self.rng, Process::stops_itself)?;
        let process = &mut self.world.processes[at];
        process.frozen = true;
        self.coverage.faults.count(&Fault::Stops);
        Some(Event::WorkerStopped { pid: process.pid })
    }

    /// An operator sends them SIGCONT. False: there are none.
    pub fn let_stopped_go_on(&mut self) -> bool {
        let stopped = self.world.processes.iter_mut().filter(|process| process.frozen && process.fate.stays_stopped);
        stopped.map(|process| process.fate.stays_stopped = false).count() > 0
    }

    /// All slots run the release, which some of its workers do not survive.
    pub fn doom_if_full(&mut self, modern_serving: u32) {
        let (modern, target) = (self.ledger.modern, self.ledger.settings.target);
        if modern_serving < target || self.releases.fault(modern) != Fault::DiesWhenFull {
            return;
        }
        let is_one = |process: &Process| process.version == modern && process.serves() && process.life == Life::Alive;
        if self.world.processes.iter().any(|process| is_one(process) && process.doomed) {
            return;
        }
        let all = self.rng.one_in(2);
        for process in
            self.world.processes.iter_mut().filter(|process| is_one(process)).take(if all { usize::MAX } else { 1 })
        {
            process.doomed = true;
            self.coverage.faults.count(&Fault::DiesWhenFull);
        }
    }

    /// One that is told to go may not heed it.
    pub fn note_deafness(&mut self, at: usize) {
        let process = &self.world.processes[at];
        let is_deaf = self.releases.fault(process.version) == Fault::Hangs && process.heeds != Heeds::Polite;
        if is_deaf && !process.told {
            self.coverage.faults.count(&Fault::Hangs);
        }
    }

    /// Nothing is wrong with any release from now on.
    pub fn forgive_releases(&mut self) {
        self.releases.forgive();
        for process in &mut self.world.processes {
            process.fate = Fate::default();
        }
    }
}
