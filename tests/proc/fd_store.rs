//! Listening sockets that the service manager keeps for the next master: those of a service that is run from a file.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{
    Failure, HeldRequest, LIMIT, Load, Manager, Master, Process, Setup, Target, ask, example, free_address, wait_until,
};

/// On a TCP and a unix socket; `more` goes into its file.
fn site(more: &str) -> (Setup, Manager) {
    let address = free_address();
    let setup = Setup::new("--config web.toml").bound_by_file(address).release("one");
    configure(&setup, &format!("'{address},r', 'unix:web.sock'"), more);
    let manager = Manager::at(&setup.directory().join("notify"));
    (setup, manager)
}

fn configure(setup: &Setup, binds: &str, more: &str) {
    let worker = example("http_worker").display().to_string();
    setup.write(
        "web.toml",
        &format!(
            "command = ['{worker}', '--ack', 'manual']\nbind = [{binds}]\nnumber = 2\nack-mode = 'manual'\n{more}"
        ),
    );
}

fn next(manager: &mut Manager, before: &Master) -> Master {
    manager.start(before.beside("--config web.toml").bound_by_file(before.addr()))
}

fn unix(master: &Master) -> Target {
    master.file("web.sock").as_path().into()
}

fn kill(master: &Master) {
    master.signal(Signal::SIGKILL);
    master.wait_exit();
}

/// The master first, so that it replaces none.
fn kill_all(master: &Master) {
    let workers = master.workers();
    kill(master);
    for worker in &workers {
        assert!(worker.signal(Signal::SIGKILL));
    }
    // The last thread of a worker closes its sockets.
    let is_left = |worker: &Process| worker.is_alive() || worker.thread_count().is_some_and(|count| count > 1);
    wait_until("no worker is left", LIMIT, || !workers.iter().any(is_left));
}

fn serve(master: &Master) {
    for target in [master.addr().into(), unix(master)] {
        let load = Load::start(target, 1);
        load.wait_for(5);
        load.stop().assert_nothing_lost();
    }
}

#[test]
fn sockets_of_a_killed_master_wait_for_the_next_when_no_worker_is_left() {
    let (setup, mut manager) = site("");
    let first = manager.start(setup);
    first.wait_for_log("Up to 2 / 2", 1);
    assert_eq!(manager.stored_count(), 2);
    kill_all(&first);
    // It waits in the queue, for whichever master comes.
    let held = HeldRequest::begin(first.addr(), "/held");
    let second = next(&mut manager, &first);
    second.wait_for_log("taking 2 of its 2 sockets", 1);
    assert_eq!(held.finish().map(|answer| answer.path), Ok("/held".to_owned()));
    serve(&second);
    // A later image has the pid and the environment of this one, and its sockets from the handoff.
    second.reload();
    serve(&second);
    let before = second.process().descriptors().len();
    second.reload();
    serve(&second);
    second.wait_until("it has as many descriptors", LIMIT, || second.process().descriptors().len() == before);
    assert_eq!((manager.stored_count(), manager.count("FDSTORE=1")), (2, 2));
    assert!(!second.log().to_string().contains(".socket unit"), "{}", second.log());
    // At a stop the kernel refuses new clients, and not the manager's socket keeps them waiting.
    second.signal(Signal::SIGINT);
    assert_eq!(second.wait_exit().code(), Some(0));
    assert_eq!(manager.stored_count(), 0);
    assert_eq!(ask(&second.addr().into(), "/").map_err(|(failure, _)| failure).unwrap_err(), Failure::Refused);
}

#[test]
fn stored_sockets_of_a_killed_master_are_adopted_with_its_workers() {
    let (setup, mut manager) = site("");
    let mut master = manager.start(setup);
    master.wait_for_log("Up to 2 / 2", 1);
    let loads = [Load::start(master.addr(), 2), Load::start(unix(&master), 2)];
    let (mut masters, mut expected) = (Vec::new(), vec!["READY=1"]);
    for _ in 0..3 {
        loads[0].wait_for(10);
        // They are written down a turn later, if nothing else waits to be heard.
        master.wait_until("the journal has the acks", LIMIT, || {
            let journal = fs::read_to_string(master.file("einhorn.lock.journal")).unwrap_or_default();
            let workers = master.workers();
            let is_listed = |worker: &Process| journal.contains(&format!("\"pid\":{worker},"));
            let have_acked = journal.matches("\"acked_at\":").count() == 2 && !journal.contains("\"acked_at\":null");
            workers.len() == 2 && workers.iter().all(is_listed) && have_acked
        });
        kill(&master);
        let next = next(&mut manager, &master);
        next.wait_for_log("and 2 of its 2 sockets", 1);
        next.wait_for_log("Upgraded successfully", 1);
        // It is ready with the workers that it has adopted, and replaces them then.
        expected.extend(["READY=1", "RELOADING=1", "READY=1"]);
        next.wait_until("the upgrade is told", LIMIT, || manager.states().len() >= expected.len());
        assert_eq!(manager.states(), expected);
        masters.push(std::mem::replace(&mut master, next));
    }
    for load in loads {
        load.wait_for(10);
        load.stop().assert_nothing_lost();
    }
    assert_eq!((manager.stored_count(), manager.count("FDSTORE=1")), (2, 2));
}

#[test]
fn a_socket_whose_bind_is_gone_is_not_kept() {
    let (setup, mut manager) = site("");
    let first = manager.start(setup);
    first.wait_for_log("Up to 2 / 2", 1);
    let (address, other) = (first.addr(), free_address());
    let again = |first: &Master| first.beside("--config web.toml").bound_by_file(address);
    // By an upgrade...
    configure(&again(&first), &format!("'{address},r', '{other},r'"), "");
    first.signal(Signal::SIGHUP);
    first.wait_for_log("Upgraded successfully", 1);
    first.wait_until("the third is kept, and no longer the second", LIMIT, || {
        manager.count("FDSTORE=1") == 3 && manager.stored_count() == 2
    });
    // ...and by a start.
    configure(&again(&first), &format!("'{address},r'"), "");
    kill(&first);
    let second = manager.start(again(&first));
    second.wait_for_log("adopting its workers", 1);
    second.wait_for_log("Upgraded successfully", 1);
    second.wait_until("one is kept", LIMIT, || manager.stored_count() == 1);
}

/// It would be in the way of every start that comes.
#[test]
fn stored_sockets_that_no_journal_speaks_of_are_given_up() {
    let (setup, mut manager) = site("");
    let first = manager.start(setup);
    first.wait_for_log("Up to 2 / 2", 1);
    kill_all(&first);
    fs::remove_file(first.file("einhorn.lock.journal")).unwrap();
    let second = next(&mut manager, &first);
    second.wait_exit();
    wait_until("the sockets are closed", LIMIT, || manager.stored_count() == 0);
    let third = next(&mut manager, &first);
    third.wait_for_log("Up to 2 / 2", 1);
    assert_eq!(manager.stored_count(), 2);
}

/// Without a file, or where adoption is not wanted, a killed master leaves nothing to be adopted.
#[test]
fn a_master_that_adopts_nothing_stores_nothing() {
    let setup = Setup::new("-n 1 -m 0").bind(",r").program(["sleep", "1000"]);
    let mut manager = Manager::at(&setup.directory().join("notify"));
    let master = setup.env("NOTIFY_SOCKET", manager.name()).start();
    manager.wait_for("READY=1", 1, &master);
    assert_eq!(manager.count("FDSTORE=1"), 0);
}
