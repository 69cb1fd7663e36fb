//! The model kernel and the model workers: processes, zombies, process groups, and pids that come back as soon as the
//! kernel may give them away again. It decides nothing about workers and trusts nothing that the pool says of itself.
//!
//! Each `Process` holds two things that must not be mixed: what is (`life`, `children`, `frozen`), and what the pool has
//! been told, event by event (`known`, `acked`, `told`): the pool can be blamed only for what it could have known.

use einhyrningsins::base::{Ending, Mono, Pid, Signal, Slot, Version, WorkerIndex};
use einhyrningsins::pool::Group;

use crate::plan::Plan;
use crate::release::Fate;
use crate::rng::Rng;

/// The lowest pid; any other would do.
const FIRST_PID: i32 = 100;

/// What the kernel has under a pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Free,
    Alive,
    Zombie(Ending),
    /// Reaped, and survived by others of its process group: the pid cannot be given away yet.
    Husk,
}

/// What the pool was told to be under a pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Nothing,
    Worker,
    /// Ended, and asked to be reaped. Or a group elsewhere, whose worker's end is not told yet.
    Ended,
    /// Reaped, and survived by its group. Or a group elsewhere that a worker has left.
    Group,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exec {
    Works,
    Fails,
    Hangs,
}

/// Which signals end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heeds {
    Polite,
    NotGraceful,
    OnlyKill,
    Anything,
}

/// A launch that was asked for and is not answered: what is fixed by then.
#[derive(Clone, Copy, Debug)]
pub struct Launching {
    pub index: WorkerIndex,
    pub slot: Slot,
    pub version: Version,
    pub graceful: Signal,
}

#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub pid: Pid,
    // What is.
    pub life: Life,
    pub exec: Exec,
    pub exec_done: bool,
    pub acks_left: u8,
    pub dies_after_ack: bool,
    pub heeds: Heeds,
    pub doomed: bool,
    pub kill_pending: bool,
    pub frozen: bool,
    pub fate: Fate,
    pub children: u8,
    pub children_deaf: bool,
    pub children_doomed: bool,
    /// How many groups elsewhere it leaves.
    pub strays: u8,
    // What the pool was told of it, and what it did to it.
    pub known: Known,
    /// Of a group elsewhere: the worker that left it.
    pub left_by: Option<Pid>,
    pub index: WorkerIndex,
    pub slot: Slot,
    pub version: Version,
    /// The signal by which its program wants to be told to go.
    pub graceful: Signal,
    /// Rises with each launch.
    pub serial: u64,
    pub spawned_at: Mono,
    pub execed: bool,
    pub acked_at: Option<Mono>,
    pub stopped: bool,
    pub told: bool,
    pub told_at: Mono,
    /// A bit for each signal it was told to go by.
    pub signals: u64,
    pub last_signal: Signal,
    pub kill_at: Option<Mono>,
    /// Sent off before the version that replaced it was given up.
    pub excluded_from_target: bool,
    pub killed: bool,
}

impl Process {
    fn new(pid: Pid) -> Self {
        Self {
            pid,
            life: Life::Free,
            exec: Exec::Works,
            exec_done: false,
            acks_left: 0,
            dies_after_ack: false,
            heeds: Heeds::Polite,
            doomed: false,
            kill_pending: false,
            frozen: false,
            fate: Fate::default(),
            children: 0,
            children_deaf: false,
            children_doomed: false,
            strays: 0,
            known: Known::Nothing,
            left_by: None,
            index: WorkerIndex(0),
            slot: Slot(0),
            version: Version(0),
            graceful: Signal::USR2,
            serial: 0,
            spawned_at: Mono::from_nanos(0),
            execed: false,
            acked_at: None,
            stopped: false,
            told: false,
            told_at: Mono::from_nanos(0),
            signals: 0,
            last_signal: Signal::USR2,
            kill_at: None,
            killed: false,
            excluded_from_target: false,
        }
    }

    /// Whether requests can be counted on to be answered, as far as the pool could know.
    pub fn serves(&self) -> bool {
        self.known == Known::Worker && self.acked_at.is_some() && !self.told && !self.killed && !self.stopped
    }

    /// What the pool learns with `WorkerSpawned`.
    pub fn begin(&mut self, launch: Launching, serial: u64, now: Mono) {
        self.known = Known::Worker;
        self.left_by = None;
        self.index = launch.index;
        self.slot = launch.slot;
        self.version = launch.version;
        self.graceful = launch.graceful;
        self.serial = serial;
        self.spawned_at = now;
        self.execed = false;
        self.acked_at = None;
        self.stopped = false;
        self.told = false;
        self.signals = 0;
        self.last_signal = launch.graceful;
        self.kill_at = None;
        self.killed = false;
        self.excluded_from_target = false;
    }

    pub fn may_die_now(&self) -> bool {
        self.life == Life::Alive && (self.kill_pending || self.doomed && !self.frozen)
    }

    /// After a stop, for which it is not itself to blame.
    pub fn can_go_on(&self) -> bool {
        let is_stopped = if self.frozen { !self.fate.stays_stopped } else { self.stopped };
        self.life == Life::Alive && is_stopped
    }

    /// It was not told to stop.
    pub fn stops_itself(&self) -> bool {
        self.life == Life::Alive && self.fate.stays_stopped && !self.frozen && !self.stopped
    }

    pub fn can_exec(&self) -> bool {
        self.life == Life::Alive && !self.exec_done && !self.frozen && self.exec != Exec::Hangs
    }

    /// An ack may overtake the news of the exec.
    pub fn can_ack(&self) -> bool {
        let is_able = self.life == Life::Alive && !self.frozen && self.exec == Exec::Works;
        is_able && self.acks_left > 0 && self.fate.acks_at.is_none()
    }

    /// A process that has not become its program has no handlers: every signal ends it.
    fn hear(&mut self, signal: Signal) {
        let harmless = matches!(signal, Signal::CONT);
        let firm = signal == Signal::TERM || signal == Signal::QUIT;
        let ends = match self.heeds {
            Heeds::OnlyKill => false,
            Heeds::NotGraceful => firm && signal != self.graceful,
            Heeds::Polite => firm || signal == self.graceful,
            Heeds::Anything => !harmless,
        };
        self.doomed |= ends;
        self.kill_pending |= signal == Signal::KILL;
        if signal == Signal::CONT {
            self.frozen = false;
            self.fate.stays_stopped = false;
        }
    }
}

#[derive(Clone, Debug)]
pub struct World {
    pub processes: Vec<Process>,
    /// Places of those that the pool knows as workers, in the order of their launch.
    pub workers: Vec<usize>,
}

impl World {
    pub fn new(pid_count: usize) -> Self {
        let pid = |at: usize| Pid(FIRST_PID + at as i32);
        Self { processes: (0..pid_count).map(|at| Process::new(pid(at))).collect(), workers: Vec::new() }
    }

    pub fn at(&self, pid: Pid) -> Option<usize> {
        let at = usize::try_from(pid.0 - FIRST_PID).ok()?;
        (at < self.processes.len()).then_some(at)
    }

    pub fn of(&self, pid: Pid) -> Option<&Process> {
        self.at(pid).map(|at| &self.processes[at])
    }

    /// The place of a process that the pool knows as a worker.
    pub fn worker_at(&self, pid: Pid) -> Option<usize> {
        self.at(pid).filter(|&at| self.processes[at].known == Known::Worker)
    }

    pub fn serving(&self) -> u32 {
        self.workers.iter().filter(|&&at| self.processes[at].serves()).count() as u32
    }

    /// One of those that fit, or none. Each pass begins at a place of its own, so that none is preferred.
    pub fn find(&self, rng: &mut Rng, fits: impl Fn(&Process) -> bool) -> Option<usize> {
        let count = self.processes.len();
        let from = rng.below(count as u64) as usize;
        (from..count).chain(0..from).find(|&at| fits(&self.processes[at]))
    }

    /// A child, or none when pids run out. Pids that were just let go come back first.
    pub fn fork(&mut self, rng: &mut Rng, plan: &Plan) -> Option<Pid> {
        if rng.chance(plan.fork_fails) {
            return None;
        }
        let stale = if rng.one_in(2) {
            self.find(rng, |process| process.life == Life::Free && process.known != Known::Nothing)
        } else {
            None
        };
        let at = stale.or_else(|| self.find(rng, |process| process.life == Life::Free))?;
        self.raise(at, rng, plan);
        Some(self.processes[at].pid)
    }

    fn raise(&mut self, at: usize, rng: &mut Rng, plan: &Plan) {
        let process = &mut self.processes[at];
        process.life = Life::Alive;
        process.exec = match rng.below(256) {
            roll if roll < plan.exec_fails => Exec::Fails,
            roll if roll < plan.exec_fails + plan.exec_hangs => Exec::Hangs,
            _ => Exec::Works,
        };
        process.exec_done = false;
        process.acks_left = u8::from(!rng.chance(plan.acks_never)) + u8::from(rng.chance(plan.acks_twice));
        process.dies_after_ack = rng.chance(plan.dies_after_ack);
        process.heeds = match rng.below(256) {
            roll if roll < plan.deaf_to_all => Heeds::OnlyKill,
            roll if roll < plan.deaf_to_all + plan.deaf_to_graceful => Heeds::NotGraceful,
            _ if rng.chance(plan.fragile) => Heeds::Anything,
            _ => Heeds::Polite,
        };
        process.doomed = false;
        process.kill_pending = false;
        process.frozen = false;
        process.children = if rng.chance(plan.has_children) { 1 + rng.below(3) as u8 } else { 0 };
        process.children_deaf = rng.chance(plan.children_deaf);
        process.children_doomed = false;
        process.strays = if rng.chance(plan.has_strays) { 1 + rng.below(2) as u8 } else { 0 };
    }

    /// A group of one process that was found in a session of its own; none when pids run out.
    pub fn found(&mut self, rng: &mut Rng, plan: &Plan) -> Option<Pid> {
        let at = self.find(rng, |process| process.life == Life::Free && process.known == Known::Nothing)?;
        let process = &mut self.processes[at];
        *process = Process { life: Life::Husk, children: 1, ..Process::new(process.pid) };
        process.children_deaf = rng.chance(plan.children_deaf);
        Some(process.pid)
    }

    pub fn signal(&mut self, at: usize, signal: Signal) {
        let process = &mut self.processes[at];
        if process.life == Life::Alive {
            process.hear(signal);
        }
    }

    pub fn signal_group(&mut self, at: usize, signal: Signal) {
        self.signal(at, signal);
        let process = &mut self.processes[at];
        process.children_doomed |= signal == Signal::KILL || !process.children_deaf && signal != Signal::CONT;
    }

    pub fn die(&mut self, at: usize, ending: Ending) {
        self.processes[at].life = Life::Zombie(ending);
    }

    /// What wait(2) leaves behind; none when there was no zombie.
    pub fn reap(&mut self, at: usize) -> Option<Group> {
        let process = &mut self.processes[at];
        if !matches!(process.life, Life::Zombie(_)) {
            return None;
        }
        process.life = if process.children > 0 { Life::Husk } else { Life::Free };
        Some(if process.children > 0 { Group::HasSurvivors } else { Group::Empty })
    }

    /// The rest of the group ends.
    pub fn end_children(&mut self, at: usize) {
        let process = &mut self.processes[at];
        process.children = 0;
        if process.life == Life::Husk {
            process.life = Life::Free;
        }
    }
}
