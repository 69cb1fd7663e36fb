//! Bad releases under load: each is deployed by moving a link and giving `einhyrningsinsctl upgrade`, as a deploy does, and then it
//! is counted what was lost, how few workers served, and when the old strength was back. `make test` runs the short form, `make
//! bad-releases` all of it.

#![allow(clippy::disallowed_methods, reason = "tests read the clock and start threads of their own")]

mod kind;
mod many;
mod rival;
#[path = "../sim/rng.rs"]
#[allow(dead_code, reason = "the simulator needs more of it")]
mod rng;
mod run;
mod samples;
mod side_by_side;
mod site;
#[path = "../proc/support/mod.rs"]
mod support;
mod table;
mod watch;

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::kind::{Host, Length, Style};

#[test]
fn the_page_on_deploys_has_a_row_for_each_kind() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/deploys.md")).unwrap();
    let missing = |kind: &&kind::Kind| !page.contains(&format!("\n| {} |", kind.name));
    let kinds = kind::KINDS.iter().chain(samples::KINDS);
    assert_eq!(kinds.filter(missing).map(|kind| kind.name).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn bad_releases_cannot_hurt() {
    // Each in one of the two; all in each, in the long form.
    let ways = [(Style::Smooth, Host::Alone), (Style::Fleet, Host::Manager), (Style::Canary, Host::Alone)];
    run::run_all(&ways, Length::Short);
}

#[test]
#[ignore = "takes minutes; `make bad-releases` runs it"]
fn all_bad_releases() {
    let styles = [Style::Smooth, Style::Fleet, Style::Canary];
    let ways = [Host::Alone, Host::Manager].into_iter().flat_map(|host| styles.map(|style| (style, host)));
    run::run_all(&ways.collect::<Vec<_>>(), Length::Long);
}

#[test]
#[ignore = "needs gunicorn, puma, Node and Go; `make bad-releases` runs it"]
fn all_bad_releases_of_servers() {
    run::run_samples(&[(Style::Smooth, Host::Alone), (Style::Canary, Host::Manager)]);
}

/// For `make compare-releases`: `COMPARE_PM2` is the directory of pm2's programs.
#[test]
#[ignore = "needs other supervisors; `make compare-releases` runs it"]
fn compare() {
    println!("{}", rival::table(&rival::compare()));
}

#[test]
fn nine_upgrades_with_bad_ones_among_them_lose_nothing() {
    assert_nothing_lost_in(9, 1);
}

#[test]
#[ignore = "takes minutes; `make bad-releases` runs it"]
fn all_bad_releases_among_two_hundred_upgrades() {
    assert_nothing_lost_in(200, 3);
}

/// On so many masters side by side. `BAD_RELEASES_SEED` repeats a run; each master has the next seed.
fn assert_nothing_lost_in(upgrades: u64, masters: u64) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    let seed = env::var("BAD_RELEASES_SEED").map_or_else(|_| now(), |seed| seed.parse().expect("a number"));
    println!("BAD_RELEASES_SEED={seed}");
    let seeds = (seed..seed + masters).collect();
    for tally in side_by_side::side_by_side(masters as usize, seeds, |seed| many::upgrade_often(upgrades, seed)) {
        assert_eq!(tally.unaccounted(), 0, "{tally:?}");
        assert_eq!(tally.good + tally.bad, upgrades);
    }
}
