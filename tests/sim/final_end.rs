//! Workers that end with a code that no restart mends. Held:
//! - I44 the modern version is given up for it in the same step, if it can be; else a first start ends, in which no worker has served, or none has
//!   outlived its early life; else the slot stays down: no worker of the same version is launched in it before a command says how many there
//!   shall be, or the version in force is another.

use std::time::Duration;

use einhyrningsins::base::{Ending, Mono, Slot, Version};
use einhyrningsins::pool::{Command, Event, Manner, Notice};

use crate::hold;
use crate::ledger::Ledger;
use crate::reload::Change;
use crate::run::Run;
use crate::world::{Life, Process, World};

/// EX_CONFIG.
pub const MISCONFIGURED: i32 = 78;

/// After its ack.
const EARLY_LIFE: Duration = Duration::from_secs(10);

/// A worker that ended so.
#[derive(Clone, Copy, Debug)]
pub struct FinalEnd {
    pub slot: Slot,
    pub version: Version,
    pub code: i32,
}

impl Ledger {
    pub fn note_established(&mut self, world: &World, now: Mono) {
        let mut workers = world.workers.iter().filter_map(|&at| world.processes[at].acked_at);
        self.established |= workers.any(|acked_at| acked_at.after(EARLY_LIFE) <= now);
    }

    /// The code with which a worker ended that was not told to go, if it is one of those.
    pub fn final_code(&self, process: &Process, ending: Ending) -> Option<i32> {
        let Ending::Code(code) = ending else { return None };
        // Of a version that is gone, what is gone back to counts.
        let set = if process.version == self.modern { &self.settings } else { &self.fallback };
        Some(code).filter(|code| set.no_restart.has(*code))
    }

    pub fn note_final_end(&mut self, process: &Process, code: i32) {
        self.count_against_trial(process);
        let Process { slot, version, .. } = *process;
        if version == self.modern && process.acked_at.is_none() {
            self.deaths += 1;
        }
        if self.stopping.is_none() && (version == self.modern || version == self.good) {
            self.final_end = Some(FinalEnd { slot, version, code });
        }
    }

    fn can_be_given_up(&self) -> bool {
        (self.upgrading.is_some() || self.trial.is_some()) && self.good != self.modern
    }

    fn is_first_start(&self) -> bool {
        !self.ever_acked || !self.established && self.newest == Version(0)
    }

    pub fn is_down(&self, slot: Slot, version: Version) -> bool {
        self.down.get(&slot) == Some(&version)
    }

    pub fn count_down(&self, version: Version, size: u32) -> u32 {
        let in_place = |slot: &Slot| slot.0 < size || self.settings.manner == Manner::Einhorn;
        self.down.iter().filter(|(slot, down)| **down == version && in_place(slot)).count() as u32
    }
}

impl Run {
    pub fn hear_of_final_end(&mut self, notice: &Notice) {
        let Some(end) = self.ledger.final_end.take() else { panic!("I44 broken: {notice:?}, and no worker ended so") };
        let FinalEnd { slot, version, code } = end;
        let ledger = &self.ledger;
        let is_modern = version == ledger.modern;
        hold!("I44", !(is_modern && ledger.can_be_given_up()), "version {version} is kept");
        match notice {
            Notice::StartIsVain { code: told, .. } => {
                hold!(
                    "I44",
                    *told == code && is_modern && ledger.is_first_start(),
                    "the start is given up for {end:?}"
                );
                self.begin_giving_up();
            }
            Notice::SlotStaysDown { slot: told_slot, code: told, .. } => {
                hold!("I44", (*told_slot, *told) == (slot, code), "{notice:?}, and {end:?} was seen");
                hold!("I44", !ledger.is_first_start() || !is_modern, "the start goes on after {end:?}");
                self.ledger.down.insert(slot, version);
            }
            other => panic!("I44 broken: {other:?} is about no end"),
        }
    }

    /// Whether a worker ended so, and it is not told yet.
    pub fn is_final(&self, process: &Process) -> bool {
        let Life::Zombie(ending) = process.life else { return false };
        !process.told && self.ledger.final_code(process, ending).is_some()
    }

    /// Whether slots stay down until an operator does something.
    pub fn is_waited_for(&self) -> bool {
        self.ledger.stopping.is_none() && !self.ledger.down.is_empty()
    }

    /// An operator says once more how many workers there shall be.
    pub fn launch_down_slots(&mut self) {
        let target = self.ledger.settings.target;
        if self.master.is_some() {
            self.change(Change::Target(target));
        }
        self.deliver(Event::CommandGiven(Command::SetTarget(target)));
    }
}
