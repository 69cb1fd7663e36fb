//! What the tests of this room share: a pool, and a supervisor that answers at once.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::{Ending, Mono, Pid, Signal, Version};
use crate::pool::{AckMode, Action, Command, Event, ExitReason, Group, Notice, Pool, Settings, Terms, UpgradeStyle};

/// More events than any test has at once.
const EVENTS_MAX: u32 = 10_000;

/// A pool, and a supervisor that answers at once. Pids are 1, 2, 3… in the order of the launches.
pub(in crate::pool) struct Play {
    pub(in crate::pool) pool: Pool,
    pub(in crate::pool) now: Mono,
    pub(in crate::pool) launched: i32,
    pub(in crate::pool) outlives: bool,
    pub(in crate::pool) deferred: Option<Version>,
    /// What comes with the next version; as it is, where none is given.
    pub(in crate::pool) next: Option<Settings>,
    pub(in crate::pool) actions: Vec<Action>,
}

impl Play {
    pub(in crate::pool) fn of(settings: Settings) -> Self {
        let now = Mono::from_nanos(1);
        Self {
            pool: Pool::new(settings),
            now,
            launched: 0,
            outlives: false,
            deferred: None,
            next: None,
            actions: Vec::new(),
        }
    }

    /// A pool whose first workers serve.
    pub(in crate::pool) fn serving(settings: Settings) -> Self {
        let mut play = Self::of(settings);
        play.tell(Event::Started);
        for pid in 1..=settings.target as i32 {
            play.tell(Event::WorkerExeced { pid: Pid(pid) });
            if settings.ack == AckMode::Manual {
                play.ack(pid);
            }
        }
        if let AckMode::Timer(timeout) = settings.ack {
            play.wait(timeout.as_secs_f64());
        }
        assert_eq!(play.pool.serving_count(), settings.target);
        play.wait(60.0);
        play.actions.clear();
        play
    }

    pub(in crate::pool) fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        for count in 0.. {
            assert!(count < EVENTS_MAX, "the pool comes to no rest");
            let Some(event) = events.pop_front() else { break };
            let from = self.actions.len();
            self.pool.handle(self.now, event, &mut self.actions);
            for at in from..self.actions.len() {
                let answer = self.answer(at);
                events.extend(answer);
            }
        }
    }

    fn answer(&mut self, at: usize) -> Option<Event> {
        match self.actions[at] {
            Action::SpawnWorker { index, version, .. } => {
                self.launched += 1;
                Some(Event::WorkerSpawned { pid: Pid(self.launched), index, version })
            }
            Action::ReapWorker { pid } => {
                let group = if self.outlives { Group::HasSurvivors } else { Group::Empty };
                Some(Event::WorkerReaped { pid, group })
            }
            Action::PrepareRelease { version } if self.deferred.is_none() => Some(self.ready(version)),
            _ => None,
        }
    }

    /// The answer of a supervisor that found the program.
    pub(in crate::pool) fn ready(&self, version: Version) -> Event {
        Event::ReleaseReady { version, settings: self.next.unwrap_or(*self.pool.settings()) }
    }

    pub(in crate::pool) fn command(&mut self, command: Command) {
        self.tell(Event::CommandGiven(command));
    }

    pub(in crate::pool) fn ack(&mut self, pid: i32) {
        self.tell(Event::WorkerAcked { pid: Pid(pid) });
    }

    pub(in crate::pool) fn die(&mut self, pid: i32) {
        self.tell(Event::WorkerExited { pid: Pid(pid), ending: Ending::Code(1) });
    }

    /// Lets so much time pass, and every deadline on the way.
    pub(in crate::pool) fn wait(&mut self, seconds: f64) {
        let end = self.now.after(Duration::from_secs_f64(seconds));
        let mut passed = None;
        while let Some(deadline) = self.pool.deadline().filter(|deadline| *deadline <= end) {
            assert!(passed.replace(deadline) < Some(deadline), "a deadline is due again and again");
            self.now = deadline;
            self.tell(Event::DeadlinePassed);
        }
        self.now = end;
    }

    /// What was said since the last look, in einhorn's words, shortened.
    pub(in crate::pool) fn log(&mut self) -> Vec<String> {
        let said = self.actions.drain(..).filter_map(|action| match action {
            Action::Tell(notice) => words(&notice),
            _ => None,
        });
        said.collect()
    }

    /// Signals since the last look.
    pub(in crate::pool) fn signals(&mut self) -> Vec<(i32, Signal)> {
        let sent = self.actions.drain(..).filter_map(|action| match action {
            Action::SignalWorker { pid, signal } | Action::SignalGroup { pid, signal } => Some((pid.0, signal)),
            _ => None,
        });
        sent.collect()
    }

    pub(in crate::pool) fn exits(&self) -> Vec<ExitReason> {
        let exits = self.actions.iter().filter_map(|action| match action {
            Action::Exit(reason) => Some(*reason),
            _ => None,
        });
        exits.collect()
    }

    pub(in crate::pool) fn pids(&self) -> Vec<i32> {
        self.pool.workers().iter().map(|worker| worker.pid.0).collect()
    }
}

/// The lines that einhorn has, too; a launch after the usual pause is not worth one.
fn words(notice: &Notice) -> Option<String> {
    let numbers = |pids: &[Pid]| pids.iter().map(|pid| pid.0).collect::<Vec<_>>();
    let line = match notice {
        Notice::LaunchingMany { count } => format!("launching {count}"),
        Notice::Launched { pid, index } => format!("launched {pid} (index: {index})"),
        Notice::AckReceived { pid } => format!("ack from {pid}"),
        Notice::UpTo { acked, target, .. } => format!("up to {acked} / {target}"),
        Notice::CullingSurplus { count } => format!("too many, killing {count}"),
        Notice::CullingGradually { count } => format!("smooth, killing {count} old"),
        Notice::CullingOld { count } => format!("killing {count} old"),
        Notice::Sending { signal, pids } => format!("sending {signal} to {:?}", numbers(pids)),
        Notice::SentAll { signal, pids } => format!("sent {signal} to {:?}", numbers(pids)),
        Notice::Exited { pid, .. } => format!("exited {pid}"),
        Notice::UpgradeStarted { style, from } => format!("starting {style:?} upgrade from {from}"),
        Notice::Upgraded { version } => format!("upgraded to {version}"),
        _ => return None,
    };
    Some(line)
}

/// `-n 2 -m manual -s 0.2 -t 1`, as in the recorded life of einhorn.
pub(in crate::pool) fn settings() -> Settings {
    Settings {
        target: 2,
        ack: AckMode::Manual,
        ack_timeout: None,
        spacing_s: 0.2,
        max_unacked: 2,
        max_upgrade_additional: None,
        signal_timeout: Some(Duration::from_secs(1)),
        graceful: Signal::USR2,
        retries: None,
        ..Settings::default()
    }
}

const fn upgrade(style: UpgradeStyle) -> Command {
    Command::Upgrade { style, terms: Terms { stages: None, bake: None, deadline: None } }
}

pub(in crate::pool) const SMOOTH: Command = upgrade(UpgradeStyle::Smooth);
pub(in crate::pool) const FLEET: Command = upgrade(UpgradeStyle::Fleet);
