//! Limits of the system that several rooms name.

/// The longest path of a unix socket in bytes: what sockaddr_un holds with its final NUL, see unix(7).
pub const SOCKET_PATH_MAX: usize = 107;

/// The last second of the year 9999, since 1970: RFC 3339 has no later one.
pub const LAST_SECOND: u64 = 253_402_300_799;

/// Longest ack timer, ack timeout and time between two starts, in seconds: a day.
pub const SECONDS_MAX: f64 = 86_400.0;

/// What stands for a negative time between two starts, which einhorn takes, in seconds.
pub const SECONDS_LEAST: f64 = 0.001;
