//! A worker that has the terminal of the master (`--foreground`; number 9 of "what real operators trip over").

use std::io::ErrorKind;
use std::net::TcpStream;

use nix::sys::signal::Signal;

use crate::support::{LIMIT, Master, Process, Setup, TYPES_CTRL_C};

/// Reads a line from the terminal for each file `read-PID`.
const READS: &str = r#"echo "$$ ready"
while :; do
    if [ -e "$TMPDIR/read-$$" ]; then
        rm "$TMPDIR/read-$$"
        echo "$$ asks"
        read -r line
        echo "$$ has read $line"
    fi
    sleep 0.02
done"#;

fn start() -> Master {
    let terminal = Setup::new("-n 1 -m 0.1 --foreground").at_a_terminal(TYPES_CTRL_C).script(READS).start();
    terminal.wait_for_log("Up to 1 / 1", 1);
    terminal
}

/// Has the worker that was launched as the `at`th read what is typed then; ^Z does not stop it.
fn read_by(terminal: &Master, at: usize) {
    let ready = terminal.wait_for_log(" ready", at + 1);
    let pid = ready[at].split_whitespace().next().unwrap().to_owned();
    std::fs::write(terminal.file(&format!("read-{pid}")), "").unwrap();
    terminal.wait_for_log(&format!("{pid} asks"), 1);
    terminal.signal(Signal::SIGUSR2);
    terminal.wait_for_log(&format!("{pid} has read hello"), 1);
}

/// Of compat.md: "`--ack-timeout`, `--stop-delay`, `--foreground`, `--adopt`".
#[test]
fn a_worker_in_the_foreground_reads_and_ctrl_c_ends_it_and_the_master() {
    let terminal = start();
    read_by(&terminal, 0);
    terminal.signal(Signal::SIGUSR1);
    assert_eq!(terminal.wait_exit().code(), Some(0));
    let log = terminal.log();
    assert_eq!((log.count("had the terminal and has ended"), log.count("Launched")), (1, 1), "{log}");
}

#[test]
fn the_terminal_goes_from_worker_to_worker_in_an_upgrade() {
    let terminal = start();
    read_by(&terminal, 0);
    terminal.control("{command: upgrade}");
    terminal.wait_for_log("===> Exited worker", 1);
    read_by(&terminal, 1);
    terminal.control("{command: die}");
    assert_eq!(terminal.wait_exit().code(), Some(0));
    assert_eq!(terminal.log().count("had the terminal and has ended"), 0, "{}", terminal.log());
}

/// It has crashed, and is launched again.
#[test]
fn a_worker_that_fails_in_the_foreground_is_launched_again_and_has_the_terminal() {
    let terminal = start();
    let worker = terminal.wait_for_log(" ready", 1)[0].split_whitespace().next().unwrap().to_owned();
    Process(worker.parse().unwrap()).signal(Signal::SIGKILL);
    read_by(&terminal, 1);
    terminal.signal(Signal::SIGUSR1);
    terminal.wait_until("it ends", LIMIT, || !terminal.is_running());
}

/// The shell that has started the master reads from it then. Had the worker's group kept it, the shell could not.
#[test]
fn the_terminal_is_taken_back_at_the_end() {
    let setup = Setup::new("-n 1 -m 0.1 --foreground").behind_a_shell_at_a_terminal(TYPES_CTRL_C);
    let terminal = setup.script(READS).start();
    terminal.wait_for_log("Up to 1 / 1", 1);
    read_by(&terminal, 0);
    terminal.control("{command: die}");
    terminal.wait_for_log("shell asks", 1);
    terminal.signal(Signal::SIGUSR2);
    terminal.wait_for_log("shell has read hello", 1);
    assert_eq!(terminal.wait_exit().code(), Some(0));
}

/// What the worker has left is waited for, and holds the socket. Ctrl-C reaches the master by then.
#[test]
fn ctrl_c_reaches_the_master_when_the_worker_has_ended_and_left_a_process() {
    let script = "(setsid sh -c \"trap '' USR2 INT; echo deaf; sleep 1000\" &); exec sleep 1000";
    let terminal = Setup::new("-n 1 -m 0.1 --foreground").at_a_terminal(TYPES_CTRL_C).bind(",r").script(script).start();
    terminal.wait_for_log("Up to 1 / 1", 1);
    terminal.wait_for_log("deaf", 1);
    terminal.signal(Signal::SIGUSR1);
    terminal.wait_for_log("has ended and left sh behind", 1);
    terminal.wait_for_log("had the terminal and has ended", 1);
    terminal.signal(Signal::SIGUSR1);
    terminal.wait_for_log(", or press Ctrl-C once more", 1);
    TcpStream::connect(terminal.addr()).expect("it is held");
    terminal.signal(Signal::SIGUSR1);
    assert_eq!(terminal.wait_exit().code(), Some(0));
    let refused = TcpStream::connect(terminal.addr()).expect_err("it does not listen any more");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_terminal_that_cannot_be_given_refuses_the_start() {
    let reason = "cannot give the worker the terminal (--foreground): standard input is none, or another has it";
    Setup::new("--foreground").script("exec sleep 1000").refused().assert(100, reason);
    let reason = "-n 2: is more than one for --foreground, need 1";
    Setup::new("-n 2 --foreground").script("exec sleep 1000").refused().assert(100, reason);
}
