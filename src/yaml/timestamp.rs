//! Tells whether a plain scalar is a date or a time to Psych 4.0.4, and which. Reads no clock and no time zone.

use crate::yaml::plain::Plain;
use crate::yaml::time::{Time, days_to};
use crate::yaml::value::Value;

/// A reader over bytes that takes the regular expressions' pieces one by one.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn digits(&mut self, least: usize, most: usize) -> Option<&'a [u8]> {
        let count = self.rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if count < least {
            return None;
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        self.digits(least, most).map(number_of)
    }

    fn eat(&mut self, wanted: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        if !wanted.contains(first) {
            return None;
        }
        self.rest = rest;
        Some(*first)
    }

    fn blanks(&mut self) -> &'a [u8] {
        let count = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken
    }
}

fn number_of(digits: &[u8]) -> i64 {
    digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
}

/// The zone as it is spelled.
enum Zone {
    None,
    Utc,
    Offset(i64),
}

/// What the text is, if it has the shape of a timestamp at all: a time, a date of the calendar, or with an impossible month, hour or
/// offset a string.
pub(super) fn parse(text: &str) -> Option<Plain> {
    parse_time(text).or_else(|| is_date(text).then_some(Plain::Ambiguous))
}

fn parse_time(text: &str) -> Option<Plain> {
    let mut cursor = Cursor { rest: text.as_bytes() };
    let negative = cursor.eat(b"-").is_some();
    let size = cursor.number(4, 4)?;
    let year = if negative { -size } else { size };
    cursor.eat(b"-")?;
    let month = cursor.number(1, 2)?;
    cursor.eat(b"-")?;
    let day = cursor.number(1, 2)?;
    let gap: &[u8] = if cursor.eat(b"Tt").is_some() { b"T" } else { cursor.blanks() };
    let hour = cursor.number(1, 2)?;
    cursor.eat(b":")?;
    let minute = cursor.number(2, 2)?;
    cursor.eat(b":")?;
    let second = cursor.number(2, 2)?;
    let nanos = fraction(&mut cursor);
    let zone = parse_zone(&mut cursor)?;
    // Psych divides date from time at the first blank or T; a tab in that place leaves it without a time.
    if gap.first().is_none_or(|byte| !matches!(byte, b' ' | b'T')) {
        return (!gap.is_empty()).then_some(Plain::Ambiguous);
    }
    let at_midnight = minute == 0 && second == 0 && nanos == 0;
    let hour_fits = hour < 24 || (hour == 24 && at_midnight);
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day) && hour_fits && minute < 60 && second <= 60;
    let shown = days_to(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some(if fits { placed(shown, nanos, &zone) } else { Plain::Str })
}

fn time(time: Time) -> Plain {
    Plain::Value(Value::Time(time))
}

/// An impossible offset makes it a string to Ruby.
fn placed(shown: i64, nanos: u32, zone: &Zone) -> Plain {
    match zone {
        Zone::Utc => time(Time::utc(shown, nanos)),
        // Ruby reads it as UTC and shows it in the local zone, which is not ours to know.
        Zone::None => time(Time::local(shown, nanos, 0)),
        Zone::Offset(seconds) => match i32::try_from(*seconds) {
            Ok(offset) if offset.abs() < 86_400 => time(Time::local(shown - seconds, nanos, offset)),
            _ => Plain::Str,
        },
    }
}

/// The nanoseconds after a point; digits past the ninth are dropped, as Ruby drops them when it writes.
fn fraction(cursor: &mut Cursor<'_>) -> u32 {
    if cursor.eat(b".").is_none() {
        return 0;
    }
    let digits = cursor.digits(0, usize::MAX).unwrap_or_default();
    (0..9).fold(0, |sum, place| sum * 10 + digits.get(place).map_or(0, |digit| u32::from(digit - b'0')))
}

fn parse_zone(cursor: &mut Cursor<'_>) -> Option<Zone> {
    if cursor.rest.is_empty() {
        return Some(Zone::None);
    }
    cursor.blanks();
    let sign = cursor.eat(b"Z+-")?;
    let zone = if sign == b'Z' { Zone::Utc } else { Zone::Offset(if sign == b'-' { -1 } else { 1 } * east(cursor)?) };
    cursor.rest.is_empty().then_some(zone)
}

/// The size of an offset: `5`, `05`, `0530`, `05:30`, `05:`. Three digits are two of hours and one of minutes.
fn east(cursor: &mut Cursor<'_>) -> Option<i64> {
    let digits = cursor.digits(1, 4)?;
    if digits.len() > 2 {
        let (hours, minutes) = digits.split_at(2);
        return Some(number_of(hours) * 3600 + number_of(minutes) * 60);
    }
    let minutes = match cursor.eat(b":") {
        Some(_) if !cursor.rest.is_empty() => cursor.number(2, 2)?,
        Some(_) | None => 0,
    };
    Some(number_of(digits) * 3600 + minutes * 60)
}

fn is_date(text: &str) -> bool {
    let mut cursor = Cursor { rest: text.as_bytes() };
    let mut fields = || {
        let year = cursor.number(4, 4)?;
        cursor.eat(b"-")?;
        let month = cursor.number(1, 2)?;
        cursor.eat(b"-")?;
        let day = cursor.number(1, 2)?;
        cursor.rest.is_empty().then_some((year, month, day))
    };
    fields().is_some_and(|(year, month, day)| is_on_the_calendar(year, month, day))
}

/// Whether Ruby's `Date` has the day: the Julian calendar, then from 1582-10-15 the Gregorian, with ten days missing between.
fn is_on_the_calendar(year: i64, month: i64, day: i64) -> bool {
    let date = (year, month, day);
    let gregorian = date >= (1582, 10, 15);
    let leap = if gregorian { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) } else { year % 4 == 0 };
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => 0,
    };
    (1..=last).contains(&day) && (gregorian || date <= (1582, 10, 4))
}
