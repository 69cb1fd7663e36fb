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
