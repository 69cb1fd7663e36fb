//! Sets of processors as configuration, handoff and messages have them: `0-3,8`, as taskset(1) and systemd write them. Knows nothing
//! of the machine.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many processors a kernel can be built for.
pub const CPUS_MAX: u16 = 8192;

/// Processors by their numbers, at least one. A handoff has its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CpuSet(BTreeSet<u16>);

impl CpuSet {
    /// None for none.
    pub fn new(cpus: impl IntoIterator<Item = u16>) -> Option<Self> {
        Some(Self(cpus.into_iter().collect())).filter(|set| !set.0.is_empty())
    }

    /// In ascending order, each below [`CPUS_MAX`].
    pub fn cpus(&self) -> impl Iterator<Item = u16> {
        self.0.iter().copied()
    }

    pub fn meets(&self, other: &Self) -> bool {
        !self.0.is_disjoint(&other.0)
    }
}

impl FromStr for CpuSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let need = || format!("need processors from 0 to {}, such as 0-3,8 or 0-6:2", CPUS_MAX - 1);
        let parts: Option<Vec<_>> = text.split(',').map(|part| range(part.trim())).collect();
        Self::new(parts.ok_or_else(need)?.into_iter().flatten()).ok_or_else(need)
    }
}

/// `8`, `0-3`, or `0-6:2` for every second one.
fn range(text: &str) -> Option<impl Iterator<Item = u16>> {
    let (range, step) = text.split_once(':').map_or((text, 1), |(range, step)| (range, number(step).unwrap_or(0)));
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None if range.len() == text.len() => (number(range)?, number(range)?),
        None => return None,
    };
    (first <= last && last < CPUS_MAX && step > 0).then(|| (first..=last).step_by(step.into()))
}

fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> Self {
        set.to_string()
    }
}

impl TryFrom<String> for CpuSet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for CpuSet {
    /// As `/proc/PID/status` has it in `Cpus_allowed_list`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for cpu in self.cpus() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                Some(_) | None => ranges.push((cpu, cpu)),
            }
        }
        let shown = ranges.into_iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        f.write_str(&shown.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_sets_are_read_as_taskset_reads_them_and_shown_as_the_kernel_shows_them() {
        for (text, shown) in [
            ("0", "0"),
            ("0-3", "0-3"),
            ("0-3,8", "0-3,8"),
            (" 8 , 0-1 ", "0-1,8"),
            ("0-6:2", "0,2,4,6"),
            ("0-7:2,1", "0-2,4,6"),
            ("3,2,1,1-3", "1-3"),
            ("5-5", "5"),
            ("8191", "8191"),
        ] {
            let read: CpuSet = text.parse().unwrap();
            assert_eq!(read.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(read), "{text}");
        }
    }

    #[test]
    fn what_is_no_cpu_set_is_refused_with_what_would_be_right() {
        for text in [
            "", " ", ",", "0,", "3-1", "-1", "0-", "a", "0-3:0", "0-3:", "0-3:x", "4:2", "+1", "8192", "0 1",
            "99999999",
        ] {
            assert_eq!(
                text.parse::<CpuSet>(),
                Err("need processors from 0 to 8191, such as 0-3,8 or 0-6:2".to_owned()),
                "{text}"
            );
        }
    }
}
