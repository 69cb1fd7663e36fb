//! The safety phase: chooses what happens next, in any order and at any time. What it does is never wrong; what the pool
//! makes of it may be.

use std::time::Duration;

use einhyrningsins::base::{Ending, Pid, Signal, Version};
use einhyrningsins::pool::{Action, Command, Elsewhere, Event, Settings, UpgradeStyle};

use crate::final_end::MISCONFIGURED;
use crate::plan::{GRACEFUL, Kind};
use crate::reload::Change;
use crate::run::Run;
use crate::world::{Exec, Known, Life, Process};

/// How often something else is tried when nothing of the kind drawn can happen.
const TRIES: u32 = 8;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const HOUR: u64 = 3_600 * SECOND;

/// What is passed on to workers; CONT wakes the stopped, and the last two end many.
const FORWARDED: [&str; 8] = ["USR1", "TTIN", "TTOU", "CONT", "CONT", "WINCH", "USR2", "KILL"];
const STOPS: [&str; 4] = ["USR2", "TERM", "QUIT", "KILL"];

impl Run {
    /// Faults, until the plan's steps are done or the pool has ended.
    pub fn rage(&mut self) {
        self.record_state();
        self.deliver(Event::Started);
        while self.step_count < self.plan.steps && !self.ledger.exited {
            self.rage_once();
        }
        if self.ledger.exited {
            self.after_exit();
        }
    }

    pub fn rage_once(&mut self) {
        self.let_fates_come();
        for _ in 0..TRIES {
            let kind = self.rng.pick(&self.plan.kinds);
            if let Some(event) = self.happen(kind) {
                let later = self.rng.pick(&[0, 0, 0, 1, 1_000, 20 * MS, SECOND]);
                self.now = self.moment(later);
                return self.deliver(event);
            }
        }
        self.pass_time();
    }

    /// Makes it happen; none when it cannot, or when the pool does not notice yet.
    pub fn happen(&mut self, kind: Kind) -> Option<Event> {
        match kind {
            Kind::Time => None,
            Kind::Exec => self.exec(),
            Kind::Ack => self.ack(),
            Kind::StrayAck => Some(Event::WorkerAcked { pid: self.any_pid() }),
            Kind::Ping => Some(self.ping()),
            Kind::Die => self.kill_any(),
            Kind::Massacre => self.massacre(),
            Kind::Heed => self.heed(),
            Kind::Report => self.report(),
            Kind::Freeze => self.freeze(),
            Kind::StopItself => self.stop_itself(),
            Kind::SeeUnfit => self.see_unfit(),
            Kind::Thaw => self.thaw(),
            Kind::GroupEnds => self.end_group(),
            Kind::GroupReport => self.report_group(),
            Kind::Release => self.answer_release(),
            Kind::Check => self.end_version_check(),
            Kind::Master => self.disturb_master(),
            Kind::Command => Some(Event::CommandGiven(self.command())),
            Kind::Stranger => Some(self.stranger()),
        }
    }

    /// A check ends, or a command comes that the pool does not hear of.
    fn disturb_master(&mut self) -> Option<Event> {
        if !self.end_check() && self.master.is_some() {
            match self.rng.below(16) {
                0..=3 => self.reload_master(),
                4 => self.compare(),
                _ => {}
            }
        }
        None
    }

    fn pass_time(&mut self) {
        let until = self.next_moment().map_or(0, |deadline| deadline.since(self.now).as_nanos() as u64);
        let step = match self.rng.below(12) {
            0 => 0,
            1 => self.rng.below(1_000),
            2 => self.rng.below(100 * MS),
            3 => self.rng.below(20 * SECOND),
            4 => self.rng.below(30) * HOUR,
            5 => until.saturating_sub(1),
            6 => until + 1,
            7 => until + self.rng.below(5 * SECOND),
            _ => until,
        };
        self.now = self.moment(step);
        self.deliver(Event::DeadlinePassed);
    }

    pub fn exec(&mut self) -> Option<Event> {
        let at = self.world.find(&mut self.rng, Process::can_exec)?;
        let process = &mut self.world.processes[at];
        process.exec_done = true;
        let pid = process.pid;
        match process.exec {
            Exec::Works => Some(Event::WorkerExeced { pid }),
            Exec::Fails | Exec::Hangs => {
                self.world.die(at, Ending::Code(127));
                None
            }
        }
    }

    /// An ack may come before the news of its exec, and its worker may die the moment it is sent.
    pub fn ack(&mut self) -> Option<Event> {
        let at = self.world.find(&mut self.rng, Process::can_ack)?;
        let process = &mut self.world.processes[at];
        process.acks_left -= 1;
        let pid = process.pid;
        if process.dies_after_ack && process.acks_left == 0 {
            self.world.die(at, Ending::Code(1));
        }
        Some(Event::WorkerAcked { pid })
    }

    /// Of a living worker, a dead one, or none at all.
    fn any_pid(&mut self) -> Pid {
        match self.rng.below(8) {
            0 => Pid(self.rng.pick(&[-1, 0, 1, 99, i32::MAX])),
            _ => {
                let at = self.rng.below(self.world.processes.len() as u64) as usize;
                self.world.processes[at].pid
            }
        }
    }

    fn ping(&mut self) -> Event {
        let request_id = if self.rng.one_in(8) { "é".repeat(300) } else { String::new() };
        Event::WorkerPinged { pid: self.any_pid(), request_id, is_number: false }
    }

    fn kill_any(&mut self) -> Option<Event> {
        let at = self.world.find(&mut self.rng, |process| process.life == Life::Alive)?;
        let ending = match self.rng.below(3) {
            0 => Ending::Code(self.rng.below(256) as i32),
            1 => Ending::Signal(Signal::KILL),
            _ => Ending::Code(0),
        };
        self.world.die(at, ending);
        None
    }

    /// All workers at once, as when memory runs out.
    fn massacre(&mut self) -> Option<Event> {
        if !self.rng.one_in(16) {
            return None;
        }
        for at in 0..self.world.processes.len() {
            if self.world.processes[at].life == Life::Alive {
                self.world.die(at, Ending::Signal(Signal::KILL));
            }
        }
        None
    }

    pub fn heed(&mut self) -> Option<Event> {
        let at = self.world.find(&mut self.rng, Process::may_die_now)?;
        let process = &self.world.processes[at];
        let ending = match process.kill_pending {
            true => Ending::Signal(Signal::KILL),
            false if process.fate.is_misconfigured && process.fate.dies_at.is_none() => Ending::Code(MISCONFIGURED),
            false => Ending::Code(0),
        };
        self.world.die(at, ending);
        None
    }

    /// One child notice may stand for many deaths, and they are told in any order.
    pub fn report(&mut self) -> Option<Event> {
        let reportable = |process: &Process| process.known == Known::Worker && matches!(process.life, Life::Zombie(_));
        let at = self.world.find(&mut self.rng, reportable)?;
        if self.rng.one_in(32) {
            self.try_both_orders(at);
        }
        self.find_strays(at);
        self.exit_event(at)
    }

    /// What it has left elsewhere is found right before its end is told.
    fn find_strays(&mut self, at: usize) {
        let worker = self.world.processes[at].pid;
        for _ in 0..std::mem::take(&mut self.world.processes[at].strays) {
            self.find_stray(worker);
        }
    }

    fn find_stray(&mut self, worker: Pid) {
        let Some(group) = self.world.found(&mut self.rng, &self.plan) else { return };
        let elsewhere = Elsewhere { worker, wrapper: String::new(), program: String::new() };
        self.deliver_in_turn(Event::LeftoverFound { group, elsewhere });
    }

    fn exit_event(&self, at: usize) -> Option<Event> {
        let process = &self.world.processes[at];
        match process.life {
            Life::Zombie(ending) => Some(Event::WorkerExited { pid: process.pid, ending }),
            Life::Free | Life::Alive | Life::Husk => None,
        }
    }

    /// I21: two deaths of one instant, of workers that are alike, ask for the same in either order. Early deaths are left
    /// out: they are alike only if both, or neither, were launched after the last link of the chain that they make.
    fn try_both_orders(&mut self, one: usize) {
        let first = self.world.processes[one];
        let is_early = first.acked_at.is_some_and(|at| self.now.since(at).as_secs() < 10);
        let has_strays = first.strays > 0;
        if self.deadline.is_some_and(|deadline| deadline <= self.now) || has_strays || is_early && !first.told {
            return;
        }
        let state = |of: &Process| {
            let early = of.acked_at.map(|at| self.now.since(at).as_secs() < 10);
            let is_wanted = !self.ledger.is_surplus(of);
            // Whether a death before the ack goes on a chain of them depends on when the worker was launched.
            let launched = of.acked_at.is_none().then_some(of.spawned_at);
            let is_final = self.is_final(of);
            (of.strays, of.known, of.version, of.told, of.killed, of.stopped, early, is_wanted, (launched, is_final))
        };
        // Slots differ by what died in them, and by the stage that they belong to.
        let is_staged = self.ledger.rollout.as_ref().is_some_and(|it| it.is_staged(self.ledger.settings.target));
        // A first start that is given up waits for what was launched in the same moment.
        if is_staged || !self.ledger.young.is_empty() || !self.ledger.ever_acked {
            return;
        }
        let same = |process: &Process| {
            let zombie = matches!(process.life, Life::Zombie(_));
            zombie && process.pid != first.pid && state(process) == state(&first)
        };
        let Some(other) = self.world.processes.iter().position(same) else { return };
        let (there, back) = (self.outcome(&[one, other]), self.outcome(&[other, one]));
        crate::hold!("I21", there == back, "{there:?} or {back:?}, as {one} or {other} is told first");
        self.coverage.permuted += 1;
    }

    /// How many actions of each kind, but notices, a copy of the pool asks for at these deaths. Its launches stay unanswered.
    fn outcome(&self, deaths: &[usize]) -> [u64; 9] {
        let mut pool = self.pool.clone();
        let (mut actions, mut counts) = (Vec::new(), [0; 9]);
        for &at in deaths {
            let Some(event) = self.exit_event(at) else { continue };
            pool.handle(self.now, event, &mut actions);
            let pid = self.world.processes[at].pid;
            let group = einhyrningsins::pool::Group::Empty;
            pool.handle(self.now, Event::WorkerReaped { pid, group }, &mut actions);
            for action in actions.drain(..) {
                counts[crate::coverage::Actions::slot(&action)] += u64::from(!matches!(action, Action::Tell(_)));
            }
        }
        counts
    }

    fn freeze(&mut self) -> Option<Event> {
        let at = self.world.find(&mut self.rng, |process| process.life == Life::Alive && !process.frozen)?;
        let process = &mut self.world.processes[at];
        process.frozen = true;
        Some(Event::WorkerStopped { pid: process.pid })
    }

    pub fn thaw(&mut self) -> Option<Event> {
        let at = self.world.find(&mut self.rng, Process::can_go_on)?;
        let process = &mut self.world.processes[at];
        process.frozen = false;
        Some(Event::WorkerContinued { pid: process.pid })
    }

    pub fn end_group(&mut self) -> Option<Event> {
        let patient = self.rng.one_in(8);
        let fits = |process: &Process| process.children > 0 && (patient || process.children_doomed);
        let at = self.world.find(&mut self.rng, fits)?;
        let process = &self.world.processes[at];
        let (left_by, known) = (process.left_by, process.known);
        // What was left may have left something in turn, which is found before it is told that its group is empty.
        if let Some(worker) = left_by.filter(|_| known == Known::Group && self.rng.chance(self.plan.has_strays / 2)) {
            let of_same = |it: &&Process| it.left_by == Some(worker) || it.pid == worker && it.known != Known::Nothing;
            let is_only = self.world.processes.iter().filter(of_same).count() == 1;
            let unknown = Pid(99);
            self.find_stray(if is_only { worker } else { unknown });
        }
        self.world.end_children(at);
        None
    }

    /// The supervisor looks before it tells: a group whose pid lives again is not told to be gone.
    pub fn report_group(&mut self) -> Option<Event> {
        let fits = |process: &Process| process.known == Known::Group && process.life == Life::Free;
        let at = self.world.find(&mut self.rng, fits)?;
        Some(Event::GroupEmptied { pid: self.world.processes[at].pid })
    }

    pub fn stop(&mut self) -> Command {
        let named = Command::Stop(signal(self.rng.pick(&STOPS)));
        match self.rng.below(4) {
            0 => Command::StopGracefully,
            1 => Command::StopGracefullyThenTerm,
            _ => named,
        }
    }

    fn command(&mut self) -> Command {
        if self.rng.below(1_024) < self.plan.stops {
            return self.stop();
        }
        match self.rng.below(11) {
            8 => self.configure(),
            9 | 10 => self.staged_command(),
            0 | 4 => self.set_target(),
            1 => Command::Forward(signal(self.rng.pick(&FORWARDED))),
            5 => self.forward_to_some(),
            2 | 6 => self.upgrade(UpgradeStyle::Smooth),
            _ => self.upgrade(UpgradeStyle::Fleet),
        }
    }

    /// Some of them may be gone, or were never there.
    fn forward_to_some(&mut self) -> Command {
        let pids = (0..self.rng.below(4)).map(|_| self.any_pid()).collect();
        Command::ForwardTo { signal: signal(self.rng.pick(&FORWARDED)), pids }
    }

    pub fn set_target(&mut self) -> Command {
        let target = 1 + self.rng.below(u64::from(self.plan.target_max)) as u32;
        if self.master.is_some() {
            self.change(Change::Target(target));
        }
        Command::SetTarget(target)
    }

    pub fn upgrade(&mut self, style: UpgradeStyle) -> Command {
        self.ask_for_upgrade();
        Command::Upgrade { style, terms: self.terms() }
    }

    fn configure(&mut self) -> Command {
        let settings = self.others_than(self.ledger.settings);
        if self.master.is_some() {
            return Command::Configure(self.change(Change::Pace(Box::new(settings))));
        }
        let (modern, good) = (self.ledger.modern, self.ledger.good);
        let mut known = vec![(modern, settings)];
        if good != modern {
            known.push((good, self.others_than(self.ledger.fallback)));
        }
        for version in self.ledger.earlier.clone() {
            known.push((version, self.others_than(*self.ledger.set_for(version))));
        }
        Command::Configure(known)
    }

    /// As `config` on the control socket may change them.
    fn others_than(&mut self, settings: Settings) -> Settings {
        let target_max = self.plan.target_max;
        Settings {
            spacing_s: self.rng.pick(&[0.1, 1.0, 7.5]),
            max_unacked: self.rng.pick(&[1, 2, target_max]),
            max_upgrade_additional: self.rng.pick(&[None, Some(1), Some(target_max)]),
            signal_timeout: self.rng.pick(&[None, Some(Duration::from_secs(1)), Some(Duration::from_secs(30))]),
            graceful: self.rng.pick(&GRACEFUL),
            ..settings
        }
    }

    /// News about a process that the pool does not know.
    fn stranger(&mut self) -> Event {
        let pid = Pid(self.rng.pick(&[2, 99, 32_000]));
        match self.rng.below(7) {
            6 => Event::VersionUnfit { version: self.some_version(), reason: String::new() },
            0 => Event::WorkerExited { pid, ending: Ending::Code(0) },
            1 => Event::WorkerStopped { pid },
            2 => Event::WorkerContinued { pid },
            3 => Event::WorkerExeced { pid },
            4 => Event::WorkerPinged { pid, request_id: String::new(), is_number: false },
            _ => Event::WorkerAcked { pid },
        }
    }

    /// Often enough the one that may be given up.
    fn some_version(&mut self) -> Version {
        let ledger = &self.ledger;
        self.rng.pick(&[ledger.modern, ledger.modern, ledger.good, ledger.newest])
    }

    /// The end is said once, whatever still comes in.
    pub fn after_exit(&mut self) {
        self.now = self.moment(HOUR);
        self.deliver(Event::DeadlinePassed);
        let version = Version(self.ledger.newest.0 + 1);
        let late = [
            Event::CommandGiven(Command::Stop(Signal::TERM)),
            Event::ReleaseReady { version, settings: self.ledger.settings },
            Event::WorkerAcked { pid: Pid(100) },
        ];
        for event in late {
            let mut actions = Vec::new();
            self.pool.handle(self.now, event, &mut actions);
            let silent = actions.iter().all(|action| matches!(action, Action::Tell(_)));
            crate::hold!("I11", silent, "{actions:?} after Exit");
        }
    }
}

fn signal(name: &str) -> Signal {
    Signal::from_name(name).expect("every signal in the lists has its name")
}
