//! Settings come with a version: what an upgrade changes, what it leaves to the old workers, and what a failed one gives
//! back.

use std::time::Duration;

use crate::base::{Pid, Signal, Version};
use crate::pool::testing::{FLEET, Play, SMOOTH, settings};
use crate::pool::{AckIgnored, AckMode, Action, Command, Event, Notice, Settings};

const TIMER: AckMode = AckMode::Timer(Duration::from_secs(1));

/// Settings of which each is another.
fn others() -> Settings {
    Settings {
        target: 3,
        ack: TIMER,
        ack_timeout: Some(Duration::from_secs(7)),
        spacing_s: 0.3,
        max_unacked: 3,
        max_upgrade_additional: Some(5),
        signal_timeout: Some(Duration::from_secs(2)),
        graceful: Signal::TERM,
        retries: Some(2),
        ..Settings::default()
    }
}

/// An upgrade to other settings is under way, and of its workers none has acked.
fn upgrading_to(next: Settings) -> Play {
    let mut play = Play::serving(settings());
    play.next = Some(next);
    play.command(SMOOTH);
    assert_eq!((*play.pool.settings(), *play.pool.fallback()), (next, settings()));
    play
}

/// The second upgrade worker dies: with two retries, that is the end of it.
fn fail(play: &mut Play) {
    play.die(3);
    play.wait(2.0);
    play.die(4);
    assert_eq!((play.pool.modern(), play.pool.upgrading()), (Version(0), None));
}

#[test]
fn settings_come_with_a_version_and_stay_when_it_is_good() {
    let mut play = Play::serving(settings());
    play.next = Some(others());
    play.command(FLEET);
    assert_eq!(play.pids(), [1, 2, 3, 4, 5], "three new ones");
    (3..=5).for_each(|pid| play.tell(Event::WorkerExeced { pid: Pid(pid) }));
    play.wait(1.0);
    assert_eq!((play.pool.upgrading(), play.pool.good()), (None, Version(1)));
    assert_eq!((*play.pool.settings(), *play.pool.fallback()), (others(), others()));
}

#[test]
fn settings_that_came_with_a_given_up_version_go_with_it() {
    let mut play = upgrading_to(others());
    fail(&mut play);
    assert_eq!((*play.pool.settings(), *play.pool.fallback()), (settings(), settings()));
}

#[test]
fn settings_that_came_with_a_version_go_with_it_at_a_stop() {
    let mut play = upgrading_to(others());
    play.command(Command::StopGracefully);
    assert_eq!(*play.pool.settings(), settings());
    play.actions.clear();
    play.wait(1.0);
    let killed = [(1, Signal::KILL), (2, Signal::KILL), (3, Signal::KILL)];
    assert_eq!(play.signals(), killed, "after the timeout of before");
}

#[test]
fn an_upgrade_that_starts_over_goes_back_to_the_settings_before_the_first() {
    let mut play = upgrading_to(others());
    play.next = Some(Settings { retries: Some(1), ..settings() });
    play.command(SMOOTH);
    assert_eq!(play.pool.fallback(), &settings());
    let newest = play.launched;
    play.wait(1.0);
    assert!(play.launched > newest, "the second upgrade launches");
    play.die(play.launched);
    assert_eq!((play.pool.modern(), *play.pool.settings()), (Version(0), settings()));
}

#[test]
fn a_target_that_is_set_during_an_upgrade_outlasts_it() {
    let mut play = upgrading_to(others());
    play.command(Command::SetTarget(4));
    fail(&mut play);
    assert_eq!(*play.pool.settings(), Settings { target: 4, ..settings() });
}

#[test]
fn settings_that_are_changed_during_an_upgrade_are_changed_for_both() {
    let mut play = upgrading_to(others());
    let (now, before) = (Settings { spacing_s: 0.7, ..others() }, Settings { spacing_s: 0.7, ..settings() });
    play.command(Command::Configure(vec![(Version(1), now), (Version(0), before)]));
    assert_eq!((*play.pool.settings(), *play.pool.fallback()), (now, before));
    fail(&mut play);
    assert_eq!(*play.pool.settings(), before);
}

/// One of the two has not acked when the upgrade starts.
fn with_one_unacked(settings: Settings, next: Settings) -> Play {
    let mut play = Play::of(settings);
    play.tell(Event::Started);
    (1..=2).for_each(|pid| play.tell(Event::WorkerExeced { pid: Pid(pid) }));
    if settings.ack == AckMode::Manual {
        play.ack(1);
    }
    play.next = Some(next);
    play.command(SMOOTH);
    play.actions.clear();
    play
}

fn is_acked(play: &Play, pid: i32) -> bool {
    play.pool.workers().iter().any(|worker| worker.pid == Pid(pid) && worker.is_acked())
}

#[test]
fn an_old_worker_that_acks_by_hand_is_not_acked_by_the_new_timer() {
    let mut play = with_one_unacked(settings(), Settings { ack: TIMER, ..settings() });
    play.wait(5.0);
    assert!(!is_acked(&play, 2));
    play.ack(2);
    assert!(is_acked(&play, 2), "its own ack counts");
}

#[test]
fn an_old_worker_that_a_timer_acks_is_not_acked_by_hand() {
    let before = Settings { ack: AckMode::Timer(Duration::from_secs(3)), ..settings() };
    let mut play = with_one_unacked(before, settings());
    play.ack(2);
    let ignored = Notice::AckIgnored { pid: Pid(2), reason: AckIgnored::NotManual };
    assert!(play.actions.contains(&Action::Tell(ignored)) && !is_acked(&play, 2));
    play.wait(3.0);
    assert!(is_acked(&play, 2), "its own timer counts");
}

#[test]
fn an_old_worker_misses_its_ack_by_the_timeout_of_before() {
    let before = Settings { ack_timeout: Some(Duration::from_secs(20)), ..settings() };
    let next = Settings { ack_timeout: Some(Duration::from_secs(5)), retries: Some(9), max_unacked: 1, ..settings() };
    let mut play = with_one_unacked(before, next);
    let missed = |play: &mut Play, pid| {
        let missed =
            |action: Action| matches!(action, Action::Tell(Notice::AckMissed { pid: Pid(of), .. }) if of == pid);
        play.actions.drain(..).any(missed)
    };
    play.wait(19.9);
    assert!(!missed(&mut play, 2));
    play.wait(0.1);
    assert!(missed(&mut play, 2));
}

/// A timer that is in force again would have acked the worker of the given-up version in the step that gives it up.
#[test]
fn a_worker_of_a_given_up_version_is_not_acked_by_the_timer_of_before() {
    let before = Settings { ack: TIMER, max_unacked: 2, ..settings() };
    let mut play = Play::serving(before);
    play.next = Some(Settings { ack: AckMode::Manual, retries: Some(1), ..before });
    play.command(FLEET);
    (3..=4).for_each(|pid| play.tell(Event::WorkerExeced { pid: Pid(pid) }));
    play.wait(30.0);
    play.actions.clear();
    play.die(3);
    assert_eq!((play.pool.modern(), is_acked(&play, 4)), (Version(0), false));
    assert_eq!(play.signals(), [(4, Signal::USR2)]);
}

#[test]
fn fewer_workers_than_before_are_as_many_again_when_the_upgrade_fails() {
    let mut play = upgrading_to(Settings { target: 1, retries: Some(1), max_unacked: 1, ..settings() });
    assert_eq!(play.signals(), [(1, Signal::USR2)], "one more serves than is wanted now");
    play.die(3);
    play.wait(5.0);
    assert_eq!((play.pool.settings().target, play.pids()), (2, vec![1, 2, 4]));
    play.ack(4);
    assert_eq!(play.pool.serving_count(), 2);
}
