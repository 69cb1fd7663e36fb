//! Debian's form of the changelog: an entry for each version of CHANGELOG.md that has a date, and one for the version that
//! is being packaged, see deb-changelog(5).

use std::fmt::Write;

/// Who signs the entries; `Cargo.toml` and `packaging/deb/copyright` name the same.
const MAINTAINER: &str = "einhyrningsins maintainers <maintainers@einhyrningsins.example>";
const UNRELEASED: &str = "Unreleased";
const REVISION: &str = "1";
const DAY_SECONDS: i64 = 86400;
/// The longest line that Debian wants to see.
const WIDTH_MAX: usize = 78;

/// What one version brought.
#[derive(Debug, PartialEq)]
struct Entry<'a> {
    version: &'a str,
    /// Of its day at midnight, after the epoch.
    seconds: i64,
    lines: Vec<String>,
}

/// `seconds` dates a version that has no date in the changelog yet.
pub fn debian(changelog: &str, version: &str, seconds: i64) -> Result<String, String> {
    let entries = entries(changelog, version, seconds)?;
    let mut text = String::new();
    for Entry { version, seconds, lines } in entries {
        let (head, date) =
            (format!("einhyrningsins ({version}-{REVISION}) unstable; urgency=medium"), rfc2822(seconds));
        let body = lines.join("\n");
        let _ = write!(text, "{head}\n\n{body}\n\n -- {MAINTAINER}  {date}\n\n");
    }
    text.truncate(text.trim_end().len());
    Ok(text + "\n")
}

fn entries<'a>(changelog: &'a str, version: &'a str, seconds: i64) -> Result<Vec<Entry<'a>>, String> {
    let mut entries = Vec::new();
    for section in changelog.split("\n## [").skip(1) {
        let (title, body) = section.split_once('\n').unwrap_or((section, ""));
        let (name, date) = title.split_once(']').ok_or_else(|| format!("`## [{title}` has no end"))?;
        let lines = lines(body);
        match date.strip_prefix(" - ") {
            Some(date) => entries.push(Entry { version: name, seconds: midnight(date.trim())?, lines }),
            None if name == UNRELEASED => entries.push(Entry { version, seconds, lines }),
            None => return Err(format!("`## [{title}` has no date")),
        }
    }
    // What has come after the release of this version belongs to the next one.
    if entries.iter().filter(|entry| entry.version == version).count() > 1 {
        entries.remove(0);
    }
    match entries.first() {
        Some(first) if first.version == version => Ok(entries),
        _ => Err(format!("CHANGELOG.md speaks neither of {version} nor of what is {UNRELEASED}")),
    }
}

/// `- what` becomes `  * what`, with what it is continued by, and `### Added` becomes `  [ Added ]`.
fn lines(body: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for text in body.lines().filter(|text| !text.trim().is_empty()) {
        let begun = match (text.strip_prefix("- "), text.strip_prefix("### ")) {
            (Some(item), _) => format!("  * {item}"),
            (None, Some(heading)) => format!("  [ {heading} ]"),
            (None, None) => match lines.pop() {
                Some(before) => format!("{before} {}", text.trim()),
                None => format!("    {}", text.trim()),
            },
        };
        lines.push(begun);
    }
    lines.iter().flat_map(|line| wrapped(line)).collect()
}

/// A line as several, none longer than it may be; all but the first are indented like an item's text.
fn wrapped(line: &str) -> Vec<String> {
    let indentation = line.len() - line.trim_start().len();
    let mut lines = vec![" ".repeat(indentation)];
    for word in line.split_whitespace() {
        let last = lines.last().map_or(0, |last| last.chars().count());
        if last + 1 + word.chars().count() > WIDTH_MAX {
            lines.push("    ".to_owned());
        }
        if let Some(last) = lines.last_mut() {
            let gap = if last.trim().is_empty() { "" } else { " " };
            let _ = write!(last, "{gap}{word}");
        }
    }
    lines
}

/// The seconds at which a day such as 2026-11-27 begins.
fn midnight(date: &str) -> Result<i64, String> {
    let numbers: Vec<i64> = date.split('-').filter_map(|part| part.parse().ok()).collect();
    let [year, month @ 1..=12, day @ 1..=31] = numbers[..] else { return Err(format!("`{date}` is no date")) };
    // Years begin in March, so that the day that comes and goes is the last.
    let (shifted, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + (153 * month + 2) / 5 + day - 1;
    // So many days are from then to 1970-01-01.
    Ok((days - 719_468) * DAY_SECONDS)
}

fn rfc2822(seconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let (days, second) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
    let from_march = days + 719_468;
    let (era, day_of_era) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let (day, month_name) = (day_of_year - (153 * month + 2) / 5 + 1, MONTHS[index(month)]);
    let year = era * 400 + year + i64::from(month >= 10);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let weekday = DAYS[index(days.rem_euclid(7))];
    format!("{weekday}, {day:02} {month_name} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

fn index(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str =
        "# Changelog\n\n## [Unreleased]\n\n### Added\n- One thing,\n  and more.\n\n## [0.2.0] - 2024-02-29\n- Old.\n";

    #[test]
    fn what_is_unreleased_is_the_version_that_is_packaged() {
        let expected = format!(
            "einhyrningsins (0.3.0-1) unstable; urgency=medium\n\n  [ Added ]\n  * One thing, and more.\n\n \
             -- {MAINTAINER}  Fri, 27 Nov 2026 16:40:05 +0000\n\n\
             einhyrningsins (0.2.0-1) unstable; urgency=medium\n\n  * Old.\n\n \
             -- {MAINTAINER}  Thu, 29 Feb 2024 00:00:00 +0000\n"
        );
        assert_eq!(debian(CHANGELOG, "0.3.0", 1_795_797_605).unwrap(), expected);
    }

    #[test]
    fn long_lines_are_wrapped() {
        let lines = lines(&format!("- {}\n  end", "word ".repeat(20)));
        assert_eq!(lines, [format!("  * {}", ["word"; 15].join(" ")), format!("    {} end", ["word"; 5].join(" "))]);
    }

    #[test]
    fn what_came_after_a_release_is_not_in_its_package() {
        let text = debian(CHANGELOG, "0.2.0", 0).unwrap();
        assert!(text.starts_with("einhyrningsins (0.2.0-1)") && !text.contains("One thing"), "{text}");
    }

    #[test]
    fn a_changelog_that_lacks_the_version_is_refused() {
        let released = "\n## [0.2.0] - 2024-02-29\n- Old.\n";
        assert!(debian(released, "0.3.0", 0).unwrap_err().contains("0.3.0"));
        assert!(debian("\n## [0.3.0]\n- New.\n", "0.3.0", 0).unwrap_err().contains("no date"));
        assert!(debian("\n## [0.3.0] - soon\n- New.\n", "0.3.0", 0).unwrap_err().contains("soon"));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(rfc2822(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(rfc2822(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        for date in ["1970-01-01", "2000-02-29", "2026-12-31", "2100-03-01"] {
            let seconds = midnight(date).unwrap();
            assert_eq!(seconds % DAY_SECONDS, 0);
            assert!(rfc2822(seconds).contains(&date[..4]) && rfc2822(seconds).contains(&date[8..]), "{date}");
        }
    }
}
