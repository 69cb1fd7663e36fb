//! Sees whether a version on trial takes the connections that come. One that serves on another port, has closed its socket or hangs
//! may have acked all the same, and the connections would wait in the queues of the listening sockets until their clients give up.

use std::time::Duration;

use crate::base::{AckMode, Mono, Version};

/// Between two looks, while a version can be given up.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The same while a queue was never seen empty, and how often: what has just come in must not look as if it waited for ever.
const LOOK_FIRST_EVERY: Duration = Duration::from_millis(5);
const FIRST_LOOKS: u32 = 20;

/// For how long connections may wait while no process holds one: after the manual ack of a worker, and where an ack means only that
/// a worker has lived for a while. It may be loading yet.
const IDLE_MAX: Duration = Duration::from_secs(2);
const IDLE_MAX_BY_TIMER: Duration = Duration::from_secs(10);

/// What is known of the queues of one version.
#[derive(Debug, Default)]
pub(crate) struct QueueWatch {
    version: Option<Version>,
    next_look: Option<Mono>,
    looks: u32,
    queues: Vec<Queue>,
}

/// That of one listening socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Queue {
    /// Connections have waited since before the version came: it may be that no version ever takes any here.
    #[default]
    NeverEmpty,
    Empty,
    WaitsSince(Mono),
}

impl Queue {
    fn after(self, waits: bool, now: Mono) -> Self {
        match (self, waits) {
            (_, false) => Self::Empty,
            (Self::Empty, true) => Self::WaitsSince(now),
            (Self::NeverEmpty | Self::WaitsSince(_), true) => self,
        }
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
            *self = Self { version: Some(version), next_look: Some(now), ..Self::default() };
        }
        let is_due = self.next_look.is_none_or(|moment| moment <= now);
        if is_due {
            self.looks = self.looks.saturating_add(1);
            let is_new = self.queues.is_empty() || self.queues.contains(&Queue::NeverEmpty);
            let is_first = is_new && self.looks <= FIRST_LOOKS;
            self.next_look = Some(now.after(if is_first { LOOK_FIRST_EVERY } else { LOOK_EVERY }));
        }
        is_due
    }

    /// Takes in a look at each queue. Returns the place of one in which connections have waited for too long, and for how long.
    pub(crate) fn look(&mut self, waits: &[bool], ack: AckMode, now: Mono) -> Option<(usize, Duration)> {
        self.queues.resize(waits.len(), Queue::default());
        self.queues.iter_mut().zip(waits).for_each(|(queue, waits)| *queue = queue.after(*waits, now));
        let limit = match ack {
            AckMode::Manual => IDLE_MAX,
            AckMode::Timer(_) => IDLE_MAX_BY_TIMER,
        };
        let waited = self.queues.iter().map(|queue| match queue {
            Queue::WaitsSince(moment) => now.since(*moment),
            Queue::NeverEmpty | Queue::Empty => Duration::ZERO,
        });
        waited.enumerate().find(|(_, waited)| *waited >= limit)
    }

    /// Something was accepted meanwhile, or nothing can be said against these workers: the time begins anew.
    pub(crate) fn excuse(&mut self, now: Mono) {
        for queue in &mut self.queues {
            if let Queue::WaitsSince(moment) = queue {
                *moment = now;
            }
        }
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

    #[test]
    fn connections_that_wait_are_too_late_after_two_seconds_or_ten() {
        for (ack, limit) in [(AckMode::Manual, 2.0), (AckMode::Timer(Duration::from_secs(1)), 10.0)] {
            let mut watch = watch();
            assert_eq!(watch.look(&[false, false], ack, at(0.0)), None);
            assert_eq!(watch.look(&[false, true], ack, at(1.0)), None);
            assert_eq!(watch.look(&[false, true], ack, at(0.9 + limit)), None);
            assert_eq!(watch.look(&[false, true], ack, at(1.0 + limit)), Some((1, Duration::from_secs_f64(limit))));
        }
    }

    #[test]
    fn a_queue_that_empties_or_is_excused_has_its_time_anew() {
        let mut watch = watch();
        watch.look(&[false], AckMode::Manual, at(0.0));
        watch.look(&[true], AckMode::Manual, at(1.0));
        watch.look(&[false], AckMode::Manual, at(2.0));
        watch.look(&[true], AckMode::Manual, at(2.5));
        assert_eq!(watch.look(&[true], AckMode::Manual, at(4.0)), None);
        watch.excuse(at(4.0));
        assert_eq!(watch.look(&[true], AckMode::Manual, at(5.9)), None);
        assert!(watch.look(&[true], AckMode::Manual, at(6.0)).is_some());
    }

    #[test]
    fn a_queue_that_is_full_at_first_is_looked_at_again_soon_and_for_a_while() {
        let mut watch = watch();
        watch.look(&[true], AckMode::Manual, at(0.0));
        assert_eq!(watch.deadline(), Some(at(0.005)));
        assert!(watch.is_due(Version(1), at(0.005)));
        watch.look(&[false], AckMode::Manual, at(0.005));
        assert!(watch.is_due(Version(1), at(0.01)));
        assert_eq!(watch.deadline(), Some(at(0.11)));
        watch.look(&[true], AckMode::Manual, at(0.11));
        assert!(watch.look(&[true], AckMode::Manual, at(2.11)).is_some());
        let mut never_empty = QueueWatch::default();
        assert!(never_empty.is_due(Version(1), at(0.0)));
        for look in 0..FIRST_LOOKS {
            never_empty.look(&[true], AckMode::Manual, at(f64::from(look)));
            assert!(never_empty.is_due(Version(1), at(f64::from(look + 1))));
        }
        assert_eq!(never_empty.deadline(), Some(at(f64::from(FIRST_LOOKS) + 0.1)));
    }

    #[test]
    fn what_has_waited_since_before_the_version_tells_nothing() {
        let mut watch = watch();
        for second in 0..20 {
            assert_eq!(watch.look(&[true], AckMode::Manual, at(f64::from(second))), None);
        }
        assert!(watch.is_due(Version(2), at(20.0)), "another version is looked at at once");
        assert!(!watch.is_due(Version(2), at(20.004)));
        assert_eq!(watch.deadline(), Some(at(20.005)));
        watch.rest();
        assert_eq!(watch.deadline(), None);
    }
}
