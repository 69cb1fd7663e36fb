//! The death of the master between two events, and the next one, which adopts what workers are there. What the pool of it begins with comes
//! out of the journal's text. Held from there on: every other invariant, as for workers of its own; and
//! - I45 each worker that lived is one of the next pool, none is there twice, and it asks for workers of its own in their places.

use std::collections::BTreeSet;

use einhyrningsins::base::{Mono, Slot, Version};
use einhyrningsins::machines::reexec::Origin;
use einhyrningsins::pool::{Event, Pool, Settings, State, UpgradeStyle, Worker};

use crate::hold;
use crate::ledger::Ledger;
use crate::master::Master;
use crate::reexec::handed_on;
use crate::reload::Reloading;
use crate::run::Run;
use crate::world::{Known, Life, Process, World};

/// How long there is no master.
const GONE_NS: [u64; 4] = [1_000_000, 1_000_000_000, 60_000_000_000, 3_600_000_000_000];

impl Run {
    pub fn may_die(&self) -> bool {
        self.plan.deaths > 0 && !self.ledger.exited
    }

    pub fn die(&mut self) {
        self.coverage.deaths += 1;
        self.coverage.deaths_in_upgrades += u64::from(self.ledger.upgrading.is_some());
        self.coverage.deaths_at_stops += u64::from(self.ledger.stopping.is_some());
        self.shadow = None;
        let settings = self.next_settings();
        let version = if self.ledger.upgrading.is_some() { self.ledger.good } else { self.ledger.modern };
        // A stop drops what is looked for, and its version may be given again.
        let outstanding = self.ledger.outstanding.filter(|_| self.ledger.stopping.is_none());
        let newest = outstanding.map_or(self.ledger.newest, |version| version.max(self.ledger.newest));
        self.bury();
        let later = self.rng.pick(&GONE_NS);
        self.now = self.moment(later);
        let journal = handed_on(self.pool.state()).expect("it can be written");
        let is_there = |pid| self.world.worker_at(pid).is_some();
        let mut state = journal.after_death(settings, is_there);
        state.adopted = Some(state.modern);
        let unlisted = self.last_launch();
        if let Some(at) = unlisted {
            self.find_unlisted(at, &mut state);
        }
        self.ledger = self.ledger.after_death(settings, version, newest);
        self.ledger.last_spinup = unlisted.map_or(self.ledger.last_spinup, |_| Some(self.now));
        self.pool = Pool::restore(state);
        // Two may have had one.
        for worker in self.pool.workers() {
            let at = self.world.at(worker.pid).expect("it is there");
            self.world.processes[at].slot = worker.slot;
        }
        self.master = self.master.take().map(|_| Master::new(Origin::Upgrade, Reloading::of(version, settings)));
        self.audit_adoption();
        self.measure_strength_anew();
        self.trace.line(|| format!("{:>8} at {} ns: death", self.step_count + 1, self.now.as_nanos()));
        self.record_state();
        // It begins with something to do.
        self.deadline = Some(self.now);
        self.deliver_in_turn(Event::Resumed);
    }

    /// What has ended is reaped by another; and so is what it has left, in the model at once.
    fn bury(&mut self) {
        for process in &mut self.world.processes {
            let lives = process.known == Known::Worker && process.life == Life::Alive;
            process.children = 0;
            process.strays = 0;
            if !lives {
                process.life = Life::Free;
                process.known = Known::Nothing;
                process.left_by = None;
            }
        }
        let World { processes, workers } = &mut self.world;
        workers.retain(|&at| processes[at].known == Known::Worker);
    }

    /// One that may have been launched after the last journal was written.
    fn last_launch(&mut self) -> Option<usize> {
        let last = self.world.workers.iter().copied().max_by_key(|&at| self.world.processes[at].serial)?;
        let Process { told, acked_at, killed, stopped, execed, version, .. } = self.world.processes[last];
        let is_fresh = execed && version == self.ledger.modern && !told && acked_at.is_none() && !killed && !stopped;
        (is_fresh && self.rng.one_in(2)).then_some(last)
    }

    /// It is known by what it holds.
    fn find_unlisted(&mut self, at: usize, state: &mut State) {
        let process = &mut self.world.processes[at];
        state.workers.retain(|worker| worker.pid != process.pid);
        let worker = Worker::new(process.pid, process.index, process.version, state.settings.graceful, self.now);
        state.last_spinup = Some(self.now);
        state.workers.push(Worker { execed: true, ..worker });
        process.slot = Slot(process.index.0);
        process.graceful = state.settings.graceful;
        process.spawned_at = self.now;
        self.coverage.found_unlisted += 1;
    }

    fn audit_adoption(&self) {
        let pids =
            |run: &Self| run.world.workers.iter().map(|&at| run.world.processes[at].pid).collect::<BTreeSet<_>>();
        let adopted: Vec<_> = self.pool.workers().iter().map(|worker| worker.pid).collect();
        let is_whole = adopted.iter().copied().collect::<BTreeSet<_>>() == pids(self);
        hold!(
            "I45",
            is_whole && adopted.len() == self.world.workers.len(),
            "{adopted:?} are adopted, of {:?}",
            pids(self)
        );
    }
}

impl Ledger {
    /// That of the next master, which knows what was adopted and nothing else. An upgrade was asked for.
    fn after_death(&self, settings: Settings, version: Version, newest: Version) -> Self {
        let mut gone = self.gone.clone();
        gone.extend([(self.modern, self.settings), (self.good, self.fallback)]);
        Self {
            gone,
            modern: version,
            good: version,
            newest,
            proven: BTreeSet::from([version]),
            releases: vec![version],
            adopted: Some(version),
            asked: Some(UpgradeStyle::Smooth),
            request_count: 1,
            ever_acked: self.ever_acked,
            last_spinup: self.last_spinup.or(Some(Mono::from_nanos(0))),
            stopped_at: self.stopped_at.clone(),
            serial: self.serial,
            ..Self::new(settings)
        }
    }
}
