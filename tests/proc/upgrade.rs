//! Upgrades: every worker is replaced, and no request is lost, whatever the new code does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;

use crate::support::{HeldRequest, LIMIT, Load, Master, Process, Setup, Target, ask, example};

/// Code that acks when it serves, code that serves and never acks, and code that dies at once.
enum Code {
    Good,
    Mute,
    Dying,
}

impl Code {
    fn text(&self) -> String {
        let http_worker = example("http_worker");
        match self {
            Self::Good => format!("exec {} --ack manual", http_worker.display()),
            Self::Mute => format!("exec {}", http_worker.display()),
            Self::Dying => "exit 1".to_owned(),
        }
    }
}

/// A master whose workers run what [`deploy`] puts in place; at first good code of release `old`.
fn setup(options: &str) -> Setup {
    Setup::new("-m manual -s 0.01").options(options).script(&Code::Good.text()).release("old")
}

fn start(options: &str) -> Master {
    setup(options).bind(",r").start()
}

/// Waits before that until every worker serves: one that was just forked would read the new code, or the new release, for
/// its own. It has one thread until it has read both.
fn deploy(master: &Master, code: &Code, release: &str) {
    let serves = |worker: &Process| !worker.is_alive() || worker.thread_count() >= Some(2);
    master.wait_until("each worker has read its own code", LIMIT, || master.process().children().iter().all(serves));
    master.replace("worker.sh", &code.text());
    master.release(release);
}

/// Waits for the workers of the first start, each acked.
fn wait_for_first(master: &Master, count: usize) -> Vec<Process> {
    master.wait_for_log(&format!("Up to {count} / {count} manual ACKs"), 1);
    master.wait_for_workers(count)
}

/// Asks often enough that every worker that serves would be heard.
fn assert_all_answer_as(target: &Target, release: &str) {
    for number in 0..20 {
        assert_eq!(ask(target, &format!("/{number}")).unwrap().release, release);
    }
}

fn assert_untouched(master: &Master, workers: &[Process]) {
    for worker in workers {
        assert!(worker.is_alive() && !master.was_signalled(*worker), "{worker}; the log:\n{}", master.log());
    }
}

/// Upgrades a master of two workers under load, again and again.
fn upgrade_under_load(master: &Master, target: &Target, upgrades: usize) {
    wait_for_first(master, 2);
    // Slow enough that some request is in flight whenever a worker is told to go.
    let load = Load::start_on(target.clone(), 4, "/slow?ms=5");
    load.wait_for_release("old", 20);
    for number in 1..=upgrades {
        let release = number.to_string();
        master.release(&release);
        master.signal(Signal::SIGHUP);
        master.wait_for_log("Upgraded successfully to version", number);
        load.wait_for_release(&release, 5);
    }
    master.wait_for_log("===> Exited worker", 2 * upgrades);
    assert_all_answer_as(target, &upgrades.to_string());
    load.stop().assert_nothing_lost();
    let log = master.log();
    assert_eq!(log.count("===> Launched"), 2 + 2 * upgrades, "{log}");
    assert_eq!(log.count("WARN") + log.count("ERROR") + log.count("before it was ACKed"), 0, "{log}");
}

#[test]
fn twenty_upgrades_under_load_lose_nothing_on_a_blocking_socket() {
    let master = start("-n 2");
    upgrade_under_load(&master, &master.addr().into(), 20);
}

#[test]
fn upgrades_under_load_lose_nothing_on_a_non_blocking_socket() {
    let master = setup("-n 2").bind(",r,n").start();
    upgrade_under_load(&master, &master.addr().into(), 10);
}

#[test]
fn upgrades_under_load_lose_nothing_on_a_unix_socket() {
    let setup = setup("-n 2");
    let path = setup.directory().join("web.sock");
    let master = setup.word("-b").word(format!("unix:{}", path.display())).start();
    upgrade_under_load(&master, &path.as_path().into(), 10);
}

#[test]
fn an_alrm_upgrades_as_a_hup_does() {
    let master = start("-n 1");
    wait_for_first(&master, 1);
    master.release("new");
    master.signal(Signal::SIGALRM);
    master.wait_for_log("===> Exited worker", 1);
    assert_all_answer_as(&master.addr().into(), "new");
}

// The settings of a new version are made of the configuration, which has to know of it.
#[test]
fn a_commanded_number_outlasts_an_upgrade_and_other_changes() {
    let master = start("-n 1");
    wait_for_first(&master, 1);
    master.control(r#"{"command": "inc", "id": 1}"#);
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    master.signal(Signal::SIGHUP);
    master.wait_for_log("===> Exited worker", 2);
    assert_eq!(master.wait_for_workers(2).len(), 2);
    master.control(r#"{"command": "set_workers", "args": ["3"], "id": 1}"#);
    master.control(r#"{"command": "config", "args": ["{signal_timeout: 7}"], "id": 1}"#);
    master.wait_for_log("Up to 3 / 3 manual ACKs", 1);
    assert_eq!(master.log().count("Have too many workers"), 0, "{}", master.log());
}

#[test]
fn requests_in_flight_end_on_old_workers_and_new_ones_get_the_rest() {
    let master = start("-n 2");
    let old = wait_for_first(&master, 2);
    let held = HeldRequest::begin_many(&master, 8);
    master.release("new");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Killing off 1 old workers.", 1);
    // Their first threads are left, and one for each request.
    let in_flight = || old.iter().filter_map(|worker| worker.thread_count()).map(|threads| threads - 1).sum::<i32>();
    master.wait_until("the old accept no more", LIMIT, || in_flight() == 8);
    assert_all_answer_as(&master.addr().into(), "new");
    for request in held {
        let answer = request.finish().unwrap();
        assert!(answer.release == "old" && old.contains(&Process(answer.pid)), "{answer:?}");
    }
    master.wait_for_log("===> Exited worker", 2);
    assert_all_answer_as(&master.addr().into(), "new");
}

fn set_ack_timeout(master: &Master, seconds: &str) {
    let said = master.control(&format!("{{command: config, args: ['ack_timeout: {seconds}']}}"));
    assert!(said.contains("Successfully merged"), "{said}");
}

/// An upgrade that comes to nothing, and a later one that does not.
fn assert_given_up(master: &Master, code: &Code, reason: &str) {
    let old = wait_for_first(master, 2);
    let load = Load::start(master.addr(), 2);
    deploy(master, code, "bad");
    // Code that dies at once would be told to go before it has, on a busy machine.
    if matches!(code, Code::Mute) {
        set_ack_timeout(master, "0.3");
    }
    master.signal(Signal::SIGHUP);
    master.wait_for_log(
        "Upgrade to version 1 failed: 3 new workers in a row died or did not ACK. Going back to version 0",
        1,
    );
    master.wait_for_log(reason, 3);
    master.wait_until("the new workers are gone", LIMIT, || master.workers() == old);
    load.wait_for(50);
    assert_untouched(master, &old);
    assert_eq!(master.log().count("Upgraded successfully"), 0, "{}", master.log());
    deploy(master, &Code::Good, "good");
    set_ack_timeout(master, "30");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully to version 2", 1);
    load.wait_for_release("good", 10);
    load.stop().assert_nothing_lost();
    assert!(master.is_running());
}

// E27.
#[test]
fn an_upgrade_to_code_that_dies_at_once_fails_and_old_workers_serve_on() {
    assert_given_up(&start("-n 2 --retries 3"), &Code::Dying, "before it was ACKed");
}

// E10.
#[test]
fn an_upgrade_to_code_that_never_acks_is_given_up_after_the_ack_timeout() {
    assert_given_up(&start("-n 2"), &Code::Mute, "sent no ACK within");
}

// With einhorn, the workers that serve go from 4 to 2 to 0.
#[test]
fn ten_upgrades_in_a_row_to_code_that_never_acks_leave_all_that_serve() {
    let master = start("-n 4 --max-unacked 4");
    let old = wait_for_first(&master, 4);
    let load = Load::start(master.addr(), 2);
    deploy(&master, &Code::Mute, "mute");
    for number in 1..=10 {
        master.signal(Signal::SIGHUP);
        master.wait_for_log("===> Launched", 4 + 4 * number);
        assert_untouched(&master, &old);
    }
    assert_eq!(master.log().count("bumping version and starting over"), 9, "{}", master.log());
    master.wait_until("only the newest of those that never ack are left", LIMIT, || master.workers().len() == 8);
    load.wait_for(50);
    assert_untouched(&master, &old);
    deploy(&master, &Code::Good, "good");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully to version 11", 1);
    load.wait_for_release("good", 10);
    load.stop().assert_nothing_lost();
}

#[test]
fn a_hup_during_an_upgrade_starts_over_and_ends_at_the_last_release() {
    let master = start("-n 2 --max-unacked 2");
    wait_for_first(&master, 2);
    let load = Load::start(master.addr(), 2);
    deploy(&master, &Code::Mute, "second");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("===> Launched", 4);
    deploy(&master, &Code::Good, "third");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Currently upgrading (0 / 2 ACKs; bumping version and starting over)...", 1);
    master.wait_for_log("Upgraded successfully to version 2", 1);
    master.wait_for_log("===> Exited worker", 4);
    assert_all_answer_as(&master.addr().into(), "third");
    assert_eq!((master.workers().len(), master.log().count("===> Launched")), (2, 6), "{}", master.log());
    load.stop().assert_nothing_lost();
}

#[test]
fn an_int_in_the_middle_of_an_upgrade_ends_old_and_new_workers() {
    let master = start("-n 2 --max-unacked 2");
    let old = wait_for_first(&master, 2);
    let held = HeldRequest::begin_many(&master, 8);
    deploy(&master, &Code::Mute, "new");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("===> Launched", 4);
    master.signal(Signal::SIGINT);
    master.wait_until("the new ones are gone", LIMIT, || master.workers().iter().all(|worker| old.contains(worker)));
    for request in held {
        assert!(master.is_running());
        assert_eq!(request.finish().unwrap().release, "old");
    }
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.descendants(), []);
    assert_eq!(master.log().count("Upgrade to version 1 given up because we're exiting"), 1, "{}", master.log());
    assert_eq!(master.log().count("===> Launched"), 4, "{}", master.log());
}

/// A program behind a link, as a deploy tool leaves it: `current` leads to one of `releases`.
fn link_current(directory: &std::path::Path, release: &str) {
    let home = directory.join("releases").join(release);
    if !home.exists() {
        fs::create_dir_all(&home).unwrap();
        let program = format!("#!/bin/sh\nexport WORKER_VERSION={release}\n{}\n", Code::Good.text());
        fs::write(home.join("server"), program).unwrap();
        fs::set_permissions(home.join("server"), fs::Permissions::from_mode(0o755)).unwrap();
    }
    symlink(home, directory.join("current.new")).unwrap();
    fs::rename(directory.join("current.new"), directory.join("current")).unwrap();
}

fn start_linked() -> Master {
    let setup = Setup::new("-n 2 -m manual -s 0.01").bind(",r");
    link_current(setup.directory(), "one");
    let program = setup.directory().join("current/server");
    let master = setup.program([program]).start();
    wait_for_first(&master, 2);
    master
}

#[test]
fn a_linked_release_is_followed_anew_at_each_upgrade() {
    let master = start_linked();
    assert_all_answer_as(&master.addr().into(), "one");
    for (number, release) in [(1, "two"), (2, "three")] {
        link_current(master.directory(), release);
        assert_ne!(ask(&master.addr().into(), "/").unwrap().release, release, "without a signal nothing changes");
        master.signal(Signal::SIGHUP);
        master.wait_for_log("===> Exited worker", 2 * number);
        assert_all_answer_as(&master.addr().into(), release);
    }
}

#[test]
fn an_upgrade_to_a_program_that_is_gone_is_refused_and_nothing_changes() {
    let master = start_linked();
    let workers = master.workers();
    let program = master.file("current/server");
    fs::remove_file(&program).unwrap();
    master.signal(Signal::SIGHUP);
    let refused = "Upgrade refused, nothing was changed: cannot run";
    master.wait_for_log(&format!("{refused} {}: no such file", program.display()), 1);
    fs::write(&program, "").unwrap();
    master.signal(Signal::SIGHUP);
    master.wait_for_log(&format!("{refused} {}: the file is not executable", program.display()), 1);
    assert_eq!(master.workers(), workers);
    assert_untouched(&master, &workers);
    link_current(master.directory(), "two");
    master.signal(Signal::SIGHUP);
    // The refused ones have taken no version.
    master.wait_for_log("Upgraded successfully to version 1", 1);
    master.wait_for_log("===> Exited worker", 2);
    assert_all_answer_as(&master.addr().into(), "two");
}

#[test]
fn a_dropped_variable_is_gone_from_the_first_upgrade_on() {
    let master = setup("-n 1 --drop-env-var SECRET").env("SECRET", "1").env("KEPT", "2").bind(",r").start();
    let first = wait_for_first(&master, 1)[0].environ();
    assert_eq!((first.get("SECRET").map(String::as_str), &*first["KEPT"]), (Some("1"), "2"));
    for number in 1..=2 {
        master.signal(Signal::SIGHUP);
        master.wait_for_log("===> Exited worker", number);
        let later = master.wait_for_workers(1)[0].environ();
        assert_eq!((later.get("SECRET"), &*later["KEPT"]), (None, "2"));
    }
}

/// The most that `up` was ahead of `down` in the log, at any line.
fn most(lines: &[String], up: &str, down: &str) -> i64 {
    let step = |line: &String| i64::from(line.contains(up)) - i64::from(line.contains(down));
    let levels = lines.iter().scan(0, |level, line| {
        *level += step(line);
        Some(*level)
    });
    levels.max().unwrap_or(0)
}

// E18: einhorn runs one more than it says.
#[test]
fn no_more_workers_than_allowed_live_during_an_upgrade() {
    let master = start("-n 4 --max-upgrade-additional=1 --max-unacked 4");
    wait_for_first(&master, 4);
    // Old workers linger, with requests in flight.
    let load = Load::start_on(master.addr(), 8, "/slow?ms=100");
    let done = AtomicBool::new(false);
    let seen_max = thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(master.process().children_at_once().len());
            }
            most
        });
        for number in 1..=3 {
            master.signal(Signal::SIGHUP);
            master.wait_for_log("===> Exited worker", 4 * number);
        }
        done.store(true, Ordering::Relaxed);
        sampler.join().unwrap()
    });
    load.stop().assert_nothing_lost();
    assert_eq!(seen_max, 5, "{}", master.log());
    assert_eq!(most(&master.log().lines(), "===> Launched", "===> Exited"), 5, "{}", master.log());
    assert!(master.log().count("Waiting for old workers to exit") > 0, "{}", master.log());
}

#[test]
fn no_more_than_max_unacked_new_workers_are_without_their_ack() {
    let slow = format!("exec {} --ack manual --ack-after 200", example("http_worker").display());
    let master = setup("-n 3 --max-unacked 1").script(&slow).bind(",r").start();
    wait_for_first(&master, 3);
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully", 1);
    let lines = master.log().lines();
    let upgrade: Vec<String> = lines.into_iter().skip_while(|line| !line.contains("Starting smooth upgrade")).collect();
    assert_eq!(most(&upgrade, "===> Launched", "Received a manual ACK"), 1, "{}", master.log());
    let waiting = "There are 1 unacked new workers, and max_unacked is 1, so not spinning up a new process.";
    // Once for each that another one waits for, not once a second.
    assert_eq!(master.log().count(waiting), 2, "{}", master.log());
}
