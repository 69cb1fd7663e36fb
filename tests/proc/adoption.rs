//! A killed master, and the next one, which takes over its workers and its sockets.

use std::fs::{File, Permissions, create_dir, set_permissions};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;

use crate::support::{HeldRequest, LIMIT, Load, Master, Process, Setup, wait_until};

/// On each kind of socket; the names of the addresses are those that `load` asks.
fn site(options: &str) -> Setup {
    let setup = Setup::new("--config web.toml").bind(",r").options("-b [::1]:0,r -b unix:web.sock").options(options);
    setup.write("web.toml", "number = 2\nworker.output = 'inherit'\nack-mode = 'manual'\n");
    setup.http_worker("--ack manual").release("one")
}

/// The next master, as the first was started.
fn next(master: &Master) -> Master {
    let address = master.addr();
    let options = format!("--config web.toml -b {address},r -b [::1]:0,r -b unix:web.sock");
    master.beside(&options).bound_by_file(address).http_worker("--ack manual").start()
}

fn kill(master: &Master, signal: Signal) {
    master.signal(signal);
    master.wait_exit();
}

fn load(master: &Master) -> [Load; 2] {
    [Load::start(master.addr(), 2), Load::start(master.file("web.sock").as_path(), 2)]
}

#[test]
fn workers_of_a_killed_master_serve_on_and_are_replaced() {
    let first = site("").start();
    first.wait_for_log("Up to 2 / 2", 1);
    let old = first.workers();
    let loads = load(&first);
    loads[0].wait_for(10);
    kill(&first, Signal::SIGKILL);
    first.release("two");
    let second = next(&first);
    second.wait_for_log(&format!("Master {} was killed: adopting its workers", first.pid()), 1);
    second.wait_for_log("Upgraded successfully", 1);
    wait_until("the old workers are gone", LIMIT, || !old.iter().any(|worker| worker.is_alive()));
    for load in loads {
        load.wait_for_release("two", 10);
        load.stop().assert_nothing_lost();
    }
    assert_eq!(second.workers().len(), 2);
    second.signal(Signal::SIGINT);
    assert_eq!(second.wait_exit().code(), Some(0));
    assert!(!Path::exists(&second.file("einhorn.lock.journal")));
}

/// Number 17: the kernel lets go of its lock when its last thread has ended, some time after the kill.
#[test]
fn a_start_waits_for_the_lock_of_a_master_that_is_dying() {
    let first = site("").start();
    first.wait_for_log("Up to 2 / 2", 1);
    first.signal(Signal::SIGKILL);
    let file = File::open(first.file("einhorn.lock")).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    let second = next(&first);
    second.wait_for_log("waiting for its end", 1);
    drop(lock);
    second.wait_for_log("adopting its workers", 1);
    second.wait_for_log("Upgraded successfully", 1);
    // One that lives keeps it.
    let refusal = second.beside("--config web.toml -b unix:other.sock").http_worker("").refused();
    assert_eq!(refusal.code, Some(111), "{refusal:?}");
    assert!(refusal.reason().ends_with(&format!("held by another master (pid {})", second.pid())), "{refusal:?}");
}

/// Number 17; of compat.md: "a killed master's workers".
#[test]
fn workers_of_a_killed_master_are_named_where_none_may_be_adopted() {
    let first = Setup::new("--adopt").bind(",r").http_worker("").start();
    first.wait_for_log("Up to 1 / 1", 1);
    let (address, worker, gone) = (first.addr(), first.workers()[0], first.pid());
    kill(&first, Signal::SIGKILL);
    let start = |options: &str| first.beside(&format!("{options} -b {address},r")).http_worker("");
    let advice = format!("; master {gone} was killed and has left workers [{worker}], which --adopt takes over");
    first.beside("").write("web.toml", "adopt = false\n");
    for options in ["", "--config web.toml"] {
        let refusal = start(options).refused();
        assert_eq!(refusal.code, Some(111), "{refusal:?}");
        assert!(refusal.reason().contains("kill -USR2") && refusal.reason().ends_with(&advice), "{refusal:?}");
    }
    assert!(worker.is_alive() && !first.was_signalled(worker));
    // As it stands in the reason, and before the file, too.
    let second = start("--config web.toml --adopt").bound_by_file(address).start();
    second
        .wait_for_log(&format!("Master {gone} was killed: adopting its workers [{worker}] and 1 of its 1 sockets"), 1);
    second.wait_for_log("Upgraded successfully", 1);
    wait_until("the old worker is gone", LIMIT, || !worker.is_alive());
    // One that needs nothing of what they hold goes on without them.
    let left = second.workers()[0];
    kill(&second, Signal::SIGKILL);
    let third = second.beside("-b 127.0.0.1:0").http_worker("").start();
    third.wait_for_log(
        &format!("Master {} was killed and has left workers [{left}]: they stay as they are", second.pid()),
        1,
    );
    third.wait_for_log("Up to 1 / 1", 1);
    assert!(left.is_alive());
}

/// Without a file, and called einhorn, it makes no file that einhorn does not make, unless it is asked for.
#[test]
fn no_journal_is_kept_without_a_file_unless_adopt_is_given() {
    let as_einhorn = ["/bin/bash", "-c", "exec -a einhorn \"$@\"", "bash"];
    let journals = |options: &str, through: &[&str]| {
        let master = Setup::new(options).http_worker("").through(through).start();
        master.wait_for_log("Up to 1 / 1", 1);
        Path::exists(&master.file("einhorn.lock.journal"))
    };
    let each = [&[][..], &as_einhorn].map(|through| ["", "--adopt"].map(|options| journals(options, through)));
    assert_eq!(each, [[false, true]; 2]);
}

/// As an old kernel, a filter of system calls, or Yama has it.
#[test]
fn sockets_come_from_the_holder_where_they_cannot_be_taken_from_the_workers() {
    let refusing = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=pidfd_getfd:error=EPERM"];
    let setup = Setup::new("--config web.toml").bind(",r").options("-b unix:web.sock").through(&refusing);
    setup.write("web.toml", "number = 2\nack-mode = 'manual'\n");
    let first = setup.http_worker("--ack manual").start();
    first.wait_for_log("Up to 2 / 2", 1);
    let loads = [Load::start(first.addr(), 2), Load::start(first.file("web.sock").as_path(), 2)];
    loads[1].wait_for(10);
    // The sockets of an upgrade are held, too.
    first.signal(Signal::SIGHUP);
    first.wait_for_log("Upgraded successfully", 1);
    let old = holders(&first);
    assert_eq!(old.len(), 1);
    // Another takes the place of one that has ended.
    old[0].signal(Signal::SIGKILL);
    first.wait_for_log("which holds the sockets if the master is killed, has ended", 1);
    first.wait_until("there is another holder", LIMIT, || holders(&first).iter().any(|holder| !old.contains(holder)));
    let old = holders(&first);
    kill(&first, Signal::SIGKILL);
    let address = first.addr();
    let options = format!("--config web.toml -b {address},r -b unix:web.sock");
    let second = first.beside(&options).bound_by_file(address).http_worker("--ack manual").through(&refusing).start();
    second.wait_for_log("and 2 of its 2 sockets", 1);
    second.wait_for_log("Upgraded successfully", 1);
    for load in loads {
        load.wait_for(10);
        load.stop().assert_nothing_lost();
    }
    // At a stop the kernel refuses new clients once the workers have closed theirs: no holder keeps the sockets open.
    let new = holders(&second);
    assert_eq!(new.len(), 1);
    let held = HeldRequest::begin(address, "/held");
    second.signal(Signal::SIGINT);
    wait_until("the holders are gone", LIMIT, || !old.iter().chain(&new).any(|holder| holder.is_alive()));
    wait_until("new clients are refused", LIMIT, || TcpStream::connect(address).is_err());
    held.finish().unwrap();
    assert_eq!(second.wait_exit().code(), Some(0));
}

fn holders(master: &Master) -> Vec<Process> {
    master.descendants().into_iter().filter(|process| process.is_holder()).collect()
}

/// It has found their sockets by then, and another address is in use.
#[test]
fn a_refused_start_leaves_the_sockets_of_a_killed_master_as_they_are() {
    let first = site("").start();
    first.wait_for_log("Up to 2 / 2", 1);
    let loads = load(&first);
    loads.iter().for_each(|load| load.wait_for(10));
    kill(&first, Signal::SIGKILL);
    let occupant = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refusal = first
        .beside(&format!(
            "--config web.toml -b {},r -b unix:web.sock -b {}",
            first.addr(),
            occupant.local_addr().unwrap()
        ))
        .http_worker("--ack manual")
        .refused();
    assert_eq!(refusal.code, Some(111), "{refusal:?}");
    let is_kept = |name: &str| refusal.changes.iter().all(|change| !change.starts_with(name));
    assert!(is_kept("web.sock") && is_kept("einhorn.lock.journal"), "{refusal:?}");
    let second = next(&first);
    second.wait_for_log("Upgraded successfully", 1);
    for load in loads {
        load.stop().assert_nothing_lost();
    }
}

/// Number 17: systemd tries no start again that ends with 100 or 127, and would end them with the service.
#[test]
fn a_start_that_is_refused_while_workers_of_a_killed_master_serve_is_worth_another_try() {
    let first = Setup::new("--config web.toml").bind(",r");
    first.write("web.toml", "number = 2\nworker.output = 'inherit'\nack-mode = 'manual'\n");
    let first = first.http_worker("--ack manual").start();
    first.wait_for_log("Up to 2 / 2", 1);
    let (address, old) = (first.addr(), first.workers());
    let load = Load::start(address, 2);
    kill(&first, Signal::SIGKILL);
    let good = std::fs::read_to_string(first.file("web.toml")).unwrap();
    let start = || first.beside(&format!("--config web.toml -b {address},r")).bound_by_file(address);
    let broken = [
        ("number = 0\n", "number"),
        ("number = [\n", "web.toml"),
        ("worker.user = 'no-such-user'\n", "no-such-user"),
        ("nothing-of-ours = 1\n", "nothing-of-ours"),
    ];
    for (file, reason) in broken {
        first.replace("web.toml", file);
        let refusal = start().http_worker("--ack manual").refused();
        assert_eq!(refusal.code, Some(111), "{refusal:?}");
        assert!(refusal.lines.iter().any(|line| line.contains("this start is worth another try")), "{refusal:?}");
        assert!(refusal.lines.iter().any(|line| line.contains(reason)), "{refusal:?}");
    }
    first.replace("web.toml", &good);
    let refusal = start().program(["./no-such-program"]).refused();
    assert_eq!(refusal.code, Some(111), "{refusal:?}");
    let second = start().http_worker("--ack manual").start();
    second.wait_for_log("Upgraded successfully", 1);
    load.stop().assert_nothing_lost();
    wait_until("the old workers are gone", LIMIT, || !old.iter().any(|worker| worker.is_alive()));
    // One that would not take them over changes nothing for them.
    kill(&second, Signal::SIGKILL);
    let refusal = start().options("--adopt").program(["./no-such-program"]).refused();
    assert_eq!(refusal.code, Some(111), "{refusal:?}");
    first.replace("web.toml", &format!("{good}adopt = false\n"));
    let refusal = start().program(["./no-such-program"]).refused();
    assert_eq!(refusal.code, Some(127), "{refusal:?}");
    first.replace("web.toml", &good);
    start().http_worker("--ack manual").start().wait_for_log("Upgraded successfully", 1);
}

/// Number 17: another user may have written what stands in it.
#[test]
fn a_journal_that_others_may_write_is_not_believed() {
    for mode in [0o666, 0o620] {
        let first = Setup::new("--adopt").bind(",r").http_worker("").start();
        first.wait_for_log("Up to 1 / 1", 1);
        let worker = first.workers()[0];
        kill(&first, Signal::SIGKILL);
        set_permissions(first.file("einhorn.lock.journal"), Permissions::from_mode(mode)).unwrap();
        let second = first.beside("--adopt -b 127.0.0.1:0").http_worker("").start();
        second.wait_for_log(&format!("is of no use: it is writable by others, its mode is {mode:04o}"), 1);
        second.wait_for_log("Up to 1 / 1", 1);
        assert!(worker.is_alive() && second.log().count("adopting its workers") == 0);
        worker.signal(Signal::SIGKILL);
    }
}

/// Number 17.
#[test]
fn a_journal_that_cannot_be_put_in_its_place_leaves_nothing_beside_it() {
    let setup = Setup::new("--adopt").http_worker("");
    create_dir(setup.directory().join("einhorn.lock.journal")).unwrap();
    let master = setup.start();
    master.wait_for_log("a next master could not adopt the workers", 1);
    master.wait_for_log("Up to 1 / 1", 1);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!Path::exists(&master.file("einhorn.lock.journal.new")));
}

/// Number 17: the reason of the refusal speaks of the first address alone.
#[test]
fn each_socket_that_cannot_be_taken_back_is_named() {
    let refusing = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=pidfd_getfd:error=EPERM"];
    let first = site("").start();
    first.wait_for_log("Up to 2 / 2", 1);
    let (address, workers) = (first.addr(), first.workers());
    kill(&first, Signal::SIGKILL);
    let options = format!("--config web.toml -b {address},r -b unix:web.sock");
    let refusal = first.beside(&options).http_worker("--ack manual").through(&refusing).refused();
    assert_eq!(refusal.code, Some(111), "{refusal:?}");
    let at = |part: &str| refusal.lines.iter().position(|line| line.contains(part));
    let of = |bind: &str| at(&format!("cannot take back the socket of {bind}"));
    let adopting = at("adopting its workers").unwrap();
    for bind in [&format!("{address}"), "[::1]:0", "unix:web.sock"] {
        assert!(of(bind).is_some_and(|line| line < adopting), "{bind}: {refusal:?}");
    }
    for worker in workers {
        worker.signal(Signal::SIGKILL);
    }
}
