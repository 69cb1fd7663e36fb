//! Reads single values as einhorn reads them: Ruby's `Integer()` and `Float()`, durations, shell words, paths, nice
//! levels. Each reader answers with the value or with what is needed instead (`need a whole number from 1 to 100000`); it
//! does not know which option asks.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::limits::SECONDS_MAX;
use crate::base::printable::is_hidden;
use crate::base::{AckMode, Resource, ResourceLimit, Share, Signal};
use crate::config::definition::Need;
use crate::config::nearest::nearest;
use crate::config::origin::split_at_equals;

/// It becomes part of file names, which end at 255 bytes, and of socket paths, which end at 107.
const COMMAND_NAME_BYTES_MAX: usize = 64;
/// The kernel's range of nice levels.
pub(super) const NICE_LEVELS: RangeInclusive<i32> = -20..=19;
/// RFC 3164 has a tag of at most so many.
const IDENT_BYTES_MAX: usize = 32;

/// The parts of `--nice MASTER[:WORKER[:RENICE_CMD]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nice {
    pub master: Option<i32>,
    pub worker: Option<i32>,
    /// The program that sets the levels; einhorn's default is `/usr/bin/renice`.
    pub renice_cmd: Option<String>,
}

pub(super) fn text(value: &OsStr) -> Result<&str, Need> {
    value.to_str().ok_or_else(|| "need text in UTF-8".to_owned())
}

/// A whole number in `range`.
pub(super) fn whole<T>(value: &OsStr, range: RangeInclusive<T>) -> Result<T, Need>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    let number = ruby_integer(text(value)?).and_then(|number| T::try_from(number).ok());
    number.filter(|number| range.contains(number)).ok_or_else(|| need_whole(value, &range))
}

fn need_whole<T: Display>(value: &OsStr, range: &RangeInclusive<T>) -> Need {
    let need = format!("need a whole number from {} to {}", range.start(), range.end());
    let digits = value.to_str().map(|text| text.trim().trim_start_matches(['+', '-'])).unwrap_or_default();
    let is_octal = digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_octal { format!("{need}, without a leading zero") } else { need }
}

pub(super) fn respawn_seconds(value: &OsStr) -> Result<f64, Need> {
    let seconds = any_seconds(text(value)?).filter(|&seconds| seconds > 0.0 && seconds <= SECONDS_MAX);
    seconds.ok_or_else(|| or_time(value, format!("need a number of seconds above 0, up to {SECONDS_MAX}")))
}

/// A whole number of seconds, as a number or as a time such as `1m 30s`.
pub(super) fn whole_seconds(value: &OsStr) -> Result<u32, Need> {
    let spelled_out = value.to_str().and_then(|text| humantime::parse_duration(text.trim()).ok());
    let seconds = spelled_out.filter(|span| span.subsec_nanos() == 0).map(|span| span.as_secs().to_string());
    let read = whole(seconds.as_ref().map_or(value, |seconds| OsStr::new(seconds)), 1..=u32::MAX);
    read.map_err(|need| or_time(value, need))
}

/// What is needed in place of a value that was meant as a time.
fn or_time(value: &OsStr, need: Need) -> Need {
    let is_meant = value.to_str().is_some_and(|text| {
        ruby_float(text).is_none()
            && text.starts_with(|char: char| char.is_ascii_digit())
            && text.contains(|char: char| char.is_ascii_alphabetic())
    });
    if is_meant { format!("{need}, or a time such as 1m 30s") } else { need }
}

/// A bare number of seconds, or a time such as `1m 30s`.
fn any_seconds(text: &str) -> Option<f64> {
    let spelled_out = || humantime::parse_duration(text.trim()).ok().map(|span| span.as_secs_f64());
    ruby_float(text).or_else(spelled_out)
}

/// The most workers.
pub const NUMBER_MAX: u32 = 100_000;

/// How many workers are to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerCount {
    Fixed(u32),
    /// One for each processor.
    Processors,
}

impl Default for WorkerCount {
    fn default() -> Self {
        Self::Fixed(1)
    }
}

impl WorkerCount {
    /// The number, where so many processors may be used.
    pub fn of(self, processors: u32) -> u32 {
        match self {
            Self::Fixed(number) => number,
            Self::Processors => processors.clamp(1, NUMBER_MAX),
        }
    }
}

pub(super) fn worker_count(value: &OsStr) -> Result<WorkerCount, Need> {
    if value == "auto" {
        return Ok(WorkerCount::Processors);
    }
    let is_word = value.to_str().is_some_and(|text| text.starts_with(|char: char| char.is_alphabetic()));
    let number = whole(value, 1..=NUMBER_MAX).map(WorkerCount::Fixed);
    number.map_err(|need| if is_word { format!("{need}, or auto") } else { need })
}

pub(super) fn ack_mode(value: &OsStr) -> Result<AckMode, Need> {
    let text = text(value)?;
    if text == "manual" {
        return Ok(AckMode::Manual);
    }
    let seconds = any_seconds(text).filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    let need = || format!("need manual or a number of seconds from 0 to {SECONDS_MAX}");
    seconds.map(|seconds| AckMode::Timer(Duration::from_secs_f64(seconds))).ok_or_else(|| or_time(value, need()))
}

/// Whether a word after `-m` is its value: a mode's name or any number, in range or not.
pub(super) fn is_ack_mode(text: &str) -> bool {
    text == "manual" || ruby_float(text).is_some()
}

/// A time above 0 such as `1m 30s`, or a bare number of seconds.
pub(super) fn limit_in_time(value: &OsStr) -> Result<Duration, Need> {
    let text = text(value)?;
    let need = || format!("need a time above 0, up to {SECONDS_MAX} seconds, such as 90 or 1m 30s");
    let longest = Duration::from_secs_f64(SECONDS_MAX);
    let span = match ruby_float(text) {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => humantime::parse_duration(text.trim()).ok(),
    };
    span.filter(|&span| !span.is_zero() && span <= longest).ok_or_else(need)
}

/// The same, or nothing.
pub(super) fn time(value: &OsStr) -> Result<Duration, Need> {
    let seconds = any_seconds(text(value)?).filter(|seconds| (0.0..=SECONDS_MAX).contains(seconds));
    let need = || format!("need a time up to {SECONDS_MAX} seconds, such as 90 or 1m 30s");
    seconds.map(Duration::from_secs_f64).ok_or_else(need)
}

/// A number of workers from `least` on, or a share of them in percent.
pub(super) fn share(value: &OsStr, least: u32) -> Result<Share, Need> {
    let read = text(value)?;
    let found = match read.strip_suffix('%') {
        Some(percent) => whole(OsStr::new(percent), least..=100).map(Share::Percent),
        None => whole(value, least..=NUMBER_MAX).map(Share::Count),
    };
    found.map_err(|_| format!("need a number of workers from {least} to {NUMBER_MAX}, or {least}% to 100%"))
}

/// A file's name, in whatever bytes. Not looked at on disk.
pub(super) fn path(value: &OsStr) -> Result<PathBuf, Need> {
    if value.is_empty() || value.as_bytes().contains(&0) {
        return Err("need a path".to_owned());
    }
    Ok(PathBuf::from(value))
}

pub(super) fn absolute_path(value: &OsStr) -> Result<PathBuf, Need> {
    path(value).ok().filter(|path| path.is_absolute()).ok_or_else(|| "need an absolute path".to_owned())
}

/// A path that fits into a socket address.
pub(super) fn limited_path(value: &OsStr, bytes_max: usize) -> Result<PathBuf, Need> {
    let need = || format!("need a path of 1 to {bytes_max} bytes");
    path(value).ok().filter(|_| value.len() <= bytes_max).ok_or_else(need)
}

/// A name that can stand inside a file name.
pub(super) fn command_name(value: &OsStr) -> Result<String, Need> {
    let name = text(value)?;
    if name.len() > COMMAND_NAME_BYTES_MAX || name.chars().any(|c| c == '/' || is_hidden(c)) {
        return Err(format!("need a name of at most {COMMAND_NAME_BYTES_MAX} bytes without / and control characters"));
    }
    Ok(name.to_owned())
}

/// Permissions of a file, in octal.
pub(super) fn mode(value: &OsStr) -> Result<u32, Need> {
    let digits = text(value)?;
    let octal = digits.chars().all(|digit| digit.is_digit(8));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| octal && *mode <= 0o777);
    mode.ok_or_else(|| "need permissions in octal from 0 to 0777".to_owned())
}

/// The name or number of a group; whether there is one, the system knows.
pub(super) fn group(value: &OsStr) -> Result<String, Need> {
    let name = text(value)?;
    let fits = !name.is_empty() && !name.chars().any(|c| c == ':' || c.is_whitespace() || is_hidden(c));
    if fits { Ok(name.to_owned()) } else { Err("need the name or number of a group".to_owned()) }
}

/// As languages have it.
pub(super) fn function_name(value: &OsStr) -> Result<String, Need> {
    let name = text(value)?;
    let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let begins = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if fits && begins { Ok(name.to_owned()) } else { Err("need the name of a function".to_owned()) }
}

/// A word of a command line, in whatever bytes.
pub(super) fn word(value: &OsStr) -> Result<OsString, Need> {
    if value.as_bytes().contains(&0) {
        return Err("need a word without a zero byte".to_owned());
    }
    Ok(value.to_owned())
}

/// The name of an environment variable, in whatever bytes.
pub(super) fn variable(value: &OsStr) -> Result<OsString, Need> {
    if value.is_empty() || value.as_bytes().iter().any(|&byte| byte == b'=' || byte == 0) {
        return Err("need the name of a variable, without =".to_owned());
    }
    Ok(value.to_owned())
}

/// `NAME=VALUE` for the environment of the workers. What the master sets itself is not for others to say.
pub(super) fn assignment(value: &OsStr) -> Result<(OsString, OsString), Need> {
    let (name, content) = split_at_equals(value.as_bytes());
    let name = variable(OsStr::from_bytes(name))?;
    let content = content.unwrap_or_default();
    if is_masters(name.as_bytes()) {
        return Err(format!("need another name, {} are set by the master", masters_names()));
    }
    if content.as_bytes().contains(&0) {
        return Err("need a value without a zero byte".to_owned());
    }
    Ok((name, content.to_owned()))
}

/// How the names of the variables begin that only the master sets.
const MASTERS: [&str; 3] = ["EINHORN_", "EINHYRNINGSINS_SLOT", "LISTEN_"];

/// Whether only the master sets variables of this name.
pub fn is_masters(name: &[u8]) -> bool {
    MASTERS.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// `A_*, B_* and C_*`
pub(super) fn masters_names() -> String {
    let [one, two, three] = MASTERS;
    format!("{one}*, {two}* and {three}*")
}

/// One of the words that `alternatives` lists, parted by `|`.
pub(super) fn one_of(value: &OsStr, alternatives: &str) -> Result<String, Need> {
    let found = alternatives.split('|').find(|word| OsStr::new(word) == value);
    let need =
        || alternatives.rsplit_once('|').map(|(others, last)| format!("need {} or {last}", others.replace('|', ", ")));
    found.map(ToOwned::to_owned).ok_or_else(|| need().unwrap_or_default())
}

/// The name or number of a user; whether there is one, the system knows.
pub(super) fn user(value: &OsStr) -> Result<String, Need> {
    group(value).map_err(|_| "need the name or number of a user".to_owned())
}

/// The name of a program's file, without its directory.
pub(super) fn program_name(value: &OsStr) -> Result<String, Need> {
    let name = text(value)?;
    if name.is_empty() || name.chars().any(|c| c == '/' || is_hidden(c)) {
        return Err("need the name of a program, without its directory".to_owned());
    }
    Ok(name.to_owned())
}

/// A signal that a program can hear.
pub(super) fn graceful_signal(value: &OsStr) -> Result<Signal, Need> {
    let named = text(value)?;
    let number = || named.parse().ok().and_then(Signal::from_number);
    let signal = Signal::from_name(named).or_else(number);
    let heard = signal.filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(&signal.number()));
    heard.ok_or_else(|| "need the name of a signal that a program can hear, such as USR2 or TERM".to_owned())
}

/// `NAME=SOFT[:HARD]`, a resource limit. Sizes may have a unit.
pub(super) fn limit(value: &OsStr) -> Result<ResourceLimit, Need> {
    let (name, limits) = text(value)?.split_once('=').unwrap_or_default();
    let resource = Resource::from_name(name).ok_or_else(|| {
        let hint = match nearest(name, Resource::names()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("need one of {}", Resource::names().collect::<Vec<_>>().join(" ")),
        };
        format!("there is no limit {name:?}, {hint}")
    })?;
    let need = || format!("need a number, a size such as 512MiB, unlimited, or SOFT:HARD for {name}");
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (amount(soft).ok_or_else(need)?, amount(hard).ok_or_else(need)?);
    if soft > hard {
        return Err(format!("need a soft limit that is not above the hard one for {name}"));
    }
    Ok(ResourceLimit { resource, soft, hard })
}

/// A whole number with or without a unit of bytes, or `unlimited`.
fn amount(text: &str) -> Option<u64> {
    if ["unlimited", "infinity"].contains(&text) {
        return Some(u64::MAX);
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    number.parse::<u64>().ok()?.checked_mul(factor(unit.trim())?)
}

/// K, M, G and T are powers of 1024, with or without iB; with B, powers of 1000, and k is K. Without a unit, the number is taken as the
/// kernel takes it: bytes, seconds, microseconds or a count.
fn factor(unit: &str) -> Option<u64> {
    let (prefix, base): (&str, u64) = match unit.strip_suffix('B') {
        Some("") => return Some(1),
        Some("k") => return Some(1000),
        Some(prefix) => prefix.strip_suffix('i').map_or((prefix, 1000), |prefix| (prefix, 1024)),
        None if unit.is_empty() => return Some(1),
        None => (unit, 1024),
    };
    let exponent = ["K", "M", "G", "T"].iter().position(|known| *known == prefix)?;
    base.checked_pow(u32::try_from(exponent).ok()? + 1)
}

/// The name that syslog shows before a message.
pub(super) fn ident(value: &OsStr) -> Result<String, Need> {
    let name = text(value)?;
    let fits = (1..=IDENT_BYTES_MAX).contains(&name.len());
    let plain = name.chars().all(|c| c.is_ascii_graphic() && ![':', '['].contains(&c));
    let need = || format!("need a name of 1 to {IDENT_BYTES_MAX} letters without blanks, : and [");
    (fits && plain).then(|| name.to_owned()).ok_or_else(need)
}

/// A command line, split as a shell would, without its expansions.
pub(super) fn command_line(value: &OsStr) -> Result<Vec<String>, Need> {
    let words =
        shell_words::split(text(value)?).map_err(|_| "need a command line with its quotes closed".to_owned())?;
    match words.first() {
        Some(_) if words.iter().any(|word| word.contains('\0')) => Err("need words without a zero byte".to_owned()),
        Some(program) if !program.is_empty() => Ok(words),
        Some(_) | None => Err("need a command line that begins with a program".to_owned()),
    }
}

pub(super) fn nice(value: &OsStr) -> Result<Nice, Need> {
    // Said, and nothing said with it: einhorn takes that.
    if value.is_empty() {
        return Ok(Nice::default());
    }
    let need = || {
        let (lowest, highest) = (NICE_LEVELS.start(), NICE_LEVELS.end());
        format!("need MASTER[:WORKER[:RENICE_CMD]] with levels from {lowest} to {highest}")
    };
    let mut parts = text(value)?.splitn(3, ':');
    let mut level = || parts.next().map(|part| nice_level(part).ok_or_else(need)).transpose();
    let (master, worker) = (level()?, level()?);
    let renice_cmd = parts.next().map(ToOwned::to_owned);
    if renice_cmd.as_deref() == Some("") {
        return Err(need());
    }
    Ok(Nice { master, worker, renice_cmd })
}

fn nice_level(text: &str) -> Option<i32> {
    whole(OsStr::new(text), NICE_LEVELS).ok()
}

/// A whole number as `Integer()` takes it: blanks around, a sign, `1_000`, `0x10`. But `010` is refused, since Ruby reads
/// an 8 and its writer probably meant a 10.
fn ruby_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (radix, digits) = hexadecimal.map_or((10, digits), |digits| (16, digits));
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    let magnitude = i64::from_str_radix(&digit_group(digits, radix)?, radix).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

/// A number as `Float()` takes it, in decimal: blanks around, `1`, `.5`, `1e3`, `1_000.5`. Neither `nan` nor `inf`.
pub(super) fn ruby_float(text: &str) -> Option<f64> {
    let text = text.trim();
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let mut plain = format!("{sign}{}", decimal(mantissa)?);
    if let Some(exponent) = exponent {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let sign = if exponent.starts_with('-') { "-" } else { "" };
        plain.push_str(&format!("e{sign}{}", digit_group(unsigned, 10)?));
    }
    plain.parse().ok()
}

/// `12`, `12.5` or `.5`, its underscores gone.
fn decimal(text: &str) -> Option<String> {
    match text.split_once('.') {
        Some(("", fraction)) => Some(format!("0.{}", digit_group(fraction, 10)?)),
        Some((whole, fraction)) => Some(format!("{}.{}", digit_group(whole, 10)?, digit_group(fraction, 10)?)),
        None => digit_group(text, 10),
    }
}

/// At least one digit, and single underscores between digits, which are taken out.
fn digit_group(text: &str, radix: u32) -> Option<String> {
    let groups = || text.split('_');
    let is_whole = groups().all(|group| !group.is_empty() && group.chars().all(|c| c.is_digit(radix)));
    is_whole.then(|| groups().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_ruby_reads_them() {
        let read =
            [("0", 0), ("7", 7), (" 5\n", 5), ("+5", 5), ("-5", -5), ("1_000", 1000), ("0x10", 16), ("-0Xf_f", -255)];
        for (text, number) in read {
            assert_eq!(ruby_integer(text), Some(number), "{text}");
        }
        for text in [
            "",
            " ",
            "-",
            "abc",
            "3x",
            "1.5",
            "1__0",
            "_1",
            "1_",
            "- 5",
            "+-5",
            "0x",
            "0x_1",
            "010",
            "9".repeat(30).as_str(),
        ] {
            assert_eq!(ruby_integer(text), None, "{text}");
        }
    }

    #[test]
    fn floats_are_read_as_ruby_reads_them() {
        let read = [
            ("1", 1.0),
            ("0.5", 0.5),
            (".5", 0.5),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("5e-1", 0.5),
            ("1_000.5", 1000.5),
            (" 2 ", 2.0),
            ("-1", -1.0),
            ("007", 7.0),
            ("1_0e1_0", 1e11),
        ];
        for (text, number) in read {
            assert_eq!(ruby_float(text), Some(number), "{text}");
        }
        for text in [
            "", " ", ".", "5.", "abc", "nan", "NaN", "inf", "infinity", "1e", "e5", "1__0", "1._5", "1_.5", "1 2",
            "--1",
        ] {
            assert_eq!(ruby_float(text), None, "{text}");
        }
        assert_eq!(ruby_float("1e400"), Some(f64::INFINITY));
    }

    #[test]
    fn a_leading_zero_is_pointed_out() {
        let need = |text: &str| whole::<u32>(OsStr::new(text), 1..=9).unwrap_err();
        assert_eq!(need("010"), "need a whole number from 1 to 9, without a leading zero");
        assert_eq!(need("10"), "need a whole number from 1 to 9");
        assert_eq!(need("0"), "need a whole number from 1 to 9");
    }

    #[test]
    fn limits_in_time_are_human_or_seconds() {
        let read = |text: &str| limit_in_time(OsStr::new(text)).ok();
        assert_eq!(read("1m 30s"), Some(Duration::from_secs(90)));
        assert_eq!(read("90"), Some(Duration::from_secs(90)));
        assert_eq!(read("0.25"), Some(Duration::from_millis(250)));
        assert_eq!(read("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(read("24h"), Some(Duration::from_secs(86_400)));
        for text in ["0", "0s", "-1", "25h", "86401", "abc", "", "1e400", "1e-12", "5 apples"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
