//! By which signal a worker is told to go: its own, whatever is set by then.

use std::time::Duration;

use crate::base::{Pid, Signal, Version, WorkerIndex};
use crate::pool::testing::{Play, SMOOTH, settings};
use crate::pool::{Action, Command, Event, ExitReason, Notice, Settings};

/// Workers of this program drain at TERM.
fn draining_at_term() -> Settings {
    Settings { graceful: Signal::TERM, ..settings() }
}

fn configure(play: &mut Play, settings: Settings) {
    play.command(Command::Configure(vec![(Version(0), settings)]));
}

/// Two workers that end at USR2, and from now on those that are launched end at TERM.
fn changed() -> Play {
    let mut play = Play::serving(settings());
    configure(&mut play, draining_at_term());
    play
}

/// Two workers that end at USR2, and a third that ends at TERM.
fn mixed() -> Play {
    let mut play = changed();
    play.command(Command::SetTarget(3));
    play.wait(1.0);
    play.ack(3);
    assert_eq!(play.pids(), [1, 2, 3]);
    play.actions.clear();
    play
}

fn sendings(play: &Play) -> Vec<(Signal, Vec<i32>)> {
    let sending = |action: &Action| match action {
        Action::Tell(Notice::Sending { signal, pids }) => Some((*signal, pids.iter().map(|pid| pid.0).collect())),
        _ => None,
    };
    play.actions.iter().filter_map(sending).collect()
}

#[test]
fn an_old_worker_goes_by_the_signal_that_was_set_when_it_was_launched() {
    let mut play = changed();
    play.command(SMOOTH);
    play.ack(3);
    play.wait(0.2);
    play.ack(4);
    assert_eq!(play.signals(), [(1, Signal::USR2), (2, Signal::USR2)]);
    play.die(1);
    play.die(2);
    play.wait(1.0);
    play.command(SMOOTH);
    play.ack(5);
    assert_eq!(play.signals(), [(3, Signal::TERM)]);
}

#[test]
fn those_with_different_signals_are_told_in_one_go_for_each_signal() {
    let mut play = mixed();
    play.command(Command::StopGracefully);
    assert_eq!(sendings(&play), [(Signal::USR2, vec![1, 2]), (Signal::TERM, vec![3])]);
    assert_eq!(play.signals(), [(1, Signal::USR2), (2, Signal::USR2), (3, Signal::TERM)]);
}

#[test]
fn a_stop_by_a_named_signal_is_the_same_for_all() {
    let mut play = mixed();
    play.command(Command::Stop(Signal::USR2));
    assert_eq!(sendings(&play), [(Signal::USR2, vec![1, 2, 3])]);
}

#[test]
fn a_graceful_stop_that_is_a_term_may_take_for_ever_and_a_term_may_not() {
    let mut play = Play::serving(Settings { signal_timeout: None, ..draining_at_term() });
    play.command(Command::StopGracefully);
    assert_eq!(play.signals(), [(1, Signal::TERM), (2, Signal::TERM)]);
    play.wait(1e6);
    assert_eq!((play.signals(), play.exits()), (vec![], vec![]));
    play.command(Command::Stop(Signal::TERM));
    play.actions.clear();
    play.wait(90.0);
    assert_eq!(play.signals(), [(1, Signal::KILL), (2, Signal::KILL)]);
}

#[test]
fn a_graceful_stop_that_is_a_quit_ends_as_stopped_after_the_signal_timeout() {
    let signal_timeout = Some(Duration::from_secs(60));
    let mut play = Play::serving(Settings { graceful: Signal::QUIT, signal_timeout, ..settings() });
    play.command(Command::StopGracefully);
    play.actions.clear();
    play.wait(59.9);
    assert_eq!(play.signals(), []);
    play.wait(0.1);
    assert_eq!(play.signals(), [(1, Signal::KILL), (2, Signal::KILL)]);
    (1..=2).for_each(|pid| play.die(pid));
    assert_eq!(play.exits(), [ExitReason::Stopped]);
}

#[test]
fn a_worker_that_is_launched_too_late_hears_its_own() {
    let mut play = Play::of(draining_at_term());
    play.pool.handle(play.now, Event::Started, &mut play.actions);
    configure(&mut play, settings());
    play.command(Command::StopGracefully);
    play.actions.clear();
    play.tell(Event::WorkerSpawned { pid: Pid(1), index: WorkerIndex(0), version: Version(0) });
    play.command(Command::Stop(Signal::QUIT));
    play.actions.clear();
    play.tell(Event::WorkerSpawned { pid: Pid(2), index: WorkerIndex(1), version: Version(0) });
    let told: Vec<_> = play.pool.workers().iter().map(|worker| worker.told.as_ref().unwrap().signals.clone()).collect();
    assert_eq!(told, [vec![Signal::TERM, Signal::QUIT], vec![Signal::QUIT]]);
}

#[test]
fn what_a_dead_worker_left_hears_the_workers_own() {
    let mut play = changed();
    play.outlives = true;
    play.die(1);
    assert_eq!(play.signals(), [(1, Signal::USR2)]);
    play.command(Command::StopGracefully);
    let heard = [(2, Signal::USR2), (3, Signal::TERM), (1, Signal::USR2)];
    assert_eq!(play.signals(), heard, "the third was launched in place of the first, whose group is told last");
}

#[test]
fn a_missed_ack_and_a_start_that_is_given_up_tell_each_its_own() {
    let ack_timeout = Some(Duration::from_secs(5));
    let mut play = Play::of(Settings { ack_timeout, retries: Some(1), ..draining_at_term() });
    play.tell(Event::Started);
    configure(&mut play, Settings { ack_timeout, retries: Some(1), ..settings() });
    play.wait(5.0);
    assert!(play.pool.is_stopping());
    assert_eq!(play.signals(), [(1, Signal::TERM), (2, Signal::TERM)]);
}
