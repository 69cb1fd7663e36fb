//! An idle master does nothing at all.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{LIMIT, Setup, Strace, holds_within};

/// How long nothing must happen.
const IDLE: Duration = Duration::from_secs(10);

#[test]
fn an_idle_master_makes_no_system_call() {
    let master = Setup::new("-n 2 -m manual -s 0.01").bind(",r").http_worker("--ack manual").release("one").start();
    // Some life before: a death, an upgrade, a client that asks, and one that stays.
    let first = master.wait_for_workers(2)[0];
    master.wait_for_log("Up to 2 / 2", 1);
    first.signal(Signal::SIGKILL);
    master.wait_for_log("Up to 2 / 2", 2);
    master.signal(Signal::SIGHUP);
    master.wait_for_log("===> Exited worker", 3);
    assert!(master.control("{\"command\": \"state\", \"id\": 1}").contains("state"));
    let mut client = master.connect();
    client.send("{\"command\": \"state\"}");
    assert!(client.receive().is_some());
    let strace = Strace::attach(&master, &[]);
    // What stands there at first are the calls in which its threads wait; being attached to makes them begin again.
    let mut before = Vec::new();
    master.wait_until("every thread waits", LIMIT, || {
        before = strace.lines();
        master.process().is_waiting() && strace.lines() == before && !before.is_empty()
    });
    let moved = holds_within(IDLE, || strace.lines() != before);
    assert!(!moved, "an idle master has made a call:\n{}", strace.lines().join("\n"));
    // And it would have been seen.
    client.send("{\"command\": \"state\"}");
    assert!(client.receive().is_some());
    master.wait_until("a call is seen", LIMIT, || strace.lines().len() > before.len());
}
