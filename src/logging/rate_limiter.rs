//! Keeps what others can cause without end from filling the log: counts each, and lets one a minute be said. It writes
//! nothing itself.

use std::fmt;
use std::time::Duration;

use crate::base::Mono;

/// How often it is said at most.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// One kind of thing that happens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Throttle {
    unsaid: u64,
    said_at: Option<Mono>,
}

impl Throttle {
    /// One more has happened. If it is to be said now: together with how many others.
    pub(crate) fn count_one(&mut self, now: Mono) -> Option<Unsaid> {
        if self.said_at.is_some_and(|said_at| now.since(said_at) < NOTE_EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.said_at = Some(now);
        Some(Unsaid(std::mem::take(&mut self.unsaid)))
    }
}

/// How many were passed over in silence since it was last said; the end of a message, empty for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsaid(u64);

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} more since this was last said)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_the_others_once_a_minute() {
        let start = Mono::from_nanos(0);
        let after = |seconds| start.after(Duration::from_secs(seconds));
        let mut throttle = Throttle::default();
        assert_eq!(throttle.count_one(start), Some(Unsaid(0)));
        assert_eq!([1, 30, 59].map(|seconds| throttle.count_one(after(seconds))), [None; 3]);
        assert_eq!(throttle.count_one(after(60)), Some(Unsaid(3)));
        assert_eq!(throttle.count_one(after(119)), None);
        assert_eq!(throttle.count_one(after(500)), Some(Unsaid(1)));
        assert_eq!([Unsaid(0), Unsaid(7)].map(|unsaid| unsaid.to_string()), ["", " (7 more since this was last said)"]);
    }
}
