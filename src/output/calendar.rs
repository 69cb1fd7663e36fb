//! What a monotonic moment is by the wall clock of now, and the other way round.

use std::time::{Duration, SystemTime};

use crate::base::limits::LAST_SECOND;
use crate::base::{Mono, Wall};
use crate::sys::clock;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// Both clocks at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Calendar {
    now: Mono,
    wall: i128,
}

impl Calendar {
    pub(crate) fn now() -> Self {
        let (seconds, nanos) = clock::wall();
        Self { now: clock::now(), wall: i128::from(seconds) * NANOS_PER_SECOND + i128::from(nanos) }
    }

    pub(crate) fn moment(&self) -> Mono {
        self.now
    }

    pub(crate) fn wall(&self, moment: Mono) -> Wall {
        let then = self.wall + i128::from(moment.as_nanos()) - i128::from(self.now.as_nanos());
        Wall {
            seconds: i64::try_from(then.div_euclid(NANOS_PER_SECOND)).unwrap_or(i64::MAX),
            nanos: u32::try_from(then.rem_euclid(NANOS_PER_SECOND)).unwrap_or(0),
        }
    }

    /// A moment before the machine was started is its start.
    pub(crate) fn mono(&self, wall: Wall) -> Mono {
        let ago = self.wall - (i128::from(wall.seconds) * NANOS_PER_SECOND + i128::from(wall.nanos));
        let since_start = i128::from(self.now.as_nanos()) - ago;
        Mono::from_nanos(u64::try_from(since_start.max(0)).unwrap_or(u64::MAX))
    }
}

/// Seconds since 1970 as RFC 3339 has them, in UTC: `2026-11-30T03:12:00Z`.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let since_epoch = Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(LAST_SECOND));
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since_epoch).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_with_its_zone_whatever_the_clock_says() {
        let shown = [1_795_456_810, -1, i64::MAX].map(rfc3339);
        assert_eq!(shown, ["2026-11-23T18:00:10Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]);
    }

    #[test]
    fn a_moment_goes_to_the_wall_and_back() {
        let calendar = Calendar { now: Mono::from_nanos(5_000_000_007), wall: 100 * NANOS_PER_SECOND + 3 };
        for (nanos, seconds, rest) in
            [(5_000_000_007, 100, 3), (5_000_000_003, 99, 999_999_999), (6_000_000_007, 101, 3)]
        {
            let (moment, wall) = (Mono::from_nanos(nanos), Wall { seconds, nanos: rest });
            assert_eq!(calendar.wall(moment), wall);
            assert_eq!(calendar.mono(wall), moment);
        }
        assert_eq!(calendar.mono(Wall { seconds: 3, nanos: 0 }), Mono::from_nanos(0));
    }
}
