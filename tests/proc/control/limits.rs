//! Clients that send garbage, do not read, come in numbers, or are not allowed: workers are looked after, and the next client is
//! served.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::control::{STATE, assert_served, assert_supervised, start, stream};
use crate::support::{Injection, LIMIT, Master, Setup};

/// A random number generator that one can say the seed of.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// A line of bytes of all kinds, or of pieces that mean something to a reader of YAML.
    fn line(&mut self) -> Vec<u8> {
        const PIECES: [&str; 16] = [
            "*a",
            "&a ",
            "{",
            "}",
            "[",
            "- ",
            ": ",
            "!ruby/object:Object ",
            "%0A",
            "%25",
            "---",
            "\"command\": ",
            "\"state\"",
            "!!float x",
            "2020-01-01",
            "|%0A ",
        ];
        let length = self.next(40);
        let mut line: Vec<u8> = match self.next(2) {
            0 => (0..length).map(|_| self.next(256) as u8).collect(),
            _ => (0..length).flat_map(|_| PIECES[self.next(16) as usize].bytes()).collect(),
        };
        line.retain(|byte| *byte != b'\n');
        line
    }
}

// Failure modes 70, 71, 72. E01, E19.
#[test]
fn no_garbage_harms_the_master() {
    let (master, workers) = start("");
    let seed = u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    println!("seed {seed}");
    let bomb: String =
        (1..9).map(|n| format!(", a{n}: &a{n} [{}]", vec![format!("*a{}", n - 1); 9].join(","))).collect();
    let known = [
        "*a".to_owned(),
        r#"{"command": 2020-01-01}"#.into(),
        "!!float x".into(),
        "{\"command\": !!float x}".into(),
        format!("{{a0: &a0 [x,x,x,x,x,x,x,x,x]{bomb}}}"),
        "[".repeat(20_000),
        "- ".repeat(20_000),
        "? ".repeat(20_000),
        format!("{{\"command\":\"state\",\"id\":{}", "[".repeat(1000)),
        "\0\0\0".into(),
        "{\"command\":\"state\",\"id\":\"\u{2028}\u{feff}\"}\r".into(),
    ];
    let mut random = Random(seed);
    let lines = known.map(String::into_bytes).into_iter().chain((0..2000).map(|_| random.line()));
    let mut client = master.connect();
    for mut line in lines {
        line.push(b'\n');
        client.send_bytes(&line);
        // Every line is answered, or ends the connection.
        if client.receive().is_none() {
            client = master.connect();
        }
    }
    assert_eq!(master.wait_for_workers(2), workers);
    assert_supervised(&master);
    assert_served(&master);
}

/// Resident memory in KiB.
fn memory(master: &Master) -> u64 {
    master.process().status("VmRSS").unwrap().split(' ').next().unwrap().parse().unwrap()
}

// E19.
#[test]
fn a_line_without_an_end_is_refused_and_not_stored() {
    let (master, _) = start("");
    let before = memory(&master);
    let mut clients: Vec<_> = (0..10).map(|_| stream(&master)).collect();
    for client in &mut clients {
        let chunk = vec![b'x'; 1 << 20];
        match client.write_all(&chunk) {
            Ok(()) => {}
            Err(error) => {
                assert!([ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()), "{error}")
            }
        }
        let mut reply = Vec::new();
        if let Err(error) = client.read_to_end(&mut reply) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(String::from_utf8(reply).unwrap(), "---%0Amessage: Request too long%0A\n");
    }
    assert!(memory(&master) < before + 8 * 1024, "from {before} KiB to {} KiB", memory(&master));
    assert_supervised(&master);
    assert_served(&master);
}

/// The longest that is allowed, and one byte more.
#[test]
fn a_line_of_64_kib_is_read() {
    let (master, _) = start("");
    let line = |length: usize| format!("{STATE}{}", " ".repeat(length - STATE.len()));
    assert!(master.control(&line(64 * 1024)).contains(":state:"));
    assert_eq!(master.control(&line(64 * 1024 + 1)), "---%0Amessage: Request too long%0A");
}

#[test]
fn a_client_that_never_reads_is_dropped_and_costs_little() {
    let (master, _) = start("");
    let before = memory(&master);
    let mut client = stream(&master);
    let ended = (0..10_000).any(|_| client.write_all(format!("{STATE}\n").as_bytes()).is_err());
    assert!(ended, "the master has taken in everything");
    master.wait_for_log("dropped, it does not read its replies", 1);
    assert!(memory(&master) < before + 8 * 1024, "from {before} KiB to {} KiB", memory(&master));
    assert_supervised(&master);
    assert_served(&master);
}

/// How many of these connections the master has closed.
fn closed(clients: &[UnixStream]) -> usize {
    let is_closed = |mut client: &UnixStream| {
        client.set_nonblocking(true).unwrap();
        client.read(&mut [0; 1]).is_ok_and(|length| length == 0)
    };
    clients.iter().filter(|client| is_closed(client)).count()
}

// E07.
#[test]
fn idle_connections_have_a_limit_and_a_later_client_is_served() {
    let (master, _) = start("");
    let idle: Vec<_> = (0..300).map(|_| stream(&master)).collect();
    master.wait_until("those who were idle longest make room", LIMIT, || closed(&idle) == 300 - 256);
    master.wait_for_log("dropped, too many are connected", 1);
    assert_supervised(&master);
    assert_served(&master);
    drop(idle);
    wait_for_a_served_client(&master);
}

fn wait_for_a_served_client(master: &Master) {
    master.wait_until("a later client is served", LIMIT, || {
        let mut client = stream(master);
        let sent = client.write_all(format!("{STATE}\n").as_bytes());
        sent.is_ok() && client.read_exact(&mut [0; 9]).is_ok()
    });
}

// E07. Clients may not take the descriptors that a new worker needs.
#[test]
fn few_descriptors_refuse_clients_but_still_replace_workers() {
    let setup = Setup::new("-n 3 -m 0 -s 0.01 -g").bind("").program(["sleep", "1000"]);
    let master = setup.through(&["/bin/sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"]).start();
    let workers = master.wait_for_workers(3);
    assert_eq!(workers[0].limits()["Max open files"], ("64".into(), "64".into()));
    let idle: Vec<_> = (0..100).map(|_| stream(&master)).collect();
    master.wait_until("some are turned away", LIMIT, || closed(&idle) > 36);
    for _ in 0..3 {
        assert_supervised(&master);
    }
    assert_eq!(master.log().count("cannot start a worker"), 0, "{}", master.log());
    drop(idle);
    wait_for_a_served_client(&master);
}

// E07.
#[test]
fn accept_failures_are_tried_again_without_a_storm() {
    let (master, _) = start("");
    let injection = Injection::attach(&master, "accept4:error=EMFILE");
    let began = Instant::now();
    let mut waiting = stream(&master);
    waiting.write_all(format!("{STATE}\n").as_bytes()).unwrap();
    master.wait_for_log("cannot accept a control connection, trying again soon", 1);
    assert_supervised(&master);
    master.wait_until("it has been tried for two seconds", LIMIT, || began.elapsed() > Duration::from_secs(2));
    assert_eq!(master.log().count("cannot accept"), 1, "it is said once a minute");
    drop(injection);
    waiting.read_exact(&mut [0; 9]).expect("it waited in the queue");
}

/// Asks for the state with another user's rights, and says what it got.
const STRANGER: &str = r#"
import socket, sys
client = socket.socket(socket.AF_UNIX)
try:
    client.connect(sys.argv[1])
    client.sendall(b'{"command":"state"}\n{"command":"worker:ack","pid":%d}\n' % int(sys.argv[2]))
    print(client.recv(200).decode().strip())
except (BrokenPipeError, ConnectionResetError):
    print("")
except PermissionError:
    print("permission denied")
"#;

// Failure mode 78.
#[test]
fn another_user_is_refused_by_mode_and_by_uid() {
    let (master, workers) = start("");
    let ask = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", STRANGER]);
        let output = command.arg(master.socket()).arg(workers[0].to_string()).current_dir("/").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    fs::set_permissions(master.directory(), Permissions::from_mode(0o711)).unwrap();
    assert_eq!(ask(), "permission denied");
    // Even if the socket is opened to all users.
    fs::set_permissions(master.socket(), Permissions::from_mode(0o666)).unwrap();
    let denial = "---%0Amessage: 'Permission denied: uid 65534 may only ack and ping its worker'%0A";
    assert_eq!(ask(), denial);
    master.wait_for_log("uid 65534, pid ", 1);
    assert_eq!(master.log().count("manual ACK"), 0);
    assert_served(&master);
}
