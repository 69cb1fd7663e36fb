//! A panic of the main thread, which a variable of the environment brings about in a debug build: a fresh image goes on.

use nix::sys::signal::Signal;

use crate::support::{LIMIT, Load, Master, Process, Setup};

/// What a client sees as one master: its pid, its socket, its workers.
fn site() -> (Master, Vec<Process>, Load) {
    let setup = Setup::new("-m manual -n 2").bind(",r").env("einhyrningsins_fails_at", "SIGUSR1");
    let master = setup.http_worker("--ack manual").start();
    master.wait_for_log("Up to 2 / 2", 1);
    let (workers, load) = (master.workers(), Load::start(master.addr(), 2));
    load.wait_for(10);
    (master, workers, load)
}

fn panic_twice(master: &Master) {
    for times in 1..=2 {
        master.signal(Signal::SIGUSR1);
        master.wait_for_log("Using loaded state", times);
    }
}

#[test]
fn a_master_that_panics_goes_on_as_it_was() {
    let (master, workers, load) = site();
    let mut client = master.connect();
    master.signal(Signal::SIGUSR1);
    let said = master.wait_for_log("the main thread failed", 1);
    assert!(said[0].contains("SIGUSR1 came"), "{said:?}");
    client.send("{\"command\": \"ehlo\"}");
    assert!(client.receive().is_some_and(|reply| reply.contains("Welcome")), "the connection goes on");
    master.wait_for_log("Using loaded state: generation 1, 2 workers", 1);
    assert_eq!(master.workers(), workers);
    load.wait_for(10);
    load.stop().assert_nothing_lost();
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
}

/// A signal that is read after the one that brought the panic.
#[test]
fn a_master_that_panics_does_what_it_was_told_before() {
    let (master, _, load) = site();
    load.stop().assert_nothing_lost();
    master.signal(Signal::SIGSTOP);
    master.wait_until("the master is stopped", LIMIT, || master.process().is_stopped());
    for signal in [Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGCONT] {
        master.signal(signal);
    }
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.log().count("the main thread failed"), 1);
}

#[test]
fn a_master_that_panics_again_begins_anew_with_its_workers() {
    let (master, workers, load) = site();
    panic_twice(&master);
    master.wait_for_log("Beginning anew with the workers that are there", 1);
    master.wait_for_log("Upgraded successfully", 1);
    master.wait_until("new workers serve alone", LIMIT, || {
        let now = master.workers();
        now.len() == 2 && !now.iter().any(|worker| workers.contains(worker))
    });
    load.wait_for(10);
    load.stop().assert_nothing_lost();
    assert_eq!(master.descendants().len(), 2);
}

/// It must not go on for ever; what it leaves serves on.
#[test]
fn a_master_that_panics_a_third_time_leaves_its_workers_to_the_next() {
    let (master, _, load) = site();
    panic_twice(&master);
    master.wait_for_log("Upgraded successfully", 1);
    master.signal(Signal::SIGUSR1);
    master.wait_exit();
    assert_eq!(master.log().count("it failed 3 times in a row"), 1);
    load.wait_for(10);
    load.stop().assert_nothing_lost();
}

/// By then the master has closed its descriptor of the socket.
#[test]
fn a_master_that_panics_during_a_stop_goes_on_with_it() {
    let setup = Setup::new("-m manual -n 2 --signal-timeout 2s").bind(",r").env("einhyrningsins_fails_at", "SIGUSR1");
    let master = setup.http_worker("--ack manual --ignore-usr2").start();
    master.wait_for_log("Up to 2 / 2", 1);
    let workers = master.workers();
    master.signal(Signal::SIGINT);
    master.wait_for_log("Sending USR2 to [", 1);
    master.signal(Signal::SIGUSR1);
    master.wait_for_log("Using loaded state: generation 1, 2 workers", 1);
    assert_eq!(master.wait_exit().code(), Some(0), "{:?}", master.log().lines());
    assert!(!workers.iter().any(|worker| worker.is_alive()));
}
