//! One run: a pool, its world, and the clock. `feed` is the step that everything is counted in.

use std::collections::VecDeque;

use einhyrningsins::base::{Mono, Pid, Signal, Version};
use einhyrningsins::machines::reexec::Origin;
use einhyrningsins::pool::{Action, Command, Event, Group, Pool};

use crate::coverage::Coverage;
use crate::ledger::Ledger;
use crate::master::Master;
use crate::plan::Plan;
use crate::reexec::Shadow;
use crate::release::Releases;
use crate::reload::Reloading;
use crate::rng::Rng;
use crate::strength::Strength;
use crate::trace::{Trace, portrait};
use crate::world::{Known, Process, World};

/// Ends the run with the name of the invariant that does not hold.
#[macro_export]
macro_rules! hold {
    ($id:literal, $holds:expr, $($why:tt)+) => {{
        let holds: bool = $holds;
        if !holds {
            panic!("{} broken: {}", $id, format_args!($($why)+));
        }
    }};
}

/// What workers hear at a stop: each its own signal, or all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    Graceful,
    /// TERM comes later.
    GracefulThenTerm,
    Signal(Signal),
}

impl StopSignal {
    /// What it is for a worker, or what that left, whose own signal is `graceful`.
    pub fn signal(self, graceful: Signal) -> Signal {
        match self {
            Self::Graceful | Self::GracefulThenTerm => graceful,
            Self::Signal(named) => named,
        }
    }
}

/// What a step was caused by, as far as it matters to what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Started,
    Resumed,
    Abort,
    RollBack(Option<Version>),
    CheckFailed,
    Unfit(Version),
    Forward(Signal),
    Stop(StopSignal),
    Ready(Version),
    Refused,
    Exited(Pid),
    HasSurvivors(Pid),
    Deadline,
    Other,
}

/// What is known of the step under way.
#[derive(Clone, Debug)]
pub struct Step {
    pub cause: Cause,
    /// Launches announced as one batch, and not yet made.
    pub burst: u32,
    pub spawned: bool,
    /// A version was given up.
    pub went_back: bool,
    /// Set when every worker must hear this now.
    pub stop: Option<StopSignal>,
    /// Those that were told before, too.
    pub stops_told: bool,
    /// Signals that are still to be passed on, before any other.
    pub forwards_left: usize,
    /// Signals of a stop that are still to be sent.
    pub signals_left: usize,
    /// Those that a signal is passed on to; none: all.
    pub addressed: Option<Vec<Pid>>,
    /// A bit for each place that was signalled, by what is passed on or by the stop.
    pub signalled: u128,
    pub missed: Option<Pid>,
    pub kill_announced: Option<Pid>,
    pub reap: Option<Pid>,
    pub outlived: Option<Pid>,
    /// Groups elsewhere that are to be told to go now.
    pub strays: Vec<Pid>,
    /// The latest launched among the serving workers that were culled.
    /// without and with a new one in their slot.
    pub culled_old: [Option<u64>; 2],
}

impl Step {
    fn of(cause: Cause) -> Self {
        Self {
            cause,
            burst: 0,
            spawned: false,
            went_back: false,
            stop: None,
            stops_told: false,
            forwards_left: 0,
            signals_left: 0,
            addressed: None,
            signalled: 0,
            missed: None,
            kill_announced: None,
            reap: if let Cause::Exited(pid) = cause { Some(pid) } else { None },
            outlived: if let Cause::HasSurvivors(pid) = cause { Some(pid) } else { None },
            strays: Vec::new(),
            culled_old: [None; 2],
        }
    }

    pub fn is_addressed(&self, pid: Pid) -> bool {
        self.addressed.as_ref().is_none_or(|addressed| addressed.contains(&pid))
    }
}

/// How many answers of one instant the pool may ask for.
const TURN_STEPS_MAX: u64 = 1_000;

pub struct Run {
    pub pool: Pool,
    pub world: World,
    pub ledger: Ledger,
    pub plan: Plan,
    pub rng: Rng,
    pub now: Mono,
    pub actions: Vec<Action>,
    pub replies: VecDeque<Event>,
    pub coverage: Coverage,
    pub trace: Trace,
    pub step_count: u64,
    pub step: Step,
    /// What the pool named after the last step.
    pub deadline: Option<Mono>,
    /// The pool as it would be without the last re-execs.
    pub shadow: Option<Shadow>,
    pub releases: Releases,
    pub strength: Strength,
    /// None: what the pool wants prepared is prepared at once, and re-execs come out of nothing.
    pub master: Option<Master>,
}

impl Run {
    pub fn new(plan: Plan, rng: Rng, trace: Trace) -> Self {
        let master = plan.has_master.then(|| Master::new(Origin::Elsewhere, Reloading::new(plan.settings)));
        Self {
            pool: Pool::new(plan.settings),
            world: World::new(plan.pid_count),
            ledger: Ledger::new(plan.settings),
            now: Mono::from_nanos(plan.begin_ns),
            plan,
            rng,
            actions: Vec::new(),
            replies: VecDeque::new(),
            coverage: Coverage::default(),
            trace,
            step_count: 0,
            step: Step::of(Cause::Other),
            deadline: None,
            shadow: None,
            releases: Releases::default(),
            strength: Strength::default(),
            master,
        }
    }

    /// Hands the pool an event, and then the answers to what it asks for, as the supervisor does. Then there may be a re-exec.
    pub fn deliver(&mut self, event: Event) {
        self.deliver_in_turn(event);
        if self.master.is_some() {
            self.end_turn();
            self.feed_replies();
        } else if self.plan.reexecs > 0 && !self.ledger.exited && self.rng.below(65_536) < self.plan.reexecs {
            self.reexec();
            self.feed_replies();
        }
        if self.may_die() && self.rng.below(65_536) < self.plan.deaths {
            self.die();
        }
    }

    /// The same, in a turn that goes on.
    pub fn deliver_in_turn(&mut self, event: Event) {
        self.feed(event);
        self.feed_replies();
    }

    fn feed_replies(&mut self) {
        let steps_max = self.step_count + TURN_STEPS_MAX;
        while let Some(reply) = self.replies.pop_front() {
            hold!("L1", self.step_count < steps_max, "the pool comes to no rest at {} ns", self.now.as_nanos());
            self.feed(reply);
        }
    }

    /// One step: one event handled, its actions done and judged in order, and every invariant checked.
    fn feed(&mut self, event: Event) {
        self.coverage.events.count(&event);
        self.trace.line(|| format!("{:>8} at {} ns: {event:?}", self.step_count + 1, self.now.as_nanos()));
        self.begin(&event);
        let mut actions = std::mem::take(&mut self.actions);
        actions.clear();
        self.tell_shadow(&event);
        self.trace.tell(&mut self.pool, self.now, event, &mut actions);
        self.compare_with_shadow(&actions);
        self.finish(&actions, actions.len());
        self.actions = actions;
    }

    /// What is to be known before the pool hears of the event.
    pub fn begin(&mut self, event: &Event) {
        self.step_count += 1;
        self.note_cause(event);
        let is_first = self.ledger.stopping.is_none();
        self.ledger.note(&mut self.world, self.now, event);
        let is_due = |it: &&Process| {
            it.known == Known::Ended && it.left_by.is_some_and(|worker| self.world.worker_at(worker).is_none())
        };
        self.step.strays = self.world.processes.iter().filter(is_due).map(|it| it.pid).collect();
        if let Cause::Stop(stop) = self.step.cause {
            let stop = self.ledger.once_more(self.now, stop);
            let delay = self.ledger.settings.stop_delay;
            let waits = is_first && stop != StopSignal::Signal(Signal::QUIT) && self.world.serving() > 0;
            let due = if waits { self.now.after(delay) } else { self.now };
            self.ledger.stop_due = Some((due, stop));
            self.ledger.term_due = self.ledger.term_due.filter(|_| stop == StopSignal::GracefulThenTerm);
        }
        if self.ledger.term_due.take_if(|due| *due <= self.now).is_some() {
            self.begin_stop(StopSignal::Signal(Signal::TERM));
        }
        if let Some((_, stop)) = self.ledger.stop_due.take_if(|(due, _)| *due <= self.now) {
            self.begin_stop(stop);
        }
    }

    /// Does what the pool asks for, and judges the step; so many of the actions are owed to what happened.
    pub fn finish(&mut self, actions: &[Action], owed_count: usize) {
        for action in actions {
            self.coverage.action(action);
            self.trace.line(|| format!("         -> {action:?}"));
            self.perform(action);
        }
        self.note_term();
        self.note_stop_of_ended();
        if self.trace.is_on() {
            let text = portrait(&self.world, &self.ledger);
            self.trace.line(|| text);
        }
        self.audit(owed_count);
    }

    fn note_cause(&mut self, event: &Event) {
        let cause = match event {
            Event::Started => Cause::Started,
            Event::CommandGiven(Command::Forward(signal) | Command::ForwardTo { signal, .. }) => {
                Cause::Forward(*signal)
            }
            Event::CommandGiven(Command::Stop(signal)) => Cause::Stop(StopSignal::Signal(*signal)),
            Event::CommandGiven(Command::StopGracefully) => Cause::Stop(StopSignal::Graceful),
            Event::CommandGiven(Command::StopGracefullyThenTerm) => Cause::Stop(StopSignal::GracefulThenTerm),
            Event::CommandGiven(Command::Abort) => Cause::Abort,
            Event::CommandGiven(Command::RollBack(to)) => Cause::RollBack(*to),
            Event::CommandGiven(
                Command::Upgrade { .. }
                | Command::Pause
                | Command::Resume
                | Command::SetTarget(_)
                | Command::Configure(_),
            ) => Cause::Other,
            Event::CheckEnded { result: Err(_), .. } => Cause::CheckFailed,
            Event::CheckEnded { .. } => Cause::Other,
            Event::VersionUnfit { version, .. } => Cause::Unfit(*version),
            Event::ReleaseReady { version, .. } => Cause::Ready(*version),
            Event::ReleaseRefused { .. } => Cause::Refused,
            Event::WorkerExited { pid, .. } if self.world.worker_at(*pid).is_some() => Cause::Exited(*pid),
            Event::WorkerReaped { pid, group: Group::HasSurvivors } => Cause::HasSurvivors(*pid),
            Event::Resumed => Cause::Resumed,
            Event::DeadlinePassed => Cause::Deadline,
            Event::WorkerSpawned { .. }
            | Event::SpawnFailed { .. }
            | Event::WorkerExeced { .. }
            | Event::WorkerAcked { .. }
            | Event::WorkerPinged { .. }
            | Event::WorkerStopped { .. }
            | Event::WorkerContinued { .. }
            | Event::WorkerExited { .. }
            | Event::WorkerReaped { .. }
            | Event::LeftoverFound { .. }
            | Event::GroupEmptied { .. } => Cause::Other,
        };
        self.step = Step::of(cause);
        if let Cause::Forward(_) = cause {
            if let Event::CommandGiven(Command::ForwardTo { pids, .. }) = event {
                self.step.addressed = Some(pids.clone());
            }
            let processes = &self.world.processes;
            let listens = |at: &&usize| processes[**at].execed && self.step.is_addressed(processes[**at].pid);
            self.step.forwards_left = self.world.workers.iter().filter(listens).count();
        }
    }
}
