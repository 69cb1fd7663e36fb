//! How long a slot waits whose workers die young.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Mono, Slot, Version};
use crate::pool::backoff::stretched_s;
use crate::pool::settings::SPINUP_INTERVAL_MAX_S;

/// By how much a wait is made longer at the most, so that slots that fail together do not come back together: a tenth. The longest
/// wait stays the longest; by then they are apart.
const JITTER_PARTS: u64 = 10;

/// Workers of one slot and version that died young, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotDeaths {
    pub version: Version,
    /// Those that died before their ack, or missed it, since the last that acked.
    pub unacked: u32,
    /// Those that died soon after it.
    pub early: u32,
    /// When the last of them was launched.
    pub last_launch: Mono,
}

impl SlotDeaths {
    /// The first early death is an accident, not yet a chain.
    pub(in crate::pool) fn exponent(&self) -> u32 {
        self.unacked.max(self.early.saturating_sub(1))
    }

    /// Seconds from the last launch to the next, before the jitter.
    pub(in crate::pool) fn interval_s(&self, spacing_s: f64) -> f64 {
        stretched_s(spacing_s, self.exponent())
    }

    /// The earliest moment of the next launch in this slot.
    pub(in crate::pool) fn not_before(&self, slot: Slot, spacing_s: f64) -> Mono {
        let interval = Duration::from_secs_f64(self.interval_s(spacing_s));
        let jitter = if self.exponent() == 0 { Duration::ZERO } else { jitter(slot, self.exponent(), interval) };
        let longest = Duration::from_secs_f64(SPINUP_INTERVAL_MAX_S);
        self.last_launch.after((interval + jitter).min(longest))
    }

    pub(in crate::pool) fn total(&self) -> u32 {
        self.unacked.saturating_add(self.early)
    }
}

/// The same for the same slot and number of deaths, so that a run can be repeated.
fn jitter(slot: Slot, deaths: u32, interval: Duration) -> Duration {
    // The finalizer of splitmix64 spreads neighbouring numbers over the whole range.
    let mut mixed = (u64::from(slot.0) << 32 | u64::from(deaths)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let most = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX) / JITTER_PARTS;
    Duration::from_nanos(if most == 0 { 0 } else { mixed % most })
}
