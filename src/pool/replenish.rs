//! Launching what is missing: all at once in the beginning, in a fleet upgrade and on the way back, one by one otherwise. Which slots are
//! empty is in `slots`.

use crate::base::{Mono, Pid, Slot, Version, WorkerIndex};
use crate::pool::action::Action;
use crate::pool::command::UpgradeStyle;
use crate::pool::machine::Pool;
use crate::pool::notice::{Blocked, Notice};
use crate::pool::settings::{Manner, Settings};
use crate::pool::state::Launch;
use crate::pool::worker::{Worker, count};

impl Pool {
    /// Launches as many as are missing, without a pause between them, as far as there is room.
    fn launch_all_missing(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let count = self.missing().min(self.room()).min(self.state.settings.target.saturating_sub(self.given_up()));
        if count == 0 {
            return;
        }
        actions.push(Action::Tell(Notice::LaunchingMany { count }));
        for (slot, version) in self.empty_slots().into_iter().take(count as usize) {
            self.launch(now, slot, version, actions);
        }
    }

    /// Launches what is missing, if the last launch is long enough ago, and nothing blocks it.
    pub(in crate::pool) fn replenish(&mut self, now: Mono, actions: &mut Vec<Action>) {
        if std::mem::take(&mut self.state.launch_at_once) && !self.is_stopping() {
            self.launch_all_missing(now, actions);
        }
        let blocked = self.what_blocks();
        if blocked != self.blocked {
            self.blocked = blocked;
            actions.extend(blocked.map(|blocked| Action::Tell(Notice::LaunchBlocked(blocked))));
        }
        while let Some((_, slot, version)) = self.next_launch().filter(|(at, ..)| *at <= now) {
            let since = self.state.last_spinup.map_or_else(Default::default, |last| now.since(last));
            let (interval_s, deaths) = (self.interval_s(slot, version), self.state.backoff.unacked_deaths);
            actions.push(Action::Tell(Notice::Relaunching { since, interval_s, deaths }));
            self.launch(now, slot, version, actions);
        }
    }

    /// When the next worker may be launched; never, while none is missing or something blocks it.
    pub(in crate::pool) fn launch_deadline(&self) -> Option<Mono> {
        self.next_launch().map(|(at, ..)| at)
    }

    /// Whether a worker is launched as soon as the ones before it have acked: in an upgrade, unless it is done in einhorn's manner,
    /// and on the way back from one.
    pub(in crate::pool) fn is_paced_by_acks(&self) -> bool {
        let upgrading = self.state.upgrade.is_some() && self.state.settings.manner == Manner::Own;
        upgrading || self.state.returning
    }

    pub(in crate::pool) fn on_spawned(
        &mut self,
        now: Mono,
        pid: Pid,
        index: WorkerIndex,
        version: Version,
        actions: &mut Vec<Action>,
    ) {
        let Some(launch) = self.take_launch(index, version) else { return };
        self.state.backoff.on_launch();
        self.forget_group(pid);
        self.state.last_spinup = Some(now);
        let Launch { slot, graceful, .. } = launch;
        self.state.workers.push(Worker { slot, ..Worker::new(pid, index, version, graceful, now) });
        actions.push(Action::Tell(Notice::Launched { pid, index }));
        if let Some(stopping) = self.state.stopping.filter(|stopping| stopping.tell_at.is_none()) {
            let (stop_signal, grace) = (stopping.stop_signal, stopping.grace);
            self.tell_to_go(now, &[pid], stop_signal, grace, actions);
        }
    }

    pub(in crate::pool) fn on_spawn_failed(&mut self, index: WorkerIndex, version: Version) {
        if let Some(launch) = self.take_launch(index, version) {
            self.state.backoff.on_failed_launch(launch.asked_at);
        }
    }

    fn take_launch(&mut self, index: WorkerIndex, version: Version) -> Option<Launch> {
        let is_meant = |launch: &Launch| (launch.index, launch.version) == (index, version);
        // Two may be alike; they are answered in their order.
        let at = self.state.launches.iter().position(is_meant)?;
        Some(self.state.launches.remove(at))
    }

    fn launch(&mut self, now: Mono, slot: Slot, version: Version, actions: &mut Vec<Action>) {
        let index = match self.state.settings.manner {
            Manner::Einhorn => self.free_index(),
            Manner::Own => WorkerIndex(slot.0),
        };
        let is_modern = version == self.state.modern;
        let graceful = if is_modern { self.state.settings.graceful } else { self.state.fallback.graceful };
        if let Some(upgrade) = self.state.upgrade.as_mut().filter(|_| is_modern) {
            upgrade.reached = upgrade.reached.max(slot.0 + 1);
        }
        self.state.launches.push(Launch { index, slot, version, graceful, asked_at: now });
        self.state.last_spinup = Some(now);
        actions.push(Action::SpawnWorker { index, slot, version });
    }

    /// Workers of given-up versions that never acked and are still there. One upgrade after the other must not add as many
    /// new ones each time, faster than these can go. On the way back there is no such danger: those that come stay.
    fn given_up(&self) -> u32 {
        if self.state.upgrade.as_ref().is_none_or(|upgrade| upgrade.style != UpgradeStyle::Fleet) {
            return 0;
        }
        let given_up = |worker: &Worker| worker.version != self.state.modern && worker.version != self.state.good;
        count(&self.state.workers, |worker| given_up(worker) && !worker.is_acked())
    }

    /// How many workers may be added beside those that live.
    pub(in crate::pool) fn room(&self) -> u32 {
        let settings = &self.state.settings;
        // A modern one above the target goes as soon as those below serve; it must not keep one of them away.
        let is_surplus =
            |worker: &Worker| worker.version == self.state.modern && !self.is_in_place(worker.slot, settings.target);
        let untold = || count(&self.state.workers, |worker| !worker.is_told() && !is_surplus(worker));
        let surge = settings.max_surge.map(|surge| surge.rounded_up(settings.target));
        let of_surge = surge.map_or(u32::MAX, |surge| self.room_beside(surge, untold()));
        self.room_beside_all().min(of_surge)
    }

    /// The same by the limit that counts those, too, that were told to go.
    pub(in crate::pool) fn room_beside_all(&self) -> u32 {
        let additional = self.state.settings.max_upgrade_additional;
        additional.map_or(u32::MAX, |additional| self.room_beside(additional, count(&self.state.workers, |_| true)))
    }

    fn room_beside(&self, additional: u32, living: u32) -> u32 {
        let most = self.state.settings.target.saturating_add(additional);
        most.saturating_sub(living.saturating_add(self.launching()))
    }

    /// How many workers above the target may live at the most. None: no limit.
    pub(in crate::pool) fn most_additional(&self) -> Option<u32> {
        let Settings { target, max_upgrade_additional, max_surge, .. } = self.state.settings;
        let surge = max_surge.map(|surge| surge.rounded_up(target));
        max_upgrade_additional.into_iter().chain(surge).min()
    }

    /// What keeps a launch that is wanted from being made.
    pub(in crate::pool) fn what_blocks(&self) -> Option<Blocked> {
        let wanted = !self.is_stopping() && self.missing() > 0;
        if wanted { self.block() } else { None }
    }

    pub(in crate::pool) fn block(&self) -> Option<Blocked> {
        let modern = |worker: &Worker| worker.version == self.state.modern;
        let waiting = count(&self.state.workers, |worker| modern(worker) && !worker.is_acked() && !worker.is_told());
        let unacked = waiting + self.launching();
        if unacked >= self.state.settings.max_unacked && !self.state.returning {
            return Some(Blocked::Unacked { unacked, max: self.state.settings.max_unacked });
        }
        if self.room() > 0 {
            return None;
        }
        let total = count(&self.state.workers, |_| true) + self.launching();
        let over = total.saturating_sub(self.state.settings.target);
        Some(Blocked::Capacity { over, modern: count(&self.state.workers, modern), total })
    }

    fn launching(&self) -> u32 {
        u32::try_from(self.state.launches.len()).unwrap_or(u32::MAX)
    }

    /// The lowest index that no living worker holds.
    fn free_index(&self) -> WorkerIndex {
        let held = self.state.workers.iter().map(|worker| worker.index);
        let mut held: Vec<WorkerIndex> = held.chain(self.state.launches.iter().map(|launch| launch.index)).collect();
        held.sort_unstable();
        let mut free = 0;
        for index in held {
            if index.0 == free {
                free += 1;
            }
        }
        WorkerIndex(free)
    }
}
