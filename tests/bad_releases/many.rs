//! One master, and one upgrade after the other under load, of which every third on average brings a bad release: nothing may be lost but
//! what a bad release's own workers had in hand, and the master must be as well at the end as at the beginning. Some upgrades begin
//! while the release before is still on trial, bad as it may be.

use std::fmt;
use std::process::Output;
use std::time::Duration;

use crate::kind::{End, Expected, Following, GOOD_ONE, Host, KINDS, Kind, Length, Server, Style, WORKERS};
use crate::rng::Rng;
use crate::run::{CLIENTS, END_MAX, PACE};
use crate::site::{GOOD, Site};
use crate::support::{Load, holds_within};
use crate::watch::Watch;

/// Shorter than elsewhere, for it is waited for often, and long enough for each kind to fail in it.
const EARLY_LIFE: Duration = Duration::from_secs(4);

/// One in so many.
const BAD: u64 = 3;
/// After one in so many, the next upgrade waits until it has come to its end.
const SETTLED: u64 = 2;
/// How many requests come between two upgrades.
const SPELL: u64 = 20;
/// How long a worker may take to count the answer that its client has.
const COUNTED_MAX: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug, Default)]
pub struct Tally {
    pub good: u64,
    pub bad: u64,
    /// Upgrades that began while a release was on trial.
    pub into_trials: u64,
    /// Bad releases whose client was told that all was done.
    pub done_at_first: u64,
    pub requests: u64,
    pub lost: u64,
    /// What workers of bad releases had in hand and did not answer, to clients and to checks.
    pub in_hand: u64,
    /// Of these, the checks'.
    pub torn_from_check: u64,
}

/// An upgrade to come.
struct Step {
    name: String,
    kind: &'static Kind,
    style: Style,
    following: Following,
}

/// So many upgrades. Panics at the first that comes to another end than expected.
pub fn upgrade_often(upgrades: u64, seed: u64) -> Tally {
    let (site, mut rng) =
        (Site::start(Style::Smooth, Host::Manager, Server::Script("serve"), EARLY_LIFE), Rng::new(seed));
    let load = Load::start_at(site.master.addr(), CLIENTS, "/", PACE);
    let (mut tally, mut last, mut is_settled, mut bad_ones) = (Tally::default(), GOOD.to_owned(), true, Vec::new());
    let (kinds, descriptors) = (kinds(), site.master.process().descriptors().len());
    for number in 1..=upgrades {
        load.wait_for(SPELL);
        let watch = Watch::start(site.master.socket());
        let step = Step::by_chance(&mut rng, number, &kinds);
        tally.into_trials += u64::from(watch.first().is_on_trial);
        let output = step.perform(&site);
        let came_back = watch.elapsed();
        println!("seed {seed}: {step}, {}: {:?}", if is_settled { "settled" } else { "at once" }, output.status.code());
        if step.is_bad() {
            tally.done_at_first += u64::from(output.status.success());
            bad_ones.push(step.name.clone());
        } else {
            tally.good += 1;
            last.clone_from(&step.name);
        }
        let least = watch.serving_min();
        let may_serve_less = !is_settled || matches!(step.kind.expected, Expected::OnTrial);
        assert!(may_serve_less || least >= WORKERS, "seed {seed}: {step}: only {least} served\n{}", site.master.log());
        is_settled = rng.one_in(SETTLED);
        if is_settled {
            let ends = || watch.so_since(came_back, |look| look.is_all(&last, WORKERS)).is_some();
            assert!(holds_within(END_MAX, ends), "seed {seed}: {step}: not {last} alone\n{}", site.master.log());
        }
    }
    load.wait_for(SPELL);
    let report = load.stop();
    (tally.bad, tally.requests, tally.lost) = (bad_ones.len() as u64, report.total(), report.lost_count());
    tally.torn_from_check = site.torn_from_check();
    holds_within(COUNTED_MAX, || {
        tally.in_hand = bad_ones.iter().map(|name| site.in_hand(name)).sum();
        tally.unaccounted() == 0
    });
    let settled = holds_within(END_MAX, || site.master.process().descriptors().len() <= descriptors);
    assert!(settled, "the master has more descriptors than before: {:?}", site.master.process().descriptors());
    println!("seed {seed}: {tally:?}; {report}");
    tally
}

impl Tally {
    /// Lost, and not in the hand of a bad release's worker; or in its hand, and not lost.
    pub fn unaccounted(&self) -> u64 {
        (self.lost + self.torn_from_check).abs_diff(self.in_hand)
    }
}

/// Those that are noticed. What has made a daemon of itself is out of reach, and answers on.
fn kinds() -> Vec<&'static Kind> {
    let is_noticed = |kind: &&Kind| {
        matches!(kind.expected, Expected::Certain { end: End::Back, .. } | Expected::OnTrial)
            && kind.length == Length::Short
            && kind.name != "daemonizes"
    };
    KINDS.iter().filter(is_noticed).collect()
}

impl Step {
    fn by_chance(rng: &mut Rng, number: u64, kinds: &[&'static Kind]) -> Self {
        Self {
            name: format!("release-{number}"),
            kind: if rng.one_in(BAD) { rng.pick(kinds) } else { &GOOD_ONE },
            style: rng.pick(&[Style::Smooth, Style::Fleet, Style::Canary]),
            following: rng.pick(&[Following::Upgrade, Following::Upgrade, Following::Second, Following::Trial]),
        }
    }

    fn is_bad(&self) -> bool {
        self.kind.name != GOOD_ONE.name
    }

    /// Upgrades; the client must say what it is to say.
    fn perform(&self, site: &Site) -> Output {
        site.deploy(self.style, &self.name, self.kind.server);
        let output = site.upgrade(self.style, self.following);
        let code = match (self.kind.expected, self.following) {
            (Expected::Certain { code, .. }, _) => Some(code),
            (Expected::OnTrial, Following::Trial) => Some(1),
            // It depends on which is sooner.
            (Expected::OnTrial, Following::Upgrade | Following::Second) => {
                output.status.code().filter(|code| *code <= 1)
            }
            (Expected::Checked | Expected::Unnoticed, _) => panic!("{self} is not for here"),
        };
        assert_eq!(output.status.code(), code, "{self}: {output:?}\n{}", site.master.log());
        output
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {} {:?}", self.name, self.kind.name, self.style.name(), self.following.words())
    }
}
