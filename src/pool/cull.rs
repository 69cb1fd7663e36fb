//! Which workers are told to go: old ones that are replaced, and workers above the target. It never lowers the serving floor.

use crate::base::{Mono, Pid};
use crate::pool::action::Action;
use crate::pool::command::UpgradeStyle;
use crate::pool::machine::Pool;
use crate::pool::notice::Notice;
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

    /// As many old workers as there are more serving than wanted, the oldest first; and with them those that do not serve
    /// anyway. These go, too, when they alone take the room of new ones: else a version of which one worker never acks
    /// could not be replaced at all under a tight `max_upgrade_additional`.
    fn cull_old_gradually(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let excess = self.counted_for_cull().saturating_sub(self.state.settings.target);
        let crowded = self.missing() > self.room();
        if excess == 0 && !crowded {
            return;
        }
        let idle = self.unsignaled(|pool, worker| worker.version != pool.state.modern && !worker.serves());
        let serving = self.unsignaled(|pool, worker| worker.version != pool.state.modern && worker.serves());
        let going = idle.into_iter().chain(serving.into_iter().take(excess as usize)).collect();
        self.send_off(now, going, |count| Notice::CullingGradually { count }, actions);
    }

    /// Which workers count against the target: in a fleet upgrade the old ones alone, since all new ones come first. When the new
    /// ones have no room beside the old, a fleet upgrade can only go on as a smooth one.
    fn counted_for_cull(&self) -> u32 {
        let roomy = self
            .state
            .settings
            .max_upgrade_additional
            .is_none_or(|additional| additional >= self.state.settings.target);
        match self.upgrading() {
            Some(UpgradeStyle::Fleet) if roomy => {
                count(&self.state.workers, |worker| worker.version != self.state.modern && worker.serves())
            }
            Some(UpgradeStyle::Fleet | UpgradeStyle::Smooth) | None => self.serving_count(),
        }
    }

    /// Modern workers above the target: those that do not serve first, then the oldest.
    fn cull_surplus(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let mut modern = self.unsignaled(|pool, worker| worker.version == pool.state.modern && !worker.serves());
        modern.extend(self.unsignaled(|pool, worker| worker.version == pool.state.modern && worker.serves()));
        let surplus = modern.len().saturating_sub(self.state.settings.target as usize);
        modern.truncate(surplus);
        self.send_off(now, modern, |count| Notice::CullingSurplus { count }, actions);
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
