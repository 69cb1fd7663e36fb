//! Workers that no restart mends (number 21 of what operators trip over).

use std::num::NonZeroU8;
use std::time::Duration;

use crate::base::exit_code::EX_CONFIG;
use crate::base::{Ending, ExitCodes, Pid, Slot, Version};
use crate::pool::testing::{FLEET, Play, SMOOTH, settings};
use crate::pool::{AckMode, Action};
use crate::pool::{Command, Event, ExitReason, Manner, Notice, Settings, Stages, UpgradeFailure};

const FINAL: i32 = 78;

/// Two workers that ack by hand; 78 is not mended by a restart.
fn strict() -> Settings {
    Settings {
        no_restart: ExitCodes::new(NonZeroU8::new(EX_CONFIG).as_slice()).unwrap(),
        manner: Manner::Own,
        ..settings()
    }
}

fn end(play: &mut Play, pid: i32, code: i32) {
    play.tell(Event::WorkerExited { pid: Pid(pid), ending: Ending::Code(code) });
}

fn down(play: &Play) -> Vec<u32> {
    play.pool.down_slots().iter().map(|(slot, _)| slot.0).collect()
}

fn told(play: &Play, notice: &Notice) -> usize {
    play.actions.iter().filter(|action| matches!(action, Action::Tell(told) if told == notice)).count()
}

fn failures(play: &Play) -> Vec<UpgradeFailure> {
    let failed = play.actions.iter().filter_map(|action| match action {
        Action::Tell(Notice::UpgradeFailed { reason, .. }) => Some(reason.clone()),
        _ => None,
    });
    failed.collect()
}

#[test]
fn a_first_start_ends_with_the_worker_that_no_restart_mends() {
    let mut play = Play::of(strict());
    play.tell(Event::Started);
    end(&mut play, 1, FINAL);
    assert_eq!(told(&play, &Notice::StartIsVain { pid: Pid(1), code: FINAL }), 1);
    end(&mut play, 2, FINAL);
    assert_eq!((play.exits(), play.launched), (vec![ExitReason::GaveUp], 2));
}

/// A timer may have acked it: a slow program complains later than after the second that is allowed.
#[test]
fn a_start_is_over_when_a_worker_has_outlived_its_early_life() {
    for (age, expected) in [(9.0, vec![ExitReason::GaveUp]), (10.0, vec![])] {
        let mut play = Play::of(Settings { ack: AckMode::Timer(Duration::from_secs(1)), ..strict() });
        play.tell(Event::Started);
        for pid in [1, 2] {
            play.tell(Event::WorkerExeced { pid: Pid(pid) });
        }
        play.wait(1.0 + age);
        end(&mut play, 1, FINAL);
        end(&mut play, 2, FINAL);
        play.wait(600.0);
        assert_eq!((play.exits(), play.launched), (expected, 2), "after {age} s");
    }
}

#[test]
fn a_slot_of_a_service_stays_down_until_an_upgrade_or_a_number_is_asked_for() {
    for command in [SMOOTH, FLEET, Command::SetTarget(2), Command::Configure(vec![(Version(0), strict())])] {
        let mut play = Play::serving(strict());
        end(&mut play, 1, FINAL);
        assert_eq!(told(&play, &Notice::SlotStaysDown { slot: Slot(0), pid: Pid(1), code: FINAL }), 1);
        play.wait(3600.0);
        assert_eq!((down(&play), play.launched, play.pids()), (vec![0], 2, vec![2]));
        play.command(command.clone());
        play.wait(60.0);
        assert_eq!(down(&play), [0; 0], "{command:?}");
        assert!(play.launched > 2, "{command:?}");
    }
}

#[test]
fn other_codes_and_signals_and_workers_that_were_told_to_go_count_as_ever() {
    let mut play = Play::serving(strict());
    end(&mut play, 1, 77);
    play.wait(60.0);
    assert_eq!((down(&play), play.launched), (vec![], 3));
    let mut play = Play::serving(strict());
    play.command(Command::SetTarget(1));
    end(&mut play, 2, FINAL);
    assert_eq!(told(&play, &Notice::SlotStaysDown { slot: Slot(1), pid: Pid(2), code: FINAL }), 0);
    let mut play = Play::serving(settings());
    end(&mut play, 1, FINAL);
    play.wait(60.0);
    assert_eq!((down(&play), play.launched), (vec![], 3), "no code is named");
}

#[test]
fn an_upgrade_is_given_up_at_once_for_the_first_worker_that_no_restart_mends() {
    for command in [SMOOTH, FLEET] {
        let mut play = Play::serving(strict());
        play.command(command);
        end(&mut play, 3, FINAL);
        assert_eq!(failures(&play), [UpgradeFailure::Final(FINAL)]);
        assert_eq!((play.pool.modern(), play.pool.serving_count()), (Version(0), 2));
    }
}

#[test]
fn a_version_on_trial_is_given_up_for_it_too_and_then_a_good_one_keeps_its_slot_down() {
    let judged = Settings { early_life: Duration::from_secs(30), max_failures: 3, ..strict() };
    let mut play = Play::serving(judged);
    play.command(FLEET);
    for pid in [3, 4] {
        play.tell(Event::WorkerExeced { pid: Pid(pid) });
        play.ack(pid);
    }
    [1, 2].into_iter().for_each(|pid| play.die(pid));
    assert_eq!((play.pool.upgrading(), play.pool.modern()), (None, Version(1)));
    end(&mut play, 3, FINAL);
    assert_eq!(failures(&play), [UpgradeFailure::Final(FINAL)]);
    assert_eq!((play.pool.modern(), play.launched), (Version(0), 6), "the good one is there again at once");
    end(&mut play, 5, FINAL);
    assert_eq!(down(&play), [0]);
    play.tell(Event::WorkerExeced { pid: Pid(6) });
    play.ack(6);
    play.wait(60.0);
    assert_eq!(play.launched, 6);
}

/// The good version fills the slots of the stages to come, but for one whose worker it could not start.
#[test]
fn a_slot_of_a_later_stage_stays_down_and_does_not_hold_up_the_upgrade() {
    let canary = Stages::new(&[crate::base::Share::Count(1)]).unwrap();
    let staged = Settings { stages: canary, bake: Duration::from_secs(60), ..strict() };
    let mut play = Play::serving(strict());
    play.next = Some(staged);
    play.command(SMOOTH);
    end(&mut play, 2, FINAL);
    play.tell(Event::WorkerExeced { pid: Pid(3) });
    play.ack(3);
    play.wait(50.0);
    assert_eq!((play.launched, play.pool.upgrading().is_some()), (3, true), "the old slot 1 is not filled");
    play.wait(20.0);
    assert_eq!(play.launched, 4, "the new version fills it");
}
