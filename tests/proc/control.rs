//! The control socket as its users meet it: acks, pings, the state document, and clients that are slow, silent, mad or not
//! allowed. Whatever they do, workers are looked after and the next client is served.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Injection, LIMIT, Master, Process, Setup, decoded};

const STATE: &str = r#"{"command":"state","id":1}"#;

/// Sleeping workers, for which a client acks.
fn start(options: &str) -> (Master, Vec<Process>) {
    let setup = Setup::new("-n 2 -m manual -s 0.01").options(options);
    let master = setup.program(["sleep", "1000"]).start();
    let workers = master.wait_for_workers(2);
    (master, workers)
}

fn stream(master: &Master) -> UnixStream {
    let stream = UnixStream::connect(master.socket()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Kills a worker, and waits for another in its place.
#[track_caller]
fn assert_supervised(master: &Master) {
    let before = master.workers();
    assert!(before[0].signal(Signal::SIGKILL));
    master.wait_until("a killed worker is replaced", LIMIT, || {
        let now = master.workers();
        now.len() == before.len() && !now.contains(&before[0])
    });
}

#[track_caller]
fn assert_served(master: &Master) {
    assert!(master.control(STATE).starts_with("---%0Amessage: |%0A  ---%0A  :state:%0A"));
}

/// What a worker or its client library sends; the connection is closed without an answer.
#[track_caller]
fn tell(master: &Master, line: &str) {
    let mut client = master.connect();
    client.send(line);
    assert_eq!(client.receive(), None, "{line} was answered");
}

/// The texts of the master's lines from the first that has `from` in it, with these pids masked.
fn said_from(master: &Master, from: &str, workers: &[Process]) -> Vec<String> {
    master.log().settle();
    let prefix = format!("[MASTER {}] ", master.pid());
    let lines = master.log().lines();
    let texts = lines.iter().filter_map(|line| line.strip_prefix(&prefix)).skip_while(|text| !text.contains(from));
    texts.map(|text| mask_pids(text, workers)).collect()
}

fn mask_pids(text: &str, workers: &[Process]) -> String {
    let pairs = workers.iter().enumerate();
    pairs.fold(text.to_owned(), |text, (at, worker)| text.replace(&worker.to_string(), &format!("<PID{}>", at + 1)))
}

/// In einhorn's words, as recorded of it; only the number of the client is written in another way.
#[test]
fn acks_are_taken_as_einhorn_takes_them() {
    let (master, workers) = start("");
    let (one, two) = (workers[0], workers[1]);
    for line in [
        format!("{{\"command\":\"worker:ack\", \"pid\":{one}}}"),
        format!("{{\"command\":\"worker:ack\", \"pid\":{one}}}"),
        format!("---%0Acommand: worker:ack%0Apid: {two}%0A"),
        r#"{"command":"worker:ack", "pid":999999999}"#.to_owned(),
        r#"{"command":"worker:ack"}"#.to_owned(),
        format!("{{\"command\":\"worker:ack\", \"pid\":{one}, \"id\":3}}"),
        format!("{{\"command\":\"worker:ping\",\"pid\":{one},\"request_id\":\"r-1\"}}"),
        r#"{"command":"worker:ping","pid":999999999,"request_id":"r-1"}"#.to_owned(),
        r#"{"command":"worker:ping"}"#.to_owned(),
    ] {
        tell(&master, &line);
    }
    master.wait_for_log("Invalid request (no pid): {\"command\"=>\"worker:ping\"}", 1);
    let said: Vec<_> = said_from(&master, "manual ACK", &workers);
    let (clients, others): (Vec<_>, Vec<_>) = said.into_iter().partition(|text| text.starts_with("ERROR: [client "));
    let expected = [
        "INFO: Received a manual ACK from <PID1>",
        "INFO: Up to 1 / 2 manual ACKs",
        "INFO: Received a manual ACK from <PID1>",
        "ERROR: Pid <PID1> already ACKed; ignoring new ACK.",
        "INFO: Received a manual ACK from <PID2>",
        "INFO: Up to 2 / 2 manual ACKs",
        "INFO: Received a manual ACK from 999999999",
        "ERROR: Could not find state for PID 999999999; ignoring ACK.",
        "INFO: Received a manual ACK from <PID1>",
        "ERROR: Pid <PID1> already ACKed; ignoring new ACK.",
        "ERROR: Could not find state for PID 999999999; ignoring ACK.",
    ];
    assert_eq!(others, expected);
    let ends = [
        r#"] Invalid request (no pid): {"command"=>"worker:ack"}"#,
        r#"] Invalid request (no pid): {"command"=>"worker:ping"}"#,
    ];
    assert!(clients.len() == 2 && clients.iter().zip(ends).all(|(text, end)| text.ends_with(end)), "{clients:?}");
}

// E23, as far as it speaks of pids as strings.
#[test]
fn a_pid_may_be_a_string() {
    let (master, workers) = start("");
    tell(&master, &format!("{{\"command\":\"worker:ack\",\"pid\":\"{}\"}}", workers[1]));
    master.wait_for_log(&format!("Received a manual ACK from {}", workers[1]), 1);
    master.wait_for_log("Up to 1 / 2 manual ACKs", 1);
}

#[test]
fn an_ack_under_a_timer_is_ignored_with_einhorns_words() {
    for (options, shown) in [("-m 1000", "1000.0"), ("-m 500.5", "500.5")] {
        let master = Setup::new(options).program(["sleep", "1000"]).start();
        let workers = master.wait_for_workers(1);
        tell(&master, &format!("{{\"command\":\"worker:ack\", \"pid\":{}}}", workers[0]));
        let expected = format!(
            "ERROR: Received a manual ACK for <PID1>, but ack_mode is {{:type=>:timer, :timeout=>{shown}}}. Ignoring ACK."
        );
        master.wait_for_log("Ignoring ACK.", 1);
        assert_eq!(said_from(&master, "manual ACK", &workers), [expected]);
        assert!(message(&master).contains(":acked: false"));
    }
}

/// The state document, taken out of its message.
#[track_caller]
fn message(master: &Master) -> String {
    let reply = decoded(&master.control(STATE));
    let body = reply.strip_prefix("---\nmessage: |\n").and_then(|rest| rest.strip_suffix("request_id: 1\n"));
    body.unwrap_or_else(|| panic!("{reply}")).lines().map(|line| format!("{}\n", &line[2..])).collect()
}

/// With what differs from run to run masked as in the recorded documents: pids, times, ports, and the program's name.
fn masked(state: &str) -> String {
    let mut masked = String::new();
    let mut in_ports = false;
    for line in state.lines() {
        let pid = line.strip_prefix("    ").and_then(|rest| rest.strip_suffix(':'));
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok()) {
            masked.push_str("    <PID>:");
        } else if in_ports
            && line.strip_prefix("  - ").is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
        {
            masked.push_str("  - <PORT>");
        } else {
            masked.push_str(&mask_time(line).replace(crate::support::EINHYRNINGSINS, "<EINHORN>"));
        }
        masked.push('\n');
        in_ports = line == "  :bound_ports:" || (in_ports && line.starts_with("  - "));
    }
    masked
}

/// A time of Ruby's at the end of a line: `2026-11-23 17:53:00.123456789 +00:00`.
fn mask_time(line: &str) -> String {
    const SHAPE: &str = "0000-00-00 00:00:00.000000000 +00:00";
    let Some(start) = line.len().checked_sub(SHAPE.len()).filter(|start| line.is_char_boundary(*start)) else {
        return line.to_owned();
    };
    let shape: String = line[start..].chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if shape == SHAPE { format!("{}<TIME>", &line[..start]) } else { line.to_owned() }
}

/// The state is what was recorded of einhorn, but for these lines, each with what stands here instead.
#[track_caller]
fn assert_recorded(master: &Master, recorded: &str, differences: &[(&str, &str)]) {
    let expected = differences.iter().fold(recorded.to_owned(), |text, (theirs, ours)| {
        assert!(text.contains(theirs), "nothing differs in {theirs:?}");
        text.replace(theirs, ours)
    });
    let found = masked(&message(master));
    let pairs = found.lines().zip(expected.lines());
    let wrong: Vec<_> = pairs.filter(|(found, expected)| found != expected).collect();
    assert!(found == expected, "found, expected: {wrong:#?}\nthe whole:\n{found}");
}

/// A master that runs `./worker` with this text, as the recorded one did.
fn recorded_setup(options: &str, text: &str) -> Setup {
    // The recordings show a command line for the re-exec, which einhorn has only if it was given one.
    let setup = Setup::new(options).word("--reexec-as").word(crate::support::EINHYRNINGSINS);
    let worker = setup.write("worker", text);
    fs::set_permissions(worker, Permissions::from_mode(0o755)).unwrap();
    setup.program(["./worker"])
}

#[test]
fn the_state_is_einhorns() {
    let master = recorded_setup("-n 2 -b 127.0.0.1:0,r,n -b localhost:0", "exec sleep 1000").start();
    // By then the answer is the same however late it comes.
    master.wait_for_log("Up to 2 / 2 timer ACKs", 1);
    let differences = [
        (":backlog: 100\n", ":backlog: 1024\n"),
        ("  - 7\n  - 9\n", "  - 3\n  - 4\n"),
        (":acked: false\n", ":acked: true\n"),
    ];
    assert_recorded(&master, include_str!("../golden/state/two_binds.yaml"), &differences);
}

#[test]
fn the_state_shows_every_option_as_einhorn_does() {
    let options = "-n 1 -b 127.0.0.1:0 -l 7 -s 2 --max-unacked 3 --max-upgrade-additional 4 --gc-before-fork -q \
                   -m manual -k -g --nice 0:0 --drop-env-var A --drop-env-var B -t 9";
    let setup = recorded_setup(options, "exec sleep 1000").named("nm");
    let master = setup.start();
    let worker = master.wait_for_workers(1)[0];
    tell(&master, &format!("{{\"command\":\"worker:ack\",\"pid\":{worker}}}"));
    tell(&master, &format!("{{\"command\":\"worker:ping\",\"pid\":{worker},\"request_id\":\"req-1\"}}"));
    assert_recorded(&master, include_str!("../golden/state/all_options.yaml"), &[("  - 7\n", "  - 3\n")]);
}

/// HUP does not re-execute the master yet, so that its generation stays.
#[test]
fn the_state_after_a_smooth_upgrade_is_einhorns() {
    let master = recorded_setup("-n 2 -s 0.1 -m manual", "trap '' USR2; exec sleep 1000").start();
    let mut acked: Vec<Process> = Vec::new();
    let mut ack_all = |count: usize| {
        master.wait_until(&format!("{count} workers are acked"), LIMIT, || {
            let new: Vec<_> = master.workers().into_iter().filter(|worker| !acked.contains(worker)).collect();
            new.iter().for_each(|worker| tell(&master, &format!("{{\"command\":\"worker:ack\",\"pid\":{worker}}}")));
            acked.extend(new);
            acked.len() == count
        });
    };
    ack_all(2);
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    // Each has to ignore the signal before it may be sent one.
    master.wait_until("both ignore USR2", LIMIT, || {
        master.workers().iter().all(|worker| worker.ignored().contains(Signal::SIGUSR2))
    });
    master.signal(Signal::SIGHUP);
    ack_all(4);
    master.wait_for_log("Upgraded successfully", 1);
    master.wait_until("all old ones are told", LIMIT, || message(&master).matches("USR2: true").count() == 2);
    let differences = [(":backlog: 100\n", ":backlog: 1024\n")];
    assert_recorded(&master, include_str!("../golden/state/after_upgrade.yaml"), &differences);
}

#[test]
fn a_ping_shows_in_the_state_with_the_latest_request() {
    let (master, workers) = start("");
    assert!(!message(&master).contains("pinged"));
    for id in ["\"r-1\"", "\"r 2\"", "7"] {
        tell(&master, &format!("{{\"command\":\"worker:ping\",\"pid\":{},\"request_id\":{id}}}", workers[0]));
    }
    let state = masked(&message(&master));
    assert!(state.contains("      :pinged_at: <TIME>\n      :pinged_request_id: '7'\n"), "{state}");
    assert_eq!(state.matches("pinged_at").count(), 1);
}

// Failure mode 74.
#[test]
fn a_long_request_id_is_cut() {
    let (master, workers) = start("");
    let id = "é".repeat(20_000);
    tell(&master, &format!("{{\"command\":\"worker:ping\",\"pid\":{},\"request_id\":\"{id}\"}}", workers[0]));
    let state = message(&master);
    let kept = state.matches('é').count();
    assert!((1..=1000).contains(&kept), "{kept} characters are kept");
}

#[test]
fn requests_may_come_in_pieces_or_together() {
    let (master, workers) = start("");
    let mut client = master.connect();
    for byte in format!("{STATE}\n").bytes() {
        client.send_bytes(&[byte]);
    }
    assert!(client.receive().unwrap().ends_with("%0Arequest_id: 1%0A"));
    let together: String = (2..=50).map(|id| format!("{{\"command\":\"state\",\"id\":{id}}}\n")).collect();
    client.send_bytes(together.as_bytes());
    for id in 2..=50 {
        assert!(client.receive().unwrap().ends_with(&format!("%0Arequest_id: {id}%0A")), "in their order");
    }
    // What follows an ack on its connection is not looked at.
    client.send_bytes(format!("{STATE}\n{{\"command\":\"worker:ack\",\"pid\":{}}}\n{STATE}\n", workers[0]).as_bytes());
    assert!(client.receive().unwrap().contains(":state:"));
    assert_eq!(client.receive(), None);
    master.wait_for_log("Received a manual ACK from", 1);
}

/// A worker in a shell may write and leave: what it asked is done, and a client that still listens is answered.
#[test]
fn a_client_that_writes_and_leaves_is_heard() {
    let (master, workers) = start("");
    stream(&master).write_all(format!("{{\"command\":\"worker:ack\",\"pid\":{}}}\n", workers[0]).as_bytes()).unwrap();
    master.wait_for_log(&format!("Received a manual ACK from {}", workers[0]), 1);
    let mut client = stream(&master);
    client.write_all(format!("{STATE}\n{STATE}\n").as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut replies = String::new();
    client.read_to_string(&mut replies).unwrap();
    assert_eq!(replies.lines().count(), 2, "{replies}");
    // Half a request at the end is none.
    stream(&master).write_all(b"{\"command\":\"worker:ack\",").unwrap();
    assert_served(&master);
}

#[test]
fn unparseable_requests_are_answered_in_einhorns_words() {
    let (master, _) = start("");
    for (request, reply) in [
        ("no such thing", "---%0Amessage: Could not parse command%0A"),
        ("[1, 2]", "---%0Amessage: Could not parse command%0A"),
    ] {
        assert_eq!(master.control(request), reply);
    }
    let nothing = master.control(r#"{"id": 5}"#);
    assert!(nothing.contains("No \"command\" parameter provided; not sure what you want me to do."), "{nothing}");
    assert!(nothing.ends_with("%0Arequest_id: 5%0A"));
    assert!(master.control(r#"{"command": "no-such"}"#).contains("Unrecognized command: \"no-such\""));
}

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
    master.wait_until("a later client is served", LIMIT, || {
        let mut client = stream(&master);
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
    master.wait_until("a later client is served", LIMIT, || {
        let mut client = stream(&master);
        let sent = client.write_all(format!("{STATE}\n").as_bytes());
        sent.is_ok() && client.read_exact(&mut [0; 9]).is_ok()
    });
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
fn another_user_is_refused_by_the_mode_and_by_who_he_is() {
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
