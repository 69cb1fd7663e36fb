//! Signals to the master: each one does what the man page says, however the master was started, and however many come.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::{LIMIT, Load, Master, Process, Setup};

/// Signals that mean nothing to the master and must not harm it: every other that can be caught, the real-time ones
/// too (32 to 64), of which the C library keeps two to itself.
const WITHOUT_MEANING: [Signal; 11] = [
    Signal::SIGPIPE,
    Signal::SIGSTKFLT,
    Signal::SIGCHLD,
    Signal::SIGURG,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGWINCH,
    Signal::SIGIO,
    Signal::SIGPWR,
];

/// What a fault of its own raises ends the master, as it does any program.
const FAULTS: [Signal; 7] =
    [Signal::SIGABRT, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGSYS, Signal::SIGTRAP];

const PASSED_ON: [Signal; 2] = [Signal::SIGUSR1, Signal::SIGCONT];

/// Execs the rest of its arguments in the background of a terminal. Another process of the
/// same group reads from the terminal once there is a file `now`, and writes its pid to `reader` before.
const IN_THE_BACKGROUND: &str = r#"
import os, pty, signal, sys, time

pid, terminal = pty.fork()
if pid == 0:
    master = os.fork()
    if master > 0:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(master, 0)[1]))
    os.setpgid(0, 0)
    if os.fork() > 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    open("reader.new", "w").write(str(os.getpid()))
    os.rename("reader.new", "reader")
    while not os.path.exists("now"):
        time.sleep(0.01)
    os.read(0, 1)
    os._exit(0)
"#;

/// Execs the rest of its arguments deaf: as many signals as can be are ignored, and all are blocked.
const DEAF: &str = r#"
import os, signal, sys

everything = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
for number in everything:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, everything)
os.execvp(sys.argv[1], sys.argv[1:])
"#;

/// Execs the rest of its arguments with 32 and 33 at their default, for the C library ignores them in what it spawns.
const WITH_ALL_DEFAULTS: &str = r#"
import ctypes, os, sys

rt_sigaction = {"x86_64": 13, "aarch64": 134}[os.uname().machine]
for number in (32, 33):
    assert ctypes.CDLL(None).syscall(rt_sigaction, number, bytes(64), None, 8) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"#;

fn start_two(setup: Setup) -> Master {
    let master = setup.bind(",r").http_worker("--ack manual").release("old").start();
    master.wait_for_log("Up to 2 / 2", 1);
    master
}

/// By number, for the real-time signals have no names here.
fn send(process: Process, number: i32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{number} {process}")]).status().unwrap();
    assert!(status.success(), "cannot send {number}: it is gone");
}

fn upgrade(master: &Master, signal: Signal) {
    let before = master.log().count("===> Exited worker");
    master.release("new");
    master.signal(signal);
    master.wait_for_log("===> Exited worker", before + 2);
    master.wait_for_workers(2);
}

// E03: those that end it, upgrade or pass on are in shutdown.rs, upgrade.rs and below.
#[test]
fn signals_without_a_meaning_change_nothing() {
    let master = start_two(Setup::new("-n 2 -m manual").through(&["python3", "-c", WITH_ALL_DEFAULTS]));
    let workers = master.workers();
    let load = Load::start(master.addr(), 2);
    master.log().settle();
    let before = master.log().lines();
    let named = WITHOUT_MEANING.iter().map(|&signal| signal as i32);
    for number in named.chain(32..=64) {
        send(master.process(), number);
        load.wait_for(5);
        assert!(master.is_running(), "signal {number} has ended it");
    }
    load.stop().assert_nothing_lost();
    master.log().settle();
    assert_eq!((master.workers(), master.log().lines()), (workers, before));
    // It still listens.
    upgrade(&master, Signal::SIGHUP);
}

// E03: einhorn dies of USR1.
#[test]
fn usr1_and_cont_go_on_to_the_workers_and_are_not_held_against_them() {
    let master = Setup::new("-n 2 -m 0").signal_logger("USR2").start();
    let workers = master.wait_for_ready(2);
    master.wait_for_log("Up to 2 / 2", 1);
    let mut heard = vec!["ready".to_owned()];
    for signal in PASSED_ON {
        heard.push(signal.as_str().trim_start_matches("SIG").to_owned());
        master.signal(signal);
        master.wait_until(&format!("both hear {signal}"), LIMIT, || {
            workers.iter().all(|worker| master.said_by(*worker) == heard)
        });
    }
    assert_eq!(master.wait_for_log("INFO: Sending ", 2).len(), 2);
    assert_eq!(master.log().count("===> Launched"), 2, "{}", master.log());
    // No worker counts as told to go before: at the end each is told once.
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.log().count("Re-sending"), 0, "{}", master.log());
}

/// TTIN and TTOU are one worker more and one less, as with puma and unicorn. A worker without a handler, such as sleep, hears nothing.
#[test]
fn ttin_and_ttou_are_one_worker_more_and_one_less() {
    let master = Setup::new("-n 2 -m 0 -s 0.01").program(["sleep", "1000"]).start();
    let workers = master.wait_for_workers(2);
    master.wait_for_log("Up to 2 / 2", 1);
    let target = |count: u32| {
        let status = master.control("{command: status, format: json}");
        assert!(status.contains(&format!("\"target\":{count},")), "{status}");
    };
    master.signal(Signal::SIGTTIN);
    master.wait_for_log("INFO: Incrementing number of workers from 2 -> 3", 1);
    let more = master.wait_for_workers(3);
    assert!(workers.iter().all(|worker| more.contains(worker) && !worker.is_stopped()));
    target(3);
    for left in [2, 1] {
        master.signal(Signal::SIGTTOU);
        master.wait_for_log(&format!("INFO: Decrementing number of workers from {} -> {left}", left + 1), 1);
        master.wait_for_workers(left);
    }
    master.signal(Signal::SIGTTOU);
    master.wait_for_log("Can't decrease number of workers (already at 1).", 1);
    target(1);
    assert_eq!(master.log().count("was killed by"), 0, "{}", master.log());
}

/// The kernel sends TTIN to a whole group when a process of it reads from the terminal in the background.
#[test]
fn a_ttin_of_the_terminal_changes_nothing() {
    let setup = Setup::new("-n 1 -m 0").at_a_terminal(IN_THE_BACKGROUND).signal_logger("USR2");
    let terminal = setup.start();
    terminal.wait_for_log("Up to 1 / 1", 1);
    let pid = std::fs::read_to_string(terminal.file("reader")).unwrap();
    let reader = Process(pid.parse().unwrap());
    std::fs::write(terminal.file("now"), "").unwrap();
    terminal.wait_until("the reader is stopped", LIMIT, || reader.is_stopped());
    assert!(terminal.control("{command: status, format: json}").contains("\"target\":1,"));
    terminal.control("{command: die}");
    terminal.wait_for_log("Sending USR2", 1);
    reader.signal(Signal::SIGKILL);
    assert_eq!(terminal.wait_exit().code(), Some(0));
    assert_eq!(terminal.log().count("number of workers"), 0, "{}", terminal.log());
}

/// Worker 0 has a handler for USR1, worker 1 has none and would end of it.
#[test]
fn usr1_reaches_only_workers_that_catch_it() {
    let script = r#"[ "$EINHYRNINGSINS_SLOT" = 0 ] && trap "echo $$ USR1" USR1
echo $$ ready
while :; do sleep 0.05; done"#;
    let master = Setup::new("-n 2 -m 0").script(script).start();
    let workers = master.wait_for_ready(2);
    master.wait_for_log("Up to 2 / 2", 1);
    let has_handler = |worker: &&Process| worker.environ().get("EINHYRNINGSINS_SLOT").is_some_and(|slot| slot == "0");
    let (with, without): (Vec<&Process>, Vec<&Process>) = workers.iter().partition(has_handler);
    master.signal(Signal::SIGUSR1);
    master.wait_until("the one with a handler hears it", LIMIT, || master.said_by(*with[0]).len() == 2);
    assert!(master.wait_for_log("INFO: Sending USR1", 1)[0].ends_with(&format!(" to [{}]", with[0])));
    master.wait_for_log(&format!("Not sending USR1 to [{}]: no handler for it", without[0]), 1);
    assert_eq!(master.log().count("===> Exited"), 0, "{}", master.log());
}

#[test]
fn a_stopped_master_resumes_and_upgrades() {
    // The kernel stops no process by TSTP in an orphaned process group, as ours may be in CI.
    let own_group = ["python3", "-c", "import os, sys; os.setpgid(0, 0); os.execvp(sys.argv[1], sys.argv[1:])"];
    let master = start_two(Setup::new("-n 2 -m manual -s 0.01").through(&own_group));
    for stop in [Signal::SIGTSTP, Signal::SIGSTOP] {
        master.signal(stop);
        master.wait_until("the master is stopped", LIMIT, || master.process().is_stopped());
        master.signal(Signal::SIGCONT);
        upgrade(&master, Signal::SIGHUP);
    }
}

// E03: documented in the man page.
#[test]
fn a_fault_ends_it_as_it_does_any_program() {
    for fault in FAULTS {
        let no_core = ["sh", "-c", "ulimit -c 0; exec \"$@\"", "sh"];
        let master = Setup::new("-n 1 -m 0 -k").through(&no_core).program(["sleep", "1000"]).start();
        master.wait_for_log("Up to 1 / 1", 1);
        // The handler that looks for stack overflows takes the first of some, and no second.
        master.wait_until(&format!("{fault} ends it"), LIMIT, || {
            !master.is_running() || {
                master.process().signal(fault);
                false
            }
        });
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&master.wait_exit()), Some(fault as i32));
    }
}

// Failure mode 29.
#[test]
fn ignored_signals_of_the_starter_are_taken() {
    for starter in [&["python3", "-c", DEAF][..], &["nohup"][..]] {
        let master = start_two(Setup::new("-n 2 -m manual -s 0.01").through(starter));
        upgrade(&master, Signal::SIGHUP);
        upgrade(&master, Signal::SIGALRM);
        // The workers must hear, too, or they would not have gone.
        master.signal(Signal::SIGTERM);
        assert_eq!(master.wait_exit().code(), Some(0), "{starter:?}");
        assert_eq!(master.descendants(), []);
    }
}

// Failure mode 30.
#[test]
fn a_storm_of_terms_is_one_orderly_end() {
    let master = Setup::new("-n 2 -m 0").signal_logger("USR2").start();
    let workers = master.wait_for_ready(2);
    master.wait_for_log("Up to 2 / 2", 1);
    for _ in 0..100_000 {
        master.signal(Signal::SIGTERM);
    }
    master.wait_until("both hear it", LIMIT, || workers.iter().all(|it| master.said_by(*it).contains(&"TERM".into())));
    assert!(master.is_running() && master.workers() == workers);
    // Still listening: it passes on something else.
    master.signal(Signal::SIGUSR2);
    assert_eq!(master.wait_exit().code(), Some(0));
    let log = master.log();
    assert_eq!((log.count("===> Launched"), log.count("SIGKILL")), (2, 0));
    assert!(!master.file("einhorn.pid").exists() && !master.socket().exists());
    assert_eq!(master.descendants(), []);
}

// Failure mode 30, and 31.
#[test]
fn a_storm_of_upgrades_ends_at_the_last_release_and_loses_nothing() {
    let master = start_two(Setup::new("-n 2 -m manual -s 0.01"));
    let load = Load::start(master.addr(), 2);
    load.wait_for(10);
    master.release("last");
    for _ in 0..100_000 {
        master.signal(Signal::SIGHUP);
        master.signal(Signal::SIGUSR1);
    }
    load.wait_for_release("last", 20);
    master.wait_until("two workers are left", LIMIT, || {
        let upgraded = master.log().with("Upgrade").last().is_some_and(|line| line.contains("Upgraded successfully"));
        upgraded && master.workers().len() == 2
    });
    load.wait_for(20);
    load.stop().assert_nothing_lost();
    upgrade(&master, Signal::SIGHUP);
}
