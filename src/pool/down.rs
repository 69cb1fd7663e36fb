//! Workers that end with a code that no restart mends (`no_restart`). A version that can be given up is, at once; a first start ends; in a
//! service that has served, the slot stays down until an upgrade or a command launches it again.

use crate::base::{Ending, Mono, Slot, Version};
use crate::pool::action::Action;
use crate::pool::machine::Pool;
use crate::pool::notice::{Acked, Asked, Notice, UpgradeFailure};
use crate::pool::settings::EARLY_LIFE;
use crate::pool::state::Down;
use crate::pool::worker::Worker;

impl Pool {
    /// The code, if it is one of those that the settings of its version name.
    pub(in crate::pool) fn final_code(&self, worker: &Worker, ending: Ending, asked: Asked) -> Option<i32> {
        match (ending, asked) {
            (Ending::Code(code), Asked::No) => Some(code).filter(|code| self.settings_of(worker).no_restart.has(*code)),
            (Ending::Signal(_), Asked::No) | (_, Asked::Yes) => None,
        }
    }

    /// Whether no worker has ever served, or none for long and no other version was there yet.
    fn is_first_start(&self) -> bool {
        !self.state.ever_acked || !self.state.established && self.state.newest == Version(0)
    }

    /// Notes that a worker has outlived its early life. To be asked before a worker is let go: no other moment counts.
    pub(in crate::pool) fn note_established(&mut self, now: Mono) {
        let is_old = |worker: &Worker| worker.acked_at.is_some_and(|acked_at| now.since(acked_at) >= EARLY_LIFE);
        self.state.established |= self.state.workers.iter().any(is_old);
    }

    pub(in crate::pool) fn on_final_exit(
        &mut self,
        now: Mono,
        worker: &Worker,
        acked: Acked,
        code: i32,
        actions: &mut Vec<Action>,
    ) {
        let Worker { pid, version, slot, .. } = *worker;
        if version == self.state.modern && acked == Acked::Never {
            self.state.backoff.on_unacked_death();
        }
        if self.is_stopping() || version != self.state.modern && version != self.state.good {
            return;
        }
        if version == self.state.modern && self.can_be_given_up() {
            return self.go_back(UpgradeFailure::Final(code), actions);
        }
        if self.is_first_start() && version == self.state.modern {
            actions.push(Action::Tell(Notice::StartIsVain { pid, code }));
            return self.stop_after_giving_up(now, actions);
        }
        self.state.down.insert(slot, Down { version, code, at: now });
        actions.push(Action::Tell(Notice::SlotStaysDown { slot, pid, code }));
    }

    /// Slots among the first `size` that no worker of this version may fill.
    pub(in crate::pool) fn slots_down(&self, version: Version, size: u32) -> impl Iterator<Item = Slot> {
        let down = self.state.down.iter().filter(move |(_, down)| down.version == version);
        down.map(|(slot, _)| *slot).filter(move |slot| self.is_in_place(*slot, size))
    }

    pub(in crate::pool) fn count_down(&self, version: Version, size: u32) -> u32 {
        u32::try_from(self.slots_down(version, size).count()).unwrap_or(u32::MAX)
    }

    /// The slots of the modern version that stay down.
    pub fn down_slots(&self) -> Vec<(Slot, Down)> {
        let modern = self.slots_down(self.state.modern, self.state.settings.target);
        modern.map(|slot| (slot, self.state.down[&slot])).collect()
    }
}

#[cfg(test)]
#[path = "down_tests.rs"]
mod tests;
