//! Sees whether a version on trial takes the connections that come. One that serves on another port, has closed its socket or hangs
//! may have acked all the same, and the connections would wait in the queues of the listening sockets until their clients give up.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::{AckMode, Mono, Version};
use crate::sys::accept_queue::Incoming;

/// Between two looks, while a version can be given up; and by how much longer than a look takes.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const REST_PER_LOOK: u32 = 4;

/// For how long connections may wait while none is taken and no process holds one: after the manual ack of a worker, and where an ack
/// means only that a worker has lived for a while. It may be loading yet.
const IDLE_MAX: Duration = Duration::from_secs(2);
const IDLE_MAX_BY_TIMER: Duration = Duration::from_secs(10);

/// So many looks in a row must have found it so: a busy worker holds none for a moment, between two.
const LOOKS_MIN: u32 = 5;

/// What is known of the queues of one version.
#[derive(Debug, Default)]
pub(crate) struct QueueWatch {
    version: Option<Version>,
    next_look: Option<Mono>,
    queues: Vec<Queue>,
}

/// That of one listening socket.
#[derive(Debug, Default)]
struct Queue {
    /// Whether connections are taken from it at all: it may be that no version ever does.
    is_used: bool,
    /// Those that waited at the last look.
    waiting: BTreeSet<Vec<u8>>,
    idle: Option<Idle>,
}

/// Connections wait, and no process takes or holds one.
#[derive(Clone, Copy, Debug)]
struct Idle {
    since: Mono,
    looks: u32,
}

impl Queue {
    /// Takes in a look. None: nothing can be said.
    fn note(&mut self, found: Option<Incoming>, now: Mono) {
        let Some(Incoming { waiting, is_any_held }) = found else {
            self.idle = None;
            return;
        };
        let is_any_taken = !self.waiting.is_subset(&waiting);
        let is_used = is_any_taken || is_any_held || waiting.is_empty();
        self.waiting = waiting;
        self.is_used |= is_used;
        match &mut self.idle {
            idle if is_used => *idle = None,
            Some(idle) => idle.looks = idle.looks.saturating_add(1),
            None => self.idle = Some(Idle { since: now, looks: 1 }),
        }
    }

    /// For how long it has been idle, if that is for sure.
    fn idle_for(&self, now: Mono) -> Duration {
        let idle = self.idle.filter(|idle| self.is_used && idle.looks >= LOOKS_MIN);
        idle.map_or(Duration::ZERO, |idle| now.since(idle.since))
    }
}

impl QueueWatch {
    /// No version is watched.
    pub(crate) fn rest(&mut self) {
        if self.version.is_some() {
            *self = Self::default();
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.next_look
    }

    /// Whether it is time to look at the queues of this version.
    pub(crate) fn is_due(&mut self, version: Version, now: Mono) -> bool {
        if self.version != Some(version) {
            *self = Self { version: Some(version), next_look: Some(now), queues: Vec::new() };
        }
        self.next_look.is_none_or(|moment| moment <= now)
    }

    /// Takes in a look at each queue, which began at `began`. Returns the place of one that has been idle for too long, and for how long.
    pub(crate) fn note(
        &mut self,
        found: Vec<Option<Incoming>>,
        ack: AckMode,
        began: Mono,
        now: Mono,
    ) -> Option<(usize, Duration)> {
        self.next_look = Some(now.after(LOOK_EVERY.max(now.since(began) * REST_PER_LOOK)));
        self.queues.resize_with(found.len(), Queue::default);
        self.queues.iter_mut().zip(found).for_each(|(queue, found)| queue.note(found, now));
        let limit = match ack {
            AckMode::Manual => IDLE_MAX,
            AckMode::Timer(_) => IDLE_MAX_BY_TIMER,
        };
        self.queues.iter().map(|queue| queue.idle_for(now)).enumerate().find(|(_, idle_for)| *idle_for >= limit)
    }

    /// Until now it was not the fault of this version.
    pub(crate) fn excuse(&mut self) {
        self.queues.iter_mut().for_each(|queue| queue.idle = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Mono {
        Mono::from_nanos(0).after(Duration::from_secs_f64(seconds))
    }

    fn watch() -> QueueWatch {
        let mut watch = QueueWatch::default();
        assert!(watch.is_due(Version(1), at(0.0)));
        watch
    }

    fn waiting(names: &[&str]) -> Incoming {
        Incoming { waiting: names.iter().map(|name| name.as_bytes().to_vec()).collect(), is_any_held: false }
    }

    fn look(watch: &mut QueueWatch, found: Option<Incoming>, second: f64) -> Option<(usize, Duration)> {
        watch.note(vec![Some(waiting(&[])), found], AckMode::Manual, at(second), at(second))
    }

    /// Looks ten times in a second, from one moment until another, and finds the same each time.
    fn look_on(watch: &mut QueueWatch, names: &[&str], from: f64, to: f64) -> Option<(usize, Duration)> {
        let moments = (0..).map(|number| from + 0.1 * f64::from(number)).take_while(|moment| *moment <= to + 1e-9);
        moments.map(|moment| look(watch, Some(waiting(names)), moment)).last().unwrap()
    }

    #[test]
    fn a_queue_is_idle_for_too_long_after_two_seconds_or_ten() {
        for (ack, limit) in [(AckMode::Manual, 2.0), (AckMode::Timer(Duration::from_secs(1)), 10.0)] {
            let (mut watch, mut late) = (watch(), None);
            watch.note(vec![Some(waiting(&[]))], ack, at(0.0), at(0.0));
            let mut second = 1.0;
            while late.is_none() {
                late = watch.note(vec![Some(waiting(&["a"]))], ack, at(second), at(second));
                second += 0.125;
            }
            assert_eq!(late, Some((0, Duration::from_secs_f64(limit))));
        }
    }

    #[test]
    fn whatever_is_taken_or_held_or_unknown_gives_it_its_time_anew() {
        let held = Incoming { is_any_held: true, ..waiting(&["a", "b"]) };
        for found in [Some(waiting(&[])), Some(waiting(&["b", "c"])), Some(held), None] {
            let mut watch = watch();
            look_on(&mut watch, &[], 0.0, 0.0);
            look_on(&mut watch, &["a", "b"], 0.1, 1.9);
            assert_eq!(look(&mut watch, found.clone(), 2.0), None);
            assert_eq!(look_on(&mut watch, &["b", "c", "d"], 2.1, 4.0), None, "{found:?}");
            assert!(look_on(&mut watch, &["b", "c", "d"], 4.1, 4.3).is_some(), "{found:?}");
        }
        let mut watch = watch();
        look_on(&mut watch, &[], 0.0, 0.0);
        look_on(&mut watch, &["a"], 0.1, 1.9);
        watch.excuse();
        assert_eq!(look_on(&mut watch, &["a"], 2.0, 3.9), None);
    }

    #[test]
    fn a_queue_that_is_never_empty_is_used_if_something_is_taken() {
        let mut watch = watch();
        look_on(&mut watch, &["a"], 0.0, 0.0);
        look_on(&mut watch, &["b"], 0.1, 0.1);
        assert!(look_on(&mut watch, &["b", "c"], 0.2, 2.2).is_some());
    }

    #[test]
    fn looks_that_are_few_prove_nothing() {
        let mut watch = watch();
        look_on(&mut watch, &[], 0.0, 0.0);
        for second in 1..LOOKS_MIN {
            assert_eq!(look(&mut watch, Some(waiting(&["a"])), f64::from(second)), None);
        }
        assert!(look(&mut watch, Some(waiting(&["a"])), f64::from(LOOKS_MIN)).is_some());
    }

    #[test]
    fn what_was_idle_before_the_version_tells_nothing() {
        let mut watch = watch();
        assert_eq!(look_on(&mut watch, &["a"], 0.0, 20.0), None);
        assert!(watch.is_due(Version(2), at(20.0)), "another version is looked at at once");
        watch.note(Vec::new(), AckMode::Manual, at(20.0), at(20.0));
        assert!(!watch.is_due(Version(2), at(20.05)));
        assert_eq!(watch.deadline(), Some(at(20.1)));
        watch.note(Vec::new(), AckMode::Manual, at(21.0), at(21.5));
        assert_eq!(watch.deadline(), Some(at(23.5)), "what takes long is done seldom");
        watch.rest();
        assert_eq!(watch.deadline(), None);
    }
}
