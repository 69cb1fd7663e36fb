//! The harness put to the test itself: each way of losing a request is counted as what it is, a stand-in for a master is
//! waited for and cleaned away, and /proc is read as it stands.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::procfs::{Process, SignalSet};
use crate::support::request::{Failure, Target, ask};
use crate::support::wait::{LIMIT, wait_until};
use crate::support::{Load, Setup, free_address, seconds_before_kill};

/// Stands in for a master until told to go: speaks on stderr, has one child, and ends with status 7 at USR2.
const STAND_IN: &str = "trap 'echo going >&2; exit 7' USR2; echo one >&2; echo two >&2; sleep 1000 & wait";

fn stand_in() -> Setup {
    Setup::new("").through(&["/bin/sh", "-c", STAND_IN, "sh"])
}

/// A server that gives the same reply to each of so many requests, and then listens no more.
fn canned(reply: &str, count: usize) -> Target {
    let listener = TcpListener::bind(free_address()).unwrap();
    let (address, reply) = (listener.local_addr().unwrap(), reply.to_owned());
    std::thread::spawn(move || {
        for _ in 0..count {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(reply.as_bytes());
        }
    });
    address.into()
}

fn reply_to(path: &str) -> String {
    let body = format!("pid 7\nindex 0\nversion one\npath {path}\n\nrest");
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn failure_with(reply: &str) -> Failure {
    ask(&canned(reply, 1), "/asked").unwrap_err().0
}

#[test]
fn an_answer_is_taken_apart() {
    let answer = ask(&canned(&reply_to("/asked"), 1), "/asked").unwrap();
    assert_eq!((answer.pid, &*answer.index, &*answer.release, &*answer.rest), (7, "0", "one", "rest"));
}

#[test]
fn every_way_of_losing_a_request_has_its_name() {
    let whole = reply_to("/asked");
    assert_eq!(failure_with(&whole[..whole.len() - 1]), Failure::Short);
    assert_eq!(failure_with(""), Failure::Short);
    assert_eq!(failure_with(&reply_to("/another")), Failure::Wrong);
    assert_eq!(failure_with(&(whole.clone() + "x")), Failure::Wrong);
    assert_eq!(failure_with(&whole.replace("200", "500")), Failure::Wrong);
    assert_eq!(ask(&free_address().into(), "/").unwrap_err().0, Failure::Refused);
}

#[test]
fn a_connection_closed_with_unread_bytes_counts_as_reset() {
    let listener = TcpListener::bind(free_address()).unwrap();
    let target = Target::from(listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let _ = client.read(&mut [0; 4]);
    });
    assert_eq!(ask(&target, "/").unwrap_err().0, Failure::Reset);
    server.join().unwrap();
}

#[test]
fn a_load_counts_what_was_answered_and_what_was_not() {
    let load = Load::start(canned(&reply_to("/?id=1"), 3), 1);
    wait_until("no process listens", LIMIT, || load.so_far().lost.get(&Failure::Refused) > Some(&2));
    let report = load.stop();
    assert_eq!((report.ok, report.lost[&Failure::Wrong]), (1, 2), "{report}");
    assert_eq!((report.answered_by("one"), report.by_pid[&7], report.total()), (1, 1, 1 + report.lost_count()));
    assert!(std::panic::catch_unwind(|| report.assert_nothing_lost()).is_err());
}

#[test]
fn a_master_is_heard_signalled_and_waited_for() {
    let master = stand_in().start();
    assert!(master.wait_for_log("one", 1)[0].ends_with("one"));
    assert_eq!(master.wait_for_workers(1)[0].command_line(), ["sleep", "1000"]);
    master.signal(Signal::SIGUSR2);
    assert_eq!(master.wait_exit().code(), Some(7));
    assert_eq!(master.log().lines(), ["one", "two", "going"]);
}

#[test]
fn a_dropped_master_leaves_nothing_behind() {
    let master = stand_in().start();
    let (process, worker) = (master.process(), master.wait_for_workers(1)[0]);
    assert_eq!(master.descendants(), [worker]);
    let directory = master.directory().to_owned();
    drop(master);
    assert!(!process.is_alive() && !worker.is_alive() && !directory.exists());
}

#[test]
fn orphans_of_a_killed_master_are_found_and_cleaned_away() {
    let master = stand_in().start();
    let worker = master.wait_for_workers(1)[0];
    master.signal(Signal::SIGKILL);
    master.wait_exit();
    assert_eq!(master.descendants(), [worker]);
    drop(master);
    wait_until("the orphan is gone", LIMIT, || !worker.is_alive());
}

#[test]
fn a_master_behind_a_wrapper_is_ended_with_it() {
    let wrapper = ["/bin/sh", "-c", "\"$@\"; true", "sh"];
    let wrapped = Setup::new("").program(["/bin/sleep", "1000"]).through(&wrapper).start();
    wrapped.wait_for_log("===> Launched", 1);
    let master: i32 = std::fs::read_to_string(wrapped.file("einhorn.pid")).unwrap().parse().unwrap();
    assert_ne!(master, wrapped.pid());
    drop(wrapped);
    assert!(!std::path::Path::new(&format!("/proc/{master}/exe")).exists());
}

#[test]
fn waiting_in_vain_panics_with_what_was_waited_for_and_the_log() {
    let master = stand_in().start();
    master.wait_for_log("two", 1);
    let wait = std::panic::AssertUnwindSafe(|| master.wait_until("pigs fly", Duration::from_millis(20), || false));
    let message = *std::panic::catch_unwind(wait).unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("pigs fly") && message.contains("| one\n"), "{message}");
}

#[test]
fn a_master_finds_only_what_it_was_given() {
    let script = "echo \"$@\" >&2; exec sleep 1000";
    let master = Setup::new("-n 2").env("A", "b").script("true").through(&["/bin/sh", "-c", script, "sh"]).start();
    assert!(master.wait_for_log("-n 2 -- /bin/sh", 1)[0].ends_with("/worker.sh"));
    master.wait_until("the stand-in execs", LIMIT, || master.process().command_line() == ["sleep", "1000"]);
    let environment = master.process().environ();
    assert_eq!(environment["TMPDIR"], master.directory().to_str().unwrap());
    assert_eq!(environment["A"], "b");
    assert!(!environment.contains_key("CARGO_MANIFEST_DIR"));
    assert_eq!(master.process().directory().unwrap(), master.directory().canonicalize().unwrap());
    let open = master.process().descriptors();
    assert_eq!((&*open[&0], &*open[&1]), ("/dev/null", master.file("stdout").to_str().unwrap()));
    assert!(open[&2].starts_with("pipe:["));
}

#[test]
fn the_seconds_before_a_kill_are_read_from_its_line() {
    assert_eq!(seconds_before_kill("[MASTER 1] INFO: Child 2 is still active after 12s. Sending SIGKILL."), 12);
}

#[test]
fn proc_is_read_as_it_stands() {
    let script = "trap '' HUP USR1; ulimit -n 64; umask 027; nice -n 3 sleep 1000 & wait";
    let master = Setup::new("").through(&["/bin/sh", "-c", script, "sh"]).start();
    master.wait_until("nice execs", LIMIT, || master.workers().iter().any(|w| w.command_line() == ["sleep", "1000"]));
    let worker = master.workers()[0];
    assert_eq!((worker.parent(), worker.group()), (Some(master.process()), Process::this().group()));
    assert_eq!((worker.thread_count(), worker.nice(), worker.umask().as_deref()), (Some(1), Some(3), Some("0027")));
    assert_eq!(worker.limits()["Max open files"], ("64".to_owned(), "64".to_owned()));
    assert!(worker.ignored().contains(Signal::SIGHUP) && worker.ignored().contains(Signal::SIGUSR1));
    assert_eq!((worker.blocked(), worker.caught()), (SignalSet::EMPTY, SignalSet::EMPTY));
    assert!(worker.program().is_some_and(|program| program.ends_with("sleep")), "{:?}", worker.program());
    assert!(worker.is_alive() && !worker.is_zombie() && worker.cpu_ticks().is_some());
}

#[test]
fn listening_addresses_are_found_by_their_sockets() {
    let address = free_address();
    let v4 = TcpListener::bind(address).unwrap();
    assert!(Process::this().listening_on().contains(&address));
    drop(v4);
    assert!(!Process::this().listening_on().contains(&address));
}
