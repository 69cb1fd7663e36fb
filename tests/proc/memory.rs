//! A master that is refused memory while it supervises: by a limit on what it may map, which is set while it runs.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::support::{LIMIT, Load, Master, Setup, decoded};

/// Which limit, and the field of /proc/PID/status that it bounds.
const LIMITS: [(&str, &str); 2] = [("as", "VmSize"), ("data", "VmData")];

fn serving() -> Setup {
    Setup::new("-n 2 -m manual -s 0.01 -k").bind(",r").http_worker("--ack manual").release("one")
}

fn start() -> Master {
    let master = serving().start();
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    master
}

/// In KiB.
fn used(master: &Master, field: &str) -> i64 {
    let line = master.process().status(field).unwrap_or_else(|| panic!("{field} is missing"));
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// None: no limit.
fn set_limit(master: &Master, limit: &str, kib: Option<i64>) {
    let value = kib.map_or_else(|| "unlimited".to_owned(), |kib| (kib * 1024).to_string());
    let words = [format!("--pid={}", master.pid()), format!("--{limit}={value}:unlimited")];
    let status = Command::new("prlimit").args(&words).status().expect("cannot run prlimit");
    assert!(status.success(), "prlimit {words:?}: {status}");
}

/// Each leaves as much of a line unended as is allowed: 12 MB for 200.
fn fill(master: &Master, count: usize) -> Vec<UnixStream> {
    let half = vec![b'x'; 60 * 1024];
    let clients = (0..count).filter_map(|_| UnixStream::connect(master.socket()).ok());
    // It may refuse some of them, or be gone in the middle.
    clients.filter_map(|mut client| client.write_all(&half).ok().map(|()| client)).collect()
}

/// Failure mode 46: less than it uses, so that every further request for memory is refused; what it keeps in reserve is enough.
#[test]
fn a_master_that_is_refused_memory_lives_on() {
    for (limit, field) in LIMITS {
        let master = start();
        let workers = master.workers();
        let load = Load::start(master.addr(), 2);
        set_limit(&master, limit, Some(used(&master, field) - 1024));
        let clients = fill(&master, 100);
        master.wait_for_log("memory was refused", 1);
        assert!(decoded(&master.control("{command: ehlo, user: me}")).contains("Welcome, me!"), "{limit}");
        drop(clients);
        set_limit(&master, limit, None);
        // A reload that begins before the fresh image was given up would be given up with it.
        let logged = |words| master.log().count(words) > 0;
        let is_given_up = || logged("the reserve is whole") && logged("Can not initiate einhorn master reload");
        master.wait_until("the reserve is whole again", LIMIT, || is_given_up() || logged("Using loaded state"));
        assert_eq!(master.workers(), workers, "{limit}");
        load.wait_for(20);
        load.stop().assert_nothing_lost();
        master.reload();
        assert!(master.is_running());
    }
}

/// Failure mode 46: with nothing left at all it ends as the manual says, and its workers with it.
#[test]
fn a_master_without_any_memory_says_so_and_leaves_no_orphan() {
    for (limit, _) in LIMITS {
        let master = start();
        set_limit(&master, limit, Some(1024));
        let _clients = fill(&master, 200);
        assert_eq!(master.wait_exit().code(), Some(113), "{limit}; {}", master.log());
        assert_eq!(master.log().count("no memory is left, and the reserve is used up"), 1, "{}", master.log());
        master.wait_until("the workers have gone with it", LIMIT, || master.descendants().is_empty());
    }
}
