//! Preparing a release takes its time, and much may come in between.

use crate::base::{Signal, Version};
use crate::pool::testing::{FLEET, Play, SMOOTH, settings};
use crate::pool::{Action, Command, Event, ExitReason, Notice, Settings, UpgradeStyle};

const FIRST: Version = Version(1);

/// Two workers serve, and a smooth upgrade is being prepared.
fn preparing() -> Play {
    let mut play = Play::serving(settings());
    play.deferred = Some(FIRST);
    play.command(SMOOTH);
    assert_eq!(prepared(&mut play), [FIRST]);
    play
}

/// What is to be prepared since the last look.
fn prepared(play: &mut Play) -> Vec<Version> {
    let prepared = play.actions.drain(..).filter_map(|action| match action {
        Action::PrepareRelease { version } => Some(version),
        _ => None,
    });
    prepared.collect()
}

fn refuse(play: &mut Play, reason: &str) {
    play.tell(Event::ReleaseRefused { version: FIRST, reason: reason.to_owned() });
}

fn refusals(play: &Play) -> Vec<String> {
    let refused = |action: &Action| match action {
        Action::Tell(Notice::UpgradeRefused { reason }) => Some(reason.clone()),
        _ => None,
    };
    play.actions.iter().filter_map(refused).collect()
}

#[test]
fn a_preparation_from_before_the_last_request_is_repeated() {
    let mut play = preparing();
    play.command(FLEET);
    assert_eq!(play.actions, [], "one at a time");
    play.tell(play.ready(FIRST));
    let forget = Action::KeepReleases { modern: Version(0), good: Version(0), earlier: vec![] };
    assert_eq!(play.actions, [forget, Action::PrepareRelease { version: FIRST }], "in this order: it is stored anew");
    assert_eq!((play.pool.modern(), play.pool.upgrading()), (Version(0), None));
    play.actions.clear();
    play.tell(play.ready(FIRST));
    assert_eq!(play.log()[..2], ["starting Fleet upgrade from 0", "launching 2"]);
    assert_eq!(play.pool.modern(), FIRST, "it does not show how often it was looked for");
}

#[test]
fn status_of_an_upgrade_follows_it() {
    let mut play = preparing();
    let (pool, began) = (&play.pool, play.now);
    assert_eq!((pool.is_preparing(), pool.last_style(), pool.last_upgraded()), (true, None, None));
    play.tell(play.ready(FIRST));
    let pool = &play.pool;
    assert_eq!((pool.is_preparing(), pool.last_style()), (false, Some(UpgradeStyle::Smooth)));
    assert_eq!((pool.last_upgraded(), pool.last_spinup(), pool.upgrade_failures()), (Some(began), Some(began), 0));
    for (failed, failures) in [(3, 1), (4, 2)] {
        play.die(failed);
        assert_eq!(play.pool.upgrade_failures(), failures);
        play.wait(60.0);
    }
    assert_eq!((play.pool.last_upgraded(), play.pool.last_style()), (Some(began), Some(UpgradeStyle::Smooth)));
}

#[test]
fn settings_that_were_read_before_the_last_request_are_dropped_too() {
    let mut play = preparing();
    play.command(SMOOTH);
    play.next = Some(Settings { target: 9, ..settings() });
    play.tell(play.ready(FIRST));
    assert_eq!((*play.pool.settings(), *play.pool.fallback()), (settings(), settings()));
    play.next = Some(Settings { target: 3, ..settings() });
    play.tell(play.ready(FIRST));
    assert_eq!((play.pool.settings().target, play.pool.fallback().target), (3, 2));
}

#[test]
fn a_refusal_from_before_the_last_request_is_dropped_as_well() {
    let mut play = preparing();
    play.command(SMOOTH);
    refuse(&mut play, "in the middle of a deploy");
    assert_eq!((refusals(&play), prepared(&mut play)), (vec![], vec![FIRST]));
    play.tell(play.ready(FIRST));
    assert_eq!(play.pool.upgrading(), Some(UpgradeStyle::Smooth));
}

#[test]
fn requests_during_a_preparation_need_one_further_preparation() {
    let mut play = preparing();
    (0..10).for_each(|_| play.command(SMOOTH));
    play.tell(play.ready(FIRST));
    assert_eq!(prepared(&mut play), [FIRST]);
    play.command(SMOOTH);
    play.tell(play.ready(FIRST));
    assert_eq!(prepared(&mut play), [FIRST], "this one came after the second look had begun");
    refuse(&mut play, "no such file");
    assert_eq!((refusals(&play), prepared(&mut play)), (vec!["no such file".to_owned()], vec![]));
}

#[test]
fn a_stop_during_a_preparation_drops_its_release() {
    let mut play = preparing();
    play.next = Some(Settings { target: 9, graceful: Signal::TERM, ..settings() });
    play.command(SMOOTH);
    play.command(Command::StopGracefully);
    let refused = Action::Tell(Notice::NotUpgradingWhileStopping);
    assert_eq!(play.actions.iter().filter(|action| **action == refused).count(), 1);
    play.actions.clear();
    play.tell(play.ready(FIRST));
    assert_eq!(play.actions, [Action::KeepReleases { modern: Version(0), good: Version(0), earlier: vec![] }]);
    assert_eq!((*play.pool.settings(), play.pool.upgrading()), (settings(), None));
    (1..=2).for_each(|pid| play.die(pid));
    assert_eq!(play.exits(), [ExitReason::Stopped]);
    play.actions.clear();
    play.tell(play.ready(FIRST));
    assert_eq!(play.actions, [], "nothing follows the end");
}

#[test]
fn a_failed_upgrade_restores_its_settings_before_the_next_begins() {
    let mut play = Play::serving(settings());
    play.next = Some(Settings { retries: Some(1), spacing_s: 0.5, ..settings() });
    play.command(SMOOTH);
    play.deferred = Some(Version(2));
    play.command(SMOOTH);
    play.die(3);
    assert_eq!((play.pool.modern(), *play.pool.settings()), (Version(0), settings()));
    play.next = Some(Settings { spacing_s: 0.7, ..settings() });
    play.actions.clear();
    play.tell(play.ready(Version(2)));
    assert_eq!(play.log()[0], "starting Smooth upgrade from 0", "it does not start over, none is under way");
    assert_eq!((play.pool.settings().spacing_s, play.pool.fallback().spacing_s), (0.7, 0.2));
}
