//! A moment as Ruby's `Time` is written: seconds and nanoseconds since the epoch, and the offset it is shown in.
//! Reads no clock and no time zone.

use std::fmt;

const DAY_SECONDS: i64 = 86_400;

/// How a moment is shown: Ruby tells a UTC time from one in a zone that happens to be at +00:00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offset {
    /// Written as `Z`.
    Utc,
    /// Seconds east of Greenwich, written as `+HH:MM`.
    East(i32),
}

/// A wall-clock moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970-01-01 00:00:00 UTC; negative before.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
    pub offset: Offset,
}

/// A moment's fields on the calendar, in its own offset.
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Time {
    pub const fn utc(seconds: i64, nanos: u32) -> Self {
        Self { seconds, nanos, offset: Offset::Utc }
    }

    /// A moment shown `offset_seconds` east of Greenwich.
    pub const fn local(seconds: i64, nanos: u32, offset_seconds: i32) -> Self {
        Self { seconds, nanos, offset: Offset::East(offset_seconds) }
    }

    fn offset_seconds(self) -> i64 {
        match self.offset {
            Offset::Utc => 0,
            Offset::East(seconds) => i64::from(seconds),
        }
    }

    fn fields(self) -> Fields {
        let shown = self.seconds.saturating_add(self.offset_seconds());
        let (year, month, day) = date_of(shown.div_euclid(DAY_SECONDS));
        let second = shown.rem_euclid(DAY_SECONDS);
        Fields { year, month, day, hour: second / 3600, minute: second / 60 % 60, second: second % 60 }
    }

    /// As Ruby's `Time#inspect` shows it: `2026-11-23 00:59:42.5 UTC`.
    pub fn inspect(self) -> String {
        let mut text = self.fields().to_string();
        if self.nanos > 0 {
            text.push_str(format!(".{:09}", self.nanos).trim_end_matches('0'));
        }
        match self.offset {
            Offset::Utc => text.push_str(" UTC"),
            Offset::East(seconds) => {
                let size = seconds.unsigned_abs();
                text.push_str(&format!(" {}{:02}{:02}", sign_of(seconds), size / 3600, size / 60 % 60));
                if size % 60 > 0 {
                    text.push_str(&format!("{:02}", size % 60));
                }
            }
        }
        text
    }
}

fn sign_of(seconds: i32) -> char {
    if seconds < 0 { '-' } else { '+' }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.year < 0 { "-" } else { "" };
        write!(f, "{sign}{:04}-{:02}-{:02} ", self.year.abs(), self.month, self.day)?;
        write!(f, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second)
    }
}

impl fmt::Display for Time {
    /// As Psych writes it: `2026-11-23 00:59:42.745983213 Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09} ", self.fields(), self.nanos)?;
        match self.offset {
            Offset::Utc => f.write_str("Z"),
            Offset::East(seconds) => {
                let size = seconds.unsigned_abs();
                write!(f, "{}{:02}:{:02}", sign_of(seconds), size / 3600, size / 60 % 60)
            }
        }
    }
}

/// Days from the epoch to a date of the Gregorian calendar. A day past the month's end runs on into the next month.
/// A year counts from March here, so that the leap day is its last.
pub(super) fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let march_year = if month <= 2 { year - 1 } else { year };
    let era = march_year.div_euclid(400);
    let year_of_era = march_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The year, month and day of a day counted from the epoch: the other half of `days_to`.
fn date_of(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}
