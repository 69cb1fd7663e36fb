//! Slots: who fills them, and how long each waits.

use std::collections::BTreeSet;

use crate::base::{Mono, Pid, Slot, Version};
use crate::pool::testing::{FLEET, Play, settings};
use crate::pool::{Action, Event, Manner, Notice, Settings, SlotDeaths};

fn four() -> Settings {
    Settings { target: 4, max_unacked: 4, manner: Manner::Own, spacing_s: 1.0, ..settings() }
}

fn slots(play: &Play) -> Vec<(i32, u32)> {
    play.pool.workers().iter().map(|worker| (worker.pid.0, worker.slot.0)).collect()
}

#[test]
fn new_worker_has_the_slot_of_the_one_that_it_replaces() {
    let mut play = Play::serving(four());
    assert_eq!(slots(&play), [(1, 0), (2, 1), (3, 2), (4, 3)]);
    play.die(3);
    play.wait(1.0);
    assert_eq!(slots(&play)[3], (5, 2));
    play.ack(5);
    play.command(FLEET);
    let new: Vec<_> = slots(&play).into_iter().filter(|(pid, _)| *pid > 5).collect();
    assert_eq!(new, [(6, 0), (7, 1), (8, 2), (9, 3)]);
}

#[test]
fn slot_whose_workers_die_young_waits_and_the_others_do_not() {
    let mut play = Play::serving(four());
    play.die(2);
    for _ in 0..4 {
        assert!(slots(&play).contains(&(play.launched, 1)));
        play.actions.clear();
        play.die(play.launched);
        let [(_, _, at)] = play.pool.waiting_slots()[..] else { panic!("{:?}", play.pool.waiting_slots()) };
        play.wait(at.since(play.now).as_secs_f64());
    }
    play.die(play.launched);
    let [(_, deaths, at)] = play.pool.waiting_slots()[..] else { panic!("{:?}", play.pool.waiting_slots()) };
    assert!(deaths >= 4 && at.since(play.now).as_secs_f64() > 4.0, "{deaths} deaths, {:?}", at.since(play.now));
    let said = |action: &Action| matches!(action, Action::Tell(Notice::SlotWaits { slot: Slot(1), .. }));
    assert!(play.actions.iter().any(said));
    play.die(4);
    play.wait(1.0);
    assert!(slots(&play).contains(&(play.launched, 3)), "slot 3 does not wait for slot 1");
}

#[test]
fn slots_that_fail_together_do_not_come_back_together() {
    let deaths = SlotDeaths { version: Version(0), unacked: 3, early: 0, last_launch: Mono::from_nanos(0) };
    let interval = deaths.interval_s(1.0);
    let waits = (0..100).map(|slot| deaths.not_before(Slot(slot), 1.0));
    let waits: BTreeSet<Mono> = waits.collect();
    let seconds = |moment: &Mono| moment.since(Mono::from_nanos(0)).as_secs_f64();
    assert!(waits.len() > 90 && waits.iter().all(|at| (interval..=interval * 1.1).contains(&seconds(at))));
    let accident = SlotDeaths { unacked: 0, early: 1, ..deaths };
    assert!((0..100).all(|slot| seconds(&accident.not_before(Slot(slot), 1.0)) == 1.0));
}

#[test]
fn pool_that_lost_everything_is_there_again_at_once_and_says_so() {
    let mut play = Play::serving(four());
    (1..=4).for_each(|pid| play.die(pid));
    assert_eq!(play.actions.iter().filter(|action| **action == Action::Tell(Notice::NothingServes)).count(), 1);
    assert_eq!(play.pids(), [5, 6, 7, 8], "without a pause between them");
    (5..=8).for_each(|pid| play.tell(Event::WorkerExeced { pid: Pid(pid) }));
    (5..=8).for_each(|pid| play.ack(pid));
    (5..=8).for_each(|pid| play.die(pid));
    assert!(play.pids().len() <= 1, "they died young, and are spaced: {:?}", play.pids());
}

#[test]
fn worker_above_the_target_goes_when_those_below_serve() {
    let mut play = Play::serving(four());
    play.die(1);
    play.command(crate::pool::Command::SetTarget(3));
    assert_eq!(slots(&play).iter().map(|(_, slot)| *slot).max(), Some(3), "three serve, and three shall");
    play.wait(1.0);
    play.ack(5);
    assert!(play.signals().contains(&(4, crate::base::Signal::USR2)));
}
