//! What happens to a pool that was restored, byte by byte, and what must hold then. It keeps the supervisor's side of the contract:
//! a launch and a reaping are answered at once, a worker exits once, a release is prepared only when it is asked for. What must hold
//! of pools that were never handed on is the simulator's concern (`tests/sim`).

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::{Ending, Mono, Pid, Signal, Version};
use crate::pool::{Action, Command, Elsewhere, Event, Group, Pool, Settings, State, Terms, UpgradeStyle, Worker};

/// How many bytes are followed.
const FATE_MAX: usize = 256;

/// No more workers than this are asked for: the input decides how many there are.
const TARGET_MAX: u32 = 12;

/// The first pid that a launch gives. One that the document has is passed over.
const PID_FIRST: i32 = 1_000_000;

pub struct Life {
    pool: Pool,
    now: Mono,
    /// How a pool comes out of a handoff.
    handed_on: fn(&State) -> State,
    /// What is being prepared.
    asked: Option<Version>,
    next_pid: i32,
    is_over: bool,
}

impl Life {
    pub fn new(state: State, now: Mono, handed_on: fn(&State) -> State) -> Self {
        let pool = Pool::restore(state);
        Self { pool, now, handed_on, asked: None, next_pid: PID_FIRST, is_over: false }
    }

    /// Each byte is one thing that happens.
    pub fn live(&mut self, fate: &[u8]) {
        if self.pool.workers().len() > usize::try_from(TARGET_MAX).unwrap_or(usize::MAX) * 2
            || self.target() > TARGET_MAX
        {
            return;
        }
        let mut actions = Vec::new();
        self.pool.handle(self.now, Event::Resumed, &mut actions);
        self.follow(Vec::new(), actions, 0);
        for byte in fate.iter().take(FATE_MAX) {
            if self.is_over {
                return;
            }
            self.happen(*byte);
            self.check_rest();
        }
    }

    fn target(&self) -> u32 {
        self.pool.settings().target.max(self.pool.fallback().target)
    }

    fn happen(&mut self, byte: u8) {
        let (kind, which) = (byte % 16, byte / 16);
        let events = match kind {
            0 => {
                self.now = self.pool.deadline().unwrap_or(self.now).max(self.now);
                vec![Event::DeadlinePassed]
            }
            1 => {
                self.now = self.now.after(Duration::from_millis(1 << (which * 2)));
                vec![Event::DeadlinePassed]
            }
            2 => self.of_worker(which, |worker| Event::WorkerAcked { pid: worker.pid }),
            3 => self.of_worker(which, |worker| Event::WorkerExeced { pid: worker.pid }),
            4 => self.exited(which),
            5 => {
                let ending = Ending::Signal(Signal::KILL);
                self.of_worker(which, |worker| Event::WorkerExited { pid: worker.pid, ending })
            }
            6 => self.of_worker(which, |worker| match worker.stopped {
                false => Event::WorkerStopped { pid: worker.pid },
                true => Event::WorkerContinued { pid: worker.pid },
            }),
            7 => {
                let request_id = "é".repeat(usize::from(which) * 40);
                self.of_worker(which, |worker| Event::WorkerPinged { pid: worker.pid, request_id, is_number: false })
            }
            8 => vec![Event::CommandGiven(Command::Upgrade { style: style(which), terms: Terms::default() })],
            9 => self.release(which),
            10 => vec![Event::CommandGiven(Command::SetTarget(u32::from(which) % TARGET_MAX + 1))],
            11 => self.group_emptied(which),
            12 => vec![Event::CommandGiven(Command::Forward(Signal::HUP))],
            13 if which < 8 => vec![Event::WorkerAcked { pid: Pid(2) }],
            13 => vec![Event::VersionUnfit { version: self.pool.modern(), reason: "it was seen".to_owned() }],
            14 => return self.hand_on(),
            _ => vec![Event::CommandGiven(match which {
                0 => Command::Stop(Signal::TERM),
                1 => Command::Stop(Signal::QUIT),
                2 => Command::StopGracefully,
                3 => Command::StopGracefullyThenTerm,
                _ => self.configured(which),
            })],
        };
        events.into_iter().for_each(|event| self.tell(event));
    }

    fn of_worker(&self, which: u8, event: impl FnOnce(&Worker) -> Event) -> Vec<Event> {
        let workers = self.pool.workers();
        workers.get(usize::from(which) % workers.len().max(1)).map(event).into_iter().collect()
    }

    /// Every other one has gone to the background, or left something else in another group.
    fn exited(&mut self, which: u8) -> Vec<Event> {
        let ending = Ending::Code(i32::from(which % 4));
        let exited = self.of_worker(which, |worker| Event::WorkerExited { pid: worker.pid, ending });
        let Some(Event::WorkerExited { pid: worker, .. }) = exited.first().filter(|_| which % 2 == 0) else {
            return exited;
        };
        let elsewhere = Elsewhere { worker: *worker, wrapper: "su".to_owned(), program: "web".to_owned() };
        self.next_pid += 1;
        [vec![Event::LeftoverFound { group: self.fresh_pid(), elsewhere }], exited].concat()
    }

    /// The answer to what is being prepared.
    fn release(&mut self, which: u8) -> Vec<Event> {
        let Some(version) = self.asked.take() else { return Vec::new() };
        let settings = Settings { target: u32::from(which) % TARGET_MAX + 1, ..*self.pool.settings() };
        let refused = || Event::ReleaseRefused { version, reason: "it is not there".to_owned() };
        vec![if which == 0 { refused() } else { Event::ReleaseReady { version, settings } }]
    }

    fn group_emptied(&self, which: u8) -> Vec<Event> {
        let left: Vec<_> = self.pool.leftovers().iter().filter(|leftover| leftover.reaped).collect();
        let leftover = left.get(usize::from(which) % left.len().max(1));
        leftover.map(|leftover| Event::GroupEmptied { pid: leftover.pid }).into_iter().collect()
    }

    fn configured(&self, which: u8) -> Command {
        let signal_timeout = (which % 2 == 0).then(|| Duration::from_secs(u64::from(which)));
        Command::Configure(vec![(self.pool.modern(), Settings { signal_timeout, ..*self.pool.settings() })])
    }

    /// A re-exec in the middle of it.
    fn hand_on(&mut self) {
        let state = self.pool.to_hand_on();
        let read = (self.handed_on)(state);
        assert_eq!(read, *state, "a pool is another one after a handoff");
        self.pool = Pool::restore(read);
        self.asked = None;
        let mut actions = Vec::new();
        self.pool.handle(self.now, Event::Resumed, &mut actions);
        self.follow(Vec::new(), actions, 0);
    }

    fn tell(&mut self, event: Event) {
        let ends_service = match &event {
            Event::WorkerExited { .. } | Event::WorkerStopped { .. } => true,
            Event::CommandGiven(Command::Stop(_) | Command::StopGracefully | Command::StopGracefullyThenTerm) => true,
            Event::Started
            | Event::Resumed
            | Event::CommandGiven(
                Command::Upgrade { .. }
                | Command::Pause
                | Command::Resume
                | Command::Abort
                | Command::RollBack(_)
                | Command::Forward(_)
                | Command::ForwardTo { .. }
                | Command::SetTarget(_)
                | Command::Configure(_),
            )
            | Event::CheckEnded { .. }
            | Event::VersionUnfit { .. }
            | Event::ReleaseReady { .. }
            | Event::ReleaseRefused { .. }
            | Event::WorkerSpawned { .. }
            | Event::SpawnFailed { .. }
            | Event::WorkerExeced { .. }
            | Event::WorkerAcked { .. }
            | Event::WorkerPinged { .. }
            | Event::WorkerContinued { .. }
            | Event::WorkerReaped { .. }
            | Event::LeftoverFound { .. }
            | Event::GroupEmptied { .. }
            | Event::DeadlinePassed => false,
        };
        let serving = if ends_service || self.pool.is_stopping() { 0 } else { self.pool.serving_count() };
        let listed = self.listed();
        let mut actions = Vec::new();
        self.pool.handle(self.now, event, &mut actions);
        self.follow(listed, actions, serving);
    }

    /// Does what is asked for, and all that follows of it. `serving` workers served before.
    fn follow(&mut self, listed: Vec<Pid>, mut actions: Vec<Action>, serving: u32) {
        let mut answers = VecDeque::new();
        let mut listed = [listed, self.listed()].concat();
        loop {
            for action in actions.drain(..) {
                self.perform(action, &listed, &mut answers);
            }
            let Some(answer) = answers.pop_front() else { break };
            self.pool.handle(self.now, answer, &mut actions);
            listed.extend(self.listed());
        }
        let floor = serving.min(self.pool.settings().target);
        // A version that is given up on the way ends the service of all, when none ever served.
        if !self.pool.is_stopping() {
            assert!(self.pool.serving_count() >= floor, "{} serve, of {floor} that must", self.pool.serving_count());
        }
    }

    fn listed(&self) -> Vec<Pid> {
        let leftovers = self.pool.leftovers().iter().map(|leftover| leftover.pid);
        self.pool.workers().iter().map(|worker| worker.pid).chain(leftovers).collect()
    }

    fn perform(&mut self, action: Action, listed: &[Pid], answers: &mut VecDeque<Event>) {
        assert!(!self.is_over, "{action:?} after the end");
        match action {
            Action::PrepareRelease { version } => self.asked = Some(version),
            Action::SpawnWorker { index, slot: _, version } => {
                assert!(!self.pool.is_stopping(), "launches while it stops");
                assert!(version <= self.pool.modern().max(self.pool.good()), "launches version {version}");
                answers.push_back(match self.next_pid % 5 {
                    0 => Event::SpawnFailed { index, version },
                    _ => Event::WorkerSpawned { pid: self.fresh_pid(), index, version },
                });
                self.next_pid += 1;
            }
            Action::SignalWorker { pid, signal: _ } | Action::SignalGroup { pid, signal: _ } => {
                assert!(listed.contains(&pid), "signals {pid}, which it does not list");
            }
            Action::ReapWorker { pid } => {
                assert!(listed.contains(&pid), "reaps {pid}, which it does not list");
                let group = if pid.0 % 2 == 0 { Group::Empty } else { Group::HasSurvivors };
                answers.push_back(Event::WorkerReaped { pid, group });
            }
            Action::Exit(_) => self.is_over = true,
            Action::KeepReleases { .. } | Action::RunCheck { .. } | Action::Tell(_) => {}
        }
    }

    fn fresh_pid(&mut self) -> Pid {
        while self.listed().contains(&Pid(self.next_pid)) {
            self.next_pid += 1;
        }
        Pid(self.next_pid)
    }

    /// What is due was done: asked again at the same moment the pool wants nothing, and its deadline lies ahead.
    fn check_rest(&mut self) {
        if self.is_over {
            return;
        }
        self.tell(Event::DeadlinePassed);
        let mut actions = Vec::new();
        self.pool.handle(self.now, Event::DeadlinePassed, &mut actions);
        assert!(actions.is_empty(), "{actions:?} is wanted again and again");
        assert!(self.pool.deadline().is_none_or(|deadline| deadline > self.now), "its deadline has passed");
    }
}

fn style(which: u8) -> UpgradeStyle {
    if which % 2 == 0 { UpgradeStyle::Smooth } else { UpgradeStyle::Fleet }
}
