//! The example workers by hand, without a master: they answer, ack, and lose no request when they end gracefully. All
//! that the tests of upgrades say about the master stands on this.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::Signal;

use crate::support::{HeldRequest, LIMIT, Load, Process, Target, ask, example, free_address, wait_until};

/// How often a worker is replaced under load.
const UPGRADES: usize = 20;

/// A worker whose standard input is the listening socket.
struct ByHand {
    child: Child,
}

impl ByHand {
    fn start(listener: impl Into<OwnedFd>, release: &str, options: &str) -> Self {
        let mut command = Command::new(example("http_worker"));
        command.args(options.split_whitespace()).env("WORKER_VERSION", release);
        Self::run(command, listener)
    }

    fn run(mut command: Command, listener: impl Into<OwnedFd>) -> Self {
        command.env("EINHORN_FD_COUNT", "1").env("EINHORN_FD_0", "0").env("EINHORN_CHILD_INDEX", "5");
        command.env("EINHORN_MASTER_PID", std::process::id().to_string());
        Self { child: command.stdin(Stdio::from(listener.into())).spawn().unwrap() }
    }

    fn process(&self) -> Process {
        Process(i32::try_from(self.child.id()).unwrap())
    }

    fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_until("the worker ends", LIMIT, || child.try_wait().unwrap().is_some());
        child.wait().unwrap()
    }

    /// Tells it to end gracefully, and waits for that.
    fn end(&mut self, signal: Signal) {
        assert!(self.process().signal(signal));
        assert_eq!(self.wait().code(), Some(0));
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tcp() -> (TcpListener, Target) {
    let listener = TcpListener::bind(free_address()).unwrap();
    let target = listener.local_addr().unwrap().into();
    (listener, target)
}

/// Replaces the workers on one socket again and again under load, each new one serving before its elder is told to go.
fn upgrade_by_hand(start: impl Fn(&str) -> ByHand, target: Target) {
    // Slow enough that some request is in flight whenever a worker is told to go.
    let load = Load::start_on(target, 4, "/slow?ms=20");
    // Two of each, so that some are beaten to a connection and sit in accept when they are told to go.
    let mut old = [start("0"), start("0")];
    for release in 1..=UPGRADES {
        let new = [start(&release.to_string()), start(&release.to_string())];
        load.wait_for_release(&release.to_string(), 5);
        old.iter().for_each(wait_for_birth);
        old.iter_mut().for_each(|worker| worker.end(Signal::SIGUSR2));
        old = new;
    }
    load.wait_for(10);
    load.stop().assert_nothing_lost();
}

#[test]
fn upgrades_on_a_blocking_socket_lose_no_request() {
    let (listener, target) = tcp();
    upgrade_by_hand(|release| ByHand::start(listener.try_clone().unwrap(), release, ""), target);
}

#[test]
fn upgrades_on_a_non_blocking_socket_lose_no_request() {
    let (listener, target) = tcp();
    listener.set_nonblocking(true).unwrap();
    upgrade_by_hand(|release| ByHand::start(listener.try_clone().unwrap(), release, ""), target);
}

#[test]
fn upgrades_on_a_unix_socket_lose_no_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.sock");
    let listener = UnixListener::bind(&path).unwrap();
    upgrade_by_hand(|release| ByHand::start(listener.try_clone().unwrap(), release, ""), path.as_path().into());
}

#[test]
fn idle_workers_on_a_blocking_socket_end_at_once() {
    let (listener, _) = tcp();
    let mut workers = [0, 1, 2].map(|_| ByHand::start(listener.try_clone().unwrap(), "one", ""));
    workers.iter().for_each(wait_for_birth);
    workers.iter_mut().for_each(|worker| worker.end(Signal::SIGTERM));
}

/// A worker that has not blocked its signals yet would die of them; it blocks them before its second thread.
fn wait_for_birth(worker: &ByHand) {
    wait_until("the worker serves", LIMIT, || worker.process().thread_count() >= Some(2));
}

#[test]
fn requests_in_flight_are_finished_and_queued_ones_left_to_others() {
    let (listener, target) = tcp();
    let mut worker = ByHand::start(listener.try_clone().unwrap(), "one", "");
    wait_for_birth(&worker);
    let held = HeldRequest::begin(target.clone(), "/held");
    // Two threads stay: the first and the one that accepts.
    wait_until("the request is in flight", LIMIT, || worker.process().thread_count() > Some(2));
    assert!(worker.process().signal(Signal::SIGUSR2));
    wait_until("it accepts no more", LIMIT, || worker.process().thread_count() == Some(2));
    let queued = std::thread::spawn(move || ask(&target, "/queued"));
    assert_eq!(held.finish().unwrap().release, "one");
    assert_eq!(worker.wait().code(), Some(0));
    let _younger = ByHand::start(listener, "two", "");
    assert_eq!(queued.join().unwrap().unwrap().release, "two");
}

#[test]
fn an_answer_says_who_gave_it_and_what_it_was_born_with() {
    let (listener, target) = tcp();
    let worker = ByHand::start(listener, "seven", "");
    let answer = ask(&target, "/env?id=9").unwrap();
    assert_eq!(answer.pid, worker.process().0);
    assert_eq!((&*answer.index, &*answer.release, &*answer.path), ("5", "seven", "/env?id=9"));
    assert!(answer.rest.lines().any(|line| line == "EINHORN_FD_COUNT=1"));
    let rest = |path| ask(&target, path).unwrap().rest;
    assert!(rest("/fds").lines().any(|line| line.starts_with("0 -> socket:[")));
    assert!(rest("/status").contains("\nSigBlk:\t0000000000000000\n"));
    assert!(rest("/limits").contains("\nMax open files "));
}

#[test]
fn a_connection_is_kept_until_the_worker_ends_and_a_batch_is_answered_whole() {
    let (listener, Target::Tcp(address)) = tcp() else { unreachable!("tcp() makes a TCP target") };
    let mut worker = ByHand::start(listener, "one", "");
    wait_for_birth(&worker);
    let mut client = BufReader::new(TcpStream::connect(address).unwrap());
    client.get_ref().set_read_timeout(Some(LIMIT)).unwrap();
    let batch = |from: u32| (from..from + 3).map(|id| format!("GET /{id} HTTP/1.1\r\n\r\n")).collect::<String>();
    let mut ask = |from: u32| {
        client.get_mut().write_all(batch(from).as_bytes()).unwrap();
        (from..from + 3).map(|id| (id, next_answer(&mut client))).collect::<Vec<_>>()
    };
    for (id, (connection, body)) in ask(0) {
        assert_eq!(connection, "keep-alive");
        assert!(body.contains(&format!("path /{id}\n")), "{body}");
    }
    assert!(worker.process().signal(Signal::SIGUSR2));
    // Three threads with the one that accepts, which goes first.
    wait_until("it accepts no more", LIMIT, || worker.process().thread_count() == Some(2));
    let said: Vec<_> = ask(3).into_iter().map(|(_, (connection, _))| connection).collect();
    assert_eq!(said, ["keep-alive", "keep-alive", "close"]);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(worker.wait().code(), Some(0));
}

/// What the next answer says of the connection, and its body.
fn next_answer(client: &mut BufReader<TcpStream>) -> (String, String) {
    let mut head = BTreeMap::new();
    loop {
        let mut line = String::new();
        client.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        head.insert(name.to_owned(), value.to_owned());
    }
    let mut body = vec![0; head["Content-Length"].parse().unwrap()];
    client.read_exact(&mut body).unwrap();
    (head["Connection"].clone(), String::from_utf8(body).unwrap())
}

#[test]
fn a_manual_ack_goes_to_the_control_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let control = UnixListener::bind(&path).unwrap();
    let worker = start_acking(&path, "--ack manual");
    let mut line = String::new();
    BufReader::new(control.accept().unwrap().0).read_line(&mut line).unwrap();
    assert_eq!(line, format!("{{\"command\":\"worker:ack\", \"pid\":{}}}\n", worker.process()));
}

fn start_acking(control: &Path, options: &str) -> ByHand {
    let mut command = Command::new(example("http_worker"));
    command.args(options.split_whitespace()).env("EINHORN_SOCK_PATH", control);
    ByHand::run(command, tcp().0)
}

#[test]
fn options_make_it_misbehave() {
    let nowhere = Path::new("/nonexistent/control.sock");
    assert_eq!(start_acking(nowhere, "--exit-before-ack").wait().code(), Some(1));
    assert_eq!(start_acking(nowhere, "--die-after 20").wait().code(), Some(1));
    assert_eq!(start_acking(nowhere, "--ack manual").wait().code(), Some(3));
    assert_eq!(start_acking(nowhere, "--ack perhaps").wait().code(), Some(2));
    let (listener, target) = tcp();
    let mut deaf = ByHand::start(listener, "one", "--ignore-usr2");
    wait_for_birth(&deaf);
    deaf.process().signal(Signal::SIGUSR2);
    ask(&target, "/still-there").unwrap();
    deaf.end(Signal::SIGTERM);
}

#[test]
fn the_python_example_answers_and_ends_gracefully() {
    let (listener, Target::Tcp(address)) = tcp() else { unreachable!("tcp() makes a TCP target") };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/echo_server.py");
    let mut command = Command::new("python3");
    command.arg(script).env("EINHORN_FD_FAMILY_0", "AF_INET");
    let mut worker = ByHand::run(command, listener);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /hello HTTP/1.0\r\n\r\n").unwrap();
    let reply = std::io::read_to_string(client).unwrap();
    assert!(reply.ends_with(&format!("worker {} was asked for /hello\n", worker.process())), "{reply}");
    worker.end(Signal::SIGUSR2);
}

#[test]
fn a_worker_without_sockets_says_what_is_missing() {
    let output = Command::new(example("http_worker")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot find the sockets: EINHORN_FD_COUNT is not set"));
}
