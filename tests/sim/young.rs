//! How long slots wait whose workers died young, as the simulator knows it.

use std::time::Duration;

use einhyrningsins::base::{Mono, Slot, Version};
use einhyrningsins::pool::Manner;

use crate::ledger::Ledger;
use crate::world::Process;

/// A worker that dies this soon after its ack died young.
const EARLY_LIFE: Duration = Duration::from_secs(10);

/// Workers of one slot that died young in a row.
#[derive(Clone, Copy, Debug)]
pub struct Young {
    version: Version,
    unacked: u32,
    early: u32,
    last_launch: Mono,
}

impl Ledger {
    pub fn note_young_death(&mut self, process: &Process, now: Mono) {
        let version = process.version;
        if self.stopping.is_some() || version != self.modern && version != self.good {
            return;
        }
        if process.acked_at.is_some_and(|acked_at| now.since(acked_at) >= EARLY_LIFE) {
            self.young.remove(&process.slot);
            return;
        }
        let none = Young { version, unacked: 0, early: 0, last_launch: process.spawned_at };
        let young = self.young.entry(process.slot).or_insert(none);
        if young.version != version {
            *young = none;
        }
        *(if process.acked_at.is_some() { &mut young.early } else { &mut young.unacked }) += 1;
        young.last_launch = process.spawned_at;
    }

    pub fn note_ack_in_slot(&mut self, slot: Slot, version: Version) {
        if let Some(young) = self.young.get_mut(&slot).filter(|young| young.version == version) {
            young.unacked = 0;
        }
    }

    /// The earliest moment of a launch in this slot, if it is not one of many that are asked for together.
    pub fn not_before(&self, slot: Slot, version: Version) -> Option<Mono> {
        let young = self.young.get(&slot).filter(|young| young.version == version);
        let after = |moment: Mono, seconds: f64| moment.after(Duration::from_secs_f64((seconds - 1e-6).max(0.0)));
        let of_slot = young.map(|young| {
            let power = young.unacked.max(young.early.saturating_sub(1));
            after(young.last_launch, self.stretched_s(power))
        });
        let by_acks = self.upgrading.is_some() && self.settings.manner == Manner::Own || self.returning;
        let at_once = (by_acks || self.dark && young.is_none()) && self.failed_launches == 0;
        let of_all = self.last_spinup.filter(|_| !at_once);
        of_slot.max(of_all.map(|last| after(last, self.stretched_s(self.failed_launches))))
    }

    fn stretched_s(&self, power: u32) -> f64 {
        (self.settings.spacing_s * 1.5_f64.powi(power.min(200) as i32)).min(30.0)
    }
}
