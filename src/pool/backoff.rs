//! How long to wait before the next launch. It counts what went wrong; it launches nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Mono;
use crate::pool::settings::{BACKOFF_FACTOR, EARLY_LIFE, SPINUP_INTERVAL_MAX_S, SPINUP_INTERVAL_MIN_S};
use crate::pool::worker::Worker;

/// Beyond it 1.5ⁿ times any spacing is above the longest wait, and the power must not run off to infinity.
const EXPONENT_MAX: i32 = 100;

/// The signs of a crash loop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Modern workers that died before their ack, since the last ack (einhorn's `consecutive_deaths_before_ack`).
    pub unacked_deaths: u32,
    /// Launches that failed for want of processes or memory, since the last that did not.
    pub failed_launches: u32,
    /// When the last of them was asked for: several that were asked for together are one sign.
    pub last_failed_launch: Option<Mono>,
    /// A chain of workers that died soon after their ack, each launched after the one before it had died. Without it a
    /// worker that acks and dies at once would be launched again every second, since each ack breaks the other streak.
    pub early_deaths: u32,
    pub last_early_death: Option<Mono>,
}

impl Backoff {
    /// How often the wait is stretched. The first early death is an accident, not yet a chain.
    fn exponent(&self) -> i32 {
        let worst = self.unacked_deaths.max(self.failed_launches).max(self.early_deaths.saturating_sub(1));
        i32::try_from(worst).unwrap_or(EXPONENT_MAX).min(EXPONENT_MAX)
    }

    /// Seconds from one launch to the next.
    pub(in crate::pool) fn interval_s(&self, spacing_s: f64) -> f64 {
        let stretched = spacing_s * BACKOFF_FACTOR.powi(self.exponent());
        stretched.clamp(SPINUP_INTERVAL_MIN_S, SPINUP_INTERVAL_MAX_S)
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
        self.failed_launches = 0;
    }

    /// An acked worker died unasked. Two hundred killed at once are one link of the chain, not two hundred.
    pub(in crate::pool) fn on_acked_death(&mut self, now: Mono, dead: &Worker, living: &[Worker]) {
        let Some(acked_at) = dead.acked_at else { return };
        if now.since(acked_at) >= EARLY_LIFE {
            return;
        }
        match self.last_early_death {
            Some(last) if dead.spawned_at < last => return,
            Some(last) if settled_since(living, last, now) => self.early_deaths = 1,
            Some(_) => self.early_deaths = self.early_deaths.saturating_add(1),
            None => self.early_deaths = 1,
        }
        self.last_early_death = Some(now);
    }
}

/// Whether a worker launched after `moment` has outlived its early life: the chain ends there.
fn settled_since(living: &[Worker], moment: Mono, now: Mono) -> bool {
    let settled = |acked_at| now.since(acked_at) >= EARLY_LIFE;
    living.iter().any(|worker| worker.spawned_at >= moment && worker.acked_at.is_some_and(settled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Pid, Signal, Version, WorkerIndex};

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(0).after(Duration::from_secs(seconds))
    }

    fn worker(spawned_at: Mono, acked_at: Mono) -> Worker {
        let new = Worker::new(Pid(1), WorkerIndex(0), Version(0), Signal::USR2, spawned_at);
        Worker { acked_at: Some(acked_at), ..new }
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
        assert_eq!(backoff, Backoff { last_failed_launch: Some(at(2)), ..Backoff::default() });
    }

    #[test]
    fn early_death_is_a_link_if_the_worker_came_after_the_death_before() {
        let mut backoff = Backoff::default();
        let late = at(1).after(EARLY_LIFE);
        // Spawned and dead, with what is then known of the chain.
        let deaths =
            [(at(0), at(3), 1, at(3)), (at(2), at(4), 1, at(3)), (at(3), at(5), 2, at(5)), (at(1), late, 2, at(5))];
        for (spawned, dead, links, last) in deaths {
            backoff.on_acked_death(dead, &worker(spawned, spawned), &[]);
            assert_eq!((backoff.early_deaths, backoff.last_early_death), (links, Some(last)));
        }
    }

    #[test]
    fn chain_ends_with_a_later_worker_that_lived_on() {
        let (last, now) = (at(100), at(200));
        let young = Mono::from_nanos(now.as_nanos() - EARLY_LIFE.as_nanos() as u64 + 1);
        let old_enough = Mono::from_nanos(young.as_nanos() - 1);
        let just_before = Mono::from_nanos(last.as_nanos() - 1);
        for (living, links) in [
            (vec![worker(last, old_enough)], 1),
            (vec![worker(last, young)], 3),
            (vec![worker(just_before, old_enough)], 3),
            (vec![], 3),
        ] {
            let mut backoff = Backoff { early_deaths: 2, last_early_death: Some(last), ..Backoff::default() };
            backoff.on_acked_death(now, &worker(now, now), &living);
            assert_eq!(backoff.early_deaths, links, "{living:?}");
        }
    }
}
