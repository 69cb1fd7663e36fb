//! Launching what is missing: all at once in the beginning and in a fleet upgrade, one by one otherwise.

use crate::base::due;
use crate::base::{Mono, Pid, WorkerIndex};
use crate::pool::action::Action;
use crate::pool::machine::Launch;
use crate::pool::machine::Pool;
use crate::pool::notice::{Blocked, Notice};
use crate::pool::worker::{Worker, count};

impl Pool {
    /// Launches as many as are missing, without a pause between them, as far as there is room.
    fn launch_all_missing(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let count = self.missing().min(self.room()).min(self.state.settings.target.saturating_sub(self.given_up()));
        if count == 0 {
            return;
        }
        actions.push(Action::Tell(Notice::LaunchingMany { count }));
        for _ in 0..count {
            self.launch(now, actions);
        }
    }

    /// Launches one worker, if one is missing, the last launch is long enough ago, and nothing blocks it.
    pub(in crate::pool) fn replenish(&mut self, now: Mono, actions: &mut Vec<Action>) {
        if std::mem::take(&mut self.state.launch_at_once) && !self.is_stopping() {
            self.launch_all_missing(now, actions);
        }
        let blocked = self.what_blocks();
        if blocked != self.blocked {
            self.blocked = blocked;
            actions.extend(blocked.map(|blocked| Action::Tell(Notice::LaunchBlocked(blocked))));
        }
        if !due(self.launch_deadline(), now) {
            return;
        }
        let since = self.state.last_spinup.map_or_else(Default::default, |last| now.since(last));
        let interval_s = self.state.backoff.interval_s(self.state.settings.spacing_s);
        actions.push(Action::Tell(Notice::Relaunching {
            since,
            interval_s,
            deaths: self.state.backoff.unacked_deaths,
        }));
        self.launch(now, actions);
    }

    /// When the next worker may be launched; never, while none is missing or something blocks it.
    pub(in crate::pool) fn launch_deadline(&self) -> Option<Mono> {
        if self.is_stopping() || self.missing() == 0 || self.block().is_some() {
            return None;
        }
        self.state.last_spinup.map(|last| last.after(self.state.backoff.interval(self.state.settings.spacing_s)))
    }

    pub(in crate::pool) fn on_spawned(&mut self, now: Mono, pid: Pid, index: WorkerIndex, actions: &mut Vec<Action>) {
        let Some(launch) = self.take_launch(index) else { return };
        self.state.backoff.on_launch();
        self.forget_group(pid);
        self.state.last_spinup = Some(now);
        let Launch { index, version, graceful, asked_at: _ } = launch;
        self.state.workers.push(Worker::new(pid, index, version, graceful, now));
        actions.push(Action::Tell(Notice::Launched { pid, index }));
        if let Some(stopping) = &self.state.stopping {
            let (stop_signal, grace) = (stopping.stop_signal, stopping.grace);
            self.tell_to_go(now, &[pid], stop_signal, grace, actions);
        }
    }

    pub(in crate::pool) fn on_spawn_failed(&mut self, index: WorkerIndex) {
        if let Some(launch) = self.take_launch(index) {
            self.state.backoff.on_failed_launch(launch.asked_at);
        }
    }

    fn take_launch(&mut self, index: WorkerIndex) -> Option<Launch> {
        let at = self.launches.iter().position(|launch| launch.index == index)?;
        Some(self.launches.swap_remove(at))
    }

    fn launch(&mut self, now: Mono, actions: &mut Vec<Action>) {
        let (index, graceful) = (self.free_index(), self.state.settings.graceful);
        let launch = Launch { index, version: self.state.modern, graceful, asked_at: now };
        self.launches.push(launch);
        self.state.last_spinup = Some(now);
        actions.push(Action::SpawnWorker { index: launch.index, version: launch.version });
    }

    /// How many modern workers there should be and are not. Those that were told to go and linger still count: if they
    /// do not end, more processes would only make it worse (as einhorn has it). Not so those that an upgrade had sent off
    /// before it was given up: they went because others came, and those others are no more.
    pub(in crate::pool) fn missing(&self) -> u32 {
        let modern =
            count(&self.state.workers, |worker| worker.version == self.state.modern && !worker.excluded_from_target);
        self.state.settings.target.saturating_sub(modern + self.launching())
    }

    /// Workers of given-up versions that never acked and are still there. One upgrade after the other must not add as many
    /// new ones each time, faster than these can go.
    fn given_up(&self) -> u32 {
        let given_up = |worker: &Worker| worker.version != self.state.modern && worker.version != self.state.good;
        count(&self.state.workers, |worker| given_up(worker) && !worker.is_acked())
    }

    /// How many workers may be added beside those that live.
    pub(in crate::pool) fn room(&self) -> u32 {
        let Some(additional) = self.state.settings.max_upgrade_additional else { return u32::MAX };
        let living = count(&self.state.workers, |_| true).saturating_add(self.launching());
        self.state.settings.target.saturating_add(additional).saturating_sub(living)
    }

    /// What keeps a launch that is wanted from being made.
    pub(in crate::pool) fn what_blocks(&self) -> Option<Blocked> {
        let wanted = !self.is_stopping() && self.missing() > 0;
        if wanted { self.block() } else { None }
    }

    fn block(&self) -> Option<Blocked> {
        let modern = |worker: &Worker| worker.version == self.state.modern;
        let waiting = count(&self.state.workers, |worker| modern(worker) && !worker.is_acked() && !worker.is_told());
        let unacked = waiting + self.launching();
        if unacked >= self.state.settings.max_unacked {
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
        u32::try_from(self.launches.len()).unwrap_or(u32::MAX)
    }

    /// The lowest index that no living worker holds.
    fn free_index(&self) -> WorkerIndex {
        let held = self.state.workers.iter().map(|worker| worker.index);
        let mut held: Vec<WorkerIndex> = held.chain(self.launches.iter().map(|launch| launch.index)).collect();
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
