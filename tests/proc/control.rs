//! The control socket as its users meet it: acks, pings, questions in one piece or several. `state` has the tests of the state
//! document, `limits` those of clients that are slow, silent, mad or not allowed.

mod limits;
mod state;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use crate::support::{LIMIT, Master, Process, Setup, decoded};

pub(in crate::control) const STATE: &str = r#"{"command":"state","id":1}"#;

/// Sleeping workers, for which a client acks.
pub(in crate::control) fn start(options: &str) -> (Master, Vec<Process>) {
    let setup = Setup::new("-n 2 -m manual -s 0.01").options(options);
    let master = setup.program(["sleep", "1000"]).start();
    let workers = master.wait_for_workers(2);
    (master, workers)
}

pub(in crate::control) fn stream(master: &Master) -> UnixStream {
    let stream = UnixStream::connect(master.socket()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Kills a worker, and waits for another in its place.
#[track_caller]
pub(in crate::control) fn assert_supervised(master: &Master) {
    let before = master.workers();
    assert!(before[0].signal(Signal::SIGKILL));
    master.wait_until("a killed worker is replaced", LIMIT, || {
        let now = master.workers();
        now.len() == before.len() && !now.contains(&before[0])
    });
}

#[track_caller]
pub(in crate::control) fn assert_served(master: &Master) {
    assert!(master.control(STATE).starts_with("---%0Amessage: |%0A  ---%0A  :state:%0A"));
}

/// What a worker or its client library sends; the connection is closed without an answer.
#[track_caller]
pub(in crate::control) fn tell(master: &Master, line: &str) {
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
pub(in crate::control) fn message(master: &Master) -> String {
    let reply = decoded(&master.control(STATE));
    let body = reply.strip_prefix("---\nmessage: |\n").and_then(|rest| rest.strip_suffix("request_id: 1\n"));
    body.unwrap_or_else(|| panic!("{reply}")).lines().map(|line| format!("{}\n", &line[2..])).collect()
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
