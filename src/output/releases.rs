//! `history`: the record of releases as it is shown, and what `status` shows of it; as JSON and as a table. einhorn has no such command.

use std::path::Path;

use serde_json::Value as Json;

use crate::base::{Version, printable};
use crate::output::calendar::rfc3339;
use crate::output::history::{Asker, Entry, History, Place};
use crate::protocol::object;

/// The whole record, the oldest entry first.
pub(crate) fn document(history: &History) -> Json {
    history.entries().map(entry).collect()
}

/// What runs: the version that is gone back to when the one under way fails, or that one.
pub(crate) fn running(history: &History, good: Version) -> Json {
    history.of(good).map_or(Json::Null, entry)
}

/// The last attempt, if it came to nothing.
pub(crate) fn last_failure(history: &History) -> Json {
    history.last_failure().map_or(Json::Null, entry)
}

/// The same for people, a line each.
pub(crate) fn lines(history: &History, good: Version) -> String {
    let running = history.of(good).and_then(|entry| Some((entry, entry.place.as_ref()?)));
    let running = running.map(|(entry, place)| {
        let since = rfc3339(entry.ended.unwrap_or(entry.began));
        let reason =
            entry.request.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", printable::line(reason)));
        let (release, asker) = (path(place.path()), asker(&entry.request.asker));
        format!("version {good} is {release}, since {since}, by {asker}{reason}\n")
    });
    let failure = history.last_failure().map(|entry| {
        let first = entry.why.as_deref().and_then(|why| why.lines().next()).unwrap_or_default();
        format!(
            "the last upgrade failed at {}: {}\n",
            rfc3339(entry.ended.unwrap_or(entry.began)),
            printable::line(first)
        )
    });
    let death = history.last_death.as_ref();
    let death = death.map(|death| format!("the last death, at {}: {}\n", rfc3339(death.at), death.sentence()));
    [running, failure, death].into_iter().flatten().collect()
}

fn entry(entry: &Entry) -> Json {
    let place = |shown: fn(&Place) -> Option<&Path>| entry.place.as_ref().and_then(shown).map(path);
    let (asker, uid, user, pid) = match &entry.request.asker {
        Asker::Start => ("start".to_owned(), None, None, None),
        Asker::Takeover => ("takeover".to_owned(), None, None, None),
        Asker::Signal(signal) => (format!("SIG{signal}"), None, None, None),
        Asker::Client { uid, user, pid } => ("client".to_owned(), Some(*uid), user.clone(), Some(pid.0)),
    };
    let pinned = entry.place.iter().flat_map(|place| &place.pinned);
    let pinned = pinned.map(|word| Json::from(path(Path::new(word)))).collect();
    object([
        ("version", entry.version.map(|version| version.0).into()),
        ("path", place(|place| Some(place.path())).into()),
        ("program", place(|place| Some(&place.program)).into()),
        ("directory", place(|place| place.directory.as_deref()).into()),
        ("pinned", pinned),
        ("asked_by", asker.into()),
        ("uid", uid.into()),
        ("user", user.into()),
        ("pid", pid.into()),
        ("reason", entry.request.reason.clone().into()),
        ("began", rfc3339(entry.began).into()),
        ("ended", entry.ended.map(rfc3339).into()),
        ("result", entry.result.name().into()),
        ("why", entry.why.clone().into()),
    ])
}

/// Bytes that are no text are escaped, as the log does.
fn path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    printable::bytes(path.as_os_str().as_bytes())
}

/// One row for each entry, and below it what was said of it.
pub(crate) fn table(history: &History) -> String {
    let headings = "VERSION,BEGAN,TOOK,RESULT,ASKED BY,RELEASE".split(',').map(str::to_owned);
    let rows = std::iter::once(headings.collect()).chain(history.entries().map(cells));
    let rows: Vec<Vec<String>> = rows.collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let lines = rows.iter().map(|row| line(row, &widths));
    let below = std::iter::once(String::new()).chain(history.entries().map(remarks));
    lines.zip(below).map(|(line, below)| format!("{line}\n{below}")).collect()
}

fn line(row: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    padded.join("  ").trim_end().to_owned()
}

fn cells(entry: &Entry) -> Vec<String> {
    let none = || "-".to_owned();
    vec![
        entry.version.map_or_else(none, |version| version.to_string()),
        rfc3339(entry.began),
        entry.ended.map_or_else(none, |ended| format!("{}s", ended.saturating_sub(entry.began).max(0))),
        entry.result.name().to_owned(),
        asker(&entry.request.asker),
        entry.place.as_ref().map_or_else(none, |place| path(place.path())),
    ]
}

/// Who asked, for people.
pub(crate) fn asker(asker: &Asker) -> String {
    match asker {
        Asker::Start => "start".to_owned(),
        Asker::Takeover => "takeover".to_owned(),
        Asker::Signal(signal) => format!("SIG{signal}"),
        Asker::Client { uid, user: None, pid } => format!("uid {uid}, pid {pid}"),
        Asker::Client { user: Some(user), pid, .. } => format!("{}, pid {pid}", printable::line(user)),
    }
}

/// Each on a line of its own.
fn remarks(entry: &Entry) -> String {
    let reason = entry.request.reason.iter().map(|reason| format!("reason: {}", printable::line(reason)));
    let why = entry.why.iter().flat_map(|why| why.lines()).map(|line| printable::line(line).into_owned());
    let program = entry.place.iter().filter(|place| place.path() != place.program);
    let program = program.map(|place| format!("program: {}", path(&place.program)));
    program.chain(reason).chain(why).map(|remark| format!("  {remark}\n")).collect()
}
