//! One master, and one upgrade after the other under load, of which every third on average brings a bad release: nothing may be lost but
//! what a bad release's own workers had in hand, and the master must be as well at the end as at the beginning.

use crate::kind::{End, Expected, Host, KINDS, Kind, Server, Style, WORKERS};
use crate::rng::Rng;
use crate::run::{CLIENTS, END_MAX, PACE};
use crate::site::Site;
use crate::support::{Load, holds_within};
use crate::watch::Watch;

/// One in so many.
const BAD: u64 = 3;
/// How many requests come between two upgrades.
const SPELL: u64 = 20;

/// What came of it.
#[derive(Debug, Default)]
pub struct Tally {
    pub good: u64,
    pub bad: u64,
    pub requests: u64,
    pub lost: u64,
    /// Of the lost ones.
    pub in_hand: u64,
}

/// So many upgrades. Panics at the first that comes to another end than expected.
pub fn upgrade_often(upgrades: u64, seed: u64) -> Tally {
    let (site, mut rng, mut tally) =
        (Site::start(Style::Smooth, Host::Manager, Server::Script("serve")), Rng::new(seed), Tally::default());
    let load = Load::start_at(site.master.addr(), CLIENTS, "/", PACE);
    let (kinds, mut last, mut bad_ones) = (kinds(), crate::site::GOOD.to_owned(), Vec::new());
    let descriptors = site.master.process().descriptors().len();
    for number in 1..=upgrades {
        load.wait_for(SPELL);
        let (style, name) = (rng.pick(&[Style::Smooth, Style::Fleet]), format!("release-{number}"));
        if rng.one_in(BAD) {
            deploy(&site, style, &name, rng.pick(&kinds), &last);
            bad_ones.push(name);
        } else {
            deploy(&site, style, &name, &GOOD, &name);
            last = name;
            tally.good += 1;
        }
    }
    load.wait_for(SPELL);
    let report = load.stop();
    tally.in_hand = bad_ones.iter().map(|name| site.in_hand(name)).sum();
    (tally.bad, tally.requests, tally.lost) = (bad_ones.len() as u64, report.total(), report.lost_count());
    let settled = holds_within(END_MAX, || site.master.process().descriptors().len() <= descriptors);
    assert!(settled, "the master has more descriptors than before: {:?}", site.master.process().descriptors());
    println!("seed {seed}: {tally:?}; {report}");
    tally
}

/// Those that are noticed. What has made a daemon of itself is out of reach, and answers on.
fn kinds() -> Vec<&'static Kind> {
    let is_noticed = |kind: &&Kind| matches!(kind.expected, Expected::Certain { end: End::Back, .. });
    KINDS.iter().filter(is_noticed).filter(|kind| kind.name != "daemonizes").collect()
}

const GOOD: Kind = Kind {
    name: "a good one",
    length: crate::kind::Length::Short,
    server: Server::Script("serve"),
    expected: Expected::Certain { code: 0, end: End::Taken, words: "Upgrade done" },
};

/// Upgrades, and waits until that release serves alone at full strength.
fn deploy(site: &Site, style: Style, name: &str, kind: &Kind, end: &str) {
    site.deploy(name, kind.server);
    let watch = Watch::start(site.master.socket());
    let output = site.upgrade(style);
    let came_back = watch.elapsed();
    let code = match kind.expected {
        Expected::Certain { code, .. } => Some(code),
        Expected::OnTrial | Expected::Checked | Expected::Unnoticed => None,
    };
    assert_eq!(output.status.code(), code, "{name}, {}: {output:?}\n{}", kind.name, site.master.log());
    let ends = holds_within(END_MAX, || watch.so_since(came_back, |look| look.is_all(end, WORKERS)).is_some());
    assert!(ends, "{name}, {}: {end} does not serve alone at full strength\n{}", kind.name, site.master.log());
    assert!(watch.serving_min() >= WORKERS, "{name}, {}: only {} served", kind.name, watch.serving_min());
}
