//! Deaths: every worker that dies is reaped and replaced, what it leaves behind is seen to, and strangers are buried.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;

use nix::sys::signal::Signal;

use crate::support::{
    HeldRequest, LIMIT, Load, Master, Process, Setup, Strace, Target, ask, example, seconds_before_kill, wait_until,
};

/// Execs the rest of its arguments with SIGCHLD ignored.
const WITHOUT_SIGCHLD: &str =
    "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])";

/// A worker that leaves a process behind in a session of its own.
const WITH_A_DAEMON: &str = "(setsid sleep 1000 &); exec sleep 1000";

fn sleepers(options: &str) -> Setup {
    Setup::new(options).program(["sleep", "1000"])
}

/// Waits until every worker has acked, and returns them.
fn wait_until_up(master: &Master, count: usize) -> Vec<Process> {
    master.wait_for_log(&format!("Up to {count} / {count} "), 1);
    master.wait_for_workers(count)
}

fn kill_all(workers: &[Process]) {
    workers.iter().for_each(|worker| assert!(worker.signal(Signal::SIGKILL)));
}

/// There are so many workers, none of them one of `dead`, and nothing but them.
fn wait_until_replaced(master: &Master, dead: &[Process], count: usize) {
    master.wait_until(&format!("{count} others live, and no zombie is left"), LIMIT, || {
        let children = master.process().children_at_once();
        children.len() == count && children.iter().all(|child| child.is_alive() && !dead.contains(child))
    });
}

#[test]
fn two_hundred_killed_workers_are_replaced_and_reaped() {
    let master = sleepers("-n 200 -m 0 -s 0.001").start();
    let first = wait_until_up(&master, 200);
    kill_all(&first);
    wait_until_replaced(&master, &first, 200);
    master.wait_for_log("===> Launched", 400);
    master.wait_for_log("Up to 200 / 200 ", 2);
    let log = master.log();
    assert_eq!((log.count("===> Exited worker"), log.count("===> Launched")), (200, 400), "{log}");
}

// Failure mode 2: two hundred deaths are one SIGCHLD.
#[test]
fn two_hundred_deaths_that_a_stopped_master_did_not_see_are_all_made_good() {
    let master = sleepers("-n 200 -m 0 -s 0.001").start();
    let first = wait_until_up(&master, 200);
    master.signal(Signal::SIGSTOP);
    master.wait_until("the master is stopped", LIMIT, || master.process().is_stopped());
    kill_all(&first);
    master.wait_until("all are zombies", LIMIT, || first.iter().all(|worker| worker.is_zombie()));
    master.signal(Signal::SIGCONT);
    wait_until_replaced(&master, &first, 200);
    master.wait_for_log("Up to 200 / 200 ", 2);
    assert_eq!(master.log().count("was killed by SIGKILL"), 200, "{}", master.log());
}

#[test]
fn a_killed_worker_is_replaced_at_once_in_its_place() {
    let master = sleepers("-n 2 -m 0 -s 0.01").start();
    let [first, second] = wait_until_up(&master, 2)[..] else { panic!("two workers") };
    kill_all(&[first]);
    wait_until_replaced(&master, &[first], 2);
    master.wait_for_log(&format!("Worker {first} was killed by SIGKILL"), 1);
    master.wait_for_log("(index: 0)", 2);
    assert!(second.is_alive() && !master.was_signalled(second));
    assert_eq!(master.log().count("consecutive unacked worker deaths"), 0, "{}", master.log());
}

// Failure mode 5.
#[test]
fn workers_are_reaped_although_the_starter_ignored_their_deaths() {
    let master = sleepers("-n 2 -m 0 -s 0.01").through(&["python3", "-c", WITHOUT_SIGCHLD]).start();
    let first = wait_until_up(&master, 2);
    kill_all(&first);
    wait_until_replaced(&master, &first, 2);
    master.wait_for_log("was killed by SIGKILL", 2);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
}

// Failure mode 4: a zombie that is not reaped yet must not be seen again and again.
#[test]
fn the_reaper_waits_until_the_main_thread_has_looked() {
    let master = sleepers("-n 5 -m 0 -s 0.01").start();
    let workers = wait_until_up(&master, 5);
    let reaper = master.wait_for_thread("reaper");
    let watched = Strace::attach_to_thread(&master, reaper, &["-e", "trace=waitid"]);
    let slow = ["-e", "trace=waitid", "-e", "inject=waitid:delay_exit=20000"];
    let _slow = Strace::attach_to_thread(&master, master.process(), &slow);
    kill_all(&workers);
    wait_until_replaced(&master, &workers, 5);
    master.wait_for_log("Up to 5 / 5", 2);
    let looks = watched.detach();
    let found = looks.iter().filter(|line| line.contains("si_pid=")).count();
    // Each death, and each launch of a new one, may let it look again, and some looks may be in vain. Else it would have
    // looked thousands of times.
    assert!((1..=50).contains(&found), "{found} looks: {looks:#?}");
}

/// The process that a worker has left to the master, with a session of its own.
fn wait_for_daemon(master: &Master) -> Process {
    let mut daemon = None;
    master.wait_until("the daemon is the master's child", LIMIT, || {
        let children = master.process().children();
        daemon = children.iter().copied().find(|child| {
            child.command_line() == ["sleep", "1000"] && master.log().count(&format!("===> Launched {child} ")) == 0
        });
        daemon.is_some()
    });
    daemon.unwrap()
}

// Failure mode 11. E24.
#[test]
fn a_daemon_that_a_worker_started_is_buried_without_a_word() {
    let master = Setup::new("-n 1 -m 0").script(WITH_A_DAEMON).start();
    master.wait_for_log("Up to 1 / 1", 1);
    let daemon = wait_for_daemon(&master);
    master.log().settle();
    let before = master.log().lines();
    daemon.signal(Signal::SIGTERM);
    master.wait_until("it is gone without a trace", LIMIT, || daemon.state().is_none());
    master.log().settle();
    assert_eq!(master.log().lines(), before);
    assert_eq!(master.workers().len(), 1);
}

#[test]
fn a_daemon_that_a_worker_started_does_not_keep_the_master_from_ending() {
    let master = Setup::new("-n 1 -m 0").script(WITH_A_DAEMON).start();
    master.wait_for_log("Up to 1 / 1", 1);
    let daemon = wait_for_daemon(&master);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!daemon.is_alive(), "it was told to go");
}

// E12. Failure mode 13.
#[test]
fn a_program_behind_a_shell_hears_the_signal_and_the_master_waits_for_it() {
    let behind = format!("{}; true", example("http_worker").display());
    let setup = Setup::new("-n 1 -m 0").bind(",r").release("one").program(["sh", "-c", behind.as_str()]);
    let master = setup.start();
    let shell = wait_until_up(&master, 1)[0];
    let mut program = Process(0);
    master.wait_until("the program serves", LIMIT, || match shell.children().first() {
        Some(&child) => {
            program = child;
            child.thread_count() == Some(2)
        }
        None => false,
    });
    let held = HeldRequest::begin(master.addr(), "/held");
    master.wait_until("a request is in flight", LIMIT, || program.thread_count() == Some(3));
    master.signal(Signal::SIGINT);
    master.wait_for_log(&format!("Worker {shell} left processes behind in its group"), 1);
    master.wait_until("it accepts no more", LIMIT, || program.thread_count() == Some(2));
    assert!(master.is_running() && !shell.is_alive());
    assert_eq!(held.finish().unwrap().pid, program.0);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.descendants(), []);
}

// Failure modes 13 and 14.
#[test]
fn a_stubborn_worker_is_killed_with_all_that_it_has_started() {
    let master = Setup::new("-n 1 -m 0 -t 1").script("trap '' USR2; sleep 1000 & wait").start();
    let worker = wait_until_up(&master, 1)[0];
    master.wait_until("it has a child", LIMIT, || worker.children().len() == 1);
    let child = worker.children()[0];
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!worker.is_alive() && !child.is_alive());
    let killing = master.wait_for_log(&format!("Child {worker} is still active after "), 1);
    assert!(seconds_before_kill(&killing[0]) >= 1, "{}", master.log());
}

// E12. Failure modes 13 and 14.
#[test]
fn leftovers_of_a_worker_that_ignore_signals_are_killed() {
    let script = "(trap '' USR2; echo deaf; exec sleep 1000) & trap 'exit 0' USR2; wait";
    let master = Setup::new("-n 1 -m 0 -t 5").script(script).start();
    let worker = wait_until_up(&master, 1)[0];
    master.wait_until("its child is deaf", LIMIT, || master.stdout().contains("deaf"));
    let child = worker.children()[0];
    master.signal(Signal::SIGINT);
    master.wait_for_log(&format!("Worker {worker} left processes behind in its group"), 1);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!child.is_alive());
    let killing = format!("Child {worker} is still active after ");
    assert_eq!(master.log().count(&killing), 1, "{}", master.log());
}

// Failure mode 14.
#[test]
fn an_upgrade_gets_rid_of_old_workers_that_do_not_listen() {
    let master = Setup::new("-n 2 -m 0 -s 0.01 -t 1").bind(",r").http_worker("--ignore-usr2").release("old").start();
    let old = wait_until_up(&master, 2);
    // Before that, it would die of what it does not listen to.
    master.wait_until("they serve", LIMIT, || old.iter().all(|worker| worker.thread_count() == Some(2)));
    master.release("new");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("is still active after ", 2);
    wait_until_replaced(&master, &old, 2);
    assert_eq!(ask(&master.addr().into(), "/").unwrap().release, "new");
    assert_eq!(master.log().count("was killed by"), 0, "a worker that was told to go did not die unasked");
}

/// Which lines tell of old workers told to go in an upgrade of two, with the second one stopped if so wanted.
fn culls_with(stop: Option<Signal>) -> Vec<String> {
    let master = sleepers("-n 2 -m 0.1 -s 0.01 --max-unacked 1").start();
    let second = wait_until_up(&master, 2)[1];
    if let Some(signal) = stop {
        second.signal(signal);
        let status = || master.control("{command: status, format: json}");
        master.wait_until("the master knows that it is stopped", LIMIT, || status().contains("\"serving\":1,"));
    }
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully", 1);
    // A stopped worker hears USR2 when it goes on.
    second.signal(Signal::SIGCONT);
    master.wait_for_log("===> Exited worker", 2);
    let lines = master.log().lines();
    let said = |line: &String| line.split_once("INFO: ").map(|(_, said)| said.to_owned());
    lines.iter().filter(|line| line.contains("illing off")).filter_map(said).collect()
}

// Failure mode 16.
#[test]
fn a_stopped_worker_does_not_count_as_serving() {
    // The first new one makes three that serve, so that one old one may go. (The second new one is launched later.)
    assert_eq!(culls_with(None), ["Smooth upgrade: killing off 1 old workers.", "Killing off 1 old workers."]);
    // It makes two, so that none may go before the second new one serves.
    assert_eq!(culls_with(Some(Signal::SIGSTOP)), ["Killing off 2 old workers."]);
}

/// Number 9: at a debugger's prompt, for instance. An old worker that has been told to go is named, too.
#[test]
fn a_worker_that_the_terminal_stops_is_named_with_what_it_did() {
    let master = Setup::new("-n 1 -m 0").script("trap '' USR2; echo deaf; while :; do sleep 0.1; done").start();
    master.wait_until("it is deaf", LIMIT, || master.stdout().contains("deaf"));
    let worker = wait_until_up(&master, 1)[0];
    worker.signal(Signal::SIGTTIN);
    master.wait_for_log(&format!("WARN: Worker {worker} was stopped by SIGTTIN: reads from the terminal"), 1);
    worker.signal(Signal::SIGCONT);
    let status = || master.control("{command: status, format: json}");
    master.wait_until("the master knows that it goes on", LIMIT, || status().contains("\"serving\":1,"));
    master.signal(Signal::SIGHUP);
    master.wait_for_log(&format!("Sending USR2 to [{worker}]"), 1);
    worker.signal(Signal::SIGTTOU);
    master.wait_for_log(&format!("WARN: Worker {worker} was stopped by SIGTTOU: writes to the terminal"), 1);
}

// Failure modes 33 and 102. E13.
#[test]
fn death_signal_with_k_reaches_workers_when_the_master_is_killed() {
    let master = Setup::new("-n 2 -m 0 -s 0.01 -k").signal_logger("USR2").start();
    master.wait_for_ready(2);
    master.signal(Signal::SIGHUP);
    // New workers are launched long after the master's other threads were.
    master.wait_for_log("===> Exited worker", 2);
    master.wait_until("the new ones are ready", LIMIT, || master.stdout().matches("ready").count() == 4);
    let workers = master.workers();
    assert!(workers.iter().all(|worker| master.said_by(*worker) == ["ready"]), "{}", master.stdout());
    master.signal(Signal::SIGKILL);
    master.wait_exit();
    wait_until("both have ended", LIMIT, || !workers.iter().any(|worker| worker.is_alive()));
    assert!(workers.iter().all(|worker| master.said_by(*worker) == ["ready", "USR2"]), "{}", master.stdout());
}

#[test]
fn workers_without_k_serve_on_when_the_master_is_killed() {
    let master = Setup::new("-n 2 -m manual").bind(",r").http_worker("--ack manual").release("one").start();
    let workers = wait_until_up(&master, 2);
    let load = Load::start(master.addr(), 2);
    load.wait_for(20);
    master.signal(Signal::SIGKILL);
    master.wait_exit();
    load.wait_for(100);
    load.stop().assert_nothing_lost();
    assert!(workers.iter().all(|worker| worker.is_alive()));
}

// Failure mode 35.
#[test]
fn death_signal_with_k_ends_a_child_whose_master_is_dead_already() {
    let master = sleepers("-n 1 -m 0 -s 0.01 -k").start();
    let first = wait_until_up(&master, 1);
    let strace = Strace::attach(&master, &["-e", "trace=prctl", "-e", "inject=prctl:delay_enter=5000000"]);
    kill_all(&first);
    let mut child = None;
    master.wait_until("a child asks for its death signal", LIMIT, || {
        let own = master.process().command_line();
        child = master.process().children_at_once().into_iter().find(|it| it.is_alive() && it.command_line() == own);
        child.is_some_and(|child| strace.lines().iter().any(|line| line.starts_with(&format!("{child} "))))
    });
    master.signal(Signal::SIGKILL);
    let child = child.unwrap();
    wait_until("the child is gone", LIMIT, || !child.is_alive());
    let told = || strace.lines().iter().any(|line| line.starts_with(&format!("{child} ")) && line.contains("+++ "));
    wait_until("its end is told", LIMIT, told);
    let calls = strace.detach();
    assert!(calls.iter().any(|line| line.contains("exited with 127")), "{calls:#?}");
    assert_eq!(master.descendants(), []);
}

// Failure mode 98.
#[test]
fn queued_connections_survive_the_death_of_the_only_worker() {
    let master = Setup::new("-n 1 -m manual -s 0.01").bind(",r").http_worker("--ack manual").release("one").start();
    let worker = wait_until_up(&master, 1)[0];
    worker.signal(Signal::SIGSTOP);
    master.wait_until("it is stopped", LIMIT, || worker.is_stopped());
    let target = Target::from(master.addr());
    thread::scope(|scope| {
        let target = &target;
        let clients: Vec<_> = (0..20).map(|number| scope.spawn(move || ask(target, &format!("/{number}")))).collect();
        master.wait_until("all connections wait", LIMIT, || waiting(&master) == 20);
        worker.signal(Signal::SIGKILL);
        for client in clients {
            assert_ne!(client.join().unwrap().expect("a request was lost").pid, worker.0);
        }
    });
}

/// How many connections wait to be accepted: the receive queue of a listening socket.
fn waiting(master: &Master) -> u32 {
    let SocketAddr::V4(address) = master.addr() else { panic!("{} is none of version 4", master.addr()) };
    let address = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let rows = master.process().text("net/tcp");
    let listens = |row: &&str| {
        let mut fields = row.split_whitespace();
        fields.nth(1) == Some(&address) && fields.nth(1) == Some("0A")
    };
    let queue = |row: &str| u32::from_str_radix(row.split_whitespace().nth(4)?.split_once(':')?.1, 16).ok();
    rows.lines().find(listens).and_then(queue).unwrap_or(0)
}

#[test]
fn killing_the_only_worker_under_load_loses_only_what_is_in_flight_in_it() {
    let master = Setup::new("-n 1 -m manual -s 0.01").bind(",r").http_worker("--ack manual").release("one").start();
    let worker = wait_until_up(&master, 1)[0];
    let load = Load::start_on(master.addr(), 4, "/slow?ms=5");
    load.wait_for(50);
    worker.signal(Signal::SIGKILL);
    load.wait_for(100);
    let report = load.stop();
    let torn: u64 = report.lost.iter().filter(|(how, _)| how.is_torn()).map(|(_, count)| count).sum();
    assert_eq!(report.lost_count(), torn, "{report}");
    assert!(torn <= 4, "at most one for each client: {report}");
    assert_eq!(report.by_pid.len(), 2, "{report}");
}

/// A master that is pid 1 of a namespace of its own; what is started is its unshare(1).
fn start_as_pid_1() -> (Master, Process) {
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let master = sleepers("-n 2 -m 0 -s 0.01").through(&unshare).start();
    master.wait_for_log("Up to 2 / 2", 1);
    let init = master.process().children()[0];
    assert_eq!(init.status("NSpid").unwrap().split_whitespace().last(), Some("1"));
    (master, init)
}

// Failure mode 12.
#[test]
fn pid_1_reaps_strangers() {
    let (master, init) = start_as_pid_1();
    let workers = init.children();
    let spawn_fifty = "i=0; while [ $i -lt 50 ]; do sleep 1001 & i=$((i+1)); done";
    let inside = ["--target", &init.to_string(), "--pid", "--mount", "sh", "-c", spawn_fifty];
    let status = Command::new("nsenter").args(inside).env("TMPDIR", master.directory()).status().unwrap();
    assert!(status.success());
    master.wait_until("fifty strangers are its children", LIMIT, || init.children().len() == 52);
    init.children().into_iter().filter(|child| !workers.contains(child)).for_each(|stranger| {
        stranger.signal(Signal::SIGKILL);
    });
    master.wait_until("they are reaped", LIMIT, || init.children() == workers);
    kill_all(&workers);
    master.wait_until("workers are replaced", LIMIT, || {
        let children = init.children();
        children.len() == 2 && children.iter().all(|child| child.is_alive() && !workers.contains(child))
    });
}

// Failure mode 12.
#[test]
fn pid_1_obeys_signals_and_says_how_it_ended() {
    for (signal, code) in [(Signal::SIGTERM, 0), (Signal::SIGUSR2, 0), (Signal::SIGQUIT, 1)] {
        let (master, init) = start_as_pid_1();
        init.signal(signal);
        assert_eq!(master.wait_exit().code(), Some(code), "{signal}");
    }
}
