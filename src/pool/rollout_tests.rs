//! Stages, checks, pauses and deadlines of an upgrade, one by one.

use std::time::Duration;

use crate::base::{Pid, Share, Slot, Stages, Version};
use crate::pool::testing::{FLEET, Play, SMOOTH, settings};
use crate::pool::{Action, Command, Event, Manner, Notice, Settings, Terms, UpgradeFailure, UpgradeStyle};

const BAKE: Duration = Duration::from_secs(60);

/// Four workers; the new version runs in one first, then in two, then in all.
fn staged() -> Settings {
    let stages = Stages::new(&[Share::Count(1), Share::Percent(50)]).unwrap();
    Settings { target: 4, max_unacked: 4, manner: Manner::Own, stages, bake: BAKE, ..settings() }
}

fn begun(settings: Settings) -> Play {
    let mut play = Play::serving(settings);
    play.command(SMOOTH);
    play
}

/// Every worker that was launched and has not acked does.
fn ack_all(play: &mut Play) {
    let waiting = |play: &Play| play.pool.workers().iter().find(|worker| !worker.is_acked()).map(|worker| worker.pid);
    while let Some(pid) = waiting(play) {
        play.tell(Event::WorkerExeced { pid });
        play.ack(pid.0);
    }
}

/// The slots that run this version, and are not to go.
fn slots(play: &Play, version: u64) -> Vec<u32> {
    let workers = play.pool.workers().iter();
    let of = workers.filter(|worker| worker.version == Version(version) && !worker.is_told());
    let mut slots: Vec<u32> = of.map(|worker| worker.slot.0).collect();
    slots.sort_unstable();
    slots
}

fn has_failed(play: &Play, why: &UpgradeFailure) -> bool {
    play.actions
        .iter()
        .any(|action| matches!(action, Action::Tell(Notice::UpgradeFailed { reason, .. }) if reason == why))
}

#[test]
fn each_stage_is_filled_watched_and_followed_by_the_next() {
    let mut play = begun(staged());
    assert_eq!(slots(&play, 1), [0]);
    ack_all(&mut play);
    assert_eq!((slots(&play, 1), slots(&play, 0)), (vec![0], vec![1, 2, 3]));
    play.wait(59.9);
    assert_eq!(slots(&play, 1), [0]);
    play.wait(0.1);
    assert_eq!(slots(&play, 1), [0, 1]);
    ack_all(&mut play);
    play.wait(60.0);
    assert_eq!(slots(&play, 1), [0, 1, 2, 3]);
    assert!(play.pool.upgrading().is_some());
    ack_all(&mut play);
    assert_eq!((play.pool.upgrading(), slots(&play, 0)), (None, vec![]));
}

#[test]
fn worker_of_a_stage_to_come_that_dies_is_replaced_by_its_own_version() {
    let mut play = begun(staged());
    ack_all(&mut play);
    let old = play.pool.workers().iter().find(|worker| worker.slot == Slot(3)).unwrap().pid;
    play.die(old.0);
    play.wait(1.0);
    assert_eq!((slots(&play, 1), slots(&play, 0)), (vec![0], vec![1, 2, 3]));
}

#[test]
fn stage_is_not_left_while_one_of_its_slots_does_not_serve() {
    let mut play = begun(staged());
    ack_all(&mut play);
    play.wait(50.0);
    play.die(play.launched);
    play.wait(1.0);
    play.tell(Event::WorkerExeced { pid: Pid(play.launched) });
    play.wait(20.0);
    assert_eq!(slots(&play, 1), [0], "the one that came for it has not acked");
    ack_all(&mut play);
    assert_eq!(slots(&play, 1), [0, 1]);
}

#[test]
fn terms_of_the_command_go_before_the_settings() {
    let mut play = Play::serving(staged());
    let terms = Terms { stages: Stages::new(&[Share::Count(3)]), bake: Some(Duration::ZERO), deadline: None };
    play.command(Command::Upgrade { style: UpgradeStyle::Smooth, terms });
    assert_eq!(slots(&play, 1), [0, 1, 2]);
    ack_all(&mut play);
    assert_eq!(slots(&play, 1), [0, 1, 2, 3], "it is not watched");
}

#[test]
fn check_runs_when_a_stage_serves_and_after_its_watch() {
    let mut play = begun(Settings { has_check: true, ..staged() });
    let checks = |play: &Play| play.actions.iter().filter(|action| matches!(action, Action::RunCheck { .. })).count();
    let passed = || Event::CheckEnded { version: Version(1), result: Ok(()) };
    ack_all(&mut play);
    assert!(play.actions.contains(&Action::RunCheck { version: Version(1), slots: 1 }));
    play.wait(600.0);
    assert_eq!((checks(&play), slots(&play, 1)), (1, vec![0]), "it waits for the check");
    play.tell(Event::CheckEnded { version: Version(9), result: Err("no".into()) });
    play.tell(passed());
    play.wait(60.0);
    assert_eq!((checks(&play), slots(&play, 1)), (2, vec![0]));
    play.tell(passed());
    assert_eq!(slots(&play, 1), [0, 1]);
    ack_all(&mut play);
    assert_eq!(checks(&play), 3);
    play.tell(Event::CheckEnded { version: Version(1), result: Err("too many errors".into()) });
    assert!(has_failed(&play, &UpgradeFailure::CheckFailed("too many errors".into())));
}

#[test]
fn check_that_passed_does_not_end_a_stage_that_stopped_serving_meanwhile() {
    let mut play = begun(Settings { has_check: true, stages: Stages::default(), ..staged() });
    ack_all(&mut play);
    play.die(play.launched);
    play.tell(Event::CheckEnded { version: Version(1), result: Ok(()) });
    assert!(play.pool.upgrading().is_some());
    play.wait(1.0);
    ack_all(&mut play);
    assert_eq!(play.pool.upgrading(), None);
}

#[test]
fn check_runs_again_in_the_next_image() {
    let mut play = begun(Settings { has_check: true, ..staged() });
    ack_all(&mut play);
    play.actions.clear();
    play.tell(Event::Resumed);
    assert_eq!(play.actions, [Action::RunCheck { version: Version(1), slots: 1 }]);
}

#[test]
fn pause_holds_the_stage_and_its_watch() {
    let mut play = begun(staged());
    ack_all(&mut play);
    play.wait(30.0);
    play.command(Command::Pause);
    assert!(play.pool.is_paused());
    play.wait(600.0);
    assert_eq!((slots(&play, 1), slots(&play, 0)), (vec![0], vec![1, 2, 3]));
    play.command(Command::Resume);
    play.wait(29.9);
    assert_eq!(slots(&play, 1), [0]);
    play.wait(0.1);
    assert_eq!(slots(&play, 1), [0, 1]);
}

#[test]
fn pause_keeps_what_was_launched_and_replaces_what_dies() {
    let mut play = begun(Settings { stages: Stages::default(), max_unacked: 1, ..staged() });
    ack_all(&mut play);
    assert_eq!(play.pool.upgrading(), None, "without a pause it is done");
    play.command(SMOOTH);
    play.command(Command::Pause);
    ack_all(&mut play);
    assert_eq!(slots(&play, 2), [0]);
    play.die(play.launched);
    play.wait(30.0);
    assert_eq!((slots(&play, 2), slots(&play, 1)), (vec![0], vec![1, 2, 3]));
}

#[test]
fn upgrade_that_is_not_done_by_its_deadline_is_given_up() {
    let mut play = Play::serving(staged());
    let limit = Duration::from_secs(30);
    let terms = Terms { deadline: Some(limit), ..Terms::default() };
    play.command(Command::Upgrade { style: UpgradeStyle::Smooth, terms });
    play.wait(29.9);
    assert!(play.pool.upgrading().is_some());
    play.wait(0.1);
    assert!(has_failed(&play, &UpgradeFailure::DeadlinePassed(limit)));
}

#[test]
fn upgrade_in_our_manner_goes_on_with_each_ack_and_in_einhorns_with_the_clock() {
    for (manner, launched) in [(Manner::Own, 4), (Manner::Einhorn, 1)] {
        let mut play = begun(Settings { manner, stages: Stages::default(), spacing_s: 5.0, ..staged() });
        ack_all(&mut play);
        assert_eq!(play.launched - 4, launched, "{manner:?}");
    }
}

#[test]
fn surge_and_unavailability_bound_an_upgrade() {
    let surge = Settings { max_surge: Some(Share::Percent(25)), stages: Stages::default(), ..staged() };
    let mut play = begun(surge);
    assert_eq!(play.pids().len(), 5);
    play.tell(Event::WorkerExeced { pid: Pid(5) });
    play.ack(5);
    assert_eq!(play.pids().len(), 6, "the one that was told to go does not count");
    let none = Settings { max_surge: Some(Share::Count(0)), max_unavailable: Share::Count(1), ..surge };
    let play = begun(none);
    assert_eq!((play.pool.serving_count(), slots(&play, 1)), (3, vec![0]));
}

/// Only where the shares are too small for the pool: two zeros are refused when the configuration is read.
#[test]
fn a_worker_may_be_missing_where_the_shares_leave_no_room() {
    let unavailable = |surge, unavailable, target| {
        let settings = Settings { target, max_surge: surge, max_unavailable: unavailable, ..Settings::default() };
        settings.unavailable()
    };
    assert_eq!(unavailable(Some(Share::Count(0)), Share::Percent(25), 3), 1);
    assert_eq!(unavailable(Some(Share::Count(0)), Share::Percent(25), 8), 2);
    assert_eq!(unavailable(Some(Share::Percent(1)), Share::Percent(25), 3), 0);
    assert_eq!(unavailable(None, Share::Percent(25), 3), 0);
}

/// The target is lowered in a pause, so that the upgrade is done as soon as it goes on; the empty slot waits after its deaths as before.
#[test]
fn upgrade_that_is_done_when_it_goes_on_launches_no_more_at_once() {
    let mut play = Play::serving(Settings { manner: Manner::Own, ack_timeout: None, ..settings() });
    play.command(FLEET);
    let (first, second) = (play.launched - 1, play.launched);
    play.die(first);
    play.tell(Event::WorkerExeced { pid: Pid(second) });
    play.command(Command::Pause);
    play.ack(second);
    // Nothing else serves, so that it stays above the lowered target.
    [1, 2].into_iter().for_each(|old| play.die(old));
    play.command(Command::SetTarget(1));
    play.die(play.launched);
    let launched = play.launched;
    play.command(Command::Resume);
    assert_eq!((play.pool.upgrading(), play.launched), (None, launched));
}
