//! Runs a bad release on a master of its own under load, and says what came of it.

use std::env;
use std::process::Output;
use std::time::Duration;

use crate::kind::{EARLY_LIFE, End, Expected, Host, KINDS, Kind, Length, Server, Style, WORKERS};
use crate::samples;
use crate::side_by_side::side_by_side;
use crate::site::{BAD, GOOD, Site, is_full};
use crate::support::{Load, Pace, holds_within};
use crate::table::table;
use crate::watch::Watch;

/// How many masters run side by side.
const JOBS: usize = 12;
/// The same with servers that take their time to start.
const SAMPLE_JOBS: usize = 3;
/// The load of each.
pub const CLIENTS: usize = 3;
/// As patient as clients are: what waits in a queue for a while is not lost.
pub const PACE: Pace = Pace { pause: Duration::from_millis(15), limit: Duration::from_secs(10) };
/// How many requests come before the upgrade, and how many after its end, if they are answered then.
const SPELL: u64 = 40;
const LAST_SPELL: u64 = 6;
/// How long an end is waited for, once the client has come back.
pub const END_MAX: Duration = Duration::from_secs(15);
/// For how long an end must be so: the release before is known to be good, the new one may die late.
const BACK_FOR: Duration = Duration::from_millis(500);
const TAKEN_FOR: Duration = Duration::from_millis(EARLY_LIFE.as_millis() as u64 + 500);
/// A worker counts an answer a moment after its client has it.
const COUNTED_MAX: Duration = Duration::from_millis(500);
/// How long one looks whether what is expected to stay does.
const STAYS_FOR: Duration = Duration::from_millis(EARLY_LIFE.as_millis() as u64 + 4000);

/// How the release is brought in, and what the master runs under.
pub type Way = (Style, Host);

/// What came of a bad release.
pub struct Outcome {
    pub kind: &'static Kind,
    pub way: Way,
    pub lost: u64,
    /// Of the lost ones, those that the release's own workers had accepted: counted by them, and of servers that do not count, as many as
    /// were torn, up to one for each client and each worker that died. A client has one request at a time.
    pub in_hand: u64,
    pub serving_min: usize,
    pub end: End,
    /// From the upgrade's beginning to its end.
    pub ended_after: Option<Duration>,
    pub code: Option<i32>,
    /// All that the client printed, and what matters of it.
    pub said: String,
    pub words: String,
    /// Whether workers of the new release answered after the one before had its strength again.
    pub answers_on: bool,
    /// What the service manager knew in the end, if there was one.
    pub standing: Option<(bool, String)>,
}

/// Runs all kinds of this length (with `BAD_RELEASES_ONLY` in their names) in each way, prints the tables, and panics if one came out otherwise than expected.
pub fn run_all(ways: &[Way], length: Length) {
    let only = env::var("BAD_RELEASES_ONLY").unwrap_or_default();
    run_kinds(KINDS.iter().filter(|kind| kind.length <= length && kind.name.contains(&only)), ways, JOBS);
}

/// The same with the servers that people run.
pub fn run_samples(ways: &[Way]) {
    run_kinds(samples::KINDS.iter(), ways, SAMPLE_JOBS);
}

fn run_kinds(kinds: impl Iterator<Item = &'static Kind>, ways: &[Way], jobs: usize) {
    let kinds: Vec<&'static Kind> = kinds.collect();
    // All kinds in one way, then in the next: those that take the whole processor do not run side by side in all ways.
    let cells = ways.iter().flat_map(|way| kinds.iter().map(move |kind| (*kind, *way)));
    let outcomes = side_by_side(jobs, cells.collect(), |(kind, way)| try_out(kind, way));
    let mut outcomes: Vec<(usize, Outcome)> = outcomes.into_iter().enumerate().collect();
    outcomes.sort_by_key(|(at, _)| (at % kinds.len(), at / kinds.len()));
    let outcomes: Vec<Outcome> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    for host in [Host::Alone, Host::Manager] {
        let styles: Vec<_> = ways.iter().filter(|way| way.1 == host).map(|(style, _)| style.name()).collect();
        let here: Vec<_> = outcomes.iter().filter(|outcome| outcome.way.1 == host).collect();
        println!("{}: {}\n\n{}", host.name(), styles.join("; "), table(&here));
    }
    let faults: Vec<_> = outcomes.iter().flat_map(Outcome::faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn try_out(kind: &'static Kind, way: Way) -> Outcome {
    let (style, host) = way;
    let site = Site::start(style, host, samples::good(kind), EARLY_LIFE);
    let load = Load::start_at(site.master.addr(), CLIENTS, "/", PACE);
    load.wait_for(SPELL);
    let watch = Watch::start(site.master.socket());
    site.deploy(style, BAD, kind.server);
    let begun = watch.elapsed();
    let output = site.bring_in(style);
    let came_back = watch.elapsed();
    let limit = match kind.expected {
        Expected::Certain { .. } | Expected::OnTrial => END_MAX,
        Expected::Checked | Expected::Unnoticed => STAYS_FOR,
    };
    let end = wait_for_end(&watch, came_back, limit, || site.master.is_running());
    let answered = load.so_far().answered_by(BAD);
    if matches!(end, Some((End::Back, _))) {
        load.wait_for(LAST_SPELL);
    }
    let report = load.stop();
    let lost = report.lost_count();
    holds_within(COUNTED_MAX, || site.in_hand(BAD) <= lost);
    let in_hand = match kind.server {
        Server::Sample(..) | Server::Go(_) => {
            let torn = report.lost.iter().filter(|(failure, _)| failure.is_torn()).map(|(_, count)| count).sum::<u64>();
            torn.min(site.master.log().count("exited unexpectedly") as u64 * CLIENTS as u64)
        }
        Server::Script(_) | Server::Raw(_) | Server::Foreign | Server::Made(_) | Server::Configured(_) => {
            site.in_hand(BAD)
        }
    };
    let (end, at) = match end {
        Some((end, at)) => (end, Some(at)),
        None if site.master.is_running() => (End::Stays, None),
        None => (End::Gone, None),
    };
    let outcome = Outcome {
        kind,
        way,
        lost,
        in_hand,
        serving_min: watch.serving_min(),
        end,
        ended_after: at.map(|at| at - begun),
        code: output.status.code(),
        said: [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat(),
        // Without the directory and the address, which are others in each run.
        words: why(&output)
            .unwrap_or_else(|| last_words(&output))
            .replace(&format!("{}/", site.master.directory().display()), "")
            .replace(&site.master.addr().to_string(), "127.0.0.1:8080"),
        answers_on: end == End::Back && report.answered_by(BAD) > answered,
        standing: if matches!(end, End::Back | End::Taken) { site.standing() } else { None },
    };
    if !outcome.faults().is_empty() {
        eprintln!("{}\n{report}\nthe log:\n{}", outcome.faults().join("\n"), site.master.log());
    }
    outcome
}

/// Waits until one release alone serves at full strength, and for some time.
fn wait_for_end(
    watch: &Watch,
    after: Duration,
    limit: Duration,
    is_running: impl Fn() -> bool,
) -> Option<(End, Duration)> {
    let ends = [(End::Back, GOOD, BACK_FOR), (End::Taken, BAD, TAKEN_FOR)];
    let mut found = None;
    holds_within(limit, || {
        found = ends.iter().find_map(|(end, release, span)| {
            let at = watch.so_since(after, |look| look.is_all(release, WORKERS))?;
            (watch.elapsed() - at >= *span).then_some((*end, at))
        });
        found.is_some() || !is_running()
    });
    found
}

/// The last lines on standard output and on standard error, without what colours them.
pub fn last_words(output: &Output) -> String {
    let last = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines().rev().find(|line| !line.trim().is_empty()).map(without_colours)
    };
    [last(&output.stdout), last(&output.stderr)].into_iter().flatten().collect::<Vec<_>>().join(" / ")
}

/// Of an upgrade that failed: how the last worker did, without its pid, and of the lines that it wrote the one with the error, or the last.
fn why(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = |begin: &str| text.lines().rev().find_map(|line| line.strip_prefix(begin));
    let headline = last("Upgrade failed: ").or_else(|| last("Upgrade failed after it was done: "))?;
    let death = last("Worker ").and_then(|line| line.split_once(' ')).map(|(_, death)| format!("a worker {death}"));
    let told = text.lines().filter_map(|line| line.strip_prefix("  ")).find(|line| line.contains("Error"));
    let wrote = told.or_else(|| last("  ")).map(|line| format!("; it wrote: {}", line.trim()));
    Some(death.unwrap_or_else(|| headline.to_owned()) + &wrote.unwrap_or_default())
}

fn without_colours(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| text + piece.split_once('m').map_or("", |(_, rest)| rest))
}

impl Outcome {
    /// Lost, and not in the hand of a worker of the bad release.
    pub fn lost_by_us(&self) -> u64 {
        self.lost.saturating_sub(self.in_hand)
    }

    /// A service manager, if there is one, knows that the service is ready and serves in full.
    fn is_well_known(&self) -> bool {
        self.standing.as_ref().is_none_or(|(is_ready, status)| *is_ready && is_full(status))
    }

    /// In what it is otherwise than expected.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut demand = |holds: bool, what: String| {
            if !holds {
                faults.push(format!("{}, {}, {}: {what}", self.kind.name, self.way.0.name(), self.way.1.name()));
            }
        };
        let garbage: String = self.said.chars().filter(|letter| letter.is_control() && *letter != '\n').collect();
        demand(garbage.is_empty(), format!("printed {garbage:?}"));
        match self.kind.expected {
            Expected::Certain { code, end, words } => {
                demand(self.code == Some(code), format!("exit code {:?}, not {code}", self.code));
                demand(self.end == end, format!("came to {:?}, not to {end:?}", self.end));
                demand(self.said.contains(words), format!("said {:?}, not {words:?}", self.said));
                if end == End::Gone {
                    return faults;
                }
                demand(self.is_well_known(), format!("the service manager knows of {:?}", self.standing));
                demand(self.lost_by_us() == 0, format!("{} requests were lost by our doing", self.lost_by_us()));
                demand(self.serving_min >= WORKERS, format!("only {} served", self.serving_min));
            }
            Expected::Checked if self.way.0 != Style::Canary => {}
            Expected::OnTrial | Expected::Checked => {
                demand(self.end == End::Back, format!("came to {:?}, not to {:?}", self.end, End::Back));
                demand(self.is_well_known(), format!("the service manager knows of {:?}", self.standing));
                // It waits for the end of the trial.
                let fails = self.way.1 == Host::Alone || self.code == Some(1);
                demand(fails, format!("the reload ended with {:?}", self.code));
                // What no worker accepts in time is lost by a release that does not serve, where only a check tells.
                let may_lose = matches!(self.kind.expected, Expected::Checked);
                demand(
                    may_lose || self.lost_by_us() == 0,
                    format!("{} requests were lost by our doing", self.lost_by_us()),
                );
            }
            Expected::Unnoticed => {
                let is_back = self.end == End::Back && self.code == Some(1);
                demand(!is_back, format!("is noticed now, {:?}: say so in its row and in doc/deploys.md", self.words));
            }
        }
        faults
    }
}
