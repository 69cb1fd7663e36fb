//! When to look again at something that sends no event. At first soon, then ever more rarely: what it waits for takes a
//! millisecond as a rule, and must not cost a wake-up a millisecond when it takes an hour.

use std::time::Duration;

use crate::base::Mono;

const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A wait that doubles.
#[derive(Debug, Default)]
pub(crate) struct PollBackoff {
    due: Option<(Mono, Duration)>,
}

impl PollBackoff {
    /// Begins anew: something was added that will show soon.
    pub(crate) fn soon(&mut self, now: Mono) {
        self.due = Some((now.after(FIRST_WAIT), FIRST_WAIT));
    }

    /// Nothing is left to look at.
    pub(crate) fn rest(&mut self) {
        self.due = None;
    }

    /// Something is left: looks again after twice the time, if this time is over.
    pub(crate) fn again(&mut self, now: Mono) {
        let Some((moment, wait)) = self.due else { return self.soon(now) };
        if moment <= now {
            let wait = (wait * 2).min(LONGEST_WAIT);
            self.due = Some((now.after(wait), wait));
        }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.due.map(|(moment, _)| moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_soon_and_then_ever_more_rarely() {
        let mut recheck = PollBackoff::default();
        let mut now = Mono::from_nanos(0);
        recheck.soon(now);
        let mut looks = 0;
        while now < Mono::from_nanos(0).after(Duration::from_secs(3600)) {
            now = recheck.deadline().unwrap();
            recheck.again(now);
            looks += 1;
        }
        assert!((360..400).contains(&looks), "{looks} looks in an hour");
    }
}
