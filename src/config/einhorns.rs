//! Numbers as einhorn reads them where our own readers refuse them: each function gives the nearest text that its option accepts, or nothing
//! where einhorn refuses the value, too, or reads it as something else than was meant. Decides nothing about when that is done.

use std::ffi::OsStr;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::base::limits::{SECONDS_LEAST, SECONDS_MAX};
use crate::config::values::{NICE_LEVELS, NUMBER_MAX, ruby_float};

/// More digits than any number that is told from infinity here.
const DIGITS_MAX: usize = 18;

/// Whether the program goes by the name that scripts know.
pub fn is_called_einhorn(argv0: &OsStr) -> bool {
    Path::new(argv0).file_name() == Some(OsStr::new("einhorn"))
}

/// `-n`: what Ruby's `to_i` makes of digits, the zeros before them left out. What it makes nothing of, einhorn refuses, too.
pub(super) fn number(text: &str) -> Option<String> {
    let digits = text.trim();
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    whole(digits.trim_start_matches('0'), 1..=i64::from(NUMBER_MAX)).filter(|number| is_plain && number != "0")
}

/// Limits of workers.
pub(super) fn limit(text: &str) -> Option<String> {
    whole(text, 1..=i64::from(NUMBER_MAX))
}

/// `-l`: listen(2) has a queue of its own for 0, and takes a negative one for the longest.
pub(super) fn backlog(text: &str) -> Option<String> {
    match text.trim() {
        "" => Some("1".to_owned()),
        text if text.starts_with('-') && is_whole(text) => Some(i32::MAX.to_string()),
        text => whole(text, 1..=i64::from(i32::MAX)),
    }
}

/// `-t`, in whole seconds.
pub(super) fn timeout(text: &str) -> Option<String> {
    whole(text, 1..=i64::from(u32::MAX))
}

/// `-s`; einhorn itself waits for no longer than 30 seconds, and refuses 0.
pub(super) fn seconds(text: &str) -> Option<String> {
    let seconds = ruby_float(text)?;
    if seconds > SECONDS_MAX {
        Some(SECONDS_MAX.to_string())
    } else {
        (seconds < 0.0).then(|| SECONDS_LEAST.to_string())
    }
}

/// `-m`: a timer that is over before it begins is over at once.
pub(super) fn ack_seconds(text: &str) -> Option<String> {
    ruby_float(text).map(|seconds| seconds.clamp(0.0, SECONDS_MAX).to_string())
}

/// `--nice`, as Ruby's `split` parts it: what is empty at its end is not there, and a part that is not there changes nothing.
pub(super) fn nice(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.trim_end_matches(':').split(':').collect();
    let level = |part: &&str| whole(part, i64::from(*NICE_LEVELS.start())..=i64::from(*NICE_LEVELS.end()));
    match parts.as_slice() {
        [""] => Some(String::new()),
        [master] => level(master),
        [master, worker] => Some(format!("{}:{}", level(master)?, level(worker)?)),
        [master, worker, command, ..] => Some(format!("{}:{}:{command}", level(master)?, level(worker)?)),
        [] => None,
    }
}

/// A whole number in decimal, however long, brought into this range. One with a zero before it is an octal one to Ruby, which its
/// writer hardly meant.
fn whole(text: &str, range: RangeInclusive<i64>) -> Option<String> {
    let text = text.trim();
    let digits = text.trim_start_matches(['-', '+']);
    if !is_whole(text) || digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    let far = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    let number = if digits.len() > DIGITS_MAX { far } else { text.parse().ok()? };
    Some(number.clamp(*range.start(), *range.end()).to_string())
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
