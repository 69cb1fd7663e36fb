//! When workers hear of a stop, at once or after its delay, and when TERM follows.

use std::time::Duration;

use crate::base::{Signal, Version};
use crate::pool::testing::{Play, SMOOTH, settings};
use crate::pool::{Command, ExitReason, Settings};

fn delaying() -> Play {
    Play::serving(Settings { stop_delay: Duration::from_secs(5), ..settings() })
}

#[test]
fn workers_are_told_when_the_delay_of_a_stop_is_over_and_killed_after_the_timeout() {
    let mut play = delaying();
    play.command(Command::StopGracefully);
    play.wait(4.9);
    assert!(play.pool.is_stopping() && play.pool.is_accepting());
    assert_eq!((play.signals(), play.pool.serving_count()), (vec![], 2));
    play.wait(0.1);
    assert!(!play.pool.is_accepting());
    assert_eq!(play.signals(), [(1, Signal::USR2), (2, Signal::USR2)]);
    play.wait(0.9);
    assert_eq!(play.signals(), []);
    play.wait(0.1);
    assert_eq!(play.signals(), [(1, Signal::KILL), (2, Signal::KILL)]);
}

#[test]
fn a_second_stop_ends_the_delay_and_quit_has_none() {
    let mut play = delaying();
    play.command(Command::Stop(Signal::TERM));
    play.command(Command::StopGracefully);
    assert_eq!(play.signals(), [(1, Signal::USR2), (2, Signal::USR2)]);
    let mut play = delaying();
    play.command(Command::Stop(Signal::QUIT));
    assert_eq!(play.signals(), [(1, Signal::QUIT), (2, Signal::QUIT)]);
}

#[test]
fn no_worker_is_launched_in_the_delay_and_without_any_it_is_over() {
    let mut play = delaying();
    play.command(Command::StopGracefully);
    play.command(SMOOTH);
    play.command(Command::RollBack(None));
    play.die(1);
    play.wait(3.0);
    assert_eq!((play.pids(), play.pool.modern()), (vec![2], Version(0)));
    play.die(2);
    assert_eq!(play.exits(), [ExitReason::Stopped]);
    assert_eq!(play.pool.deadline(), None);
}

#[test]
fn a_stop_before_a_worker_serves_has_no_delay() {
    let mut play = Play::of(Settings { stop_delay: Duration::from_secs(5), ..settings() });
    play.tell(crate::pool::Event::Started);
    play.command(Command::StopGracefully);
    assert_eq!(play.signals(), [(1, Signal::USR2), (2, Signal::USR2)]);
}

fn draining(signal_timeout: Option<Duration>) -> Play {
    let mut play = Play::serving(Settings { graceful: Signal::QUIT, signal_timeout, ..settings() });
    play.command(Command::StopGracefullyThenTerm);
    assert_eq!(play.signals(), both(Signal::QUIT));
    play
}

fn both(signal: Signal) -> [(i32, Signal); 2] {
    [(1, signal), (2, signal)]
}

#[test]
fn a_graceful_stop_becomes_term_and_then_kill_when_its_time_is_over() {
    for (timeout, seconds) in [(Some(Duration::from_secs(20)), 20.0), (None, 90.0)] {
        let mut play = draining(timeout);
        for signal in [Signal::TERM, Signal::KILL] {
            play.wait(seconds - 0.1);
            assert_eq!(play.signals(), []);
            play.wait(0.1);
            assert_eq!(play.signals(), both(signal));
        }
    }
}

#[test]
fn term_ends_the_wait_for_term_and_a_graceful_stop_puts_it_off_no_further() {
    let mut play = draining(None);
    play.command(Command::Stop(Signal::TERM));
    assert_eq!(play.signals(), both(Signal::TERM));
    let mut play = draining(None);
    play.wait(60.0);
    play.command(Command::StopGracefully);
    assert_eq!(play.signals(), both(Signal::QUIT));
    play.wait(30.0);
    assert_eq!(play.signals(), both(Signal::TERM));
}

#[test]
fn term_comes_after_a_delayed_stop_too_although_a_graceful_one_ends_its_delay() {
    let delayed = Settings { stop_delay: Duration::from_secs(5), signal_timeout: None, ..settings() };
    let mut play = Play::serving(delayed);
    play.command(Command::StopGracefullyThenTerm);
    play.command(Command::StopGracefully);
    assert_eq!(play.signals(), both(Signal::USR2));
    play.wait(90.0);
    assert_eq!(play.signals(), both(Signal::TERM));
}
