//! When to look again for a syslog that was away: soon at first, then less and less often. It looks at nothing itself.

use std::time::Duration;

use crate::base::Mono;

/// How long to wait before the first look; each further wait is twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// How long at the most.
const PAUSE_MAX: Duration = Duration::from_secs(32);

/// Whether it is away.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Absence {
    /// While away: until when to leave it at that.
    until: Option<Mono>,
    pause: Duration,
    /// When it last came to an end.
    ended: Option<Mono>,
}

impl Absence {
    /// Whether it is too early to look.
    pub(crate) fn is_too_early(&self, now: Mono) -> bool {
        self.until.is_some_and(|moment| now < moment)
    }

    /// When to look unasked. Not for ever, since an idle master makes no system call: after five times in vain, only who
    /// needs something looks.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.until.filter(|_| self.pause < PAUSE_MAX)
    }

    /// Looked in vain; says whether the absence has begun with it.
    pub(crate) fn begin_or_go_on(&mut self, now: Mono) -> bool {
        let begins = self.until.is_none();
        let rested = begins && self.ended.is_none_or(|moment| now.since(moment) >= PAUSE_MAX);
        // One that comes and goes is left alone for longer and longer, too.
        self.pause = if rested { PAUSE_MIN } else { (self.pause * 2).min(PAUSE_MAX) };
        self.until = Some(now.after(self.pause));
        begins
    }

    /// Found; says whether an absence has ended with it.
    pub(crate) fn end(&mut self, now: Mono) -> bool {
        let ends = self.until.take().is_some();
        if ends {
            self.ended = Some(now);
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(0).after(Duration::from_secs(seconds))
    }

    /// Looks in vain as early as it may, so many times; says when it will look next.
    fn look_in_vain(absence: &mut Absence, begin: Mono, times: usize) -> Mono {
        let mut now = begin;
        for _ in 0..times {
            assert!(!absence.is_too_early(now));
            absence.begin_or_go_on(now);
            now = absence.until.unwrap();
            assert!(absence.is_too_early(Mono::from_nanos(now.as_nanos() - 1)));
        }
        now
    }

    #[test]
    fn retries_get_rarer_and_stop_until_the_next_request() {
        let mut absence = Absence::default();
        let looks = [1, 3, 7, 15, 31].map(|seconds| {
            let now = absence.until.unwrap_or(at(0));
            let next = look_in_vain(&mut absence, now, 1);
            assert_eq!(absence.deadline(), Some(next));
            (next, at(seconds))
        });
        assert!(looks.iter().all(|(next, expected)| next == expected), "{looks:?}");
        assert_eq!(look_in_vain(&mut absence, at(31), 3), at(31 + 3 * 32));
        assert_eq!(absence.deadline(), None);
    }

    #[test]
    fn it_begins_once_and_ends_once() {
        let mut absence = Absence::default();
        assert!(!absence.end(at(0)) && !absence.is_too_early(at(0)) && absence.deadline().is_none());
        assert!(absence.begin_or_go_on(at(0)) && !absence.begin_or_go_on(at(1)));
        assert!(absence.end(at(2)) && !absence.end(at(2)) && !absence.is_too_early(at(2)));
        assert!(absence.begin_or_go_on(at(3)));
    }

    #[test]
    fn one_that_comes_and_goes_counts_as_away_until_it_has_stayed() {
        let mut absence = Absence::default();
        look_in_vain(&mut absence, at(0), 2);
        absence.end(at(3));
        assert_eq!(look_in_vain(&mut absence, at(4), 1), at(8));
        absence.end(at(8));
        assert_eq!(look_in_vain(&mut absence, at(40), 1), at(41));
    }
}
