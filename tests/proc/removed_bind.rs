//! A bind that the configuration has no more, while an old worker takes long to end: no worker accepts there, and the old one holds the
//! socket. Its clients are let go at once; and the bind can come back.

use std::net::SocketAddr;

use nix::sys::signal::Signal;

use crate::reload::{file, start, unix_file, upgrade, wait_for_first};
use crate::support::{Failure, HeldRequest, LIMIT, Master, Process, Setup, Target, ask, free_address};

/// A master with one worker that never accepts a connection and does not end at USR2.
fn deaf(bind: &str) -> Master {
    let setup = Setup::new("--config web.toml -m 0").signal_logger("INT");
    setup.write("web.toml", &format!("number = 1\nbind = [{bind}]\nworker.output = 'inherit'\n"));
    setup.start()
}

fn is_refused(target: &Target) -> bool {
    matches!(ask(target, "/x"), Err((Failure::Refused, _)))
}

/// Loses the bind twice, the second time by a master that has replaced itself; no client waits, and the old worker must still be there.
#[track_caller]
fn assert_let_go(master: &Master, target: &Target) {
    let old = master.wait_for_ready(1)[0];
    let queued = HeldRequest::begin(target.clone(), "/queued");
    for version in 1..=2 {
        upgrade(master, "number = 1\nbind = []\nworker.output = 'inherit'\n", "new", version);
        master.wait_until("its clients are refused", LIMIT, || is_refused(target));
    }
    let (failure, text) = queued.finish().unwrap_err();
    assert!(failure.is_torn(), "{failure}: {text}");
    assert!(old.is_alive() && master.was_signalled(old));
    // The new workers are as deaf.
    assert_eq!(master.log().count("WARN") + master.log().count("ERROR"), 0, "{}", master.log());
    old.signal(Signal::SIGINT);
    master.wait_for_log("===> Exited worker", 1);
    master.wait_for_log("no worker needs it any more", 1);
    assert!(is_refused(target));
}

// Failure mode 110.
#[test]
fn clients_of_a_removed_tcp_bind_do_not_wait_for_the_old_worker() {
    for flags in [",r", ",n", ""] {
        let address = free_address();
        assert_let_go(&deaf(&format!("'{address}{flags}'")), &address.into());
    }
}

// Failure mode 110.
#[test]
fn clients_of_a_removed_unix_bind_do_not_wait_for_the_old_worker() {
    for flags in ["", ",n"] {
        let master = deaf(&format!("'unix:web.sock{flags}'"));
        assert_let_go(&master, &master.file("web.sock").as_path().into());
        assert!(!master.file("web.sock").exists());
    }
}

// Failure mode 110, and number 17: there was no master when the binds went. That they are left to the old worker is handed on.
#[test]
fn clients_of_binds_that_are_gone_at_an_adoption_do_not_wait_for_the_old_worker() {
    let address = free_address();
    let first = deaf(&format!("'{address},r', 'unix:web.sock'"));
    let old = first.wait_for_ready(1)[0];
    let targets: [Target; 2] = [address.into(), first.file("web.sock").as_path().into()];
    first.signal(Signal::SIGKILL);
    first.wait_exit();
    let without = "number = 1\nbind = []\nworker.output = 'inherit'\n";
    let start = |more: &str| {
        let setup = first.beside("--config web.toml").signal_logger("INT");
        setup.write("web.toml", &format!("{without}{more}"));
        setup.start()
    };
    let second = start("ack-mode = 'manual'\n");
    second.wait_for_log("and 2 of its 2 sockets", 1);
    second.wait_for_log("===> Launched", 1);
    second.control("{command: reload}");
    second.wait_for_log("Using loaded state: generation 1", 1);
    second.control("{command: state}");
    assert_eq!(second.log().count("no worker needs it any more"), 0, "{}", second.log());
    let queued = targets.clone().map(|target| HeldRequest::begin(target, "/queued"));
    assert!(!second.was_signalled(old));
    let young = second.wait_for_workers(1)[0];
    second.signal(Signal::SIGKILL);
    second.wait_exit();
    let third = start("ack-mode = 0.1\n");
    third.wait_for_log("and 2 of its 2 sockets", 1);
    for target in &targets {
        third.wait_until("its clients are refused", LIMIT, || is_refused(target));
    }
    assert!(old.is_alive() && third.was_signalled(old) && !first.file("web.sock").exists());
    for request in queued {
        let (failure, text) = request.finish().unwrap_err();
        assert!(failure.is_torn(), "{failure}: {text}");
    }
    for worker in [old, young] {
        worker.signal(Signal::SIGINT);
    }
    third.wait_for_log("no worker needs it any more", 2);
}

/// A master whose old worker has the beginning of a request, and no bind any more to accept others on.
fn with_request_in_flight(text: &str, target: &Target) -> (Master, Process, HeldRequest) {
    let master = start(text);
    let old = wait_for_first(&master, 1)[0];
    master.wait_until("its ack is over", LIMIT, || old.thread_count() == Some(2));
    let held = HeldRequest::begin(target.clone(), "/held");
    master.wait_until("the request is in flight", LIMIT, || old.thread_count() == Some(3));
    upgrade(&master, &file(&[], "number = 1"), "without", 1);
    master.wait_until("its clients are refused", LIMIT, || is_refused(target));
    (master, old, held)
}

/// The bind is back, and the old worker, which held the socket all the time, ends with its last request.
fn come_back(text: &str, target: &Target) {
    let (master, old, held) = with_request_in_flight(text, target);
    upgrade(&master, text, "back", 2);
    assert_eq!(ask(target, "/x").unwrap().release, "back");
    assert!(old.is_alive());
    assert_eq!(held.finish().unwrap().release, "old");
    master.wait_until("the old worker ends", LIMIT, || !old.is_alive());
    assert_eq!(ask(target, "/x").unwrap().release, "back");
    assert_eq!(master.log().count("WARN") + master.log().count("ERROR"), 0, "{}", master.log());
}

#[test]
fn a_returned_tcp_bind_serves_beside_an_old_workers_request() {
    let address = free_address();
    come_back(&file(&[address], "number = 1"), &address.into());
}

#[test]
fn a_returned_unix_bind_serves_beside_an_old_workers_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.sock");
    come_back(&unix_file(&path.display().to_string(), "number = 1"), &path.as_path().into());
}

fn without_reuse(address: SocketAddr) -> String {
    file(&[address], "number = 1").replace(",r'", "'")
}

#[test]
fn a_bind_without_so_reuseaddr_returns_after_its_old_connections() {
    let address = free_address();
    let (master, old, held) = with_request_in_flight(&without_reuse(address), &address.into());
    master.replace("web.toml", &without_reuse(address));
    master.signal(Signal::SIGHUP);
    let reason = format!("nothing was changed: cannot listen again on {address}: address already in use");
    master.wait_for_log(&reason, 1);
    assert!(is_refused(&address.into()) && old.is_alive());
    assert_eq!(held.finish().unwrap().release, "old");
}

#[test]
fn an_upgrade_that_is_given_up_leaves_the_old_bind_in_service() {
    let (tcp, directory) = (free_address(), tempfile::tempdir().unwrap());
    let path = directory.path().join("web.sock");
    let text = file(&[tcp], "number = 2\nretries = 2").replace(",r'", &format!(",r', 'unix:{}'", path.display()));
    let master = start(&text);
    let old = wait_for_first(&master, 2);
    master
        .replace("web.toml", &file(&[], "number = 2\nretries = 2").replace("'--ack', 'manual'", "'--exit-before-ack'"));
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Going back to version 0", 1);
    // A worker that ends has the sockets looked after; its successor is launched with them.
    old[0].signal(Signal::SIGKILL);
    master.wait_until("another takes its place", LIMIT, || {
        let workers = master.workers();
        workers.len() == 2 && !workers.contains(&old[0])
    });
    for target in [Target::from(tcp), path.as_path().into()] {
        assert_eq!(ask(&target, "/x").unwrap().release, "old");
    }
    assert_eq!(master.log().count("Closing"), 0, "{}", master.log());
}
