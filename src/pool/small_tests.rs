//! Small decisions that the plays of `tests` go past: `make mutants` had changed them unseen.

use crate::base::{Mono, Pid, Signal};
use crate::pool::testing::{FLEET, Play, SMOOTH, settings};
use crate::pool::worker::Ping;
use crate::pool::{AckIgnored, Action, Blocked, Command, Event, ExitReason, Group, Notice, REQUEST_ID_MAX, Settings};

#[test]
fn fleet_upgrade_without_room_for_all_new_ones_goes_on_as_a_smooth_one() {
    let mut play = Play::serving(Settings { max_upgrade_additional: Some(1), ..settings() });
    play.command(FLEET);
    let blocked = Blocked::Capacity { over: 1, modern: 0, total: 3 };
    assert!(play.actions.contains(&Action::Tell(Notice::LaunchBlocked(blocked))), "{:?}", play.actions);
    play.wait(1.0);
    assert_eq!(play.pids(), [1, 2, 3]);
    play.ack(3);
    assert_eq!(play.signals(), [(1, Signal::USR2)]);
    play.die(1);
    play.wait(1.0);
    play.ack(4);
    assert_eq!(play.pool.upgrading(), None);
}

#[test]
fn ping_is_noted_for_its_worker_alone_and_a_second_ack_is_ignored() {
    let mut play = Play::serving(settings());
    play.tell(Event::WorkerPinged { pid: Pid(2), request_id: "well".into(), is_number: false });
    let pings: Vec<_> = play.pool.workers().iter().map(|worker| worker.ping.clone()).collect();
    assert_eq!(pings, [None, Some(Ping::new(play.now, "well".into()))]);
    assert_eq!(play.actions, []);
    play.tell(Event::WorkerPinged { pid: Pid(9), request_id: "well".into(), is_number: false });
    play.ack(2);
    let ignored = |pid, reason| Action::Tell(Notice::AckIgnored { pid: Pid(pid), reason });
    let received = Action::Tell(Notice::AckReceived { pid: Pid(2) });
    assert_eq!(play.actions, [ignored(9, AckIgnored::Unknown), received, ignored(2, AckIgnored::Repeated)]);
}

#[test]
fn worker_is_reaped_once() {
    let mut play = Play::serving(settings());
    play.outlives = true;
    play.die(1);
    play.actions.clear();
    play.tell(Event::WorkerReaped { pid: Pid(1), group: Group::HasSurvivors });
    assert_eq!(play.actions, [], "its group was told already");
}

#[test]
fn launches_are_blocked_only_while_a_worker_is_missing() {
    let mut play = Play::of(settings());
    play.tell(Event::Started);
    let blocked = |action: &Action| matches!(action, Action::Tell(Notice::LaunchBlocked(_)));
    assert!(!play.actions.iter().any(blocked), "as many are not acked as may be, and none is missing");
}

#[test]
fn old_worker_without_ack_takes_no_place_in_a_fleet_upgrade() {
    let mut play = Play::of(settings());
    play.tell(Event::Started);
    play.ack(1);
    play.log();
    play.command(FLEET);
    assert_eq!(play.log()[..2], ["starting Fleet upgrade from 0", "launching 2"]);
}

#[test]
fn forwarded_signal_reaches_those_that_are_their_program() {
    let mut play = Play::of(settings());
    play.tell(Event::Started);
    play.tell(Event::WorkerExeced { pid: Pid(2) });
    play.actions.clear();
    play.command(Command::Forward(Signal::HUP));
    assert_eq!(play.signals(), [(2, Signal::HUP)]);
}

#[test]
fn first_stop_that_is_no_plain_one_names_the_reason_of_the_exit() {
    let (quit, term) = (Signal::QUIT, Signal::TERM);
    for (commands, reason) in
        [([quit, term], ExitReason::Quit), ([term, quit], ExitReason::Quit), ([term, term], ExitReason::Stopped)]
    {
        let mut play = Play::serving(settings());
        commands.into_iter().for_each(|signal| play.command(Command::Stop(signal)));
        [1, 2].into_iter().for_each(|pid| play.die(pid));
        assert_eq!(play.exits(), [reason], "{commands:?}");
    }
}

#[test]
fn request_id_that_is_too_long_is_cut_between_characters() {
    let long = "é".repeat(REQUEST_ID_MAX);
    let odd = format!("x{long}");
    for (given, kept) in [("well", "well"), (&long, &long[..REQUEST_ID_MAX]), (&odd, &odd[..REQUEST_ID_MAX - 1])] {
        let ping = Ping::new(Mono::from_nanos(1), given.to_owned());
        assert_eq!(ping.request_id, kept);
        let text = serde_json::to_string(&Ping { request_id: given.to_owned(), ..ping.clone() }).unwrap();
        assert_eq!(serde_json::from_str::<Ping>(&text).unwrap(), ping);
    }
}

#[test]
fn stopped_old_worker_stays_while_there_is_room_for_all_new_ones() {
    let mut play = Play::serving(Settings { max_upgrade_additional: Some(2), ..settings() });
    play.tell(Event::WorkerStopped { pid: Pid(2) });
    play.actions.clear();
    play.command(SMOOTH);
    assert_eq!(play.signals(), []);
}

/// The pids that the log names as still running.
fn lingering(play: &Play) -> Vec<i32> {
    let named = play.actions.iter().filter_map(|action| match action {
        Action::Tell(Notice::Lingering { pids, .. }) => Some(pids.iter().map(|pid| pid.0)),
        _ => None,
    });
    named.flatten().collect()
}

#[test]
fn group_without_its_leader_is_named_once_nothing_will_kill_it() {
    let patient = Settings { signal_timeout: None, ..settings() };
    let mut play = Play::serving(patient);
    play.outlives = true;
    play.die(1);
    play.wait(61.0);
    assert!(lingering(&play).is_empty(), "it is killed after ninety seconds");
    play.wait(30.0);
    assert_eq!(lingering(&play), [1]);
    let mut play = Play::serving(patient);
    play.outlives = true;
    play.command(Command::StopGracefully);
    play.die(1);
    play.wait(61.0);
    assert_eq!(lingering(&play), [2, 1]);
}
