//! A pool that is handed on: it is the same afterwards, and goes on where it was.

use std::time::Duration;

use super::testing::{FLEET, Play, SMOOTH, settings};
use super::*;
use crate::base::{Mono, Pid, Signal, Slot, Version};

/// The same play, by the pool that the next image makes of this one.
fn handed_on(play: &mut Play) {
    let restored = Pool::restore(play.pool.to_hand_on().clone());
    assert_eq!(restored, play.pool);
    play.pool = restored;
}

fn resumed(play: &mut Play) -> Vec<Action> {
    handed_on(play);
    let mut actions = Vec::new();
    play.pool.handle(play.now, Event::Resumed, &mut actions);
    actions
}

#[test]
fn a_pool_is_the_same_after_it_was_handed_on_at_any_moment() {
    let mut play = Play::of(Settings { retries: Some(2), ..settings() });
    handed_on(&mut play);
    play.tell(Event::Started);
    handed_on(&mut play);
    play.ack(1);
    play.ack(2);
    play.tell(Event::WorkerPinged { pid: Pid(1), request_id: "well".into(), is_number: false });
    play.tell(Event::WorkerStopped { pid: Pid(2) });
    handed_on(&mut play);
    for upgrade in [SMOOTH, FLEET] {
        play.command(upgrade);
        handed_on(&mut play);
        for _ in 0..2 {
            play.die(play.launched);
            handed_on(&mut play);
            play.wait(5.0);
            handed_on(&mut play);
        }
    }
    play.command(Command::Stop(Signal::TERM));
    handed_on(&mut play);
}

#[test]
fn a_pool_at_rest_asks_for_nothing_when_it_goes_on() {
    let mut play = Play::serving(settings());
    assert_eq!(resumed(&mut play), []);
}

#[test]
fn a_launch_that_is_blocked_is_not_told_of_again() {
    let mut play = Play::of(Settings { target: 3, max_unacked: 1, ..settings() });
    play.tell(Event::Started);
    play.die(1);
    play.wait(60.0);
    assert!(play.actions.contains(&Action::Tell(Notice::LaunchBlocked(Blocked::Unacked { unacked: 2, max: 1 }))));
    assert_eq!(resumed(&mut play), []);
}

#[test]
fn what_was_being_prepared_is_asked_for_again() {
    let mut play = Play::serving(settings());
    play.deferred = Some(Version(1));
    play.command(SMOOTH);
    assert_eq!(resumed(&mut play), [Action::PrepareRelease { version: Version(1) }]);
    play.tell(play.ready(Version(1)));
    assert_eq!(play.pool.upgrading(), Some(UpgradeStyle::Smooth));
}

#[test]
fn what_fell_due_meanwhile_is_done_at_once() {
    let mut play = Play::serving(settings());
    play.command(Command::SetTarget(1));
    play.now = play.now.after(Duration::from_secs(2));
    let killed = Action::SignalGroup { pid: Pid(1), signal: Signal::KILL };
    assert!(resumed(&mut play).contains(&killed));
}

/// Those of an upgrade that comes meanwhile may be answered first.
#[test]
fn launches_that_are_not_answered_are_handed_on() {
    let mut play = Play::of(settings());
    play.pool.handle(play.now, Event::Started, &mut play.actions);
    play.command(FLEET);
    for launch in play.pool.state.launches.clone() {
        handed_on(&mut play);
        play.launched += 1;
        let (pid, index, version) = (Pid(play.launched), launch.index, launch.version);
        play.tell(Event::WorkerSpawned { pid, index, version });
    }
    let of = |version, slot| (Version(version), Slot(slot));
    let workers = play.pool.workers().iter().map(|worker| (worker.version, worker.slot));
    assert_eq!(workers.collect::<Vec<_>>(), [of(1, 0), of(1, 1), of(0, 0), of(0, 1)]);
    assert!(play.pool.state.launches.is_empty());
}

#[test]
#[should_panic(expected = "a master that ends hands nothing on")]
fn nothing_is_handed_on_after_the_end() {
    let mut pool = Pool::new(settings());
    pool.handle(Mono::from_nanos(1), Event::CommandGiven(Command::StopGracefully), &mut Vec::new());
    pool.to_hand_on();
}

#[test]
fn a_state_that_no_pool_can_be_in_is_refused() {
    let state = || {
        let mut play = Play::serving(settings());
        play.outlives = true;
        play.die(2);
        let mut state = play.pool.state().clone();
        // In plays the first pid is 1.
        state.workers[0].pid = Pid(11);
        state
    };
    assert_eq!(state().check(), Ok(()));
    let mut least = state();
    (least.settings.target, least.settings.max_unacked, least.settings.max_upgrade_additional) = (1, 1, Some(1));
    assert_eq!(least.check(), Ok(()));
    let refusal = |change: fn(&mut State)| {
        let mut state = state();
        change(&mut state);
        state.check().expect_err("it is taken")
    };
    let numbers = "settings: the numbers of workers must be at least 1";
    assert_eq!(refusal(|state| state.settings.target = 0), numbers);
    assert_eq!(refusal(|state| state.settings.max_unacked = 0), numbers);
    assert_eq!(refusal(|state| state.settings.max_upgrade_additional = Some(0)), numbers);
    assert_eq!(refusal(|state| state.fallback.spacing_s = 0.0), "fallback: spacing_s must be above 0");
    assert_eq!(refusal(|state| state.settings.spacing_s = f64::INFINITY), "settings: spacing_s must be above 0");
    assert_eq!(refusal(|state| state.good = Version(1)), "good: need a version up to 0, found 1");
    assert_eq!(refusal(|state| state.modern = Version(9)), "modern: need a version up to 0, found 9");
    assert_eq!(
        refusal(|state| state.workers[0].version = Version(5)),
        "workers: 11: version: need a version up to 0, found 5"
    );
    assert_eq!(refusal(|state| state.workers[0].pid = Pid(1)), "workers: need a process id above 1, found 1");
    assert_eq!(refusal(|state| state.leftovers[0].pid = Pid(-1)), "leftovers: need a process id above 1, found -1");
    assert_eq!(refusal(|state| state.workers.push(state.workers[0].clone())), "workers: process 11 stands there twice");
}
