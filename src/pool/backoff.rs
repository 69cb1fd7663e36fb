//! What goes wrong with the pool as a whole: how long that streak is. How long a slot waits is in `slots`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Mono;
use crate::pool::settings::{BACKOFF_FACTOR, SPINUP_INTERVAL_MAX_S, SPINUP_INTERVAL_MIN_S};

/// Beyond it 1.5ⁿ times any spacing is above the longest wait, and the power must not run off to infinity.
const EXPONENT_MAX: i32 = 100;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Modern workers that died before their ack, since the last ack (einhorn's `consecutive_deaths_before_ack`).
    pub unacked_deaths: u32,
    /// Launches that failed for want of processes or memory, since the last that did not.
    pub failed_launches: u32,
    /// When the last of them was asked for: several that were asked for together are one sign.
    pub last_failed_launch: Option<Mono>,
}

/// Seconds from one launch to the next after so many failures (einhorn's formula).
pub(in crate::pool) fn stretched_s(spacing_s: f64, failures: u32) -> f64 {
    let exponent = i32::try_from(failures).unwrap_or(EXPONENT_MAX).min(EXPONENT_MAX);
    (spacing_s * BACKOFF_FACTOR.powi(exponent)).clamp(SPINUP_INTERVAL_MIN_S, SPINUP_INTERVAL_MAX_S)
}

impl Backoff {
    pub(in crate::pool) fn interval_s(&self, spacing_s: f64) -> f64 {
        stretched_s(spacing_s, self.failed_launches)
    }

    pub(in crate::pool) fn interval(&self, spacing_s: f64) -> Duration {
        Duration::from_secs_f64(self.interval_s(spacing_s))
    }

    /// An ack came: says how long a streak it broke.
    pub(in crate::pool) fn on_ack(&mut self) -> u32 {
        std::mem::take(&mut self.unacked_deaths)
    }

    pub(in crate::pool) fn on_unacked_death(&mut self) {
        self.unacked_deaths = self.unacked_deaths.saturating_add(1);
    }

    pub(in crate::pool) fn on_failed_launch(&mut self, asked_at: Mono) {
        if self.last_failed_launch.replace(asked_at) != Some(asked_at) {
            self.failed_launches = self.failed_launches.saturating_add(1);
        }
    }

    pub(in crate::pool) fn on_launch(&mut self) {
        (self.failed_launches, self.last_failed_launch) = (0, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(0).after(Duration::from_secs(seconds))
    }

    #[test]
    fn ack_ends_the_streak_of_deaths_and_a_launch_that_of_failed_ones() {
        let mut backoff = Backoff::default();
        (0..3).for_each(|_| backoff.on_unacked_death());
        assert_eq!((backoff.on_ack(), backoff.on_ack()), (3, 0));
        for (asked_at, failed) in [(at(1), 1), (at(1), 1), (at(2), 2)] {
            backoff.on_failed_launch(asked_at);
            assert_eq!(backoff.failed_launches, failed);
        }
        backoff.on_launch();
        assert_eq!(backoff, Backoff::default());
    }

    #[test]
    fn launches_that_fail_together_are_one_sign() {
        let mut backoff = Backoff::default();
        (0..24).for_each(|_| backoff.on_failed_launch(at(1)));
        assert_eq!(backoff.interval_s(1.0), 1.5);
        backoff.on_failed_launch(at(3));
        assert_eq!(backoff.interval_s(1.0), 2.25);
    }

    #[test]
    fn the_wait_grows_by_half_and_ends_at_thirty_seconds() {
        assert_eq!(stretched_s(0.2, 0), 0.2);
        assert_eq!(stretched_s(0.2, 1), 0.2 * 1.5);
        assert_eq!(stretched_s(0.2, 3), 0.2 * 1.5 * 1.5 * 1.5);
        assert_eq!(stretched_s(0.2, 1_000_000), 30.0);
        assert_eq!(stretched_s(f64::MIN_POSITIVE, u32::MAX), 1e-6);
        assert_eq!(stretched_s(1e300, u32::MAX), 30.0);
    }
}
