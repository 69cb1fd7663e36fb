//! The end: every worker is told, the master waits for them as long as it said, and leaves nothing behind.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::ctl::{ctl, said};
use crate::support::{
    Failure, HeldRequest, LIMIT, Master, Process, Setup, Strace, TYPES_CTRL_C, ask, seconds_before_kill,
};

/// Takes no connection. At USR2 it serves those that wait in the queue, closes the socket, says so, and lives until TERM.
const DRAINS: &str = r#"
import os, signal, socket

class Stop(Exception):
    pass

def stop(*_):
    raise Stop

def say(word):
    os.write(1, f"{os.getpid()} {word}\n".encode())

signal.signal(signal.SIGUSR2, stop)
queue = socket.socket(fileno=int(os.environ["EINHORN_FD_0"]))
say("ready")
try:
    while True:
        signal.pause()
except Stop:
    pass
queue.setblocking(False)
try:
    while True:
        client, _ = queue.accept()
        client.sendall(b"served")
        client.close()
except BlockingIOError:
    pass
queue.close()
os.close(int(os.environ["EINHORN_FD_1"]))
say("closed")
while True:
    signal.pause()
"#;

fn start_loggers(options: &str, ends: &str, count: usize) -> (Master, Vec<Process>) {
    let master = Setup::new(options).signal_logger(ends).start();
    let workers = master.wait_for_ready(count);
    master.wait_for_log(&format!("Up to {count} / {count}"), 1);
    (master, workers)
}

/// The system may refuse to send a signal for a moment, as to a worker that runs as another user just then.
#[test]
fn a_signal_that_cannot_be_sent_is_sent_again() {
    let (master, workers) = start_loggers("-n 2 -m 0", "USR2", 2);
    let strace = Strace::attach_to_thread(&master, master.process(), &["-e", "inject=kill:error=EPERM:when=1..3"]);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    drop(strace);
    assert_eq!(master.log().count("cannot send USR2 to worker"), 2, "{}", master.log());
    for worker in workers {
        assert_eq!(master.said_by(worker), ["ready", "USR2"]);
    }
}

/// What cannot be looked at or removed the first time, for want of memory or descriptors, is gone after the second.
#[test]
fn no_file_stays_for_one_call_that_fails_at_the_end() {
    for fault in ["openat:error=EMFILE", "statx:error=ENOMEM", "unlinkat:error=EIO"] {
        let setup = Setup::new("-n 1 -m 0").program(["sleep", "1000"]);
        let path = setup.directory().join("web.sock");
        let master = setup.options(&format!("-b unix:{}", path.display())).start();
        master.wait_for_workers(1);
        let left = [path, master.socket().to_owned(), master.file("einhorn.pid")];
        assert!(left.iter().all(|path| path.exists()));
        let faults = ["-e", &format!("inject={fault}:when=1")];
        let strace = Strace::attach_to_thread(&master, master.process(), &faults);
        master.signal(Signal::SIGINT);
        assert_eq!(master.wait_exit().code(), Some(0));
        assert_eq!(strace.detach().iter().filter(|line| line.contains("(INJECTED)")).count(), 1, "{fault}");
        for path in &left {
            assert!(!path.exists(), "{fault}: {path:?} is left behind; {}", master.log());
        }
    }
}

/// What the log says, in order, without times of day and with `PID` for each pid.
fn story(master: &Master) -> Vec<String> {
    let is_pid = |word: &str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_digit());
    let told = |line: &str| {
        let words = line.split_inclusive([' ', ',', '[', ']']);
        let veiled = words.map(|word| match word.trim_end_matches([' ', ',', ']']) {
            bare if is_pid(bare) => word.replace(bare, "PID"),
            _ => word.to_owned(),
        });
        veiled.collect::<String>()
    };
    let lines = master.log().lines();
    lines.iter().filter(|line| !line.contains("About to exec")).map(|line| told(line)).collect()
}

/// Recorded from einhorn 1.1.1 (`-n 2 -m 0`); with QUIT, einhorn does not wait for the exits.
fn recorded_story(pid_file: &str, signal: &str) -> Vec<String> {
    let story = [
        &format!("Writing PID to {pid_file}"),
        "Launching 2 new workers",
        "===> Launched PID (index: 0)",
        "===> Launched PID (index: 1)",
        "Worker PID has been up for 0.0s, so we are considering it alive.",
        "Up to 1 / 2 timer ACKs",
        "Worker PID has been up for 0.0s, so we are considering it alive.",
        "Up to 2 / 2 timer ACKs",
        &format!("Sending {signal} to [PID, PID]"),
        "===> Exited worker PID",
        "===> Exited worker PID",
    ];
    story.iter().map(|line| format!("[MASTER PID] INFO: {line}")).collect()
}

/// From start to end by one signal: what the workers hear, what the log says, what is left on disk.
fn assert_ends(signal: Signal, told: &str, code: i32) {
    let (master, workers) = start_loggers("-n 2 -m 0", told, 2);
    let pid_file = master.file("einhorn.pid");
    assert!(pid_file.exists() && master.socket().exists());
    master.signal(signal);
    assert_eq!(master.wait_exit().code(), Some(code));
    for worker in workers {
        assert_eq!(master.said_by(worker), ["ready", told]);
    }
    assert_eq!(story(&master), recorded_story(pid_file.to_str().unwrap(), told));
    assert!(!pid_file.exists() && !master.socket().exists());
    assert!(master.file("einhorn.lock").exists(), "another master may hold it open");
    assert_eq!(master.descendants(), []);
}

#[test]
fn int_tells_the_workers_usr2_and_ends_with_0() {
    assert_ends(Signal::SIGINT, "USR2", 0);
}

#[test]
fn usr2_is_passed_on_and_ends_with_0() {
    assert_ends(Signal::SIGUSR2, "USR2", 0);
}

#[test]
fn term_is_passed_on_and_ends_with_0() {
    assert_ends(Signal::SIGTERM, "TERM", 0);
}

// E28.
#[test]
fn quit_is_passed_on_and_ends_with_1_when_the_workers_have() {
    assert_ends(Signal::SIGQUIT, "QUIT", 1);
}

#[test]
fn a_second_int_sends_again_and_a_hup_is_refused() {
    let (master, workers) = start_loggers("-n 1 -m 0", "TERM", 1);
    let said = |words: &[&str]| master.said_by(workers[0]) == words;
    master.signal(Signal::SIGINT);
    master.wait_until("it hears the first", LIMIT, || said(&["ready", "USR2"]));
    assert_eq!(master.log().count("Re-sending"), 0, "{}", master.log());
    master.signal(Signal::SIGINT);
    master.wait_until("it hears the second", LIMIT, || said(&["ready", "USR2", "USR2"]));
    let again = "It may be slow to spin down, or it may be swallowing USR2s.";
    master.wait_for_log(&format!("ERROR: Re-sending USR2 to already-signaled child {}. {again}", workers[0]), 1);
    master.signal(Signal::SIGHUP);
    master.wait_for_log("INFO: Not reloading einhorn because we're exiting", 1);
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(said(&["ready", "USR2", "USR2", "TERM"]), "{}", master.stdout());
    assert_eq!(master.log().count("===> Launched"), 1, "{}", master.log());
    assert_eq!(master.log().count("SIGKILL"), 0, "{}", master.log());
}

/// Workers that end at nothing are killed, and the log says after how many seconds; there may be some more.
fn assert_kills(options: &str, signal: Signal, told: &str, after: Range<u64>, code: i32) {
    let (master, workers) = start_loggers(options, "", 2);
    master.signal(signal);
    assert_eq!(master.wait_exit().code(), Some(code));
    for worker in workers {
        assert_eq!(master.said_by(worker), ["ready", told]);
        let killing = master.log().with(&format!("INFO: Child {worker} is still active after "));
        assert!(killing.len() == 1 && after.contains(&seconds_before_kill(&killing[0])), "{}", master.log());
    }
    assert_eq!(master.descendants(), []);
}

// Failure mode 14.
#[test]
fn workers_that_ignore_usr2_are_killed_after_the_signal_timeout() {
    assert_kills("-n 2 -m 0 -t 3", Signal::SIGINT, "USR2", 3..10, 0);
}

#[test]
fn workers_that_ignore_quit_are_killed_after_a_shorter_signal_timeout() {
    assert_kills("-n 2 -m 0 -t 3", Signal::SIGQUIT, "QUIT", 3..10, 1);
}

// E28: einhorn leaves them behind.
#[test]
fn workers_that_ignore_quit_are_killed_after_ten_seconds_in_any_case() {
    assert_kills("-n 2 -m 0", Signal::SIGQUIT, "QUIT", 10..30, 1);
}

#[test]
fn requests_in_flight_at_the_end_are_answered_and_later_ones_refused() {
    let master = Setup::new("-n 2 -m manual").bind(",r").http_worker("--ack manual").release("one").start();
    master.wait_for_log("Up to 2 / 2", 1);
    let held = HeldRequest::begin_many(&master, 20);
    master.signal(Signal::SIGINT);
    master.wait_for_log("Sending USR2", 1);
    for request in held {
        assert!(master.is_running());
        assert_eq!(request.finish().unwrap().release, "one");
    }
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(ask(&master.addr().into(), "/late").unwrap_err().0, Failure::Refused);
}

/// Number 1 of "what real operators trip over". The master's own descriptors go when the workers are told, so that a load balancer
/// goes elsewhere; the file of a unix socket stays until the end.
#[test]
fn a_stop_leaves_no_port_open_and_what_waits_is_served() {
    let setup = Setup::new("-n 2 -m 0").bind(",r");
    let path = setup.directory().join("web.sock");
    let program = ["python3".to_owned(), setup.write("drains.py", DRAINS).display().to_string()];
    let master = setup.options(&format!("-b unix:{}", path.display())).program(program).start();
    let workers = master.wait_for_ready(2);
    master.wait_for_log("Up to 2 / 2", 1);
    assert_eq!(master.process().listening_on(), [master.addr()].into());
    let mut waiting: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(master.addr()).unwrap()).collect();
    master.signal(Signal::SIGINT);
    master.wait_until("both have closed their sockets", LIMIT, || {
        workers.iter().all(|worker| master.said_by(*worker).contains(&"closed".to_owned()))
    });
    master.wait_until("the master has, too", LIMIT, || master.process().listening_on().is_empty());
    assert_eq!(TcpStream::connect(master.addr()).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    for client in &mut waiting {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "served");
    }
    assert!(master.is_running() && master.control("{command: state}").contains(&master.addr().port().to_string()));
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!path.exists());
    assert_eq!(master.log().count("ERROR"), 0, "{}", master.log());
}

fn start_with_delay(delay: &str) -> Master {
    let setup = Setup::new(&format!("-n 2 -m manual --stop-delay {delay}")).bind(",r");
    let master = setup.http_worker("--ack manual").release("one").start();
    master.wait_for_log("Up to 2 / 2", 1);
    master
}

/// Number 1, too.
#[test]
fn a_delayed_stop_serves_on_until_a_second_signal() {
    let master = start_with_delay("1h");
    master.signal(Signal::SIGINT);
    master.wait_for_log("INFO: Stopping: the workers serve for another 3600s; a second signal ends that", 1);
    let status = master.control("{command: status, format: json}");
    assert!(status.contains("\"stopping\":true,") && status.contains("\"serving\":2,"), "{status}");
    let said = said(ctl(master.directory(), "status --check"));
    assert_eq!((said.code, said.out.as_str()), (Some(1), "2 of 2 workers serve, and the master is stopping\n"));
    assert_eq!(ask(&master.addr().into(), "/on").unwrap().release, "one");
    assert_eq!(master.process().listening_on(), [master.addr()].into());
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Not reloading einhorn because we're exiting", 1);
    assert_eq!(master.log().count("Sending"), 0, "{}", master.log());
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!((master.log().count("Sending USR2"), master.log().count("Re-sending")), (1, 0), "{}", master.log());
}

#[test]
fn a_delay_of_a_stop_ends_by_itself_and_quit_has_none() {
    let master = start_with_delay("1s");
    master.signal(Signal::SIGTERM);
    master.wait_for_log("Stopping: the workers serve for another 1s", 1);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.log().count("Sending TERM"), 1, "{}", master.log());
    let master = start_with_delay("1h");
    master.signal(Signal::SIGQUIT);
    master.wait_for_log("Sending QUIT", 1);
    assert_eq!(master.wait_exit().code(), Some(1));
}

/// Number 4 of "what real operators trip over": where QUIT is the signal at which the program drains, as with nginx and unicorn, TERM of
/// docker stop or Kubernetes drains, too. Of compat.md: "TERM where a file sets `worker.graceful-signal`".
#[test]
fn a_first_term_drains_where_a_graceful_signal_is_configured() {
    let start = || {
        let setup = Setup::new("-n 1 -m 0 --config web.toml").signal_logger("TERM");
        setup.write("web.toml", "[worker]\ngraceful-signal = 'QUIT'\noutput = 'inherit'\n");
        let master = setup.start();
        let worker = master.wait_for_ready(1)[0];
        master.wait_for_log("Up to 1 / 1", 1);
        master.signal(Signal::SIGTERM);
        master.wait_until("it hears QUIT", LIMIT, || master.said_by(worker) == ["ready", "QUIT"]);
        (master, worker)
    };
    let (master, worker) = start();
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.said_by(worker), ["ready", "QUIT", "TERM"]);
    // Told by name, it is what was named.
    let (master, worker) = start();
    master.control("{command: die, args: [TERM]}");
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.said_by(worker), ["ready", "QUIT", "TERM"]);
}

/// The timeout has TERM come without a second one, and then KILL.
#[test]
fn a_first_term_that_drains_becomes_term_after_the_timeout() {
    let setup = Setup::new("-n 1 -m 0 -t 1 --config web.toml").signal_logger("");
    setup.write("web.toml", "[worker]\ngraceful-signal = 'QUIT'\noutput = 'inherit'\n");
    let master = setup.start();
    let worker = master.wait_for_ready(1)[0];
    master.wait_for_log("Up to 1 / 1", 1);
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.said_by(worker), ["ready", "QUIT", "TERM"]);
    assert_eq!(master.log().count("Sending SIGKILL"), 1, "{}", master.log());
}

#[test]
fn a_stop_works_before_the_first_ack() {
    let master = Setup::new("-n 2 -m manual").signal_logger("USR2").start();
    let workers = master.wait_for_ready(2);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(workers.iter().all(|worker| master.said_by(*worker) == ["ready", "USR2"]), "{}", master.stdout());
    assert_eq!((master.log().count("before it was ACKed"), master.log().count("Launched")), (2, 2), "{}", master.log());
}

#[test]
fn a_stop_during_the_pause_between_launches_is_immediate() {
    let master = Setup::new("-n 1 -m manual -s 30").script("exit 1").start();
    master.wait_for_log("before it was ACKed", 1);
    master.signal(Signal::SIGINT);
    // The next launch is due in half a minute.
    master.wait_until("it ends", Duration::from_secs(15), || !master.is_running());
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.log().count("===> Launched"), 1, "{}", master.log());
}

// Failure mode 32.
#[test]
fn ctrl_c_at_a_terminal_reaches_the_master_alone() {
    let setup = Setup::new("-n 2 -m 0").at_a_terminal(TYPES_CTRL_C).signal_logger("USR2 INT");
    let terminal = setup.start();
    terminal.wait_for_log(" ready", 2);
    terminal.wait_for_log("Up to 2 / 2", 1);
    terminal.signal(Signal::SIGUSR1);
    assert_eq!(terminal.wait_exit().code(), Some(0));
    let log = terminal.log();
    let heard = |word: &str| log.lines().iter().filter(|line| line.trim_end().ends_with(word)).count();
    assert_eq!((heard(" USR2"), heard(" INT")), (2, 0), "{log}");
}

/// Number 9, and of compat.md "Ctrl-C for the third time": INT from the terminal is graceful twice.
#[test]
fn a_second_ctrl_c_says_how_to_force_and_a_third_does() {
    let terminal = Setup::new("-n 1 -m 0").at_a_terminal(TYPES_CTRL_C).signal_logger("TERM").start();
    terminal.wait_for_log(" ready", 1);
    terminal.wait_for_log("Up to 1 / 1", 1);
    terminal.signal(Signal::SIGUSR1);
    terminal.wait_for_log(" USR2", 1);
    assert_eq!(terminal.log().count("Still waiting"), 0, "{}", terminal.log());
    terminal.signal(Signal::SIGUSR1);
    terminal.wait_for_log(": to send TERM, run kill -TERM ", 1);
    terminal.wait_for_log(", or press Ctrl-C once more", 1);
    terminal.signal(Signal::SIGUSR1);
    assert_eq!(terminal.wait_exit().code(), Some(0));
    assert_eq!(
        (terminal.log().count("Re-sending USR2"), terminal.log().count("Sending TERM")),
        (1, 1),
        "{}",
        terminal.log()
    );
}

/// One that a process sends may come from a script, which sends it as often as it likes.
#[test]
fn a_second_int_says_how_to_force_and_no_further_one_does() {
    let (master, workers) = start_loggers("-n 2 -m 0", "TERM", 2);
    for sent in 1..=4 {
        master.signal(Signal::SIGINT);
        master.wait_for_log("INFO: Sending USR2", sent);
    }
    let hint = |pids: &[Process]| {
        format!("WARN: Still waiting for [{}, {}]: to send TERM, run kill -TERM {}", pids[0], pids[1], master.process())
    };
    let hinted = [[workers[0], workers[1]], [workers[1], workers[0]]].map(|pids| master.log().count(&hint(&pids)));
    assert_eq!(hinted.iter().sum::<usize>(), 3, "{}", master.log());
    assert_eq!(master.log().count("Sending TERM"), 0, "{}", master.log());
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
}
