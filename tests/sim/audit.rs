//! What must hold after every step, whatever the step was.

use einhyrningsins::base::Mono;
use einhyrningsins::pool::{AckMode, EXEC_LIMIT, REQUEST_ID_MAX, UpgradeStyle};

use crate::hear::ack_limit;
use crate::hold;
use crate::ledger::earlier;
use crate::rollout::Rollout;
use crate::run::{Cause, Run};
use crate::world::Known;

/// The longest that a launch may be put off for any reason but a block.
const PAUSE_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// How often the log must name a worker that was told to go and stays, when nothing will kill it.
const LINGER_NOTE: std::time::Duration = std::time::Duration::from_secs(60);

/// The workers counted, from the world's own truth.
#[derive(Debug, Default)]
struct Tally {
    modern: u32,
    modern_untold: u32,
    modern_serving: u32,
    modern_acked: u32,
    modern_waiting: u32,
    serving: u32,
    old_untold: u32,
    old_idle_untold: u32,
    old_serving: u32,
    stale_untold: u32,
    /// Without and with a new one in their slot.
    first_serving_old: [Option<u64>; 2],
    surplus_idle: u32,
    surplus_serving: u32,
    /// When the pool must act at the latest.
    due: Option<Mono>,
}

impl Run {
    pub fn audit(&mut self, action_count: usize) {
        self.audit_step();
        let mut tally = self.tally();
        let (modern, target) = (self.ledger.modern, self.ledger.settings.target);
        self.ledger.returning &= tally.modern_serving + self.ledger.count_down(modern, target) < target;
        self.ledger.dark &= tally.serving == 0;
        let deadline = self.ledger.rollout.as_ref().and_then(Rollout::deadline);
        tally.due = earlier(tally.due, deadline);
        tally.due = earlier(tally.due, self.ledger.stop_due.map(|(due, _)| due));
        tally.due = earlier(tally.due, self.ledger.term_due);
        self.audit_remnants(&mut tally);
        self.audit_pool(&tally);
        if self.ledger.stopping.is_none() {
            self.audit_rest(&mut tally);
        } else {
            let left = self.world.workers.len() + self.ledger.leftover_count + self.ledger.launching.len();
            hold!("I11", left > 0 || self.ledger.exited, "nothing is left, and the loop goes on");
        }
        self.audit_deadline(&tally, action_count);
        self.audit_strength(tally.serving, tally.old_untold);
        self.doom_if_full(tally.modern_serving);
        self.audit_reload();
    }

    fn audit_step(&self) {
        let step = &self.step;
        hold!("I2", step.reap.is_none(), "{:?} ended and is not reaped", step.reap);
        hold!("I2", step.outlived.is_none(), "the group of {:?} is not told to go", step.outlived);
        hold!("I2", step.strays.is_empty(), "{:?} were left elsewhere and are not told to go", step.strays);
        hold!("I2", self.ledger.daemon_to_tell.is_none(), "a worker went to the background, and it is not told");
        hold!("I7", step.burst == 0, "{} launches were announced and not made", step.burst);
        let signals_left = step.forwards_left + step.signals_left;
        hold!("I11", signals_left == 0, "{signals_left} signals were asked for and not sent");
        hold!("I10", step.kill_announced.is_none(), "{:?} was to be killed and is not", step.kill_announced);
        hold!("I8", self.ledger.acks_to_tell == 0, "an ack came and is not told");
        let ledger = &self.ledger;
        if let Cause::Ready(version) = step.cause {
            let wanted = version == ledger.modern || ledger.exited || !ledger.releases.contains(&version);
            hold!("I26", wanted, "version {version} was found without a request, and is kept");
        }
        hold!("I44", ledger.final_end.is_none(), "{:?}, and nothing is made of it", ledger.final_end);
        hold!("L3", ledger.asked.is_none() || ledger.outstanding.is_some(), "an upgrade was asked for and forgotten");
    }

    /// Counts, and compares each worker of the pool with what it was told of it.
    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        let workers = self.pool.workers();
        let told = self.world.workers.len();
        hold!(
            "I2",
            workers.len() == told,
            "{} workers are listed, {told} were launched and have not ended",
            workers.len()
        );
        let (modern, good) = (self.ledger.modern, self.ledger.good);
        for (worker, &at) in workers.iter().zip(&self.world.workers) {
            let process = &self.world.processes[at];
            let same = worker.pid == process.pid && worker.index == process.index && worker.version == process.version;
            let same = same && worker.slot == process.slot;
            hold!("I2", same, "{} is listed as {worker:?}", process.pid);
            let state = (worker.is_acked(), worker.execed, worker.stopped, worker.is_told(), worker.killed);
            let truth = (process.acked_at.is_some(), process.execed, process.stopped, process.told, process.killed);
            hold!("I8", state == truth, "{} is listed as {worker:?}", process.pid);
            hold!("I23", worker.graceful == process.graceful, "{} would be told by {}", process.pid, worker.graceful);
            let long = worker.ping.as_ref().is_some_and(|ping| ping.request_id.len() > REQUEST_ID_MAX);
            hold!("I18", !long, "{} keeps a request id that is too long", process.pid);
            let (serves, untold) = (process.serves(), u32::from(!process.told));
            tally.serving += u32::from(serves);
            if process.version == modern {
                let is_surplus = self.ledger.is_surplus(process);
                tally.modern += u32::from(!process.excluded_from_target && (process.told || !is_surplus));
                tally.modern_untold += if is_surplus { 0 } else { untold };
                tally.surplus_idle += u32::from(is_surplus && !serves && !process.told);
                tally.surplus_serving += u32::from(is_surplus && serves);
                tally.modern_serving += u32::from(serves);
                tally.modern_acked += u32::from(process.acked_at.is_some() && !process.told);
                tally.modern_waiting += u32::from(process.acked_at.is_none() && !process.told);
            } else {
                tally.old_untold += untold;
                tally.old_serving += u32::from(serves);
                tally.old_idle_untold += u32::from(!serves && !process.told);
                let stale = process.acked_at.is_none() && process.version != good;
                tally.stale_untold += u32::from(stale && !process.told);
                let first = &mut tally.first_serving_old[usize::from(self.is_replaced(process.slot))];
                *first = first.or(serves.then_some(process.serial));
            }
            tally.due = earlier(tally.due, self.due(process));
        }
        tally
    }

    /// When something must be done about a worker at the latest.
    fn due(&self, process: &crate::world::Process) -> Option<Mono> {
        let mut due = if process.killed { None } else { process.kill_at };
        if !process.execed && !process.killed {
            due = earlier(due, Some(process.spawned_at.after(EXEC_LIMIT)));
        }
        if process.told && (process.kill_at.is_none() || process.killed) {
            let noted_at = self.ledger.last_linger_note.max(process.told_at);
            return earlier(due, Some(noted_at.after(LINGER_NOTE)));
        }
        // In the delay of a stop, a worker of the version that it has given up is still there, and no ack of it counts.
        let is_wanted = process.version == self.ledger.modern || process.version == self.ledger.good;
        if process.acked_at.is_some() || process.told || !is_wanted {
            return due;
        }
        let set = self.ledger.set_for(process.version);
        let ack = match set.ack {
            AckMode::Timer(timeout) => (process.execed && !process.killed).then_some(timeout),
            AckMode::Manual => ack_limit(set),
        };
        earlier(due, ack.map(|timeout| process.spawned_at.after(timeout)))
    }

    fn audit_remnants(&self, tally: &mut Tally) {
        let leftovers = self.pool.leftovers();
        let truth = self.ledger.leftover_count;
        hold!("I2", leftovers.len() == truth, "{} leftovers are listed, {truth} are left", leftovers.len());
        for leftover in leftovers {
            let known = self.world.of(leftover.pid).map(|process| process.known);
            let wanted = if leftover.reaped { Known::Group } else { Known::Ended };
            hold!("I2", known == Some(wanted), "{} is listed as {leftover:?}", leftover.pid);
            let process = self.world.of(leftover.pid).expect("it is known");
            hold!(
                "I23",
                leftover.graceful == process.graceful,
                "what {} left hears {}",
                leftover.pid,
                leftover.graceful
            );
            if leftover.reaped && !process.killed {
                tally.due = earlier(tally.due, process.kill_at);
            }
        }
        let listed = self.world.workers.len() + truth;
        hold!("I18", listed <= self.world.processes.len(), "{listed} entries for {} pids", self.world.processes.len());
    }

    fn audit_pool(&self, tally: &Tally) {
        let (pool, ledger) = (&self.pool, &self.ledger);
        hold!("I9", (pool.modern(), pool.good()) == (ledger.modern, ledger.good), "modern is {}", pool.modern());
        hold!(
            "I9",
            pool.upgrading() == ledger.upgrading,
            "upgrading {:?}, not {:?}",
            pool.upgrading(),
            ledger.upgrading
        );
        hold!("I4", pool.serving_count() == tally.serving, "{} serving are counted", pool.serving_count());
        hold!("I8", pool.acked_count() == tally.modern_acked, "{} acked are counted", pool.acked_count());
        hold!("I7", pool.unacked_deaths() == ledger.deaths, "{} deaths are counted", pool.unacked_deaths());
        hold!("I11", pool.is_stopping() == ledger.stopping.is_some(), "stopping is {}", pool.is_stopping());
        let target = pool.settings().target;
        hold!("I22", target == ledger.settings.target && target >= 1, "the target is {target}");
        let set = (*pool.settings(), *pool.fallback());
        hold!("I24", set == (ledger.settings, ledger.fallback), "in force, and to go back to, are {set:?}");
    }

    /// What a pool that is not stopping has seen to when it has nothing more to ask for.
    fn audit_rest(&self, tally: &mut Tally) {
        let ledger = &self.ledger;
        let target = ledger.settings.target;
        let floor = ledger.floor.min(target);
        hold!("L2", tally.serving >= floor, "{} serve, the floor is {floor}", tally.serving);
        hold!("I6", tally.modern_untold <= target, "{} modern are not told to go of {target}", tally.modern_untold);
        hold!("I6", tally.stale_untold == 0, "{} useless workers are kept", tally.stale_untold);
        hold!("I6", tally.surplus_idle == 0, "{} of slots above the target are kept", tally.surplus_idle);
        let over = tally.surplus_serving > 0 && tally.serving > target;
        hold!("I6", !over, "{} serve of {target}, and slots above it are kept", tally.serving);
        let is_staged = ledger.rollout.as_ref().is_some_and(|rollout| rollout.is_staged(target));
        if !is_staged {
            self.audit_cull_order(tally);
        }
        let done = tally.modern_serving >= target;
        let is_held = ledger.settings.has_check
            || is_staged
            || ledger.rollout.as_ref().is_some_and(|rollout| rollout.is_held(self.now));
        hold!("L1", !(done && ledger.upgrading.is_some() && !is_held), "the upgrade is done and goes on");
        hold!(
            "L1",
            !(done && ledger.upgrading.is_none() && tally.old_untold > 0),
            "{} old workers are kept",
            tally.old_untold
        );
        let fleet = ledger.upgrading == Some(UpgradeStyle::Fleet);
        let counted = if fleet { tally.old_serving } else { tally.serving };
        let over = counted > target && tally.old_serving > 0 && !is_staged;
        hold!("L1", !over, "{counted} serve of {target}, and {} old ones are kept", tally.old_serving);
        // It may have been set meanwhile that none counts.
        let allowed = ledger.settings.max_failures;
        let counted = ledger.trial.filter(|_| allowed > 0);
        let borne = counted.filter(|failures| *failures > allowed && !done);
        hold!("I36", borne.is_none(), "{borne:?} failures are borne, {allowed} are allowed");
        let is_hopeless = counted.is_some_and(|failures| failures > 1) && ledger.upgrading.is_none();
        hold!("I36", !(is_hopeless && tally.serving == 0), "nothing serves, and a version on trial is kept");
        let of_age = ledger.trial.is_some() && ledger.upgrading.is_none() && self.of_age() >= target;
        hold!("I37", !of_age, "the version is good, and still on trial");
        self.audit_return(tally.modern);
        if let Some(limit) = self.failure_limit() {
            hold!(
                "I9",
                ledger.upgrading.is_none() || ledger.failures < limit || done,
                "{} failures are borne",
                ledger.failures
            );
        }
        self.audit_launch(tally);
        self.audit_wait();
    }

    /// I43: an upgrade that does not get on waits for something that can be told.
    fn audit_wait(&self) {
        let is_any_killed = self.world.workers.iter().any(|&at| self.world.processes[at].killed);
        let is_at_rest = self.ledger.upgrading.is_some() && self.ledger.launching.is_empty() && !is_any_killed;
        hold!(
            "I43",
            !is_at_rest || self.pool.waits_for().is_some(),
            "an upgrade stands still, for no reason that is known"
        );
    }

    /// I5: serving workers go last, and of those the oldest first.
    fn audit_cull_order(&self, tally: &Tally) {
        for (last, first) in self.step.culled_old.into_iter().zip(tally.first_serving_old) {
            let Some(last) = last else { continue };
            hold!("I5", tally.old_idle_untold == 0, "serving old ones went before {} idle", tally.old_idle_untold);
            hold!("I5", first.is_none_or(|first| last < first), "an older worker stays");
        }
        let is_early = self.step.culled_old[0].is_some() && tally.first_serving_old[1].is_some();
        hold!("I5", !is_early, "one whose slot is filled anew stays");
    }

    /// A missing worker that nothing blocks is launched within the longest pause.
    fn audit_launch(&self, tally: &mut Tally) {
        let (ledger, settings) = (&self.ledger, &self.ledger.settings);
        let launching = ledger.launching.len() as u32;
        let living = self.world.workers.len() as u32 + launching;
        let rollout = ledger.rollout.as_ref();
        let stage = rollout.map_or(settings.target, |rollout| rollout.least_size(settings.target));
        let launching_modern = ledger.launching.iter().filter(|launch| launch.version == ledger.modern).count() as u32;
        let missing = tally.modern + launching_modern + ledger.count_down(ledger.modern, stage) < stage;
        let acking = tally.modern_waiting + launching < settings.max_unacked;
        let untold = self.staying() + launching;
        let room = settings.max_upgrade_additional.is_none_or(|additional| living < settings.target + additional)
            && settings.max_surge.is_none_or(|surge| untold < settings.target + surge.rounded_up(settings.target));
        if missing && acking && room {
            tally.due = earlier(tally.due, ledger.last_spinup.map(|last| last.after(PAUSE_MAX)));
        }
        let idle = tally.old_idle_untold;
        let is_staged = stage < settings.target;
        hold!(
            "L1",
            !missing || room || idle == 0 || is_staged,
            "{idle} old workers that do not serve take the room of new ones"
        );
    }

    /// I16: time alone does nothing that was not announced, nothing is announced in vain, and the next moment is ahead.
    fn audit_deadline(&mut self, tally: &Tally, action_count: usize) {
        let was_due = self.deadline.is_some_and(|deadline| deadline <= self.now);
        if matches!(self.step.cause, Cause::Deadline | Cause::Resumed) {
            hold!("I16", was_due || action_count == 0, "{action_count} actions, and no deadline had passed");
            // The end of a watch may lead to a stage in which nothing can be done yet.
            let is_baked = self.ledger.rollout.as_ref().is_some_and(|rollout| rollout.is_baked(self.now));
            hold!("I16", !was_due || action_count > 0 || is_baked, "woken in vain");
        }
        self.deadline = self.pool.deadline();
        if let Some(deadline) = self.deadline {
            hold!("I16", deadline > self.now, "the deadline is not ahead");
        }
        if let Some(due) = tally.due {
            let named = self.deadline.is_some_and(|deadline| deadline <= due);
            hold!("I16", named, "due at {} ns, the deadline is {:?}", due.as_nanos(), self.deadline);
        }
    }
}
