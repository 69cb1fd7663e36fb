//! Which slot is filled by which version, which slots are empty, and how long each waits before its next worker. A slot whose workers
//! die young waits ever longer; the others do not wait for it.

use std::collections::BTreeSet;

use crate::base::{Mono, Slot, Version};
use crate::pool::action::Action;
use crate::pool::machine::Pool;
use crate::pool::notice::Notice;
use crate::pool::settings::{EARLY_LIFE, Manner};
use crate::pool::slot_deaths::SlotDeaths;
use crate::pool::worker::{Worker, count};

/// Fills the slots with the workers of this version, in their order; einhorn has none.
pub fn number_slots(workers: &mut [Worker], modern: Version) {
    let counted = workers.iter_mut().filter(|worker| is_counted(worker, modern));
    (0..).zip(counted).for_each(|(slot, worker)| worker.slot = Slot(slot));
}

fn is_counted(worker: &Worker, modern: Version) -> bool {
    worker.version == modern && !worker.is_told()
}

fn slots_without(slots: std::ops::Range<u32>, filled: impl Iterator<Item = Slot>) -> Vec<Slot> {
    let mut is_filled = vec![false; slots.len()];
    for slot in filled {
        let place = slot.0.checked_sub(slots.start).and_then(|place| is_filled.get_mut(place as usize));
        place.into_iter().for_each(|place| *place = true);
    }
    slots.zip(is_filled).filter(|(_, filled)| !filled).map(|(slot, _)| Slot(slot)).collect()
}

impl Pool {
    /// How many slots, from the lowest on, run the modern version by now, or will as soon as it can be.
    pub fn stage_size(&self) -> u32 {
        let target = self.state.settings.target;
        self.state.upgrade.as_ref().map_or(target, |upgrade| upgrade.stage_size(target))
    }

    fn is_staged(&self) -> bool {
        self.stage_size() < self.state.settings.target
    }

    /// Whether a worker of this slot is one of so many. In einhorn's manner every worker is, for the eldest goes first.
    pub(in crate::pool) fn is_in_place(&self, slot: Slot, size: u32) -> bool {
        slot.0 < size || self.state.settings.manner == Manner::Einhorn
    }

    /// How many workers there should be and are not. Modern ones that were told to go and linger still count: if they do not end,
    /// more processes would only make it worse (as einhorn has it). Not so those that an upgrade had sent off before it was given
    /// up: they went because others came, and those others are no more.
    pub(in crate::pool) fn missing(&self) -> u32 {
        let of_good = if self.is_staged() { self.empty_slots_of_good().len() } else { 0 };
        self.missing_modern().saturating_add(u32::try_from(of_good).unwrap_or(u32::MAX))
    }

    fn missing_modern(&self) -> u32 {
        let stage = self.stage_size();
        let counts = |worker: &Worker| match worker.is_told() {
            true => !worker.excluded_from_target,
            false => self.is_in_place(worker.slot, stage),
        };
        let modern = count(&self.state.workers, |worker| worker.version == self.state.modern && counts(worker));
        let launching = self.state.launches.iter().filter(|launch| launch.version == self.state.modern).count();
        let launching = u32::try_from(launching).unwrap_or(u32::MAX);
        let down = self.count_down(self.state.modern, stage);
        stage.saturating_sub(modern.saturating_add(launching).saturating_add(down))
    }

    /// The slots in which a worker is to be launched, with what runs there.
    pub(in crate::pool) fn empty_slots(&self) -> Vec<(Slot, Version)> {
        let mut of_modern = self.empty_slots_of_modern();
        of_modern.truncate(self.missing_modern() as usize);
        let (modern, good) = (self.state.modern, self.state.good);
        let of_good = if self.is_staged() { self.empty_slots_of_good() } else { Vec::new() };
        of_modern.into_iter().map(|slot| (slot, modern)).chain(of_good.into_iter().map(|slot| (slot, good))).collect()
    }

    /// The lowest first; those last in which a worker still lingers.
    fn empty_slots_of_modern(&self) -> Vec<Slot> {
        let modern = |worker: &&Worker| worker.version == self.state.modern;
        let (told, untold): (Vec<&Worker>, Vec<&Worker>) =
            self.state.workers.iter().filter(modern).partition(|worker| worker.is_told());
        let launched = self.state.launches.iter().filter(|launch| launch.version == self.state.modern);
        let filled = untold.into_iter().map(|worker| worker.slot).chain(launched.map(|launch| launch.slot));
        let filled = filled.chain(self.slots_down(self.state.modern, self.stage_size()));
        let mut empty = slots_without(0..self.stage_size(), filled);
        let lingering: BTreeSet<Slot> = told.into_iter().map(|worker| worker.slot).collect();
        empty.sort_by_cached_key(|slot| lingering.contains(slot));
        empty
    }

    /// Those of the stages to come: every worker that is not modern is good enough there.
    fn empty_slots_of_good(&self) -> Vec<Slot> {
        let filled =
            self.state.workers.iter().filter(|worker| worker.version != self.state.modern && !worker.is_told());
        let launched = self.state.launches.iter().filter(|launch| launch.version != self.state.modern);
        let filled = filled.map(|worker| worker.slot).chain(launched.map(|launch| launch.slot));
        let filled = filled.chain(self.slots_down(self.state.good, self.state.settings.target));
        slots_without(self.stage_size()..self.state.settings.target, filled)
    }

    /// The slot whose turn is next, with what runs there, and when that is.
    pub(in crate::pool) fn next_launch(&self) -> Option<(Mono, Slot, Version)> {
        let last = self.state.last_spinup?;
        if self.is_stopping() || self.missing() == 0 || self.block().is_some() {
            return None;
        }
        let when = |slot, version| {
            let deaths = self.deaths(slot, version);
            let not_before = deaths.map(|deaths| deaths.not_before(slot, self.state.settings.spacing_s));
            self.spaced_from(last, deaths).max(not_before.unwrap_or(last))
        };
        let launches = self.empty_slots().into_iter().map(|(slot, version)| (when(slot, version), slot, version));
        launches.min_by_key(|(at, ..)| *at)
    }

    /// The pause between two launches, whatever slots they are for.
    fn spaced_from(&self, last: Mono, deaths: Option<&SlotDeaths>) -> Mono {
        let is_at_once = self.is_paced_by_acks() || self.state.dark && deaths.is_none();
        if is_at_once && self.state.backoff.failed_launches == 0 {
            return last;
        }
        last.after(self.state.backoff.interval(self.state.settings.spacing_s))
    }

    pub(in crate::pool) fn deaths(&self, slot: Slot, version: Version) -> Option<&SlotDeaths> {
        self.state.slots.get(&slot).filter(|deaths| deaths.version == version)
    }

    /// What is said of the pause before a launch in this slot, in seconds.
    pub(in crate::pool) fn interval_s(&self, slot: Slot, version: Version) -> f64 {
        let spacing_s = self.state.settings.spacing_s;
        let of_slot = self.deaths(slot, version).map_or(0.0, |deaths| deaths.interval_s(spacing_s));
        self.state.backoff.interval_s(spacing_s).max(of_slot)
    }

    /// The empty slots that wait because their workers died young: how many of them did in a row, and when the next one comes.
    pub fn waiting_slots(&self) -> Vec<(Slot, u32, Mono)> {
        let empty = self.empty_slots().into_iter();
        let waiting = empty.filter_map(|(slot, version)| Some((slot, self.deaths(slot, version)?)));
        let spacing_s = self.state.settings.spacing_s;
        waiting.map(|(slot, deaths)| (slot, deaths.total(), deaths.not_before(slot, spacing_s))).collect()
    }

    /// A worker ended, or missed its ack, that was not told to go.
    pub(in crate::pool) fn note_death_in_slot(&mut self, now: Mono, dead: &Worker, actions: &mut Vec<Action>) {
        let Worker { version, slot, spawned_at, .. } = *dead;
        if self.is_stopping() || version != self.state.modern && version != self.state.good {
            return;
        }
        if dead.acked_at.is_some_and(|acked_at| now.since(acked_at) >= EARLY_LIFE) {
            self.state.slots.remove(&slot);
            return;
        }
        let none = SlotDeaths { version, unacked: 0, early: 0, last_launch: spawned_at };
        let deaths = self.state.slots.entry(slot).or_insert(none);
        if deaths.version != version {
            *deaths = none;
        }
        match dead.acked_at {
            Some(_) => deaths.early = deaths.early.saturating_add(1),
            None => deaths.unacked = deaths.unacked.saturating_add(1),
        }
        deaths.last_launch = spawned_at;
        let deaths = *deaths;
        let wait = deaths.not_before(slot, self.state.settings.spacing_s).since(now);
        if deaths.exponent() > 0 && !wait.is_zero() {
            actions.push(Action::Tell(Notice::SlotWaits { slot, deaths: deaths.total(), wait }));
        }
    }

    pub(in crate::pool) fn note_ack_in_slot(&mut self, slot: Slot, version: Version) {
        if let Some(deaths) = self.state.slots.get_mut(&slot).filter(|deaths| deaths.version == version) {
            deaths.unacked = 0;
        }
    }

    /// Gives each modern worker a slot of its own, where a master has not: our first handoffs knew none.
    pub(in crate::pool) fn part_slots(&mut self) {
        let counted = self.state.workers.iter().filter(|worker| is_counted(worker, self.state.modern));
        let mut held = BTreeSet::new();
        if !counted.map(|worker| worker.slot).all(|slot| held.insert(slot)) {
            number_slots(&mut self.state.workers, self.state.modern);
        }
    }

    /// Says so when nothing serves any more, once. The way back is over when all serve that shall.
    pub(in crate::pool) fn note_serving(&mut self, actions: &mut Vec<Action>) {
        let modern = |worker: &Worker| worker.version == self.state.modern && worker.serves();
        let target = self.state.settings.target;
        let down = self.count_down(self.state.modern, target);
        self.state.returning &= count(&self.state.workers, modern).saturating_add(down) < target;
        let dark = self.state.ever_acked && !self.is_stopping() && self.serving_count() == 0;
        if dark && !self.state.dark {
            actions.push(Action::Tell(Notice::NothingServes));
        }
        self.state.dark = dark;
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
