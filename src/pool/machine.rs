//! The pool itself: what happens comes in, what shall be done goes out. The decisions stand in the files beside.

use crate::base::{Mono, Pid, Version, due, earlier};
use crate::pool::action::Action;
use crate::pool::command::{Command, UpgradeStyle};
use crate::pool::event::Event;
use crate::pool::notice::Blocked;
use crate::pool::settings::Settings;
use crate::pool::state::{Preparing, State};
use crate::pool::worker::Ping;
use crate::pool::worker::{Leftover, StopSignal, Worker, count};

/// The workers, and everything that decisions about them rest on.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    pub(in crate::pool) state: State,
    /// What was told of last.
    pub(in crate::pool) blocked: Option<Blocked>,
}

impl Pool {
    pub fn new(settings: Settings) -> Self {
        Self { state: State::new(settings), blocked: None }
    }

    /// Takes in what happened at `now`, and adds what shall be done to `actions`.
    pub fn handle(&mut self, now: Mono, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Started => self.state.launch_at_once = true,
            Event::Resumed => self.send_again(actions),
            Event::CommandGiven(command) => self.on_command(now, command, actions),
            Event::ReleaseReady { version, settings } => self.on_release_ready(now, version, settings, actions),
            Event::ReleaseRefused { version, reason } => self.on_release_refused(version, reason, actions),
            Event::WorkerSpawned { pid, index, version } => self.on_spawned(now, pid, index, version, actions),
            Event::SpawnFailed { index, version } => self.on_spawn_failed(index, version),
            Event::WorkerExeced { pid } => self.on_execed(pid),
            Event::WorkerAcked { pid } => self.on_ack(now, pid, actions),
            Event::WorkerPinged { pid, request_id, is_number } => {
                self.on_ping(pid, Ping { is_number, ..Ping::new(now, request_id) }, actions)
            }
            Event::CheckEnded { version, result } => self.on_check_ended(version, result, actions),
            Event::WorkerStopped { pid } => self.on_stopped(now, pid),
            Event::WorkerContinued { pid } => self.on_continued(pid),
            Event::LeftoverFound { group, elsewhere } => self.on_leftover_found(now, group, elsewhere, actions),
            Event::WorkerExited { pid, ending } => self.on_exit(now, pid, ending, actions),
            Event::WorkerReaped { pid, group } => self.on_reaped(now, pid, group, actions),
            Event::GroupEmptied { pid } => self.forget_group(pid),
            Event::VersionUnfit { version, reason } => self.on_unfit(version, reason, actions),
            Event::DeadlinePassed => {}
        }
        self.settle(now, actions);
    }

    /// When the pool wants to be called again at the latest, with `DeadlinePassed`; never, if nothing is due.
    pub fn deadline(&self) -> Option<Mono> {
        let due = [
            self.ack_deadline(),
            self.upgrade_deadline(),
            self.trial_deadline(),
            self.stopped_deadline(),
            self.patience_deadline(),
            self.linger_deadline(),
            self.launch_deadline(),
            self.stop_deadline(),
            self.term_deadline(),
            self.wait_deadline(),
        ];
        due.into_iter().fold(None, earlier)
    }

    /// Asks for the difference between what is and what should be. Twice in a row, the second time asks for nothing. Signals come
    /// before launches: a child may be given the pid of a group that has just emptied, and must not hear what is meant for it.
    fn settle(&mut self, now: Mono, actions: &mut Vec<Action>) {
        self.end_stop_delay(now, actions);
        self.end_with_term(now, actions);
        self.run_ack_timers(now, actions);
        self.judge_trial(now, actions);
        self.advance_upgrade(now, actions);
        self.judge_trial(now, actions);
        // The way back may lead to a version on trial that has stopped workers, too, or whose trial is over by now.
        while due(self.stopped_deadline(), now) {
            self.end_stopped(now, actions);
            self.judge_trial(now, actions);
            self.judge_trial(now, actions);
        }
        self.cull(now, actions);
        // Those that may go before others serve may have been the last.
        if self.serving_count() == 0 {
            self.judge_trial(now, actions);
            self.cull(now, actions);
        }
        self.end_patience(now, actions);
        self.note_serving(actions);
        self.replenish(now, actions);
        self.note_lingering(now, actions);
        self.note_wait(now, actions);
        self.conclude_stop(actions);
    }

    fn on_command(&mut self, now: Mono, command: Command, actions: &mut Vec<Action>) {
        match command {
            Command::Upgrade { style, terms } => self.request_upgrade(style, terms, actions),
            Command::Pause => self.pause(now, actions),
            Command::Resume => self.resume(now, actions),
            Command::Abort => self.abort(actions),
            Command::RollBack(to) => self.roll_back(to, actions),
            Command::Stop(signal) => self.stop(now, StopSignal::Signal(signal), actions),
            Command::StopGracefully => self.stop(now, StopSignal::Graceful, actions),
            Command::StopGracefullyThenTerm => self.stop(now, StopSignal::GracefulThenTerm, actions),
            Command::Forward(signal) => self.forward(signal, |_| true, actions),
            Command::ForwardTo { signal, pids } => self.forward(signal, |pid| pids.contains(&pid), actions),
            Command::SetTarget(target) => {
                assert!(target >= 1, "a pool has at least one worker");
                self.each_settings(|_, settings| settings.target = target);
                self.state.down.clear();
            }
            Command::Configure(known) => {
                self.each_settings(|version, settings| {
                    if let Some((_, new)) = known.iter().find(|(known, _)| *known == version) {
                        assert!(new.target >= 1, "a pool has at least one worker");
                        *settings = *new;
                    }
                });
                self.state.down.clear();
            }
        }
    }

    /// Of every version that is wanted or can be gone back to.
    fn each_settings(&mut self, change: impl Fn(Version, &mut Settings)) {
        change(self.state.modern, &mut self.state.settings);
        change(self.state.good, &mut self.state.fallback);
        self.state.earlier.iter_mut().for_each(|earlier| change(earlier.version, &mut earlier.settings));
    }

    fn on_stopped(&mut self, now: Mono, pid: Pid) {
        let serving = self.state.workers.iter().find(|worker| worker.pid == pid && worker.serves());
        let serving = serving.map(|worker| (worker.version, worker.slot));
        self.change(pid, |worker| (worker.stopped, worker.stopped_at) = (true, Some(now)));
        serving.into_iter().for_each(|(version, slot)| self.count_against_trial(version, slot));
    }

    fn on_continued(&mut self, pid: Pid) {
        self.change(pid, |worker| (worker.stopped, worker.stopped_at) = (false, None));
    }

    pub(in crate::pool) fn change(&mut self, pid: Pid, change: impl FnOnce(&mut Worker)) {
        if let Some(worker) = self.state.workers.iter_mut().find(|worker| worker.pid == pid) {
            change(worker);
        }
    }
}

/// What the outside may see.
impl Pool {
    pub fn settings(&self) -> &Settings {
        &self.state.settings
    }

    /// What a failed upgrade goes back to.
    pub fn fallback(&self) -> &Settings {
        &self.state.fallback
    }

    pub fn workers(&self) -> &[Worker] {
        &self.state.workers
    }

    pub fn leftovers(&self) -> &[Leftover] {
        &self.state.leftovers
    }

    /// The version that new workers are launched as.
    pub fn modern(&self) -> Version {
        self.state.modern
    }

    /// The version of which it is not known what it ran, since its master was killed.
    pub fn adopted(&self) -> Option<Version> {
        self.state.adopted
    }

    /// The version that a failed upgrade goes back to.
    pub fn good(&self) -> Version {
        self.state.good
    }

    /// The style of the upgrade under way.
    pub fn upgrading(&self) -> Option<UpgradeStyle> {
        self.state.upgrade.as_ref().map(|upgrade| upgrade.style)
    }

    /// Whether the program of an upgrade that was asked for is being looked for.
    pub fn is_preparing(&self) -> bool {
        self.state.preparing.is_some_and(|preparing| !preparing.dropped)
    }

    /// New workers that failed since the last that acked, in the upgrade under way.
    pub fn upgrade_failures(&self) -> u32 {
        self.state.upgrade.as_ref().map_or(0, |upgrade| upgrade.failures)
    }

    pub fn is_stopping(&self) -> bool {
        self.state.stopping.is_some()
    }

    /// Whether new connections are wanted: until a stop has told the workers.
    pub fn is_accepting(&self) -> bool {
        self.state.stopping.is_none_or(|stopping| stopping.tell_at.is_some())
    }

    pub fn unacked_deaths(&self) -> u32 {
        self.state.backoff.unacked_deaths
    }

    pub fn last_spinup(&self) -> Option<Mono> {
        self.state.last_spinup
    }

    /// The style of the last upgrade that began, over or not.
    pub fn last_style(&self) -> Option<UpgradeStyle> {
        self.state.last_style
    }

    pub fn last_upgraded(&self) -> Option<Mono> {
        self.state.last_upgraded
    }

    /// How many workers of any version serve.
    pub fn serving_count(&self) -> u32 {
        count(&self.state.workers, Worker::serves)
    }

    /// Modern workers that acked and were not told to go (einhorn's `ack_count`).
    pub fn acked_count(&self) -> u32 {
        count(&self.state.workers, |worker| {
            worker.version == self.state.modern && worker.is_acked() && !worker.is_told()
        })
    }
}

impl Pool {
    /// All of it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What is handed on. Asserts that the master goes on: after `Exit` there is no next image.
    pub fn to_hand_on(&self) -> &State {
        assert!(!self.is_over(), "a master that ends hands nothing on");
        &self.state
    }

    /// The pool that goes on from there. What blocks a launch is looked at anew: it follows from the rest, and was
    /// told already.
    pub fn restore(state: State) -> Self {
        assert!(state.settings.target >= 1 && state.fallback.target >= 1, "a pool has at least one worker");
        let mut pool = Self { state, blocked: None };
        pool.part_slots();
        pool.blocked = pool.what_blocks();
        pool
    }

    /// If another upgrade was asked for already, the program is looked for once more after that: what the first look found may
    /// be out of date.
    pub(in crate::pool) fn send_again(&self, actions: &mut Vec<Action>) {
        if let Some(Preparing { version, .. }) = self.state.preparing {
            actions.push(Action::PrepareRelease { version });
        }
        self.check_again(actions);
    }
}
