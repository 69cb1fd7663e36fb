//! Pauses the signal thread of real processes, and sees that every signal is taken afterwards, here or in the next image.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crossbeam_channel::{Receiver, bounded};
use tempfile::TempDir;

use super::*;
use crate::base::{Ending, Pid};
use crate::sys::clock;
use crate::sys::executable::Executable;
use crate::sys::reexec::{Program, exec};
use crate::sys::signal as sys_signal;
use crate::sys::testing::{LIMIT, fork_to_run, in_own_process, on_first_thread, reap, wait_until, words};
use crate::threads::handle::{PAUSE_WAIT_MAX, PAUSES_MAX};
use crate::threads::spawn::shortage;

const HEARD: &[Signal] = &[Signal::HUP, Signal::USR1, Signal::USR2, Signal::TERM, Signal::CONT];

fn numbers() -> BTreeSet<i32> {
    HEARD.iter().map(|signal| signal.number()).collect()
}

/// As a master does it, on the first and only thread.
fn started(room: usize) -> (SignalThread, Receiver<Input>) {
    sys_signal::block_all();
    sys_signal::prepare_dispositions();
    let (sender, inbox) = bounded(room);
    (start(HEARD, sender, &mut Crew::required()).unwrap(), inbox)
}

fn send_each(times: usize) {
    let own = Pid(nix::unistd::getpid().as_raw());
    for _ in 0..times {
        HEARD.iter().for_each(|&signal| sys_signal::send(own, signal).unwrap());
    }
}

fn number(input: &Input) -> i32 {
    match input {
        Input::Signaled(received, _) => received.signal.number(),
        other => panic!("{other:?}"),
    }
}

/// Waits until each has been heard.
fn hear_each(inbox: &Receiver<Input>) {
    let mut left = numbers();
    while !left.is_empty() {
        left.remove(&number(&inbox.recv_timeout(LIMIT).unwrap()));
    }
}

/// Masks of a status file, as sets of signals.
fn mask(status: &str, field: &str) -> BTreeSet<i32> {
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let bits = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    (1..=64).filter(|number| bits & (1 << (number - 1)) != 0).collect()
}

/// Those of [`HEARD`] that no thread has taken.
fn pending() -> BTreeSet<i32> {
    &mask(&fs::read_to_string("/proc/self/status").unwrap(), "ShdPnd") & &numbers()
}

#[test]
fn what_comes_during_a_pause_is_taken_after_it() {
    on_first_thread(module_path!(), "what_comes_during_a_pause_is_taken_after_it", || {
        let (thread, inbox) = started(64);
        send_each(1);
        hear_each(&inbox);
        for _ in 0..100 {
            let paused = thread.pause().unwrap();
            assert_eq!(inbox.len(), 0);
            send_each(20);
            assert_eq!(pending(), numbers());
            assert_eq!(inbox.len(), 0);
            drop(paused);
            hear_each(&inbox);
            assert_eq!((inbox.len(), pending()), (0, BTreeSet::new()), "a signal was heard twice");
        }
    });
}

/// Without a thread it is the main thread that takes signals, and that does something else during a pause.
#[test]
fn what_comes_while_there_is_no_thread_is_heard_too() {
    on_first_thread(module_path!(), "what_comes_while_there_is_no_thread_is_heard_too", || {
        shortage::begin();
        sys_signal::block_all();
        let (sender, inbox) = bounded(8);
        let mut crew = Crew::optional();
        let thread = start(HEARD, sender, &mut crew).unwrap();
        let mut now = clock::now();
        for _ in 0..3 {
            send_each(2);
            now = now.after(PAUSE_WAIT_MAX);
            let heard: Vec<i32> = crew.turn(now).iter().map(number).collect();
            assert_eq!((heard.len(), heard.into_iter().collect()), (HEARD.len(), numbers()));
            let paused = thread.pause().unwrap();
            send_each(2);
            drop(paused);
            now = now.after(PAUSE_WAIT_MAX);
            assert_eq!(crew.turn(now).len(), HEARD.len());
        }
        send_each(1);
        shortage::end();
        assert_eq!(crew.turn(now.after(LIMIT)).len(), 0);
        hear_each(&inbox);
        let paused = thread.pause().unwrap();
        send_each(1);
        assert!(inbox.is_empty());
        drop(paused);
        hear_each(&inbox);
    });
}

/// Whether a thread is started or not: what came before is heard before anything else is done.
#[test]
fn what_is_pending_at_the_start_is_in_the_inbox_after_it() {
    on_first_thread(module_path!(), "what_is_pending_at_the_start_is_in_the_inbox_after_it", || {
        sys_signal::block_all();
        send_each(1);
        shortage::begin();
        let (sender, inbox) = bounded(8);
        let _thread = start(HEARD, sender, &mut Crew::optional()).unwrap();
        let found: BTreeSet<i32> = inbox.try_iter().map(|input| number(&input)).collect();
        assert_eq!((found, pending()), (numbers(), BTreeSet::new()));
    });
}

#[test]
fn signals_read_are_in_the_inbox_and_the_rest_is_pending() {
    on_first_thread(module_path!(), "signals_read_are_in_the_inbox_and_the_rest_is_pending", || {
        let (thread, inbox) = started(64);
        for _ in 0..200 {
            send_each(1);
            let paused = thread.pause().unwrap();
            let left = pending();
            let mut found = left.clone();
            found.extend(inbox.try_iter().map(|input| number(&input)));
            assert_eq!(found, numbers());
            drop(paused);
            let heard = left.iter().map(|_| number(&inbox.recv_timeout(LIMIT).unwrap()));
            assert_eq!(heard.collect::<BTreeSet<_>>(), left);
        }
    });
}

#[test]
fn a_full_inbox_blocks_no_thread_and_loses_nothing() {
    on_first_thread(module_path!(), "a_full_inbox_blocks_no_thread_and_loses_nothing", || {
        let (thread, inbox) = started(1);
        send_each(1);
        assert!(wait_until(LIMIT, || inbox.is_full()));
        // It has taken the next one, too, when it does not pause any more.
        assert!(wait_until(LIMIT, || thread.pause().is_none()));
        let begun = clock::now();
        for _ in 0..PAUSES_MAX {
            assert!(thread.pause().is_none());
        }
        assert!(clock::now().since(begun) < LIMIT);
        hear_each(&inbox);
        // The requests that have timed out have no effect.
        assert!(wait_until(LIMIT, || thread.pause().is_some()));
        send_each(1);
        hear_each(&inbox);
    });
}

#[test]
fn the_next_image_finds_them_pending_and_blocked() {
    in_own_process(module_path!(), "the_next_image_finds_them_pending_and_blocked", || {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("status");
        // A shell that waits for a child clears its mask; this one waits for none.
        let script = format!("exec cat /proc/self/status >{}", path.display());
        let pid = fork_to_run(|| {
            let (thread, inbox) = started(64);
            let _paused = thread.pause().unwrap();
            send_each(20);
            assert_eq!(inbox.len(), 0);
            panic!("{}", become_shell(&script));
        });
        assert_eq!(reap(pid), Ending::Code(0));
        let status = fs::read_to_string(path).unwrap();
        assert_eq!(mask(&status, "ShdPnd"), numbers());
        assert!(numbers().is_subset(&mask(&status, "SigBlk")));
    });
}

fn become_shell(script: &str) -> impl std::fmt::Display + use<> {
    let argv: Vec<OsString> = words(&["sh", "-c", script]);
    exec(
        Program::Checked(&Executable::open(Path::new("/bin/sh")).unwrap()),
        &argv,
        &[("PATH".into(), "/usr/bin:/bin".into())],
        &[],
    )
}

#[test]
fn after_an_exec_that_fails_they_are_heard() {
    on_first_thread(module_path!(), "after_an_exec_that_fails_they_are_heard", || {
        let (thread, inbox) = started(64);
        let paused = thread.pause().unwrap();
        send_each(1);
        let text = Executable::open(Path::new("/etc/passwd")).unwrap();
        let failure = exec(Program::Checked(&text), &words(&["x"]), &[], &[]);
        assert_eq!(failure.errno, nix::errno::Errno::EACCES);
        drop(paused);
        hear_each(&inbox);
    });
}
