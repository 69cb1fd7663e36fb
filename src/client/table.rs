//! A status as a table for people. The columns may change; scripts ask for JSON.

use std::fmt::Write;

use crate::base::printable;
use crate::client::status::{Down, Leftover, Loader, Release, Status, Trial, Upgrade, Waiting, Worker};
use crate::client::text::{Colour, Text};

const HEADINGS: [&str; 7] = ["INDEX", "PID", "VERSION", "STATE", "AGE", "ACKED", "PING"];

/// Where the state stands, which is coloured.
const STATE: usize = 3;

/// What stands between two columns.
const GAP: &str = "  ";

/// How many characters of a state are shown. Every row is padded to the widest cell, so without a limit one long state makes the
/// table as large as the number of rows times its length. JSON has the whole text. The other padded cells are numbers.
const STATE_MAX: usize = 64;

/// Every line ends with a newline.
pub(super) fn render(status: &Status) -> Text {
    let mut text = Text::from(&*headline(status));
    let mut line = |words: &str, colour| {
        text.paint(words, colour);
        text.push("\n");
    };
    if let Some(upgrade) = &status.upgrade {
        line(&upgrade_line(upgrade), Colour::Yellow);
    }
    if let Some(waits_for) = &status.waits_for {
        line(&printable::line(&waits_for.text), Colour::Yellow);
    }
    if let Some(trial) = &status.trial {
        line(&trial_line(trial), Colour::Yellow);
    }
    status.waiting.iter().for_each(|waiting| line(&waiting_line(waiting), Colour::Red));
    status.down.iter().for_each(|down| line(&down_line(down), Colour::Red));
    status.leftovers.iter().for_each(|left| line(&leftover_line(left), Colour::Yellow));
    status.lost_sockets.iter().for_each(|bind| line(&lost_line(bind), Colour::Red));
    if status.stopping {
        line("stopping: no worker is launched any more", Colour::Yellow);
    }
    if status.consecutive_deaths > 0 {
        let words = format!("{} in a row died before their ack", plural(status.consecutive_deaths, "worker"));
        line(&words, Colour::Red);
    }
    releases(status, &mut text);
    workers(status, &mut text);
    counters(status, &mut text);
    text
}

fn headline(status: &Status) -> String {
    let pid = status.pid.map_or_else(String::new, |pid| format!(" {pid}"));
    let name = status.name.as_ref().map_or_else(String::new, |name| format!(" ({})", printable::line(name)));
    let (version, serving) = (status.version, status.serving());
    let target = plural(status.target, "worker");
    format!("master{pid}{name}: version {version}, {serving} of {target} serve{}\n", by_version(status))
}

/// Which versions serve, unless the one that is launched is the only one.
fn by_version(status: &Status) -> String {
    let mut counts = status.serving_by_version();
    if counts.iter().all(|(version, _)| *version == status.version) {
        return String::new();
    }
    if counts.iter().all(|(version, _)| *version != status.version) {
        counts.insert(0, (status.version, 0));
    }
    let counts: Vec<String> = counts.iter().map(|(version, count)| format!("{count} of version {version}")).collect();
    format!(" ({})", counts.join(", "))
}

/// What runs, which upgrade failed last and which worker died last, and why.
fn releases(status: &Status, text: &mut Text) {
    let mut line = |words: String, colour| {
        text.paint(&printable::line(&words), colour);
        text.push("\n");
    };
    if let Some(release) = &status.release {
        line(release_line(release), Colour::Dim);
    }
    for loader in &status.loaders {
        line(loader_line(loader), if loader.state == "executed" { Colour::Yellow } else { Colour::Dim });
    }
    if let Some(failure) = &status.last_failure {
        let when = failure.ended.as_ref().unwrap_or(&failure.began);
        line(format!("the last upgrade failed at {when}: {}", first_line(failure.why.as_deref())), Colour::Red);
    }
    if let Some(death) = &status.last_death {
        line(format!("the last death, at {}: {}", death.at, death.why), Colour::Dim);
    }
}

fn release_line(release: &Release) -> String {
    let user = release.user.clone().or(release.uid.map(|uid| format!("uid {uid}")));
    let asker = user.as_ref().unwrap_or(&release.asked_by);
    let reason = release.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let path = release.path.as_deref().unwrap_or("an unknown program");
    let version = release.version.unwrap_or_default();
    format!(
        "version {version} is {path}, since {}, by {asker}{reason}",
        release.ended.as_ref().unwrap_or(&release.began)
    )
}

/// As the master's own table has it.
fn loader_line(loader: &Loader) -> String {
    let Loader { version, state, pid } = loader;
    let by = pid.map_or_else(String::new, |pid| format!(" by loader {pid}"));
    match state.as_str() {
        "executed" => format!("version {version} could not be preloaded, its workers are executed"),
        "loaded" => format!("version {version} is preloaded{by}"),
        "loading" => format!("version {version} is being loaded{by}"),
        other => format!("version {version} is {other}{by}"),
    }
}

/// `history` has all of it.
fn first_line(why: Option<&str>) -> &str {
    why.and_then(|why| why.lines().next()).unwrap_or("it is not known why")
}

fn upgrade_line(upgrade: &Upgrade) -> String {
    let Upgrade { style, version, acked, target, failures, stage, paused } = upgrade;
    let mut line = format!("upgrading to version {version} ({}): {acked} of {target} acked", printable::line(style));
    if *failures > 0 {
        let _infallible = write!(line, ", {}", plural(*failures, "failure"));
    }
    if let Some(stage) = stage.filter(|stage| stage < target) {
        let _infallible = write!(line, ", {stage} of {target} in this stage");
    }
    if *paused {
        line.push_str(", paused");
    }
    line
}

fn trial_line(trial: &Trial) -> String {
    let Trial { version, failures, max_failures, left_s } = trial;
    let left = left_s.map_or_else(|| "until all serve".to_owned(), |left_s| format!("{left_s:.0}s left"));
    format!("version {version} is on trial: {left}, {} of {max_failures} allowed", plural(*failures, "failure"))
}

fn waiting_line(waiting: &Waiting) -> String {
    let Waiting { slot, deaths, next_in_s } = waiting;
    format!("slot {slot} waits {next_in_s:.0}s for its next worker: {} died young in a row", plural(*deaths, "worker"))
}

fn down_line(down: &Down) -> String {
    let Down { slot, exit_status, down_s } = down;
    let since = duration(*down_s);
    format!(
        "slot {slot} stays down since {since}: its worker exited with {exit_status} (worker.no-restart); an upgrade launches it again"
    )
}

fn lost_line(bind: &str) -> String {
    format!("the file of {} is gone: no client can connect, an upgrade makes it anew", printable::line(bind))
}

fn leftover_line(left: &Leftover) -> String {
    let Leftover { worker, group, left_program, signal, told_s, killed } = left;
    let what = left_program.as_deref().map_or(String::new(), |program| format!(" {},", printable::line(program)));
    let signal = if *killed { "KILL" } else { signal };
    let signal = printable::line(signal);
    format!("worker {worker} has ended and left{what} process group {group}, sent {signal} {} ago", duration(*told_s))
}

fn workers(status: &Status, text: &mut Text) {
    if status.workers.is_empty() {
        return text.push("no workers\n");
    }
    let mut sorted: Vec<_> = status.workers.iter().collect();
    sorted.sort_by_key(|worker| (worker.index, worker.pid));
    let rows: Vec<[String; 7]> = sorted.into_iter().map(cells).collect();
    // A long ping is the last cell of its row: nothing has to be padded for it.
    let width = |column: usize| {
        if column == HEADINGS.len() - 1 {
            return 0;
        }
        rows.iter().map(|row| row[column].chars().count()).chain([HEADINGS[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let columns = padded(&HEADINGS.map(str::to_owned), widths);
    text.paint(columns.concat().trim_end(), Colour::Dim);
    text.push("\n");
    for row in &rows {
        let columns = padded(row, widths);
        text.push(&columns[..STATE].concat());
        // Padded first and painted then: colours take no room.
        text.paint(&columns[STATE][..columns[STATE].len() - GAP.len()], colour_of(&row[STATE]));
        text.push(format!("{GAP}{}", columns[STATE + 1..].concat()).trim_end());
        text.push("\n");
    }
}

/// Each cell as wide as its column, with the gap behind it.
fn padded(row: &[String; 7], widths: [usize; 7]) -> [String; 7] {
    std::array::from_fn(|column| format!("{:<width$}{GAP}", row[column], width = widths[column]))
}

fn cells(worker: &Worker) -> [String; 7] {
    let ago = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), duration);
    let ping = match &worker.ping_id {
        Some(id) if !id.is_empty() => format!("{} ({})", ago(worker.last_ping_s), printable::line(id)),
        Some(_) | None => ago(worker.last_ping_s),
    };
    [
        worker.index.map_or_else(|| "-".to_owned(), |index| index.to_string()),
        worker.pid.to_string(),
        worker.version.to_string(),
        state(&worker.state),
        ago(worker.age_s),
        ago(worker.ack_age_s),
        ping,
    ]
}

/// The state as far as it is shown; one that is cut ends with an ellipsis.
fn state(said: &str) -> String {
    let whole = printable::line(said);
    match whole.char_indices().nth(STATE_MAX - 1) {
        Some((last, char)) if last + char.len_utf8() < whole.len() => format!("{}…", &whole[..last]),
        Some(_) | None => whole.into_owned(),
    }
}

fn colour_of(state: &str) -> Colour {
    match state {
        "acked" => Colour::Green,
        "starting" => Colour::Yellow,
        "stopping" => Colour::Dim,
        _ => Colour::Red,
    }
}

/// In the order in which they are shown.
const COUNTERS: [&str; 6] = ["launched", "exited", "killed", "upgrades", "failed_upgrades", "log_lines_dropped"];

fn counters(status: &Status, text: &mut Text) {
    if status.counters.is_empty() {
        return;
    }
    let shown = |name: &&str| Some(format!("{} {}", name.replace('_', " "), status.counters.get(*name)?));
    let shown: Vec<String> = COUNTERS.iter().filter_map(shown).collect();
    text.paint(&shown.join(", "), Colour::Dim);
    text.push("\n");
}

/// The two largest units: enough for a person.
fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{:.1}s", seconds.max(0.0));
    }
    let whole = seconds as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m{:02}s", whole % 60),
        (0, hours) => format!("{hours}h{minutes:02}m"),
        (days, hours) => format!("{days}d{hours:02}h"),
    }
}

fn plural(count: i64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::status::{Death, WaitsFor};
    use crate::client::text::Surface;

    fn status() -> Status {
        let worker = |index, pid, version, state: &str| Worker {
            index: Some(index),
            pid,
            version,
            state: state.to_owned(),
            age_s: Some(4000.0),
            ..Worker::default()
        };
        let old = Worker { ack_age_s: Some(61.0), ping_id: Some("\x1b[2J".to_owned()), ..worker(0, 12, 0, "acked") };
        let left = Leftover {
            worker: 9,
            group: 11,
            left_program: Some("sleep".to_owned()),
            signal: "USR2".to_owned(),
            ..Leftover::default()
        };
        let upgrade =
            Upgrade { style: "fleet".to_owned(), version: 1, acked: 0, target: 2, failures: 1, ..Upgrade::default() };
        Status {
            pid: Some(7),
            name: Some("web".to_owned()),
            version: 1,
            target: 2,
            upgrade: Some(upgrade),
            waits_for: Some(WaitsFor { text: "waits for worker 12".to_owned(), ..WaitsFor::default() }),
            consecutive_deaths: 1,
            leftovers: vec![Leftover { told_s: 2.0, ..left }],
            release: Some(Release {
                version: Some(0),
                path: Some("/srv/1".to_owned()),
                asked_by: "client".to_owned(),
                uid: Some(7),
                user: Some("deploy".to_owned()),
                reason: Some("login".to_owned()),
                began: "then".to_owned(),
                ended: Some("later".to_owned()),
                why: None,
            }),
            loaders: vec![
                Loader { version: 0, state: "loaded".to_owned(), pid: Some(11) },
                Loader { version: 1, state: "executed".to_owned(), pid: None },
                Loader { version: 2, state: "loading".to_owned(), pid: Some(15) },
            ],
            last_failure: Some(Release {
                why: Some("3 in a row\nWorker 9".to_owned()),
                began: "noon".to_owned(),
                ..Release::default()
            }),
            last_death: Some(Death { at: "one".to_owned(), why: "Worker 9 died".to_owned(), last_lines: Vec::new() }),
            workers: vec![worker(10, 12345, 1, "starting"), Worker { last_ping_s: Some(0.25), ..old }],
            counters: [("launched", 3), ("log_lines_dropped", 0)].map(|(name, count)| (name.to_owned(), count)).into(),
            ..Status::default()
        }
    }

    fn shown(status: &Status, surface: Surface) -> String {
        render(status).shown_on(surface)
    }

    #[test]
    fn a_table_has_everything() {
        let expected = "\
master 7 (web): version 1, 1 of 2 workers serve (0 of version 1, 1 of version 0)
upgrading to version 1 (fleet): 0 of 2 acked, 1 failure
waits for worker 12
worker 9 has ended and left sleep, process group 11, sent USR2 2.0s ago
1 worker in a row died before their ack
version 0 is /srv/1, since later, by deploy: login
version 0 is preloaded by loader 11
version 1 could not be preloaded, its workers are executed
version 2 is being loaded by loader 15
the last upgrade failed at noon: 3 in a row
the last death, at one: Worker 9 died
INDEX  PID    VERSION  STATE     AGE    ACKED  PING
0      12     0        acked     1h06m  1m01s  0.2s (\\x1b[2J)
10     12345  1        starting  1h06m  -      -
launched 3, log lines dropped 0
";
        assert_eq!(shown(&status(), Surface::Plain), expected);
        assert_eq!(shown(&status(), Surface::Terminal), expected);
    }

    /// A hostile master may say one long state and many workers.
    #[test]
    fn a_long_state_is_cut_so_that_a_table_grows_as_its_rows_do() {
        let mut status = status();
        let row = Worker { ping_id: None, ..status.workers[0].clone() };
        status.workers = vec![row; 1000];
        status.workers[7].state = "é".repeat(10_000);
        let text = shown(&status, Surface::Plain);
        assert!(text.len() < 200 * 1000, "{} bytes are shown of a thousand workers", text.len());
        assert!(text.contains(&format!("  {}…  ", "é".repeat(STATE_MAX - 1))), "{text}");
        assert!(!text.contains(&"é".repeat(STATE_MAX)));
    }

    #[test]
    fn a_state_that_just_fits_is_whole() {
        let whole = "é".repeat(STATE_MAX);
        assert_eq!(state(&whole), whole);
        assert_eq!(state(&(whole + "e")), "é".repeat(STATE_MAX - 1) + "…");
    }

    #[test]
    fn states_are_coloured_on_a_terminal() {
        let text = shown(&status(), Surface::ColourTerminal);
        assert!(text.contains("\x1b[32macked   \x1b[0m  1h06m"), "{text:?}");
        assert!(text.contains("\x1b[33mstarting\x1b[0m"), "{text:?}");
    }

    #[test]
    fn a_master_without_workers_says_so() {
        let status = Status { stopping: true, ..Status::default() };
        let expected =
            "master: version 0, 0 of 0 workers serve\nstopping: no worker is launched any more\nno workers\n";
        assert_eq!(shown(&status, Surface::Plain), expected);
    }

    #[test]
    fn durations_are_short() {
        let shown = [0.04, 59.9, 60.0, 3599.0, 3600.0, 90_000.0].map(duration);
        assert_eq!(shown, ["0.0s", "59.9s", "1m00s", "59m59s", "1h00m", "1d01h"]);
    }

    /// A break in one of them could pass for a worker's row, or for a line about the master.
    #[test]
    fn each_text_of_a_status_stays_on_its_line() {
        const BREAKS: &str = "a\nb\tc\u{1b}[2J\u{9b}2J\u{202e}";
        let mut forged = status();
        let lines = shown(&forged, Surface::Plain).lines().count();
        forged.name = Some(BREAKS.to_owned());
        forged.upgrade.as_mut().unwrap().style = BREAKS.to_owned();
        forged.waits_for.as_mut().unwrap().text = BREAKS.to_owned();
        let release = forged.release.as_mut().unwrap();
        for text in [&mut release.path, &mut release.user, &mut release.reason] {
            *text = Some(BREAKS.to_owned());
        }
        forged.leftovers[0].left_program = Some(BREAKS.to_owned());
        forged.loaders[0].state = BREAKS.to_owned();
        forged.leftovers[0].signal = BREAKS.to_owned();
        forged.last_failure.as_mut().unwrap().began = BREAKS.to_owned();
        forged.last_death.as_mut().unwrap().why = BREAKS.to_owned();
        forged.workers[0].state = BREAKS.to_owned();
        forged.workers[1].ping_id = Some(BREAKS.to_owned());
        let text = shown(&forged, Surface::Plain);
        assert_eq!(text.lines().count(), lines, "{text}");
        assert_eq!(text.matches("a\\x0ab\\x09c\\x1b[2J\\x9b2J\\u{202e}").count(), 13, "{text}");
    }
}
