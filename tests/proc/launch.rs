//! From fork to exec: what can go wrong there is named, harms no other worker, and is tried again.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Injection, LIMIT, Master, Process, Setup, Strace};

/// A good program. The first line is not `exec`, so that its file stays in use as little as it can.
const GOOD: &str = "#!/bin/sh\nexec sleep 1000\n";

/// Makes a program one that cannot be run.
type Breakage = fn(&Path);

/// Puts a program there by renaming it into place, as a deploy does.
fn deploy(path: &Path, content: &[u8], mode: u32) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(mode)).unwrap();
    fs::rename(new, path).unwrap();
}

/// A master of one worker that runs `server` from its directory. A launch that fails is tried again soon.
fn start() -> (Master, PathBuf) {
    let setup = Setup::new("-n 1 -m 0 -s 0.01");
    let path = setup.directory().join("server");
    deploy(&path, GOOD.as_bytes(), 0o755);
    let master = setup.program([&path]).start();
    master.wait_for_workers(1);
    (master, path)
}

/// Waits until the shell has read the program and become what it says.
fn wait_until_read(master: &Master) -> Process {
    let mut workers = Vec::new();
    master.wait_until("the worker sleeps", LIMIT, || {
        workers = master.workers();
        workers.len() == 1 && workers[0].command_line() == ["sleep", "1000"]
    });
    workers[0]
}

fn answers(master: &Master) -> bool {
    master.control(r#"{"command":"state"}"#).contains(":children:")
}

// Failure modes 6, 7.
#[test]
fn exec_failures_are_explained() {
    let cases: &[(&str, Breakage)] = &[
        ("no such file or directory", |path| fs::remove_file(path).unwrap()),
        ("its interpreter /usr/bin/rubby is missing", |path| deploy(path, b"#!/usr/bin/rubby -w\n", 0o755)),
        ("its interpreter /bin/sh\\r is missing", |path| deploy(path, b"#!/bin/sh\r\nexit\r\n", 0o755)),
        ("its interpreter /etc/passwd may not be run", |path| deploy(path, b"#!/etc/passwd\n", 0o755)),
        ("the file is not executable", |path| deploy(path, GOOD.as_bytes(), 0o644)),
        ("the file is empty", |path| deploy(path, b"", 0o755)),
        ("it is built for another kind of machine", |path| deploy(path, b"\x7fELF\x09 of no machine", 0o755)),
        ("it is neither a program for this machine nor a script that begins with #!", |path| {
            deploy(path, b"MZ", 0o755)
        }),
        ("it is a symbolic link to nothing", |path| {
            fs::remove_file(path).unwrap();
            symlink("nowhere", path).unwrap();
        }),
        ("it is a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    let (master, path) = start();
    let mut mended = 0;
    for (cause, break_it) in cases {
        let worker = wait_until_read(&master);
        break_it(&path);
        assert!(worker.signal(Signal::SIGKILL));
        let said = master.wait_for_log(&format!(": cannot run {}: {cause}", path.display()), 1);
        let (speaker, who) = said[0].split_once(" ERROR: Worker ").expect(&said[0]);
        assert_eq!(speaker, format!("[MASTER {}]", master.pid()));
        let pid: i32 = who.split_once(':').unwrap().0.parse().unwrap();
        master.wait_for_log(&format!("===> Exited worker {pid} before it was ACKed"), 1);
        assert!(answers(&master));
        // Mended, it is launched again.
        if path.is_dir() {
            fs::remove_dir(&path).unwrap();
        }
        deploy(&path, GOOD.as_bytes(), 0o755);
        master.wait_for_workers(1);
        mended += 1;
        master.wait_for_log("breaking the streak of", mended);
    }
}

/// Sets the limit of which arguments may take a quarter, or 128 KiB if that is more.
fn limit_stack(master: &Master, soft: &str) {
    let mut command = std::process::Command::new("prlimit");
    command.arg(format!("--pid={}", master.pid())).arg(format!("--stack={soft}:"));
    assert!(command.status().unwrap().success());
}

// Failure mode 7.
#[test]
fn arguments_that_are_too_long_are_named() {
    let long = "x".repeat(100 * 1024);
    let words = ["/bin/sh", "-c", "exec sleep 1000", &long, &long];
    let master = Setup::new("-n 1 -m 0 -s 0.01").program(words).start();
    let worker = master.wait_for_workers(1)[0];
    limit_stack(&master, "131072");
    assert!(worker.signal(Signal::SIGKILL));
    // Whatever program /bin/sh is a link to.
    let lines = master.wait_for_log(": its arguments and environment are too long", 1);
    assert!(lines[0].contains(": cannot run /"), "{}", lines[0]);
    assert!(answers(&master));
    limit_stack(&master, "8388608");
    master.wait_for_workers(1);
}

/// A copy of a real program: the kernel cares for those more than for scripts.
fn start_busy() -> (Master, PathBuf) {
    let setup = Setup::new("-n 1 -m 0 -s 0.01");
    let path = setup.directory().join("server");
    deploy(&path, &fs::read("/usr/bin/sleep").unwrap(), 0o755);
    let master = setup.program([path.as_os_str(), "1000".as_ref()]).start();
    master.wait_for_workers(1);
    // Another file than the one that runs, which cannot be opened for writing.
    deploy(&path, &fs::read("/usr/bin/sleep").unwrap(), 0o755);
    (master, path)
}

/// For so long a child tries to run a program that is still being written.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);

// Failure mode 7.
#[test]
fn a_program_that_is_just_being_copied_is_waited_for() {
    // A copy that took longer than the child's patience shows nothing.
    assert!((0..10).any(|_| a_copy_is_waited_for()), "every copy took longer than {BUSY_PATIENCE:?}");
}

/// False if the copy took too long.
fn a_copy_is_waited_for() -> bool {
    let (master, path) = start_busy();
    let worker = master.wait_for_workers(1)[0];
    let copying = OpenOptions::new().append(true).open(&path).unwrap();
    let began = Instant::now();
    assert!(worker.signal(Signal::SIGKILL));
    master.wait_for_log("===> Launched", 2);
    assert!(answers(&master));
    drop(copying);
    if began.elapsed() >= BUSY_PATIENCE {
        return false;
    }
    master.wait_for_workers(1);
    let log = master.log();
    assert_eq!(log.count("ERROR"), log.count("ERROR: No worker serves any more"), "{log}");
    true
}

// Failure mode 7.
#[test]
fn a_program_that_stays_open_for_writing_is_named() {
    let (master, path) = start_busy();
    let copying = OpenOptions::new().append(true).open(&path).unwrap();
    assert!(master.wait_for_workers(1)[0].signal(Signal::SIGKILL));
    master.wait_for_log(&format!(": cannot run {}: the file is still open for writing", path.display()), 1);
    drop(copying);
    master.wait_for_workers(1);
}

// The reaper's look at one death finds the next, before the loop has come round to hear of it.
#[test]
fn a_child_that_fails_before_the_first_look_is_reported() {
    let setup = Setup::new("-n 1 -m 0 -s 0.01");
    let path = setup.directory().join("server");
    deploy(&path, GOOD.as_bytes(), 0o755);
    let master = setup.program([&path]).start();
    master.wait_for_log("Up to 1 / 1", 1);
    let worker = master.wait_for_workers(1)[0];
    fs::remove_file(&path).unwrap();
    let slowly = ["-e", "trace=waitid", "-e", "inject=waitid:delay_enter=300000"];
    let slow = Strace::attach_to_thread(&master, master.process(), &slowly);
    assert!(worker.signal(Signal::SIGKILL));
    master.wait_for_log("===> Exited worker", 2);
    drop(slow);
    let first = master.wait_for_log(" before it was ACKed", 1).remove(0);
    let pid = first.split("Exited worker ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(master.log().count(&format!("ERROR: Worker {pid}: cannot run ")), 1, "{}", master.log());
}

/// No process can be had.
const NO_FORK: &str = "clone,clone3,fork,vfork:error=EAGAIN";

// Failure mode 9. E20.
#[test]
fn fork_failures_leave_the_master_alive_and_are_tried_again() {
    let master = Setup::new("-n 3 -m 0 -s 0.01").program(["sleep", "1000"]).start();
    let workers = master.wait_for_workers(3);
    let injection = Injection::attach(&master, NO_FORK);
    let began = Instant::now();
    workers[..2].iter().for_each(|worker| assert!(worker.signal(Signal::SIGKILL)));
    let said = master.wait_for_log("cannot start a worker, trying again later", 3);
    assert!(
        said[0].contains("ERROR: cannot start a worker, trying again later: resource temporarily unavailable"),
        "{said:?}"
    );
    assert!(answers(&master));
    assert_eq!(master.wait_for_workers(1), workers[2..]);
    master.wait_until("both are reaped", LIMIT, || workers[..2].iter().all(|worker| worker.state().is_none()));
    // Ever more rarely: every hundredth of a second would be a storm.
    master.wait_until("it has been tried for two seconds", LIMIT, || began.elapsed() > Duration::from_secs(2));
    let tries = master.log().count("cannot start a worker");
    assert!(tries < 40, "{tries} tries");
    drop(injection);
    assert!(master.wait_for_workers(3).contains(&workers[2]));
}

// Failure mode 9. E20.
#[test]
fn fork_failures_do_not_keep_the_master_from_ending() {
    let master = Setup::new("-n 2 -m 0 -s 0.01").program(["sleep", "1000"]).start();
    let workers = master.wait_for_workers(2);
    let _injection = Injection::attach(&master, NO_FORK);
    assert!(workers[0].signal(Signal::SIGKILL));
    master.wait_for_log("cannot start a worker, trying again later", 1);
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!workers[1].is_alive() && !master.socket().exists());
}

/// How long a child may take.
const EXEC_LIMIT: Duration = Duration::from_secs(10);

/// How late each child comes to its program in the next test.
const EXEC_DELAY: Duration = Duration::from_secs(6);

// Failure mode 8.
#[test]
fn a_child_that_is_slow_to_exec_delays_no_other() {
    // On a machine that has no time for all of this in the meantime, it shows nothing.
    assert!((0..5).any(|_| slow_children_delay_no_other()), "it takes {EXEC_DELAY:?} and more each time");
}

/// False if it took so long that nothing can be said.
fn slow_children_delay_no_other() -> bool {
    let master = Setup::new("-n 2 -m 0 -s 0.01 --max-unacked 9").program(["sleep", "1000"]).start();
    let workers = master.wait_for_workers(2);
    let injection = Injection::attach(&master, &format!("execve:delay_enter={}", EXEC_DELAY.as_micros()));
    let began = Instant::now();
    assert!(workers[0].signal(Signal::SIGKILL));
    master.wait_for_log("===> Launched", 3);
    // The second dies while the first's successor is still on its way.
    assert!(workers[1].signal(Signal::SIGKILL));
    master.wait_for_log(&format!("===> Exited worker {}", workers[1]), 1);
    master.wait_for_log("===> Launched", 4);
    assert!(answers(&master));
    // Neither counts as a worker that serves before it has become its program.
    let workers = master.workers();
    if began.elapsed() >= EXEC_DELAY {
        return false;
    }
    assert_eq!(workers, []);
    assert_eq!(master.log().count("Up to 2 / 2 timer ACKs"), 1, "{}", master.log());
    master.wait_for_workers(2);
    assert!(began.elapsed() >= EXEC_DELAY, "the injection was not in force");
    master.wait_for_log("Up to 2 / 2 timer ACKs", 2);
    drop(injection);
    if began.elapsed() >= EXEC_LIMIT && master.log().count("has not completed exec") > 0 {
        return false;
    }
    assert_eq!(master.log().count("===> Launched"), 4, "{}", master.log());
    true
}

// Failure mode 8.
#[test]
fn a_child_that_is_stopped_before_its_exec_is_killed_in_the_end() {
    let master = Setup::new("-n 1 -m 0 -s 0.01").program(["sleep", "1000"]).start();
    let worker = master.wait_for_workers(1)[0];
    // Only the child between fork and exec sets its umask.
    let injection = Injection::attach(&master, "umask:signal=SIGSTOP");
    let began = Instant::now();
    assert!(worker.signal(Signal::SIGKILL));
    master.wait_for_log("===> Launched", 2);
    let stuck = master.process().children().into_iter().find(|child| *child != worker).unwrap();
    assert!(answers(&master));
    let said = master.wait_for_log(&format!("Worker {stuck} has not completed exec within "), 1);
    let seconds = said[0].split_once(" within ").and_then(|(_, rest)| rest.strip_suffix("s. Sending SIGKILL."));
    assert!(seconds.is_some_and(|seconds| seconds.parse::<u64>().unwrap() >= 10), "{said:?}");
    assert!(began.elapsed() >= EXEC_LIMIT);
    master.wait_for_log(&format!("===> Exited worker {stuck} before it was ACKed"), 1);
    drop(injection);
    // Later ones were stopped, too, and strace's leaving does not continue them.
    master.wait_until("a worker serves again", LIMIT, || {
        master.process().children().into_iter().for_each(|child| _ = child.signal(Signal::SIGCONT));
        master.workers().len() == 1
    });
    assert!(!Process(stuck.0).is_alive());
}
