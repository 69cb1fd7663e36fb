//! What an ended worker leaves behind outside of its process group: programs behind wrappers, and workers that go to the background
//! (numbers 3, 5 and 6 of "what real operators trip over"). Of compat.md: "what a dead worker left in a session or group of its own", "a worker that
//! ends at once with status 0 and leaves a program behind (`--daemon`)".

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use crate::support::{Injection, LIMIT, Load, Master, Process, Setup, ask, example, is_root};

/// A worker that leaves a process behind in a session of its own.
const WITH_A_DAEMON: &str = "(setsid sleep 1000 &); exec sleep 1000";

/// A worker that ends when its program runs in a session of its own.
const TO_THE_BACKGROUND: &str = "setsid sleep 1000 & until [ \"$(cat /proc/$!/comm)\" = sleep ]; do :; done; exit 0";

/// A server in a session of its own, behind a wrapper that passes no signal on. It is up once it serves.
fn wrapped(options: &str, wrapper: &str) -> Master {
    let script = format!("exec {wrapper} setsid --wait {}", example("http_worker").display());
    let master = Setup::new("-m 0.5 -s 0.01").options(options).bind(",r").script(&script).release("old").start();
    master.wait_for_log("timer ACKs", 1);
    master
}

/// The processes of a master that run this program.
fn running(master: &Master, program: &str) -> Vec<Process> {
    let is_it = |process: &Process| process.program().is_some_and(|path| path.ends_with(program));
    master.descendants().into_iter().filter(is_it).collect()
}

/// The servers of two workers, whose wrappers may take longer than the timer.
fn servers(master: &Master) -> Vec<Process> {
    master.wait_until("both servers run", LIMIT, || running(master, "http_worker").len() == 2);
    running(master, "http_worker")
}

/// Until the old servers are gone and the new ones have answered.
fn upgrade_under_load(master: &Master) {
    let old = servers(master);
    let load = Load::start(master.addr(), 2);
    load.wait_for_release("old", 10);
    master.release("new");
    master.signal(Signal::SIGHUP);
    master.wait_until("the old servers are gone", LIMIT, || !old.iter().any(|server| server.is_alive()));
    load.wait_for_release("new", 20);
    load.stop().assert_nothing_lost();
}

/// An upgrade of two workers, which leaves no server of before, and loses nothing.
fn upgrade(wrapper: &str) {
    let master = wrapped("-n 2", wrapper);
    master.wait_for_log("Up to 2 / 2", 1);
    upgrade_under_load(&master);
    master.wait_for_log("(setsid) has ended and left http_worker behind in process group ", 2);
    for number in 0..20 {
        assert_eq!(ask(&master.addr().into(), &format!("/{number}")).unwrap().release, "new");
    }
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.descendants(), []);
}

#[test]
fn a_server_behind_a_wrapper_goes_with_its_worker() {
    upgrade("");
}

/// As sudo and `su -` do: then only its descent says whose it is.
#[test]
fn a_server_behind_a_wrapper_that_cleans_its_environment_goes_with_its_worker() {
    upgrade("env -u EINHORN_MASTER_PID");
}

/// Nothing was to be seen before the wrapper was killed; what it leaves holds a socket of the master's.
#[test]
fn a_server_whose_wrapper_is_killed_goes_even_without_its_environment() {
    for wrapper in ["", "env -u EINHORN_MASTER_PID"] {
        let master = wrapped("-n 1", wrapper);
        let (server, worker) = (running(&master, "http_worker")[0], master.workers()[0]);
        assert_eq!(server.parent(), Some(worker));
        worker.signal(Signal::SIGKILL);
        master.wait_for_log(&format!("Worker {worker} (setsid) has ended and left http_worker behind"), 1);
        master.wait_until("the server is gone", LIMIT, || !server.is_alive());
        master.wait_for_log("Up to 1 / 1", 2);
    }
}

/// They pass signals on, or not, or end by them; whatever they do, their servers are those of their workers.
#[test]
fn servers_behind_the_wrappers_that_are_in_use_go_with_their_workers() {
    let as_root = ["/usr/sbin/runuser -u root --", "/usr/sbin/runuser root -s /bin/sh -c", "su root -s /bin/sh -c"];
    let wrappers =
        ["dumb-init", "dumb-init --single-child", "tini --", "tini -g --", "setpriv --pdeathsig TERM", "nohup"];
    let wrappers = wrappers.iter().chain(if is_root() { &as_root[..] } else { &[] });
    let mut left = vec![];
    for wrapper in wrappers {
        let script = format!("exec {wrapper} {}", example("http_worker").display());
        let master = Setup::new("-n 2 -m 0.5 -s 0.01").bind(",r").script(&script).release("old").start();
        master.wait_for_log("Up to 2 / 2", 1);
        upgrade_under_load(&master);
        master.signal(Signal::SIGINT);
        assert_eq!(master.wait_exit().code(), Some(0), "{wrapper}");
        left.extend(master.descendants());
    }
    assert_eq!(left, []);
}

/// It ignores the signal, and so does its program.
#[test]
fn a_worker_that_ignores_its_signal_is_named() {
    let script = "trap '' USR2; sleep 1000 & wait";
    let master = Setup::new("-m 0.1 -s 0.01 -t 1").script(script).start();
    master.wait_for_log("Up to 1 / 1", 1);
    let worker = master.workers()[0];
    master.wait_until("it runs", LIMIT, || !running(&master, "sleep").is_empty());
    master.signal(Signal::SIGHUP);
    master.wait_for_log(") ignores or blocks USR2: it stays until it ends by itself or is killed", 1);
    master.wait_until("it is gone", LIMIT, || !worker.is_alive());
}

/// Number 3: it was told just before a re-exec, so that the next image has to see whether it has heard.
#[test]
fn a_worker_that_ignores_its_signal_is_named_by_the_next_image() {
    let script = "trap '' USR2; sleep 1000 & wait";
    let master = Setup::new("-n 2 -m 0.1 -s 0.01").script(script).start();
    master.wait_for_log("Up to 2 / 2", 1);
    master.wait_until("both run", LIMIT, || running(&master, "sleep").len() == 2);
    master.control("{command: dec}");
    master.reload();
    master.wait_for_log(") ignores or blocks USR2: it stays until it ends by itself or is killed", 1);
}

/// sudo closes the sockets of a server; a program without any goes on behind it.
#[test]
fn a_program_behind_sudo_goes_with_its_worker() {
    if !is_root() {
        return;
    }
    for signal in ["INT", "USR2", "TERM"] {
        let script = "exec sudo -n -u root -- sleep 1000";
        let setup = Setup::new("--config web.toml -m 0.1 -s 0.01").script(script);
        setup.write("web.toml", &format!("worker.graceful-signal = '{signal}'\n"));
        let master = setup.start();
        master.wait_for_log("Up to 1 / 1", 1);
        master.wait_until("the program runs", LIMIT, || running(&master, "sleep").len() == 1);
        let old = running(&master, "sleep");
        master.signal(Signal::SIGHUP);
        master.wait_until("the old program is gone", LIMIT, || !old.iter().any(|program| program.is_alive()));
        master.signal(Signal::SIGINT);
        assert_eq!(master.wait_exit().code(), Some(0));
        assert_eq!(master.descendants(), []);
    }
}

#[test]
fn leftovers_in_another_session_are_shown_killed_in_the_end_and_waited_for() {
    let script = "exec setsid --wait sh -c \"trap '' USR2; echo deaf; while :; do sleep 1; done\"";
    let master = Setup::new("-n 1 -m 0 -t 3").script(script).start();
    master.wait_until("the program is deaf", LIMIT, || master.stdout().contains("deaf"));
    let worker = master.wait_for_workers(1)[0];
    let program = worker.children()[0];
    master.signal(Signal::SIGINT);
    master.wait_for_log(&format!("left sh behind in process group {program}, sending USR2 to it"), 1);
    let status = master.control("{command: status, format: json}");
    let shown = format!("{{\"group\":{program},\"killed\":false,\"left_program\":\"sh\",\"signal\":\"USR2\",");
    assert!(status.contains(&shown) && status.contains(&format!("\"worker\":{worker}}}")), "{status}");
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!program.is_alive());
    assert_eq!(master.log().count(&format!("Child {program} is still active after ")), 1, "{}", master.log());
}

#[test]
fn leftovers_of_leftovers_go_too() {
    let script = "exec setsid --wait sh -c 'setsid --wait sleep 1000; true'";
    let master = Setup::new("-n 1 -m 0 -t 20").script(script).start();
    master.wait_until("the program runs", LIMIT, || running(&master, "sleep").len() == 1);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.descendants(), []);
    assert_eq!(master.log().count("is still active after"), 0, "{}", master.log());
}

/// A daemon of another worker's, which lives, is not touched.
#[test]
fn a_daemon_goes_with_its_own_worker_and_with_no_other() {
    let master = Setup::new("-n 2 -m 0 -s 0.01").script(WITH_A_DAEMON).start();
    let is_worker = |it: &Process| master.log().count(&format!("Launched {it} ")) > 0;
    let is_daemon = |it: &Process| it.group() == Some(it.0) && !is_worker(it);
    let daemons = || running(&master, "sleep").into_iter().filter(is_daemon).collect::<Vec<_>>();
    master.wait_until("each worker has its daemon", LIMIT, || daemons().len() == 2);
    let index = |process: Process| process.environ()["EINHORN_CHILD_INDEX"].clone();
    let both = daemons();
    let worker = master.workers().into_iter().find(|it| index(*it) == index(both[0]) && !both.contains(it)).unwrap();
    worker.signal(Signal::SIGKILL);
    master.wait_for_log(&format!("Worker {worker} (sleep) has ended and left sleep behind"), 1);
    master.wait_until("its daemon is gone", LIMIT, || !both[0].is_alive());
    assert!(both[1].is_alive() && master.log().count("has ended and left") == 1, "{}", master.log());
}

/// Number 3: nothing tells whose it is. It has no socket, so that no client meets it.
#[test]
fn a_daemon_without_environment_and_socket_is_not_found_and_the_end_speaks_of_it() {
    let script = "(env -i PATH=\"$PATH\" setsid sleep 1000 &); exec sleep 1001";
    let master = Setup::new("-n 1 -m 0 -s 0.01").script(script).start();
    let daemons = || {
        let is_daemon = |it: &Process| !it.environ().contains_key("EINHORN_CHILD_INDEX");
        running(&master, "sleep").into_iter().filter(is_daemon).collect::<Vec<_>>()
    };
    master.wait_until("there is a daemon", LIMIT, || daemons().len() == 1);
    master.workers()[0].signal(Signal::SIGKILL);
    master.wait_until("there is another daemon", LIMIT, || daemons().len() == 2);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(daemons().len(), 2);
    let log = master.log();
    let told = "WARN: Workers left processes behind in sessions or groups of their own; they live on";
    assert_eq!((log.count("has ended and left"), log.count(told)), (0, 1), "{log}");
}

#[test]
fn a_daemon_that_may_be_left_outlives_its_worker_and_the_master() {
    let setup = Setup::new("--config web.toml -n 1 -m 0").script(WITH_A_DAEMON);
    setup.write("web.toml", "worker.leave = ['epmd', 'sleep']\n");
    let master = setup.start();
    let is_worker = |it: &Process| master.log().count(&format!("Launched {it} ")) > 0;
    let daemon = || running(&master, "sleep").into_iter().find(|it| it.group() == Some(it.0) && !is_worker(it));
    master.wait_for_log("Up to 1 / 1", 1);
    master.wait_until("there is a daemon", LIMIT, || daemon().is_some());
    let daemon = daemon().unwrap();
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(daemon.is_alive());
    assert_eq!(master.log().count("has ended and left"), 0, "{}", master.log());
}

/// Number 6, and of compat.md "a socket that a left process holds when the master has ended".
#[test]
fn a_port_is_closed_at_the_end_although_a_process_that_was_left_holds_it() {
    let setup = Setup::new("--config web.toml -n 1 -m 0").bind(",r").script(WITH_A_DAEMON);
    setup.write("web.toml", "worker.leave = ['sleep']\n");
    let path = setup.directory().join("web.sock");
    let master = setup.options(&format!("-b unix:{}", path.display())).start();
    master.wait_for_log("Up to 1 / 1", 1);
    let holders =
        || running(&master, "sleep").into_iter().filter(|it| it.listening_on().contains(&master.addr())).count();
    master.wait_until("worker and daemon hold the socket", LIMIT, || holders() == 2);
    let mut waiting = (TcpStream::connect(master.addr()).expect("it listens"), UnixStream::connect(&path).unwrap());
    waiting.0.set_read_timeout(Some(LIMIT)).unwrap();
    waiting.1.set_read_timeout(Some(LIMIT)).unwrap();
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(waiting.0.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let end = waiting.1.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
    let left = running(&master, "sleep");
    assert!(
        left.len() == 1 && left[0].descriptors().values().any(|file| file.starts_with("socket:")),
        "{}",
        master.log()
    );
    let refused = TcpStream::connect(master.addr()).expect_err("it does not listen any more");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// Numbers 6 and 9: what the log says to do at the second INT does it.
#[test]
fn two_ints_with_a_leftover_that_holds_the_socket_name_it_and_term_ends_it() {
    let script = "(setsid sh -c \"trap '' USR2; echo deaf; sleep 1000\" &); exec sleep 1000";
    let master = Setup::new("-n 1 -m 0").bind(",r").script(script).start();
    master.wait_until("the program is deaf", LIMIT, || master.stdout().contains("deaf"));
    master.signal(Signal::SIGINT);
    let line = master.wait_for_log("has ended and left sh behind in process group ", 1).remove(0);
    let group = line.split(" in process group ").nth(1).unwrap().split(',').next().unwrap();
    let leftover = Process(group.parse().unwrap());
    master.signal(Signal::SIGINT);
    let hint = format!("Still waiting for [{leftover}]: to send TERM, run kill -TERM {}", master.process());
    master.wait_for_log(&hint, 1);
    assert!(leftover.is_alive());
    TcpStream::connect(master.addr()).expect("it is held");
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!leftover.is_alive());
    let refused = TcpStream::connect(master.addr()).expect_err("it does not listen any more");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// Number 6. It takes the right to trace the holder, which a sandbox may refuse to root, too.
#[test]
fn a_port_that_its_holder_does_not_give_back_is_told_at_the_end() {
    let setup = Setup::new("--config web.toml -n 1 -m 0").bind(",r").script(WITH_A_DAEMON);
    setup.write("web.toml", "worker.leave = ['sleep']\n");
    let master = setup.start();
    master.wait_for_log("Up to 1 / 1", 1);
    master.wait_until("worker and daemon hold the socket", LIMIT, || running(&master, "sleep").len() == 2);
    let _refusal = Injection::attach(&master, "pidfd_getfd:error=EPERM");
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    let [holder] = running(&master, "sleep")[..] else { panic!("{}", master.log()) };
    let line = master.wait_for_log("lets no other shut it down", 1).remove(0);
    let told = format!("clients of {} may wait: it is held by process {holder} (sleep), which", master.addr());
    assert!(line.contains("WARN") && line.contains(&told), "{line}");
    TcpStream::connect(master.addr()).expect("it listens");
}

/// Number 5: `gunicorn --daemon`, and whatever else puts itself into the background.
#[test]
fn workers_that_go_to_the_background_are_failures_and_do_not_pile_up() {
    let master = Setup::new("-n 1 -m 1 -s 0.01 --retries 3").script(TO_THE_BACKGROUND).start();
    let exit = master.wait_exit();
    let log = master.log();
    assert_eq!(
        log.count("has gone to the background: it ended at once with status 0 and left sleep behind"),
        1,
        "{log}"
    );
    assert_eq!(log.count("has ended and left sleep behind"), 3, "{log}");
    assert_eq!(log.count("Giving up: 3 workers in a row died"), 1, "{log}");
    assert_ne!(exit.code(), Some(0));
    assert_eq!(master.descendants(), []);
}

/// One that acks at once, as with einhorn's `-m 0`, is launched again, and what it has left goes each time.
#[test]
fn background_workers_that_count_as_up_leave_nothing_either() {
    let master = Setup::new("-n 1 -m 0 -s 0.1").script(TO_THE_BACKGROUND).start();
    master.wait_for_log("has ended and left sleep behind", 5);
    master.wait_until("what they left is gone", LIMIT, || running(&master, "sleep").len() <= 1);
    assert_eq!(master.log().count("has gone to the background"), 1, "{}", master.log());
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.descendants(), []);
}
