//! The liveness phase: nothing goes wrong any more, everything that can happen does, and time moves only when nothing
//! else can. Within bounded steps and time the pool must come to rest as it should be (L1).

use std::time::Duration;

use einhyrningsins::base::Mono;
use einhyrningsins::pool::{AckMode, Command, Event, Manner, Settings, UpgradeStyle};

use crate::hold;
use crate::ledger::earlier;
use crate::master::Master;
use crate::plan::Plan;
use crate::rollout::Rollout;
use crate::run::Run;
use crate::world::{Heeds, Known, Life};

/// What of the past does not get better by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Every worker, new or old, acks from now on.
    Forgiven,
    /// Old workers that never acked never will, but an upgrade to code that works is given.
    Kept,
}

impl Run {
    /// Ends the faults, waits for rest, and judges it.
    pub fn come_to_rest(&mut self, past: Past) {
        self.forgive(past);
        self.end_reexec();
        if self.ledger.rollout.as_ref().is_some_and(Rollout::is_paused) && self.ledger.stopping.is_none() {
            self.deliver(Event::CommandGiven(Command::Resume));
        }
        if self.ledger.stopping.is_none() && (past == Past::Kept || self.rng.one_in(2)) {
            let style = self.rng.pick(&[UpgradeStyle::Smooth, UpgradeStyle::Fleet]);
            let mut upgrade = self.upgrade(style);
            if let (Past::Kept, Command::Upgrade { terms, .. }) = (past, &mut upgrade) {
                // The pool would go back to workers that never ack.
                terms.deadline = None;
            }
            self.deliver(Event::CommandGiven(upgrade));
        }
        let (steps_max, ends_at) = (self.step_count + self.step_bound(), self.now.after(self.time_bound()));
        while !self.is_at_rest() {
            let stuck = self.next_moment().is_none() && !self.something_can_happen();
            if stuck && self.is_waited_for() {
                self.launch_down_slots();
                continue;
            }
            hold!("L1", !stuck, "not at rest, and waiting for nothing");
            hold!("L1", self.step_count < steps_max, "not at rest after {} steps", self.step_bound());
            hold!("L1", self.now < ends_at, "not at rest after {:?}", self.time_bound());
            self.calm_once();
        }
        if self.ledger.exited {
            self.after_exit();
        } else {
            hold!("I16", self.next_moment().is_none(), "at rest, and a deadline is named");
            let waits = self.master.as_ref().is_some_and(|master| master.reloading.has_waiting_clients());
            hold!("I30", !waits, "at rest, and a client waits for the end of an upgrade");
            self.coverage.settled += 1;
        }
    }

    /// A re-exec that began among faults may still fail, and an upgrade that came meanwhile would be refused with it.
    fn end_reexec(&mut self) {
        let steps_max = self.step_count + self.step_bound();
        while self.master.as_ref().is_some_and(Master::is_under_way) && !self.ledger.exited {
            hold!("L1", self.step_count < steps_max, "the re-exec does not end in {} steps", self.step_bound());
            self.calm_once();
        }
    }

    fn forgive(&mut self, past: Past) {
        let calm = Plan::calm(self.ledger.settings, self.plan.target_max);
        let kinds = std::mem::take(&mut self.plan.kinds);
        let Plan { pid_count, reexecs, keeps_all, .. } = self.plan;
        self.plan = Plan { kinds, pid_count, reexecs, keeps_all, ..calm };
        if let Some(master) = &mut self.master {
            master.reloading.forgive();
        }
        self.forgive_releases();
        for process in &mut self.world.processes {
            process.heeds = Heeds::Polite;
            process.dies_after_ack = false;
            process.children_deaf = false;
            process.children_doomed |= process.told || process.known == Known::Group;
            process.doomed |= process.told;
            if past == Past::Forgiven {
                process.acks_left = process.acks_left.max(1);
            }
        }
    }

    /// Anything that can happen, or else the next deadline.
    pub fn calm_once(&mut self) {
        self.let_fates_come();
        if self.end_check() {
            return self.deliver(Event::DeadlinePassed);
        }
        let from = self.rng.below(12);
        for turn in 0..12 {
            let event = match (from + turn) % 12 {
                0 => self.exec(),
                1 => self.ack(),
                2 => self.report(),
                3 => self.thaw(),
                4 => self.report_group(),
                5 => self.answer_release(),
                6 => self.heed(),
                7 => self.exec(),
                8 => self.end_version_check(),
                9 => self.stop_itself(),
                10 => self.see_unfit(),
                _ => self.end_group(),
            };
            if let Some(event) = event {
                let later = self.rng.below(1_000_000);
                self.now = self.moment(later);
                return self.deliver(event);
            }
        }
        if !self.something_can_happen() {
            self.skip_to_deadline();
        }
    }

    /// Time passes; where nothing is due, a pool has nothing to do for ever, and is left alone.
    fn skip_to_deadline(&mut self) {
        let deadline = self.next_moment();
        let Some(next) = earlier(deadline, self.next_fate()) else { return };
        self.now = self.now.max(next);
        if deadline == Some(next) {
            self.deliver(Event::DeadlinePassed);
        }
    }

    /// When the pool or its master wants to be asked.
    pub fn next_moment(&self) -> Option<Mono> {
        let master = self.master.as_ref().and_then(Master::deadline);
        self.deadline.into_iter().chain(master).min()
    }

    /// What happened in this turn may have gone unnoticed until the next.
    pub fn something_can_happen(&self) -> bool {
        let release = |master: &Master| master.reloading.job_can_end();
        self.master.as_ref().map_or(self.ledger.outstanding.is_some(), release)
            || self.master.as_ref().is_some_and(Master::check_can_end)
            || self.ledger.rollout.as_ref().is_some_and(Rollout::is_checked)
            || self.world.processes.iter().any(|process| {
                let zombie = matches!(process.life, Life::Zombie(_));
                let gone = process.known == Known::Group && process.life == Life::Free;
                let leaving = process.children > 0 && process.children_doomed;
                process.can_go_on()
                    || process.life == Life::Alive && process.fate.accepts_nothing
                    || process.stops_itself()
                    || zombie
                    || gone
                    || leaving
                    || process.can_exec()
                    || process.can_ack()
                    || process.may_die_now()
            })
    }

    pub fn is_at_rest(&self) -> bool {
        let ledger = &self.ledger;
        if ledger.stopping.is_some() {
            return ledger.exited;
        }
        let target = ledger.settings.target;
        let busy = self.master.as_ref().is_some_and(|master| master.is_under_way() || master.reloading.has_jobs());
        let quiet = !busy
            && ledger.trial.is_none()
            && ledger.upgrading.is_none()
            && ledger.outstanding.is_none()
            && ledger.leftover_count == 0;
        let all = self.world.workers.len() as u32 == target && self.modern_serving() == target;
        let mut slots: Vec<u32> = self.world.workers.iter().map(|&at| self.world.processes[at].slot.0).collect();
        slots.sort_unstable();
        quiet
            && all
            && (ledger.settings.manner == Manner::Einhorn || slots.into_iter().eq(0..target))
            && !self.something_can_happen()
    }

    pub fn step_bound(&self) -> u64 {
        4_000 + 100 * self.world.processes.len() as u64
    }

    /// Each launch may wait for the longest pause and for a timer, and once for a child that hangs.
    pub fn time_bound(&self) -> Duration {
        let timer = |settings: Settings| match settings.ack {
            AckMode::Timer(timeout) => timeout,
            AckMode::Manual => Duration::ZERO,
        };
        let patience = |settings: Settings| settings.signal_timeout.unwrap_or_default();
        let (settings, fallback) = (self.ledger.settings, self.ledger.fallback);
        let timer = timer(settings).max(timer(fallback));
        let patience = patience(settings).max(patience(fallback));
        let watched = self.ledger.rollout.as_ref().map_or(settings.bake * 8, Rollout::watched);
        let watched = watched + settings.early_life + fallback.early_life;
        (Duration::from_secs(40) + timer) * (2 * self.plan.target_max + 8)
            + patience
            + watched
            + Duration::from_secs(120)
    }
}
