//! Versions on trial: what gives them up, what proves them, and where the way back leads.

use std::time::Duration;

use crate::base::{Pid, Share, Signal, Version};
use crate::pool::testing::{FLEET, Play, SMOOTH, settings};
use crate::pool::{AckMode, Action, Command, EARLIER_MAX, Event, Manner, Notice, Settings, UpgradeFailure};

/// Two workers that ack by hand, a trial of ten seconds, and three failures allowed.
fn judged() -> Settings {
    Settings { early_life: Duration::from_secs(10), max_failures: 3, ..settings() }
}

/// The newest worker acks.
fn ack_newest(play: &mut Play) {
    let pid = play.launched;
    play.tell(Event::WorkerExeced { pid: Pid(pid) });
    play.ack(pid);
}

/// Both slots run the new version, and the old workers are gone.
fn upgraded(play: &mut Play) {
    let old = play.pids();
    play.command(FLEET);
    for pid in play.launched - 1..=play.launched {
        play.tell(Event::WorkerExeced { pid: Pid(pid) });
        play.ack(pid);
    }
    old.into_iter().for_each(|pid| play.die(pid));
    assert_eq!((play.pool.upgrading(), play.pool.serving_count()), (None, 2));
}

fn failure(play: &Play) -> Option<UpgradeFailure> {
    play.actions.iter().rev().find_map(|action| match action {
        Action::Tell(Notice::UpgradeFailed { reason, .. }) => Some(reason.clone()),
        _ => None,
    })
}

fn versions(play: &Play) -> (Version, Version) {
    (play.pool.modern(), play.pool.good())
}

#[test]
fn version_is_good_once_each_slot_has_outlived_its_early_life() {
    let mut play = Play::serving(judged());
    upgraded(&mut play);
    play.wait(9.9);
    assert_eq!(versions(&play), (Version(1), Version(0)));
    play.wait(0.1);
    assert_eq!(versions(&play), (Version(1), Version(1)));
    assert!(play.actions.contains(&Action::Tell(Notice::TrialPassed { version: Version(1) })));
    assert_eq!(play.pool.return_targets().collect::<Vec<_>>(), [Version(0)], "it can still be rolled back to");
}

#[test]
fn version_whose_workers_all_die_is_given_up_and_the_one_before_is_there_at_once() {
    let mut play = Play::serving(judged());
    upgraded(&mut play);
    play.wait(3.0);
    play.die(3);
    assert_eq!(failure(&play), None, "one of two still serves");
    let launched = play.launched;
    play.die(4);
    assert_eq!(failure(&play), Some(UpgradeFailure::NothingServes));
    assert_eq!((versions(&play), play.launched - launched), ((Version(0), Version(0)), 2));
}

#[test]
fn version_that_fails_once_more_than_it_may_is_given_up() {
    let mut play = Play::serving(judged());
    upgraded(&mut play);
    for count in 1..=4 {
        assert_eq!(failure(&play), None, "after {} failures", count - 1);
        play.die(play.launched);
        play.wait(5.0);
        ack_newest(&mut play);
    }
    assert_eq!(failure(&play), Some(UpgradeFailure::TooMany(4)));
    assert_eq!(play.pool.modern(), Version(0));
}

#[test]
fn death_before_the_ack_counts_in_the_trial_too() {
    let mut play = Play::serving(Settings { max_failures: 1, ..judged() });
    play.command(SMOOTH);
    play.die(3);
    play.wait(5.0);
    assert_eq!(failure(&play), None);
    play.die(4);
    assert_eq!((failure(&play), play.pool.serving_count()), (Some(UpgradeFailure::TooMany(2)), 2));
}

#[test]
fn worker_that_is_stopped_counts_as_a_failure_and_one_that_was_told_to_go_does_not() {
    let mut play = Play::serving(Settings { max_failures: 1, manner: Manner::Own, ..judged() });
    upgraded(&mut play);
    play.command(Command::SetTarget(1));
    play.die(4);
    assert_eq!(failure(&play), None);
    play.tell(Event::WorkerStopped { pid: Pid(3) });
    assert_eq!(failure(&play), None, "once is an accident");
    play.tell(Event::WorkerContinued { pid: Pid(3) });
    play.tell(Event::WorkerStopped { pid: Pid(3) });
    assert_eq!(failure(&play), Some(UpgradeFailure::TooMany(2)));
}

#[test]
fn worker_on_trial_that_stays_stopped_is_replaced_and_its_version_given_up_in_the_end() {
    let mut play = Play::serving(Settings { manner: Manner::Own, ..judged() });
    upgraded(&mut play);
    play.signals();
    for _ in 1..=3 {
        let pid = play.launched;
        play.tell(Event::WorkerStopped { pid: Pid(pid) });
        play.wait(4.9);
        assert_eq!(play.signals(), [], "it may be continued yet");
        play.wait(0.1);
        assert_eq!(play.signals().first().copied(), Some((pid, Signal::USR2)));
        play.die(pid);
        ack_newest(&mut play);
    }
    assert_eq!(failure(&play), None);
    play.tell(Event::WorkerStopped { pid: Pid(play.launched) });
    assert_eq!(failure(&play), Some(UpgradeFailure::TooMany(4)));
}

/// Two new workers, one after the other, stop after this.
#[track_caller]
fn assert_given_up_as_stopped(play: &mut Play, before: impl Fn(&mut Play, Pid)) {
    for _ in 0..2 {
        assert_eq!(failure(play), None);
        let pid = play.launched;
        before(play, Pid(pid));
        play.tell(Event::WorkerStopped { pid: Pid(pid) });
        play.wait(5.0);
        play.die(pid);
        play.wait(5.0);
    }
    assert_eq!(failure(play), Some(UpgradeFailure::TooMany(2)));
}

#[test]
fn worker_that_stops_before_its_ack_is_a_failure_when_it_stays_stopped() {
    let mut play = Play::serving(Settings { max_failures: 1, ..judged() });
    play.command(SMOOTH);
    assert_given_up_as_stopped(&mut play, |_, _| {});
}

#[test]
fn version_on_trial_that_never_acks_is_given_up_although_no_ack_timeout_is_set() {
    let settings = Settings { max_failures: 1, ack_timeout: None, retries: None, ..judged() };
    let mut play = Play::serving(settings);
    play.command(SMOOTH);
    play.tell(Event::WorkerExeced { pid: Pid(3) });
    play.wait(2.0);
    play.tell(Event::WorkerExeced { pid: Pid(4) });
    play.wait(87.9);
    assert_eq!((failure(&play), play.launched), (None, 4));
    play.wait(2.1);
    assert_eq!(failure(&play), Some(UpgradeFailure::TooMany(2)));
    assert_eq!(Settings { max_failures: 0, ..settings }.ack_limit(), None, "without a trial it may take for ever");
}

#[test]
fn worker_that_stops_before_its_timer_acks_it_is_a_failure_too() {
    let timer = AckMode::Timer(Duration::from_secs(1));
    let mut play = Play::serving(Settings { ack: timer, max_failures: 1, ..judged() });
    play.command(SMOOTH);
    assert_given_up_as_stopped(&mut play, |play, pid| play.tell(Event::WorkerExeced { pid }));
}

#[test]
fn version_gone_back_to_whose_early_life_is_over_by_then_is_good_at_once() {
    let mut play = Play::serving(Settings { max_failures: 1, ..judged() });
    upgraded(&mut play);
    play.wait(5.0);
    play.command(SMOOTH);
    for _ in 0..2 {
        let pid = play.launched;
        play.tell(Event::WorkerStopped { pid: Pid(pid) });
        play.wait(5.0);
        play.die(pid);
        play.wait(1.0);
    }
    assert_eq!(failure(&play), Some(UpgradeFailure::TooMany(2)));
    assert_eq!(versions(&play), (Version(1), Version(1)));
}

/// The second upgrade is begun while the first version is on trial; its workers have not acked when those of the first die.
#[test]
fn version_that_dies_in_its_trial_under_the_next_upgrade_is_left_for_the_last_that_is_proven() {
    let mut play = Play::serving(Settings { manner: Manner::Own, ack_timeout: None, ..judged() });
    upgraded(&mut play);
    let first = play.pids();
    play.command(FLEET);
    assert_eq!(versions(&play), (Version(2), Version(1)));
    play.die(first[0]);
    assert_eq!(failure(&play), None, "the other serves");
    let launched = play.launched;
    play.die(first[1]);
    assert_eq!(failure(&play), Some(UpgradeFailure::NothingServes));
    assert_eq!((versions(&play), play.launched), ((Version(0), Version(0)), launched + 2));
}

/// The target is lowered, and no old worker has to serve on while new ones come.
#[test]
fn version_that_fails_in_its_trial_is_left_as_soon_as_its_last_worker_may_go() {
    let unavailable = Settings { max_unavailable: Share::Count(1), ..judged() };
    let mut play = Play::serving(Settings { target: 3, manner: Manner::Own, ack_timeout: None, ..unavailable });
    let old = play.pids();
    play.command(FLEET);
    for pid in play.pids().into_iter().filter(|pid| !old.contains(pid)) {
        play.tell(Event::WorkerExeced { pid: Pid(pid) });
        play.ack(pid);
    }
    old.into_iter().for_each(|pid| play.die(pid));
    let last = Pid(play.pids()[2]);
    play.command(SMOOTH);
    for _ in 0..2 {
        play.tell(Event::WorkerStopped { pid: last });
        play.tell(Event::WorkerContinued { pid: last });
    }
    assert_eq!((versions(&play), play.pool.serving_count()), ((Version(2), Version(1)), 2));
    play.command(Command::SetTarget(1));
    assert_eq!((failure(&play), versions(&play)), (Some(UpgradeFailure::NothingServes), (Version(0), Version(0))));
    assert_eq!(play.pool.deadline().filter(|due| *due <= play.now), None);
}

/// The same on the way back: workers of the version after it serve, until a lowered target lets them go.
#[test]
fn version_gone_back_to_that_fails_is_left_as_soon_as_nothing_serves() {
    let unavailable = Settings { max_unavailable: Share::Count(1), max_failures: 9, ..judged() };
    let mut play = Play::serving(Settings { manner: Manner::Own, ack_timeout: None, ..unavailable });
    upgraded(&mut play);
    upgraded(&mut play);
    play.command(Command::Abort);
    assert_eq!(versions(&play), (Version(1), Version(0)));
    for _ in 0..2 {
        play.die(play.launched);
        play.wait(5.0);
    }
    assert_eq!((versions(&play), play.pool.serving_count()), ((Version(1), Version(0)), 1));
    play.command(Command::SetTarget(1));
    assert_eq!((failure(&play), versions(&play)), (Some(UpgradeFailure::NothingServes), (Version(0), Version(0))));
}

#[test]
fn deaths_under_an_upgrade_that_is_done_are_forgotten() {
    let mut play = Play::serving(Settings { manner: Manner::Own, max_failures: 5, ..judged() });
    upgraded(&mut play);
    let first = play.pids();
    play.command(FLEET);
    play.die(first[0]);
    let second: Vec<i32> = play.pids().into_iter().filter(|pid| !first.contains(pid)).collect();
    for &pid in &second {
        play.tell(Event::WorkerExeced { pid: Pid(pid) });
        play.ack(pid);
    }
    play.die(first[1]);
    second.iter().for_each(|pid| play.die(*pid));
    assert_eq!((failure(&play), versions(&play)), (Some(UpgradeFailure::NothingServes), (Version(1), Version(0))));
    assert!(play.pool.is_on_trial());
}

#[test]
fn stopped_worker_that_is_continued_or_of_a_version_that_is_good_stays() {
    let mut play = Play::serving(judged());
    upgraded(&mut play);
    play.tell(Event::WorkerStopped { pid: Pid(3) });
    play.wait(4.0);
    play.tell(Event::WorkerContinued { pid: Pid(3) });
    play.wait(6.0);
    assert_eq!(versions(&play), (Version(1), Version(1)));
    play.signals();
    play.tell(Event::WorkerStopped { pid: Pid(3) });
    play.wait(60.0);
    assert_eq!(play.signals(), []);
}

#[test]
fn version_that_is_seen_to_be_unfit_is_given_up_at_once() {
    let unfit = |version| Event::VersionUnfit { version: Version(version), reason: "seen".to_owned() };
    let mut play = Play::serving(judged());
    play.tell(unfit(0));
    assert_eq!(failure(&play), None, "there is nothing to go back to");
    upgraded(&mut play);
    play.tell(unfit(0));
    assert_eq!(failure(&play), None, "another version is meant");
    let launched = play.launched;
    play.tell(unfit(1));
    assert_eq!(failure(&play), Some(UpgradeFailure::Unfit("seen".to_owned())));
    assert_eq!((versions(&play), play.launched), ((Version(0), Version(0)), launched + 2));
    play.tell(unfit(0));
    assert_eq!(versions(&play), (Version(0), Version(0)));
}

#[test]
fn version_without_a_trial_is_good_when_all_serve() {
    for settings in [Settings { max_failures: 0, ..judged() }, Settings { early_life: Duration::ZERO, ..judged() }] {
        let mut play = Play::serving(settings);
        upgraded(&mut play);
        assert_eq!(versions(&play), (Version(1), Version(1)));
        [3, 4].into_iter().for_each(|pid| play.die(pid));
        assert_eq!(play.pool.modern(), Version(1));
    }
}

/// The settings may change while a version is on trial, or waits behind one.
#[test]
fn version_whose_settings_lose_their_trial_is_not_given_up() {
    let untried = Settings { max_failures: 0, ..judged() };
    let mut play = Play::serving(judged());
    upgraded(&mut play);
    play.command(Command::Configure(vec![(Version(1), untried)]));
    [3, 4].into_iter().for_each(|pid| play.die(pid));
    [5, 6].into_iter().for_each(|pid| play.die(pid));
    assert_eq!((failure(&play), versions(&play)), (None, (Version(1), Version(0))));
}

#[test]
fn version_gone_back_to_without_a_trial_is_good_at_once() {
    for untried in [Settings { max_failures: 0, ..judged() }, Settings { early_life: Duration::ZERO, ..judged() }] {
        let mut play = Play::serving(judged());
        upgraded(&mut play);
        play.command(SMOOTH);
        assert_eq!((versions(&play), play.pool.is_on_trial()), ((Version(2), Version(1)), true));
        play.command(Command::Configure(vec![(Version(1), untried)]));
        play.command(Command::Abort);
        assert_eq!((versions(&play), play.pool.is_on_trial()), ((Version(1), Version(1)), false));
        assert_eq!(play.pool.return_targets().collect::<Vec<_>>(), [Version(0)]);
    }
}

/// The second release is begun while the first is on trial; both are bad.
#[test]
fn two_bad_releases_in_a_row_lead_back_to_the_last_that_was_good() {
    let mut play = Play::serving(judged());
    upgraded(&mut play);
    play.command(SMOOTH);
    assert_eq!(versions(&play), (Version(2), Version(1)));
    while failure(&play).is_none() {
        play.die(play.launched);
        play.wait(1.0);
    }
    assert_eq!(versions(&play), (Version(1), Version(0)), "the first is on trial again");
    play.actions.clear();
    while failure(&play).is_none() {
        let pid = play.pids().into_iter().max().unwrap();
        play.die(pid);
        play.die(3);
        play.die(4);
        play.wait(0.5);
    }
    assert_eq!((failure(&play), versions(&play)), (Some(UpgradeFailure::NothingServes), (Version(0), Version(0))));
}

#[test]
fn bad_releases_in_a_row_lead_back_to_the_last_good_one_however_many_they_are() {
    let mut play = Play::serving(judged());
    for count in 1..=9 {
        upgraded(&mut play);
        let kept: Vec<Version> = play.pool.return_targets().collect();
        assert_eq!(kept.last(), Some(&Version(0)), "after {count}");
        assert!(kept.len() <= EARLIER_MAX + 1, "after {count}");
    }
}

#[test]
fn rollback_undoes_a_finished_upgrade_and_leads_to_any_version_that_is_kept() {
    for (to, reached) in [(None, Version(1)), (Some(Version(0)), Version(0)), (Some(Version(7)), Version(2))] {
        let mut play = Play::serving(judged());
        upgraded(&mut play);
        play.wait(10.0);
        upgraded(&mut play);
        play.wait(10.0);
        assert_eq!(versions(&play), (Version(2), Version(2)));
        let launched = play.launched;
        play.command(Command::RollBack(to));
        assert_eq!(play.pool.modern(), reached, "{to:?}");
        let count = if reached == Version(2) { 0 } else { 2 };
        assert_eq!((play.launched - launched, play.pool.serving_count()), (count, 2), "the workers of before stay");
    }
}

#[test]
fn abort_ends_what_is_on_trial_and_nothing_else() {
    let mut play = Play::serving(judged());
    play.command(Command::Abort);
    assert_eq!(play.actions, []);
    play.command(SMOOTH);
    play.command(Command::Abort);
    assert_eq!((failure(&play), versions(&play)), (Some(UpgradeFailure::Aborted), (Version(0), Version(0))));
    play.die(3);
    upgraded(&mut play);
    play.actions.clear();
    play.command(Command::Abort);
    assert_eq!((failure(&play), play.pool.modern()), (Some(UpgradeFailure::Aborted), Version(0)));
}

#[test]
fn abort_drops_what_is_being_prepared() {
    let mut play = Play::serving(judged());
    play.deferred = Some(Version(1));
    play.command(SMOOTH);
    play.command(Command::Abort);
    assert!(!play.pool.is_preparing());
    play.tell(play.ready(Version(1)));
    assert_eq!((play.pool.upgrading(), play.pool.modern()), (None, Version(0)));
}

#[test]
fn first_start_that_fails_too_often_ends() {
    let mut play = Play::of(judged());
    play.tell(Event::Started);
    for pid in 1..=4 {
        assert_eq!(play.exits(), []);
        play.die(pid);
        play.wait(30.0);
    }
    assert!(play.pool.is_stopping());
}

#[test]
fn single_worker_that_dies_once_is_launched_again_and_given_up_when_the_next_one_dies() {
    let mut play = Play::serving(Settings { target: 1, ..judged() });
    play.command(SMOOTH);
    ack_newest(&mut play);
    play.die(1);
    play.die(2);
    play.wait(1.0);
    assert_eq!((failure(&play), play.pids()), (None, vec![3]));
    ack_newest(&mut play);
    play.die(3);
    assert_eq!((failure(&play), play.pool.modern()), (Some(UpgradeFailure::NothingServes), Version(0)));
}
