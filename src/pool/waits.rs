//! What an upgrade waits for, if it does not get on by itself: one reason, that of most weight. It decides nothing; it says so once when a
//! wait gets long.

use crate::base::{AckMode, Mono};
use crate::pool::action::Action;
use crate::pool::machine::Pool;
use crate::pool::notice::{Blocked, Notice};
use crate::pool::stage::{Phase, Upgrade};
use crate::pool::wait::{NotedWait, Wait, Waited};
use crate::pool::worker::Worker;

impl Pool {
    /// What the upgrade under way waits for; after it, for which of the old workers. None: it gets on.
    pub fn waits_for(&self) -> Option<Wait> {
        if self.is_stopping() {
            return None;
        }
        let Some(upgrade) = &self.state.upgrade else { return self.exit(|worker| worker.version != self.state.modern) };
        if let Some(since) = upgrade.paused {
            return Some(Wait::Resume { since });
        }
        self.between_stages(upgrade).or_else(|| self.in_stage())
    }

    /// The slots of a stage serve.
    fn between_stages(&self, upgrade: &Upgrade) -> Option<Wait> {
        match upgrade.phase {
            Phase::Checking | Phase::CheckingAgain => Some(Wait::Check),
            Phase::Baking { until } if self.stage_serves() => Some(Wait::Bake { until }),
            Phase::Baking { .. } | Phase::Filling | Phase::Checked | Phase::CheckedAgain => None,
        }
    }

    /// New workers come first: with each that serves, old ones go. Where none is under way, it is room that is missing, or time. One that
    /// was told to go and stays is replaced when it has ended.
    fn in_stage(&self) -> Option<Wait> {
        let is_modern = |worker: &Worker| worker.version == self.state.modern;
        let starting = self.ack(is_modern);
        let launch = || {
            let (until, slot, version) = self.next_launch()?;
            let deaths = self.deaths(slot, version).map_or(0, |deaths| deaths.total());
            Some(Wait::Launch { slot, deaths, until })
        };
        starting
            .or_else(|| self.room_of_leaving())
            .or_else(launch)
            .or_else(|| self.stopped(is_modern))
            .or_else(|| self.ack(|_| true))
            .or_else(|| self.stopped(|_| true))
            .or_else(|| self.exit(|worker| is_modern(worker) && !worker.excluded_from_target))
    }

    /// The ack of the eldest that may still come.
    fn ack(&self, wanted: impl Fn(&Worker) -> bool) -> Option<Wait> {
        let starting = |worker: &&Worker| !worker.is_acked() && !worker.is_told() && !worker.stopped && wanted(worker);
        let worker = self.state.workers.iter().find(starting)?;
        let by = waited(worker, worker.spawned_at);
        Some(match self.settings_of(worker).ack {
            AckMode::Timer(timeout) => Wait::Timer { by, until: worker.spawned_at.after(timeout) },
            AckMode::Manual => Wait::Ack { by, until: self.ack_limit(worker) },
        })
    }

    fn stopped(&self, wanted: impl Fn(&Worker) -> bool) -> Option<Wait> {
        let worker = self.state.workers.iter().find(|worker| worker.stopped && !worker.is_told() && wanted(worker))?;
        Some(Wait::Continue { by: waited(worker, worker.stopped_at.unwrap_or(worker.spawned_at)) })
    }

    /// Of the limits of room, only that of all living workers counts those that were told to go.
    fn room_of_leaving(&self) -> Option<Wait> {
        let is_full = matches!(self.what_blocks(), Some(Blocked::Capacity { .. })) && self.room_beside_all() == 0;
        if is_full { self.exit(|_| true) } else { None }
    }

    /// Of those that were told to go, the one that was told first.
    fn exit(&self, wanted: impl Fn(&Worker) -> bool) -> Option<Wait> {
        let told = self.state.workers.iter().filter(|worker| wanted(worker));
        let told: Vec<Waited> =
            told.filter_map(|worker| Some(waited(worker, worker.told.as_ref()?.first_at))).collect();
        let by = *told.iter().min_by_key(|by| by.since)?;
        Some(Wait::Exit { by, others: u32::try_from(told.len() - 1).unwrap_or(u32::MAX) })
    }

    /// A long wait of an upgrade is told, once.
    pub(in crate::pool) fn note_wait(&mut self, now: Mono, actions: &mut Vec<Action>) {
        if self.state.upgrade.is_none() {
            self.state.noted_wait = None;
        }
        let Some((_, wait)) = self.wait_to_note().filter(|(moment, _)| *moment <= now) else { return };
        self.state.noted_wait = Some(NotedWait { wait, at: now });
        actions.push(Action::Tell(Notice::UpgradeWaits { version: self.state.modern, wait, at: now }));
    }

    pub(in crate::pool) fn wait_deadline(&self) -> Option<Mono> {
        self.wait_to_note().map(|(moment, _)| moment)
    }

    fn wait_to_note(&self) -> Option<(Mono, Wait)> {
        let wait = self.waits_for().filter(|_| self.state.upgrade.is_some())?;
        let is_noted = self.state.noted_wait.is_some_and(|noted| noted.covers(&wait));
        wait.note_at().filter(|_| !is_noted).map(|moment| (moment, wait))
    }

    /// A wait of the upgrade that was told of, and lasts.
    pub fn long_wait(&self) -> Option<Wait> {
        let noted = self.state.noted_wait?;
        self.waits_for().filter(|wait| noted.covers(wait))
    }
}

fn waited(worker: &Worker, since: Mono) -> Waited {
    Waited { pid: worker.pid, slot: worker.slot, since }
}

#[cfg(test)]
#[path = "waits_tests.rs"]
mod tests;
