//! Keeps what others can cause without end from filling the log: counts each occurrence, and lets one a minute be logged.

use std::fmt;
use std::time::Duration;

use log::Level;

use crate::base::Mono;

/// How often it is logged at most.
const INTERVAL: Duration = Duration::from_secs(60);

/// Limits one kind of log line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogRateLimiter {
    suppressed: u64,
    logged_at: Option<Mono>,
}

impl LogRateLimiter {
    /// Logs a warning, or counts it.
    pub(crate) fn warn(&mut self, now: Mono, line: fmt::Arguments<'_>) {
        self.log(Level::Warn, now, line);
    }

    pub(crate) fn log(&mut self, level: Level, now: Mono, line: fmt::Arguments<'_>) {
        match self.admit(now) {
            Some(0) => log::log!(level, "{line}"),
            Some(suppressed) => log::log!(level, "{line} ({suppressed} more since this was last said)"),
            None => {}
        }
    }

    /// Whether one more may be logged now; if so, how many were suppressed since the last.
    pub(crate) fn admit(&mut self, now: Mono) -> Option<u64> {
        if self.logged_at.is_some_and(|logged_at| now.since(logged_at) < INTERVAL) {
            self.suppressed += 1;
            return None;
        }
        self.logged_at = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_logged_at_once_and_the_others_once_a_minute() {
        let start = Mono::from_nanos(0);
        let after = |seconds| start.after(Duration::from_secs(seconds));
        let mut limiter = LogRateLimiter::default();
        assert_eq!(limiter.admit(start), Some(0));
        assert_eq!([1, 30, 59].map(|seconds| limiter.admit(after(seconds))), [None; 3]);
        assert_eq!(limiter.admit(after(60)), Some(3));
        assert_eq!(limiter.admit(after(119)), None);
        assert_eq!(limiter.admit(after(500)), Some(1));
    }
}
