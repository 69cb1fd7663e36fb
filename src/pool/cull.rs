//! Which workers are told to go: old ones that are replaced, and workers above the target. It never lowers the serving floor.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{Mono, Pid, Slot};
use crate::pool::action::Action;
use crate::pool::command::UpgradeStyle;
use crate::pool::machine::Pool;
use crate::pool::notice::Notice;
use crate::pool::settings::Manner;
use crate::pool::worker::StopSignal;
use crate::pool::worker::{Worker, count};

impl Pool {
    pub(in crate::pool) fn cull(&mut self, now: Mono, actions: &mut Vec<Action>) {
        if self.is_stopping() {
            return;
        }
        self.cull_stale(now, actions);
        if self.all_old_may_go() {
            let old = self.unsignaled(|pool, worker| worker.version != pool.state.modern);
            self.send_off(now, old, |count| Notice::CullingOld { count }, actions);
        } else {
            self.cull_old_gradually(now, actions);
        }
        self.cull_surplus(now, actions);
    }

    /// Workers of a version that is neither wanted nor gone back to, and that never served, are of no use.
    /// Without this every further upgrade in a row would leave some behind.
    fn cull_stale(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let stale = self.unsignaled(|pool, worker| {
            !worker.is_acked() && worker.version != pool.state.modern && worker.version != pool.state.good
        });
        self.send_off(now, stale, |count| Notice::CullingStale { count }, actions);
    }

    fn all_old_may_go(&self) -> bool {
        let modern = count(&self.state.workers, |worker| worker.version == self.state.modern && worker.serves());
        self.state.upgrade.is_none() && modern >= self.state.settings.target
    }

    /// As many old workers as there are more serving than wanted: those first whose slot a new one serves in, then the oldest. With them
    /// those that do not serve anyway. These go, too, when they alone take the room of new ones: else a version of which one worker
    /// never acks could not be replaced at all under a tight `max_upgrade_additional`. In a stage, those of the stages to come stay.
    fn cull_old_gradually(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let excess = self.counted_for_cull().saturating_sub(self.least_serving());
        let crowded = self.missing() > self.room();
        if excess == 0 && !crowded {
            return;
        }
        let needed = self.needed_in_later_stages();
        // Of one that does not serve and takes the room of new ones, nothing is to be hoped that it has not done before the upgrade.
        let is_useless = |worker: &Worker| {
            crowded && !worker.serves() && self.state.last_upgraded.is_some_and(|began| worker.spawned_at < began)
        };
        let may_go = |worker: &Worker| !needed.contains(&worker.pid) || is_useless(worker);
        let is_old = |pool: &Self, worker: &Worker| worker.version != pool.state.modern && may_go(worker);
        let idle = self.unsignaled(|pool, worker| is_old(pool, worker) && !worker.serves());
        let replaced = self.replaced_slots();
        let is_replaced = |worker: &Worker| replaced.contains(&worker.slot);
        let mut going = self.unsignaled(|pool, worker| is_old(pool, worker) && worker.serves() && is_replaced(worker));
        going.extend(self.unsignaled(|pool, worker| is_old(pool, worker) && worker.serves() && !is_replaced(worker)));
        let going = idle.into_iter().chain(going.into_iter().take(excess as usize)).collect();
        self.send_off(now, going, |count| Notice::CullingGradually { count }, actions);
    }

    /// One old worker in each slot of the stages to come: the newest that serves, or the newest of those that do not. More than one is
    /// there when an upgrade took the place of another.
    fn needed_in_later_stages(&self) -> BTreeSet<Pid> {
        let later = self.stage_size()..self.state.settings.target;
        let mut needed: BTreeMap<Slot, &Worker> = BTreeMap::new();
        let old = |worker: &&Worker| worker.version != self.state.modern && !worker.is_told();
        for worker in self.state.workers.iter().filter(old).filter(|worker| later.contains(&worker.slot.0)) {
            let known = needed.entry(worker.slot).or_insert(worker);
            if worker.serves() || !known.serves() {
                *known = worker;
            }
        }
        needed.into_values().map(|worker| worker.pid).collect()
    }

    /// Those in which a modern worker serves.
    fn replaced_slots(&self) -> BTreeSet<Slot> {
        let modern = |worker: &&Worker| worker.version == self.state.modern && worker.serves();
        self.state.workers.iter().filter(modern).map(|worker| worker.slot).collect()
    }

    /// How many must serve while old workers go.
    fn least_serving(&self) -> u32 {
        let settings = &self.state.settings;
        let target = settings.target;
        match self.state.upgrade {
            Some(upgrade) if upgrade.paused.is_none() => target.saturating_sub(settings.unavailable()),
            None if self.state.returning => target.saturating_sub(settings.unavailable()),
            Some(_) | None => target,
        }
    }

    /// Which workers count against the target: in a fleet upgrade the old ones alone, since all new ones come first. When the new
    /// ones have no room beside the old, a fleet upgrade can only go on as a smooth one; the same in a stage that is not all.
    fn counted_for_cull(&self) -> u32 {
        let target = self.state.settings.target;
        let has_room = self.most_additional().is_none_or(|additional| additional >= target);
        match self.upgrading() {
            Some(UpgradeStyle::Fleet) if has_room && self.stage_size() == target => {
                count(&self.state.workers, |worker| worker.version != self.state.modern && worker.serves())
            }
            Some(UpgradeStyle::Fleet | UpgradeStyle::Smooth) | None => self.serving_count(),
        }
    }

    fn cull_surplus(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let going = match self.state.settings.manner {
            Manner::Einhorn => self.eldest_surplus(),
            Manner::Own => self.surplus_slots(),
        };
        self.send_off(now, going, |count| Notice::CullingSurplus { count }, actions);
    }

    /// Modern workers above the target: those that do not serve first, then the eldest.
    fn eldest_surplus(&self) -> Vec<Pid> {
        let mut modern = self.unsignaled(|pool, worker| worker.version == pool.state.modern && !worker.serves());
        modern.extend(self.unsignaled(|pool, worker| worker.version == pool.state.modern && worker.serves()));
        let surplus = modern.len().saturating_sub(self.state.settings.target as usize);
        modern.truncate(surplus);
        modern
    }

    /// Modern workers of slots above the target: those that do not serve at once, the others when those below serve, the highest
    /// first.
    fn surplus_slots(&self) -> Vec<Pid> {
        let target = self.state.settings.target;
        let is_surplus = |pool: &Self, worker: &Worker| worker.version == pool.state.modern && worker.slot.0 >= target;
        let mut going = self.unsignaled(|pool, worker| is_surplus(pool, worker) && !worker.serves());
        let surplus = self.state.workers.iter().filter(|worker| is_surplus(self, worker) && worker.serves());
        let mut serving: Vec<&Worker> = surplus.collect();
        serving.sort_unstable_by_key(|worker| std::cmp::Reverse(worker.slot));
        let excess = self.serving_count().saturating_sub(target) as usize;
        going.extend(serving.into_iter().take(excess).map(|worker| worker.pid));
        going
    }

    /// Workers that were not told to go yet, in the order of their launch.
    fn unsignaled(&self, wanted: impl Fn(&Self, &Worker) -> bool) -> Vec<Pid> {
        let candidates = self.state.workers.iter().filter(|worker| !worker.is_told() && wanted(self, worker));
        candidates.map(|worker| worker.pid).collect()
    }

    fn send_off(&mut self, now: Mono, pids: Vec<Pid>, notice: fn(u32) -> Notice, actions: &mut Vec<Action>) {
        if pids.is_empty() {
            return;
        }
        actions.push(Action::Tell(notice(u32::try_from(pids.len()).unwrap_or(u32::MAX))));
        self.tell_to_go(now, &pids, StopSignal::Graceful, self.state.settings.signal_timeout, actions);
    }
}
