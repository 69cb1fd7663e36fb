//! Decisions, one by one: examples to read. What holds in general is shown by `tests/sim`.

use std::time::Duration;

use crate::base::{Pid, Signal, Version};
use crate::pool::testing::{FLEET, Play, SMOOTH, settings};
use crate::pool::{
    AckMode, Action, Command, Event, ExitReason, Manner, Notice, Settings, UpgradeFailure, UpgradeStyle,
};

#[test]
fn a_start_launches_all_at_once_and_counts_the_acks() {
    let mut play = Play::of(settings());
    play.tell(Event::Started);
    play.ack(1);
    play.ack(2);
    let expected = ["launching 2", "launched 1 (index: 0)", "launched 2 (index: 1)"];
    let acks = ["ack from 1", "up to 1 / 2", "ack from 2", "up to 2 / 2"];
    assert_eq!(play.log(), [&expected[..], &acks[..]].concat());
}

#[test]
fn a_smooth_upgrade_speaks_in_the_order_of_einhorn() {
    let mut play = Play::serving(settings());
    play.command(SMOOTH);
    play.wait(0.1);
    play.ack(3);
    play.die(1);
    play.wait(0.2);
    play.ack(4);
    play.die(2);
    let first = ["starting Smooth upgrade from 0", "launched 3 (index: 2)", "ack from 3", "up to 1 / 2"];
    let culled = ["smooth, killing 1 old", "sending USR2 to [1]", "sent USR2 to [1]", "exited 1"];
    let second = ["launched 4 (index: 0)", "ack from 4", "up to 2 / 2", "upgraded to 1"];
    let end = ["killing 1 old", "sending USR2 to [2]", "sent USR2 to [2]", "exited 2"];
    assert_eq!(play.log(), [first, culled, second, end].concat());
}

#[test]
fn a_fleet_upgrade_launches_every_new_worker_before_an_old_one_goes() {
    let mut play = Play::serving(settings());
    play.command(FLEET);
    play.ack(4);
    play.ack(3);
    play.die(1);
    play.die(2);
    let start = ["starting Fleet upgrade from 0", "launching 2", "launched 3 (index: 2)", "launched 4 (index: 3)"];
    let acks = ["ack from 4", "up to 1 / 2", "ack from 3", "up to 2 / 2", "upgraded to 1"];
    let end = ["killing 2 old", "sending USR2 to [1, 2]", "sent USR2 to [1, 2]", "exited 1", "exited 2"];
    assert_eq!(play.log(), [&start[..], &acks[..], &end[..]].concat());
}

#[test]
fn dec_tells_the_highest_slot_and_inc_waits_for_it_to_end() {
    let own = Settings { target: 3, signal_timeout: None, manner: Manner::Own, ..settings() };
    let mut play = Play::serving(own);
    play.command(Command::SetTarget(2));
    assert_eq!(play.signals(), [(3, Signal::USR2)]);
    play.command(Command::SetTarget(3));
    play.wait(30.0);
    assert_eq!(play.pids(), [1, 2, 3]);
    play.die(3);
    assert_eq!(play.pids(), [1, 2, 4]);
}

#[test]
fn an_upgrade_during_an_upgrade_starts_over_and_drops_what_never_acked() {
    let mut play = Play::serving(settings());
    play.command(SMOOTH);
    assert_eq!(play.pids(), [1, 2, 3]);
    play.actions.clear();
    play.command(SMOOTH);
    let started_over = Notice::UpgradeStartedOver { acked: 0, target: 2 };
    assert!(play.actions.contains(&Action::Tell(started_over)));
    assert_eq!(play.signals(), [(3, Signal::USR2)]);
    assert_eq!((play.pool.modern(), play.pool.good()), (Version(2), Version(0)));
    assert_eq!(play.pool.serving_count(), 2);
}

#[test]
fn a_refused_release_changes_nothing() {
    let mut play = Play::serving(settings());
    play.deferred = Some(Version(1));
    play.command(SMOOTH);
    play.tell(Event::ReleaseRefused { version: Version(1), reason: String::from("no such file") });
    assert_eq!((play.pool.modern(), play.pool.upgrading()), (Version(0), None));
    assert!(play.actions.contains(&Action::Tell(Notice::UpgradeRefused { reason: String::from("no such file") })));
}

#[test]
fn a_stop_during_an_upgrade_fails_it_and_tells_all_workers() {
    let mut play = Play::serving(settings());
    play.command(SMOOTH);
    play.actions.clear();
    play.command(Command::Stop(Signal::USR2));
    let failed = Notice::UpgradeFailed { version: Version(1), back_to: Version(0), reason: UpgradeFailure::Stopping };
    assert!(play.actions.contains(&Action::Tell(failed)));
    assert_eq!(play.signals(), [(1, Signal::USR2), (2, Signal::USR2), (3, Signal::USR2)]);
    play.command(SMOOTH);
    assert_eq!(play.actions, [Action::Tell(Notice::NotUpgradingWhileStopping)]);
    (1..=3).for_each(|pid| play.die(pid));
    assert_eq!((play.exits(), play.launched), (vec![ExitReason::Stopped], 3));
}

/// E18: einhorn runs six where five are the limit.
#[test]
fn no_more_than_the_additional_workers_live_beside_the_target() {
    for style in [SMOOTH, FLEET] {
        let mut play = Play::serving(Settings {
            target: 4,
            max_unacked: 4,
            max_upgrade_additional: Some(1),
            signal_timeout: None,
            ..settings()
        });
        play.command(style);
        for new in 5..=8 {
            play.tell(Event::WorkerExeced { pid: Pid(new) });
            play.wait(60.0);
            assert_eq!(play.pids().len(), 5);
            play.ack(new);
            play.wait(60.0);
            assert_eq!(play.pids().len(), 5);
            play.die(new - 4);
        }
        assert_eq!((play.pids(), play.pool.upgrading()), (vec![5, 6, 7, 8], None));
    }
}

/// E26: with a timer of 1 s, einhorn launches again every second, since each ack breaks the streak.
#[test]
fn a_worker_that_dies_just_after_its_ack_is_launched_ever_more_seldom() {
    let ack = AckMode::Timer(Duration::from_secs(1));
    let mut play = Play::of(Settings { target: 1, ack, spacing_s: 1.0, ..settings() });
    play.tell(Event::Started);
    let mut launches_after = Vec::new();
    for _ in 0..600 {
        let pid = play.launched;
        if play.pids().contains(&pid) {
            play.tell(Event::WorkerExeced { pid: Pid(pid) });
            play.wait(1.2);
            play.die(pid);
        }
        play.wait(1.0);
        launches_after.push(play.launched);
    }
    assert!(launches_after[60] <= 12, "{} launches in a minute", launches_after[60]);
    let late = launches_after[599] - launches_after[299];
    assert!(late <= 11, "{late} launches in the last 300 s, one in 30 s are allowed");
}

#[test]
fn two_hundred_workers_killed_at_once_do_not_stretch_the_wait() {
    let ack = AckMode::Timer(Duration::from_millis(10));
    let mut play = Play::of(Settings { target: 200, ack, max_unacked: 200, ..settings() });
    play.tell(Event::Started);
    (1..=200).for_each(|pid| play.tell(Event::WorkerExeced { pid: Pid(pid) }));
    play.wait(1.0);
    (1..=200).for_each(|pid| play.die(pid));
    play.actions.clear();
    play.wait(200.0 * 0.2);
    assert_eq!(play.launched, 400);
    let stretched =
        |action: &&Action| matches!(action, Action::Tell(Notice::Relaunching { interval_s, .. }) if *interval_s > 0.2);
    assert_eq!(play.actions.iter().filter(stretched).count(), 0);
}

#[test]
fn an_upgrade_that_used_up_its_retries_goes_back_to_the_good_version() {
    let mut play = Play::serving(Settings { retries: Some(2), max_unacked: 1, ..settings() });
    play.command(SMOOTH);
    play.die(3);
    assert_eq!(play.pool.upgrading(), Some(UpgradeStyle::Smooth));
    play.wait(1.0);
    play.actions.clear();
    play.die(4);
    let reason = UpgradeFailure::Failures(2);
    let failed = Notice::UpgradeFailed { version: Version(1), back_to: Version(0), reason };
    assert!(play.actions.contains(&Action::Tell(failed)));
    assert!(play.actions.contains(&Action::KeepReleases { modern: Version(0), good: Version(0), earlier: vec![] }));
    play.wait(60.0);
    assert_eq!((play.pids(), play.pool.modern()), (vec![1, 2], Version(0)));
    play.command(SMOOTH);
    assert_eq!(play.pool.modern(), Version(2), "no version is given twice");
}

#[test]
fn an_ack_that_is_overdue_counts_as_a_failure() {
    let mut play = Play::serving(Settings { ack_timeout: Some(Duration::from_secs(5)), max_unacked: 1, ..settings() });
    play.command(SMOOTH);
    play.wait(4.9);
    assert_eq!(play.pool.unacked_deaths(), 0);
    play.actions.clear();
    play.wait(0.1);
    assert_eq!(play.pool.unacked_deaths(), 1);
    assert_eq!(play.signals(), [(3, Signal::USR2)]);
    play.wait(1.0);
    assert_eq!(play.signals()[0], (3, Signal::KILL));
}

#[test]
fn a_first_start_that_never_served_is_given_up_when_retries_are_set() {
    let mut play = Play::of(Settings { target: 1, retries: Some(2), ..settings() });
    play.tell(Event::Started);
    play.die(1);
    assert_eq!(play.exits(), []);
    play.wait(30.0);
    play.die(2);
    assert_eq!(play.exits(), [ExitReason::GaveUp]);
}

#[test]
fn a_first_start_is_tried_for_ever_without_retries() {
    let mut play = Play::of(Settings { target: 1, ..settings() });
    play.tell(Event::Started);
    for pid in 1..=500 {
        play.die(pid);
        play.wait(30.0);
    }
    assert_eq!((play.exits(), play.launched), (vec![], 501));
}

/// E28: einhorn ends at once, and its workers live on.
#[test]
fn quit_waits_ten_seconds_and_then_kills() {
    let mut play = Play::serving(Settings { signal_timeout: Some(Duration::from_secs(60)), ..settings() });
    play.command(Command::Stop(Signal::QUIT));
    assert_eq!(play.signals(), [(1, Signal::QUIT), (2, Signal::QUIT)]);
    play.die(1);
    play.wait(9.9);
    assert_eq!((play.signals(), play.exits()), (vec![], vec![]));
    play.wait(0.1);
    assert_eq!(play.signals(), [(2, Signal::KILL)]);
    play.die(2);
    assert_eq!(play.exits(), [ExitReason::Quit]);
}

/// E28: without a signal timeout einhorn waits for ever.
#[test]
fn term_waits_ninety_seconds_when_there_is_no_signal_timeout() {
    let mut play = Play::serving(Settings { signal_timeout: None, ..settings() });
    play.command(Command::Stop(Signal::TERM));
    play.actions.clear();
    play.wait(89.9);
    assert_eq!(play.signals(), []);
    play.wait(0.1);
    assert_eq!(play.signals(), [(1, Signal::KILL), (2, Signal::KILL)]);
}

#[test]
fn a_graceful_stop_waits_for_ever_when_there_is_no_signal_timeout() {
    let mut play = Play::serving(Settings { signal_timeout: None, ..settings() });
    play.command(Command::Stop(Signal::USR2));
    play.actions.clear();
    play.wait(1e6);
    assert_eq!(play.signals(), []);
    assert_eq!(play.exits(), []);
}

#[test]
fn a_worker_that_stays_for_ever_is_named_once_a_minute() {
    let mut play = Play::serving(Settings { signal_timeout: None, ..settings() });
    play.command(Command::SetTarget(1));
    play.wait(180.0);
    let named = |action: &Action| match action {
        Action::Tell(Notice::Lingering { pids, longest }) => Some((pids[0].0, longest.as_secs())),
        _ => None,
    };
    assert_eq!(play.actions.iter().filter_map(named).collect::<Vec<_>>(), [(1, 60), (1, 120), (1, 180)]);
}

/// E12: einhorn ends, and the program that its shell had started lives on with the listener.
#[test]
fn a_group_that_outlives_its_leader_hears_the_same_and_keeps_the_master() {
    let mut play = Play::serving(Settings { target: 1, ..settings() });
    play.outlives = true;
    play.command(Command::Stop(Signal::USR2));
    play.actions.clear();
    play.wait(0.5);
    play.die(1);
    assert_eq!((play.signals(), play.exits()), (vec![(1, Signal::USR2)], vec![]));
    play.wait(0.5);
    assert_eq!(play.signals(), [(1, Signal::KILL)]);
    play.tell(Event::GroupEmptied { pid: Pid(1) });
    assert_eq!(play.exits(), [ExitReason::Stopped]);
}

/// Found by the simulator: its ack made an old worker go that served.
#[test]
fn a_worker_that_was_killed_for_its_hanging_exec_does_not_serve_by_a_late_ack() {
    let mut play = Play::serving(Settings { target: 1, ..settings() });
    play.command(SMOOTH);
    play.actions.clear();
    play.wait(10.0);
    assert_eq!(play.signals(), [(2, Signal::KILL)]);
    play.ack(2);
    assert_eq!((play.signals(), play.pool.serving_count()), (vec![], 1));
    assert_eq!(play.pool.upgrading(), Some(UpgradeStyle::Smooth));
}

/// Found by the simulator: the deadline was not ahead.
#[test]
fn a_signal_timeout_of_nothing_kills_at_once() {
    let mut play = Play::serving(Settings { signal_timeout: Some(Duration::ZERO), ..settings() });
    play.command(Command::SetTarget(1));
    assert_eq!(play.signals(), [(1, Signal::USR2), (1, Signal::KILL)]);
    assert!(play.pool.deadline().is_none_or(|deadline| deadline > play.now));
}

/// Found by the simulator: the patience with the old group ended, and the new worker was killed.
#[test]
fn a_worker_that_reuses_the_pid_of_an_empty_group_is_not_killed() {
    let mut play = Play::serving(Settings { target: 1, ..settings() });
    play.outlives = true;
    play.die(1);
    assert_eq!((play.pids(), play.pool.leftovers().len()), (vec![2], 1));
    play.outlives = false;
    play.launched = 0;
    play.wait(0.4);
    play.die(2);
    assert_eq!((play.pids(), play.pool.leftovers().len()), (vec![1], 0));
    play.actions.clear();
    play.wait(5.0);
    assert_eq!(play.signals(), []);
}

/// Found by the simulator: nothing could be launched, and nothing was told to go, for ever.
#[test]
fn an_old_worker_that_never_acks_does_not_keep_the_room_of_a_new_one() {
    let mut play = Play::of(Settings { max_upgrade_additional: Some(1), ..settings() });
    play.tell(Event::Started);
    play.ack(1);
    play.wait(1.0);
    play.command(SMOOTH);
    play.ack(3);
    assert!(play.signals().contains(&(2, Signal::USR2)));
    play.die(2);
    play.wait(1.0);
    play.ack(4);
    assert_eq!(play.pool.upgrading(), None);
}

/// Found by the simulator: the one whose missed ack was the last straw got its USR2 twice.
#[test]
fn giving_up_signals_no_worker_twice() {
    let ack_timeout = Some(Duration::from_secs(5));
    let mut play = Play::of(Settings { ack_timeout, retries: Some(1), ..settings() });
    play.tell(Event::Started);
    play.wait(5.0);
    assert!(play.pool.is_stopping());
    assert_eq!(play.signals(), [(1, Signal::USR2), (2, Signal::USR2)]);
}

/// Found by the simulator: a child was given the pid of a group that had just emptied, and was then killed in its place.
#[test]
fn every_signal_of_a_step_comes_before_its_launches() {
    let mut play = Play::serving(settings());
    play.command(SMOOTH);
    play.actions.clear();
    play.command(FLEET);
    let signal = play.actions.iter().position(|action| matches!(action, Action::SignalWorker { .. }));
    let launch = play.actions.iter().position(|action| matches!(action, Action::SpawnWorker { .. }));
    assert!(signal.is_some() && signal < launch);
}

#[test]
fn workers_sent_off_by_a_failed_upgrade_are_replaced_while_they_drain() {
    let mut play = Play::serving(Settings { retries: Some(1), signal_timeout: None, ..settings() });
    play.command(SMOOTH);
    play.ack(3);
    assert!(play.signals().contains(&(1, Signal::USR2)), "the oldest drains from now on");
    play.wait(1.0);
    play.die(3);
    play.die(4);
    assert_eq!(play.pool.modern(), Version(0), "given up");
    play.wait(60.0);
    let stays = |pid: &i32| play.pool.workers().iter().any(|worker| worker.pid.0 == *pid && !worker.is_told());
    assert_eq!(play.pids(), [1, 2, 5, 6], "the fifth was of the bad version");
    assert_eq!(play.pids().into_iter().filter(stays).collect::<Vec<_>>(), [2, 6]);
}

#[test]
fn fleet_upgrades_in_a_row_launch_no_faster_than_the_given_up_go() {
    let mut play = Play::serving(Settings { target: 4, signal_timeout: None, ..settings() });
    (0..10).for_each(|_| play.command(FLEET));
    assert!(play.pids().len() <= 4 + 4 + 4, "{:?}", play.pids());
}

/// E12.
#[test]
fn leftovers_are_killed_in_the_end_even_without_a_signal_timeout() {
    let mut play = Play::serving(Settings { target: 1, signal_timeout: None, ..settings() });
    play.outlives = true;
    play.die(1);
    play.tell(Event::WorkerExeced { pid: Pid(2) });
    assert_eq!(play.signals(), [(1, Signal::USR2)]);
    play.wait(90.0);
    assert_eq!(play.signals(), [(1, Signal::KILL)]);
}

#[test]
fn dec_in_einhorns_manner_tells_the_eldest() {
    let mut play = Play::serving(Settings { target: 3, signal_timeout: None, ..settings() });
    play.command(Command::SetTarget(2));
    assert_eq!(play.signals(), [(1, Signal::USR2)]);
    play.command(Command::SetTarget(3));
    play.wait(30.0);
    assert_eq!(play.pids(), [1, 2, 3]);
    play.die(1);
    assert_eq!(play.pids(), [2, 3, 4]);
}
