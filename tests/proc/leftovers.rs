//! That nothing is left of a master's files at whatever moment it ends, that a start which fails leaves nothing either, and
//! that the control socket is soon back at whatever moment it is removed.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Injection, LIMIT, Master, Setup, Snapshot, holds_within};

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// The socket is looked for twice a second, and the rest is for a machine that is busy. It was half a minute.
const SOON: Duration = Duration::from_secs(15);

/// What is left in the master's directory that a clean end removes.
fn left(directory: &Path) -> Vec<String> {
    let snapshot = Snapshot::of(directory);
    let names = snapshot.names().into_iter();
    names.filter(|name| name.ends_with(".sock") || name.ends_with(".pid")).map(str::to_owned).collect()
}

/// The thread that prepares an upgrade has just bound a socket, and holds those that are open, when the master ends.
#[test]
fn sockets_go_with_the_master_while_an_upgrade_is_being_prepared() {
    let setup = Setup::new("--config web.toml");
    let file = |binds: &str| format!("command = 'sleep 1000'\nbind = [{binds}]\n");
    setup.write("web.toml", &file("'unix:web.sock'"));
    let master = setup.start();
    master.wait_for_workers(1);
    master.replace("web.toml", &file("'unix:web.sock', 'unix:new.sock'"));
    let injection = Injection::attach(&master, "bind:delay_exit=3000000");
    master.signal(Signal::SIGHUP);
    master.wait_until("the new socket is bound", LIMIT, || master.file("new.sock").exists());
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    drop(injection);
    assert_eq!(left(master.directory()), [""; 0]);
}

/// To remove a file takes descriptors, too: one to judge the way to it, and one to look whose it is.
#[test]
fn no_file_is_left_at_the_limit_of_descriptors() {
    for descriptors in 5..=16 {
        let limit = format!("ulimit -n {descriptors}; exec \"$@\"");
        let setup = Setup::new("-d control.sock -e master.pid -b unix:one.sock -b unix:two.sock -b unix:three.sock");
        let master = setup.program(SLEEP).through(&["/bin/sh", "-c", &limit, "sh"]).start();
        let is_decided = || !master.is_running() || master.file("master.pid").exists();
        master.wait_until("it has started, or cannot", LIMIT, is_decided);
        master.process().signal(Signal::SIGTERM);
        let code = master.wait_exit().code();
        assert!([Some(0), Some(111)].contains(&code), "{code:?} with {descriptors}; the log:\n{}", master.log());
        assert_eq!(left(master.directory()), [""; 0], "with {descriptors}; the log:\n{}", master.log());
    }
}

/// Through strace, which lets the n-th thread not be had, nor one after it.
fn without_thread(nth: u32) -> Setup {
    let inject = format!("inject=clone3:error=EAGAIN:when={nth}+");
    let words = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
    Setup::new("-d control.sock -e master.pid -b unix:web.sock").through(&words).program(SLEEP)
}

#[test]
fn a_start_that_fails_for_want_of_a_thread_leaves_nothing() {
    let refused = |nth: u32| {
        let refusal = without_thread(nth).refused();
        assert_eq!(refusal.code, Some(111), "{refusal:?}");
        assert!(refusal.lines.iter().any(|line| line.contains("thread")), "{refusal:?}");
        refusal.assert_nothing_left();
    };
    // Those for the log, signals, children, jobs and clients.
    (1..=5).for_each(refused);
    let master = without_thread(6).start();
    master.wait_until("it has started", LIMIT, || master.file("master.pid").exists());
}

fn master_in(setup: Setup) -> (Master, PathBuf) {
    let run = setup.directory().join("run");
    fs::create_dir(&run).unwrap();
    let master = setup.socket(run.join("einhorn.sock")).program(SLEEP).start();
    master.wait_for_workers(1);
    (master, run)
}

#[track_caller]
fn assert_back(master: &Master) {
    // The file is there a moment before the master listens.
    let is_back = || UnixStream::connect(master.socket()).is_ok();
    assert!(holds_within(SOON, is_back), "it is not back; the log:\n{}", master.log());
    assert!(master.control("{command: ehlo, user: new}").contains("Welcome, new!"));
}

#[test]
fn the_control_socket_is_back_soon_after_its_directory_is() {
    let (master, run) = master_in(Setup::new(""));
    fs::rename(&run, master.file("away")).unwrap();
    let said = master.wait_for_log("was removed: cannot bind", 1);
    assert!(said[0].contains("no such file or directory; trying again twice a second"), "{said:?}");
    fs::create_dir(&run).unwrap();
    assert_back(&master);
    master.wait_for_log("was removed, made it anew", 1);
    assert_eq!(master.log().count("was removed: "), 1, "each try was logged: {}", master.log());
}

#[test]
fn the_control_socket_is_back_soon_after_its_place_is_free() {
    let (master, _run) = master_in(Setup::new(""));
    fs::write(master.file("precious"), "precious").unwrap();
    fs::rename(master.file("precious"), master.socket()).unwrap();
    master.wait_for_log("was removed: ", 1);
    fs::remove_file(master.socket()).unwrap();
    assert_back(&master);
}

#[test]
fn the_control_socket_is_missed_when_its_directory_is_moved_away() {
    let (master, run) = master_in(Setup::new(""));
    fs::rename(&run, master.file("away")).unwrap();
    fs::create_dir(&run).unwrap();
    assert_back(&master);
}

/// No watch is to be had: then it is looked at.
#[test]
fn the_control_socket_is_back_soon_where_it_cannot_be_watched() {
    let words = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=inotify_init1:error=EMFILE"];
    let (master, _run) = master_in(Setup::new("").through(&words));
    master.wait_for_log("looking at it twice a second instead", 1);
    fs::remove_file(master.socket()).unwrap();
    assert_back(&master);
}

/// Neither the image before sees it nor can the one to come, of which the socket was bound.
#[test]
fn the_control_socket_is_back_soon_after_it_was_removed_during_a_re_exec() {
    let (master, _run) = master_in(Setup::new(""));
    let injection = Injection::attach(&master, "execve:delay_enter=500000");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("About to re-exec", 1);
    fs::remove_file(master.socket()).unwrap();
    // strace that ends in the middle of an exec may wait for ever.
    master.wait_for_log("Using loaded state", 1);
    drop(injection);
    assert_back(&master);
}

#[test]
fn directories_that_have_gone_do_not_hinder_the_end() {
    let setup = Setup::new("-n 1 -e run/master.pid -b unix:run/web.sock").program(SLEEP);
    fs::create_dir(setup.directory().join("run")).unwrap();
    let master = setup.start();
    master.wait_for_workers(1);
    // At once: a file that is removed by itself is there again before its directory is empty.
    fs::rename(master.file("run"), master.file("gone")).unwrap();
    master.wait_for_log("ERROR: the file of unix:run/web.sock was removed", 1);
    master.wait_for_log("ERROR: the pid file was removed or changed: cannot write pid file run/master.pid", 1);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.log().count("WARN") + master.log().count("ERROR"), 2, "{}", master.log());
}
