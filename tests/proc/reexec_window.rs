//! What happens while the master is no program of ours, or is about to be none: signals, deaths and commands of that moment are
//! found and acted on afterwards. A wrapper makes the moment as long as it takes.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{LIMIT, Load, Master, Process, Setup};

/// A wrapper that does this in the middle of the exec.
fn within(does: &str) -> String {
    format!(
        "import signal, time\nif sys.argv[1] == '--with-state-fd' and os.path.exists('now'):\n\
         \x20   os.remove('now')\n{}\nos.execv(ours, [ours] + sys.argv[1:])",
        does.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    )
}

/// A wrapper that does this at the first check.
fn at_check(does: &str) -> String {
    format!("if [ $1 = --upgrade-check ] && [ -e now ]; then rm now; {does}; fi; exec \"$OURS\" \"$@\"")
}

fn serving(options: &str) -> Setup {
    let setup = Setup::new("-m manual -s 0.01").options(options).bind(",r").http_worker("--ack manual").release("old");
    setup.write("now", "");
    setup
}

fn start(setup: Setup, count: usize) -> (Master, Vec<Process>) {
    let master = setup.start();
    master.wait_for_log(&format!("Up to {count} / {count} manual ACKs"), 1);
    let workers = master.wait_for_workers(count);
    (master, workers)
}

/// Failure modes 24 and 53: with Ruby's, each of them ends the master there and then.
#[test]
fn a_signal_in_the_middle_of_the_exec_is_acted_on_afterwards() {
    for (signal, code) in [("TERM", 0), ("QUIT", 1), ("INT", 0), ("USR2", 0)] {
        let script = within(&format!("os.kill(os.getpid(), signal.SIG{signal})"));
        let (master, _) = start(serving("-n 2").reexec_as_python(&script), 2);
        master.control("{command: reload}");
        assert_eq!(master.wait_exit().code(), Some(code), "{signal}; {}", master.log());
        let log = master.log();
        assert_eq!((log.count("Using loaded state"), log.count("===> Exited worker")), (1, 2), "{log}");
        assert!(!master.socket().exists() && !master.file("einhorn.pid").exists() && master.descendants().is_empty());
    }
}

/// Failure modes 24 and 25. (CONT is not among them: in the kernel it takes back every TTIN and TTOU that waits.)
#[test]
fn signals_in_the_middle_of_the_exec_are_obeyed_afterwards() {
    let script = within(
        "for name in 'USR1', 'TTIN', 'TTOU', 'CHLD', 'WINCH', 'PIPE', 'ALRM':\n    os.kill(os.getpid(), getattr(signal, 'SIG' + name))",
    );
    let setup = Setup::new("-n 1 -m 0 -s 0.01").signal_logger("").reexec_as_python(&script);
    setup.write("now", "");
    let master = setup.start();
    let worker = master.wait_for_ready(1)[0];
    master.wait_for_log("Up to 1 / 1", 1);
    master.control("{command: reload}");
    master.wait_until("USR1", LIMIT, || master.said_by(worker).contains(&"USR1".to_owned()));
    master.wait_for_log("Incrementing number of workers from 1 -> 2", 1);
    master.wait_for_log("Decrementing number of workers from 2 -> 1", 1);
    // ALRM is an upgrade.
    master.wait_for_log("Upgraded successfully", 1);
}

/// E02: Ruby's master dies of a HUP that comes while it replaces itself.
#[test]
fn a_second_hup_in_the_middle_of_the_exec_is_a_second_upgrade() {
    let script = within("open('WORKER_VERSION', 'w').write('new')\nos.kill(os.getpid(), signal.SIGHUP)");
    let (master, _) = start(serving("-n 2").reexec_as_python(&script), 2);
    let load = Load::start(master.addr(), 2);
    load.wait_for_release("old", 5);
    master.signal(Signal::SIGHUP);
    load.wait_for_release("new", 5);
    master.wait_for_log("Upgraded successfully", 1);
    master.wait_for_log("Using loaded state", 2);
    load.stop().assert_nothing_lost();
}

/// Failure mode 57: after a deploy between two HUPs the last release runs.
#[test]
fn a_second_hup_during_the_check_finds_the_release_of_then() {
    let script = at_check("printf new >WORKER_VERSION; kill -HUP $PPID");
    let (master, _) = start(serving("-n 2").reexec_as(&script), 2);
    let load = Load::start(master.addr(), 2);
    load.wait_for_release("old", 5);
    master.signal(Signal::SIGHUP);
    load.wait_for_release("new", 5);
    master.wait_for_log("Upgraded successfully", 1);
    load.stop().assert_nothing_lost();
}

/// Failure modes 51 and 52: also when the wrapper has reaped it, so that its pid may be a stranger's by now.
#[test]
fn a_worker_that_dies_in_the_middle_of_the_exec_is_found_and_replaced() {
    for reaps in ["pass", "os.waitpid(pid, 0)"] {
        let script = within(&format!(
            "pid = int(open('victim').read())\nos.kill(pid, signal.SIGKILL)\n\
             while not open(f'/proc/{{pid}}/stat').read().split(')')[-1].split()[0] == 'Z': time.sleep(0.01)\n{reaps}"
        ));
        let (master, workers) = start(serving("-n 2").reexec_as_python(&script), 2);
        master.replace("victim", &workers[0].to_string());
        master.control("{command: reload}");
        master.wait_for_log(&format!("===> Exited worker {}", workers[0]), 1);
        master.wait_for_log("Up to 2 / 2 manual ACKs", 2);
        let now = master.wait_for_workers(2);
        assert!(now.contains(&workers[1]) && !now.contains(&workers[0]));
        let unknown = format!("Worker {} was reaped by another program", workers[0]);
        assert_eq!(master.log().count(&unknown), usize::from(reaps != "pass"), "{}", master.log());
        assert_eq!(master.log().count("cannot"), 0, "{}", master.log());
    }
}

/// Failure mode 58: nothing is launched any more once it is to end, upgrade or not.
#[test]
fn a_stop_in_the_middle_of_the_exec_for_an_upgrade_launches_nothing() {
    let (master, workers) = start(serving("-n 2").reexec_as_python(&within("os.kill(os.getpid(), signal.SIGTERM)")), 2);
    let mut client = master.connect();
    client.send("{command: upgrade, id: 1}");
    let last = std::iter::from_fn(|| client.receive()).find(|line| !line.contains("wait: true"));
    assert!(last.is_some_and(|line| line.contains("Upgrade failed: einhorn is going down")), "{}", master.log());
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.log().count("===> Launched"), workers.len(), "{}", master.log());
}

/// What it cannot be told of any more waits in the kernel: clients that connect, and what they say.
#[test]
fn clients_of_that_moment_are_heard_afterwards() {
    let script = within(
        "import socket\nclient = socket.socket(socket.AF_UNIX)\nclient.connect('einhorn.sock')\n\
         client.sendall(b'{command: inc}\\n')\nclient.close()\nopen('done', 'w').close()",
    );
    let (master, _) = start(serving("-n 1").reexec_as_python(&script), 1);
    let mut old = master.connect();
    old.send("{command: reload}");
    old.receive();
    master.wait_until("the moment has come", LIMIT, || master.file("done").exists());
    old.send("{command: ehlo, user: me}");
    assert!(old.receive().unwrap().contains("Welcome, me!"));
    master.wait_for_workers(2);
}

/// A wrapper that closes what it does not know cannot be gone through. It is found before anything is lost.
#[test]
fn a_wrapper_that_closes_descriptors_is_found_at_the_check() {
    let script = "os.closerange(3, 64)\nos.execv(ours, [ours] + sys.argv[1:])";
    let (master, workers) = start(serving("-n 1").reexec_as_python(script), 1);
    let mut client = master.connect();
    client.send("{command: upgrade, id: 1}");
    let last = std::iter::from_fn(|| client.receive()).find(|line| !line.contains("wait: true")).unwrap();
    assert!(last.contains("Upgrade failed: "), "{last}");
    assert_eq!(master.workers(), workers);
    assert!(fs::exists(master.socket()).unwrap());
}

/// A launch that falls due while the master is busy is asked for in the same breath as the upgrade.
#[test]
fn an_upgrade_is_begun_when_a_launch_has_just_been_due() {
    let master = Setup::new("-n 100 -m 0 -s 1 --max-unacked 1000").program(["sleep", "1000"]).start();
    master.wait_for_log("Up to 100 / 100", 1);
    // The first is replaced at once, the second a second later: in the middle of all these questions, which leave the master no
    // time to notice.
    for death in 1..=2 {
        master.workers()[0].signal(Signal::SIGKILL);
        master.wait_for_log("===> Exited worker", death);
    }
    let mut clients: Vec<_> = (0..60).map(|_| master.connect()).collect();
    let mut asker = master.connect();
    let questions = "{command: state}\n";
    clients.iter_mut().for_each(|client| client.send_bytes(questions.repeat(16).as_bytes()));
    asker.send_bytes(format!("{}{{command: upgrade_fleet}}\n", questions.repeat(8)).as_bytes());
    (0..9).for_each(|_| _ = asker.receive().expect("the master lives"));
    master.wait_for_log("Upgraded successfully", 1);
    assert_eq!(master.log().count("panicked"), 0, "{}", master.log());
}
