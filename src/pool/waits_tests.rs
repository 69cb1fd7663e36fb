//! Each reason for which an upgrade may wait, and that a long one is told once.

use std::time::Duration;

use crate::base::{AckMode, Mono, Pid, Share, Slot, Stages};
use crate::pool::testing::{FLEET, Play, SMOOTH, settings};
use crate::pool::wait::{Wait, Waited};
use crate::pool::{Action, Command, Event, Manner, Notice, Settings};

/// Manual acks within a minute, and workers that are told to go stay as long as they like.
fn patient() -> Settings {
    let own = Settings { manner: Manner::Own, ..settings() };
    Settings { ack_timeout: Some(Duration::from_secs(60)), signal_timeout: None, max_unacked: 1, ..own }
}

fn waited(pid: i32, slot: u32, since: Mono) -> Waited {
    Waited { pid: Pid(pid), slot: Slot(slot), since }
}

/// The waits that were told since the last look.
fn told(play: &mut Play) -> Vec<Wait> {
    let told = play.actions.drain(..).filter_map(|action| match action {
        Action::Tell(Notice::UpgradeWaits { wait, .. }) => Some(wait),
        _ => None,
    });
    told.collect()
}

impl Play {
    fn come_up(&mut self, pid: i32) {
        self.tell(Event::WorkerExeced { pid: Pid(pid) });
        self.ack(pid);
    }
}

#[test]
fn an_upgrade_that_gets_on_or_none_waits_for_nothing() {
    let mut play = Play::serving(patient());
    assert_eq!(play.pool.waits_for(), None);
    play.command(SMOOTH);
    play.come_up(3);
    play.come_up(4);
    assert_eq!((play.pool.upgrading(), told(&mut play)), (None, vec![]));
    let first = waited(1, 0, play.now);
    assert_eq!(play.pool.waits_for(), Some(Wait::Exit { by: first, others: 1 }), "the old ones are still there");
    play.wait(1000.0);
    assert_eq!(told(&mut play), [], "the upgrade is done");
    play.die(1);
    play.die(2);
    assert_eq!(play.pool.waits_for(), None);
}

#[test]
fn a_wait_for_an_ack_names_worker_and_limit_and_is_told_once() {
    let mut play = Play::serving(patient());
    play.command(SMOOTH);
    let began = play.now;
    let wait = Wait::Ack { by: waited(3, 0, began), until: Some(began.after(Duration::from_secs(60))) };
    assert_eq!(play.pool.waits_for(), Some(wait));
    play.wait(9.9);
    assert_eq!((told(&mut play), play.pool.long_wait()), (vec![], None));
    play.wait(40.0);
    assert_eq!((told(&mut play), play.pool.long_wait()), (vec![wait], Some(wait)));
    play.ack(3);
    let next = Wait::Ack { by: waited(4, 1, play.now), until: Some(play.now.after(Duration::from_secs(60))) };
    assert_eq!((play.pool.waits_for(), play.pool.long_wait()), (Some(next), None));
    play.wait(20.0);
    assert_eq!(told(&mut play), [next], "another worker is another wait");
}

#[test]
fn of_many_workers_that_are_waited_for_at_once_one_is_told() {
    let mut play = Play::serving(Settings { target: 9, max_unacked: 9, ..patient() });
    play.command(FLEET);
    play.wait(20.0);
    assert!(matches!(told(&mut play).as_slice(), [Wait::Ack { by, .. }] if by.pid == Pid(10)));
    play.ack(10);
    assert!(matches!(play.pool.long_wait(), Some(Wait::Ack { by, .. }) if by.pid == Pid(11)));
    (11..=18).for_each(|pid| play.ack(pid));
    assert_eq!(told(&mut play), []);
}

#[test]
fn a_timer_is_waited_for_until_it_has_passed() {
    let timer = AckMode::Timer(Duration::from_secs(30));
    let mut play = Play::serving(Settings { ack: timer, manner: Manner::Own, ..settings() });
    play.command(SMOOTH);
    play.tell(Event::WorkerExeced { pid: Pid(3) });
    let until = play.now.after(Duration::from_secs(30));
    assert_eq!(play.pool.waits_for(), Some(Wait::Timer { by: waited(3, 0, play.now), until }));
}

#[test]
fn an_upgrade_without_room_waits_for_the_old_worker_that_was_told_first() {
    let mut play = Play::serving(Settings { max_upgrade_additional: Some(1), target: 3, ..patient() });
    play.command(SMOOTH);
    play.come_up(4);
    let wait = Wait::Exit { by: waited(1, 0, play.now), others: 0 };
    assert_eq!(play.pool.waits_for(), Some(wait));
    play.wait(40.0);
    assert_eq!(told(&mut play), [wait]);
    play.die(1);
    play.come_up(5);
    assert_eq!(play.pool.waits_for(), Some(Wait::Exit { by: waited(2, 1, play.now), others: 0 }));
}

#[test]
fn old_workers_that_were_told_to_go_take_no_room_of_a_surge() {
    let mut play = Play::serving(Settings { max_surge: Some(Share::Count(1)), ..patient() });
    play.command(SMOOTH);
    play.come_up(3);
    assert!(matches!(play.pool.waits_for(), Some(Wait::Ack { by, .. }) if by.pid == Pid(4)));
}

/// With `max-surge = 0` a new worker that is stopped takes the room of the next one: nothing gets on until it is continued.
#[test]
fn a_stopped_worker_without_room_for_another_is_waited_for() {
    let mut play = Play::serving(Settings { max_surge: Some(Share::Count(0)), target: 3, ..patient() });
    play.command(SMOOTH);
    let pid = play.launched;
    play.come_up(pid);
    let (stopped_at, next) = (play.now, play.launched);
    play.tell(Event::WorkerStopped { pid: Pid(pid) });
    assert!(matches!(play.pool.waits_for(), Some(Wait::Ack { by, .. }) if by.pid == Pid(next)), "it may still ack");
    play.come_up(next);
    assert_eq!(play.pool.waits_for(), Some(Wait::Continue { by: waited(pid, 0, stopped_at) }));
    play.wait(100.0);
    assert_eq!(told(&mut play), [Wait::Continue { by: waited(pid, 0, stopped_at) }]);
    assert!(play.pool.upgrading().is_some());
    play.tell(Event::WorkerContinued { pid: Pid(pid) });
    play.come_up(play.launched);
    assert_eq!(play.pool.upgrading(), None);
}

#[test]
fn a_pause_a_check_and_a_bake_are_waits_that_were_told_when_they_began() {
    let bake = Duration::from_secs(50);
    let stages = Stages::new(&[Share::Count(1)]).unwrap();
    let staged = Settings { stages, bake, has_check: true, ..patient() };
    let mut play = Play::serving(staged);
    play.command(SMOOTH);
    play.come_up(3);
    assert_eq!(play.pool.waits_for(), Some(Wait::Check));
    play.tell(Event::CheckEnded { version: play.pool.modern(), result: Ok(()) });
    assert_eq!(play.pool.waits_for(), Some(Wait::Bake { until: play.now.after(bake) }));
    play.command(Command::Pause);
    let since = play.now;
    play.wait(20.0);
    assert_eq!(play.pool.waits_for(), Some(Wait::Resume { since }));
    assert_eq!(told(&mut play), []);
}

#[test]
fn a_slot_whose_workers_die_young_is_waited_for() {
    let mut play = Play::serving(Settings { retries: Some(9), target: 1, ..patient() });
    play.command(SMOOTH);
    for _ in 0..3 {
        let last = play.launched;
        play.die(last);
        let found = play.pool.waits_for();
        let Some(Wait::Launch { slot: Slot(0), deaths, until }) = found else { panic!("{found:?}") };
        assert!(deaths > 0 && until > play.now);
        while play.launched == last {
            play.wait(0.1);
        }
    }
}

/// As einhorn has it, a launch comes every `-s` seconds, however fast the workers are.
#[test]
fn the_pause_between_two_launches_is_a_wait() {
    let mut play = Play::serving(Settings { spacing_s: 20.0, manner: Manner::Einhorn, ..settings() });
    play.command(SMOOTH);
    while play.launched < 3 {
        play.wait(1.0);
    }
    let until = play.pool.last_spinup().unwrap().after(Duration::from_secs(20));
    play.come_up(3);
    assert_eq!(play.pool.waits_for(), Some(Wait::Launch { slot: Slot(1), deaths: 0, until }));
    play.command(FLEET);
    play.command(Command::StopGracefully);
    assert_eq!(play.pool.waits_for(), None, "a master that ends upgrades nothing");
}
