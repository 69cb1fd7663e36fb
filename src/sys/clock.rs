//! Reads the two clocks. Nothing else in the program may: time comes in as `now`.

use std::mem::MaybeUninit;
use std::time::Duration;

use nix::time::ClockId;

use crate::base::Mono;

/// The time for decisions: CLOCK_MONOTONIC, which no administrator can set and every image of a master shares.
pub fn now() -> Mono {
    Mono::from_nanos(u64::try_from(read(ClockId::CLOCK_MONOTONIC).as_nanos()).unwrap_or(u64::MAX))
}

/// The time for display: seconds and nanoseconds since 1970. It may jump; never decide by it.
pub fn wall() -> (i64, u32) {
    let since_epoch = read(ClockId::CLOCK_REALTIME);
    (i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX), since_epoch.subsec_nanos())
}

/// A moment of the day where the machine stands, as TZ or /etc/localtime has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// From 0.
    pub month: usize,
    pub day: u32,
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
}

/// None: the system cannot tell.
pub fn local_time() -> Option<LocalTime> {
    let mut fields = MaybeUninit::<libc::tm>::zeroed();
    let seconds: libc::time_t = wall().0;
    // SAFETY: both point to memory of ours, and a struct tm of zeros is valid, should none be written.
    let fields = unsafe {
        if libc::localtime_r(&raw const seconds, fields.as_mut_ptr()).is_null() {
            return None;
        }
        fields.assume_init()
    };
    let number = |field: libc::c_int| u32::try_from(field).ok();
    Some(LocalTime {
        month: usize::try_from(fields.tm_mon).ok()?,
        day: number(fields.tm_mday)?,
        hour: number(fields.tm_hour)?,
        minute: number(fields.tm_min)?,
        second: number(fields.tm_sec)?,
    })
}

/// Both clocks exist on every Linux; a clock before 1970 reads as 1970.
fn read(clock: ClockId) -> Duration {
    clock.now().map_or(Duration::ZERO, |time| {
        let secs = u64::try_from(time.tv_sec()).unwrap_or(0);
        Duration::new(secs, u32::try_from(time.tv_nsec()).unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back() {
        let first = now();
        assert!(first > Mono::from_nanos(0));
        assert!(now() >= first);
    }

    #[test]
    fn the_wall_clock_is_past_2020() {
        assert!(wall().0 > 1_577_836_800);
    }
}
