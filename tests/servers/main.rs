//! Servers that people run, under einhyrningsins, from the very files in `examples/servers` that `doc/servers.md` tells of:
//! each is upgraded under load, and must not lose a request. `make servers` installs and builds what they need.

#![allow(clippy::disallowed_methods, reason = "tests read the clock and start threads of their own")]

mod load;
#[path = "../proc/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::load::{Connections, Load};
use crate::support::{LIMIT, Master, Setup};

const UPGRADES: usize = 2;

/// How many answers each load waits for, before, between and after the upgrades.
const SPELL: u64 = 100;

/// In which a request is lost for certain if workers die of what tells them to go.
const DEADLY_UPGRADES_MAX: usize = 6;

#[test]
fn gunicorn_loses_nothing() {
    assert_nothing_lost_in_upgrades("gunicorn.toml");
}

#[test]
fn puma_loses_nothing() {
    assert_nothing_lost_in_upgrades("puma.toml");
}

#[test]
fn unicorn_loses_nothing() {
    assert_nothing_lost_in_upgrades("unicorn.toml");
}

#[test]
fn uvicorn_loses_nothing() {
    assert_nothing_lost_in_upgrades("uvicorn.toml");
}

#[test]
fn node_loses_nothing() {
    assert_nothing_lost_in_upgrades("node.toml");
}

#[test]
fn go_loses_nothing() {
    assert_nothing_lost_in_upgrades("go.toml");
}

#[test]
fn rust_loses_nothing() {
    assert_nothing_lost_in_upgrades("rust.toml");
}

/// What the other tests would see if they had something to see.
#[test]
fn a_server_that_dies_of_its_signal_loses_requests() {
    let file = fs::read_to_string(root().join("examples/servers/rust.toml")).unwrap();
    let setup = Setup::new("--config deadly.toml");
    setup.write(
        "deadly.toml",
        &file.replace("graceful-signal = \"TERM\"", "").replace("target/", &format!("{}/target/", root().display())),
    );
    let (master, loads) = start_under_load(setup);
    let lost = || loads.iter().map(|load| load.so_far().lost_count()).sum::<u64>();
    for number in 1..=DEADLY_UPGRADES_MAX {
        upgrade(&master, number);
        if lost() > 0 {
            return;
        }
    }
    panic!("nothing was lost in {DEADLY_UPGRADES_MAX} upgrades that kill");
}

/// Left to itself, gunicorn deletes the file of a Unix socket when it ends, and later clients find no server.
#[test]
fn gunicorn_leaves_a_unix_socket_where_it_is() {
    let setup = setup("gunicorn.toml");
    let path = setup.directory().join("web.sock");
    let master = setup.options(&format!("-b unix:{}", path.display())).start();
    wait_until_all_serve(&master);
    upgrade(&master, 1);
    let mut client = UnixStream::connect(&path).expect("the socket is gone");
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.write_all(b"GET /there HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert!(reply.ends_with(" /there\n"), "{reply}");
}

/// Runs that file, with another address alone, and upgrades it under load.
fn assert_nothing_lost_in_upgrades(file: &str) {
    let (master, loads) = start_under_load(setup(file));
    for number in 1..=UPGRADES {
        loads.iter().for_each(|load| load.wait_for(SPELL));
        let served = loads.each_ref().map(|load| load.so_far());
        upgrade(&master, number);
        // What is asked from now on is asked when the old ones are gone.
        let begun = loads.each_ref().map(Load::begun);
        loads.iter().for_each(|load| load.wait_for(SPELL));
        for ((load, begun), served) in loads.iter().zip(begun).zip(served) {
            let now = load.so_far().pids_after(begun);
            let old: Vec<_> = now.iter().filter(|pid| served.newest_by_pid.contains_key(pid)).collect();
            assert!(old.is_empty(), "{file}: after the upgrade, {old:?} still answer");
        }
    }
    let [new, kept] = loads.map(Load::stop);
    println!("{file}, a connection for each request: {new}\n{file}, connections that are kept: {kept}");
    new.assert_nothing_lost();
    kept.assert_nothing_lost();
}

fn start_under_load(setup: Setup) -> (Master, [Load; 2]) {
    let master = setup.bind(",r").start();
    wait_until_all_serve(&master);
    let loads = [(Connections::OneForEach, 4), (Connections::Kept, 2)];
    let loads = loads.map(|(connections, threads)| Load::start(master.addr(), connections, threads));
    (master, loads)
}

/// A master that runs this file of `examples/servers`, in the root of the repository as the file says.
fn setup(file: &str) -> Setup {
    let to_root = format!("cd {:?}; exec \"$@\"", root());
    Setup::new("--config").word(format!("examples/servers/{file}")).through(&["/bin/sh", "-c", &to_root, "sh"])
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn wait_until_all_serve(master: &Master) {
    master.wait_for_socket();
    master.wait_until("all workers serve", LIMIT, || {
        let answer = master.control(r#"{"command":"status","format":"json"}"#);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["status"]["serving"].is_u64() && answer["status"]["serving"] == answer["status"]["target"]
    });
}

/// Upgrades for this many times, and waits until none of the workers of before is left.
#[track_caller]
fn upgrade(master: &Master, number: usize) {
    let old: BTreeSet<_> = master.workers().into_iter().collect();
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully", number);
    master.wait_until("the old workers are gone", LIMIT, || {
        let now = master.workers();
        now.len() == old.len() && now.iter().all(|worker| !old.contains(worker))
    });
}
