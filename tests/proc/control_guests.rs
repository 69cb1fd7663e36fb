//! Guests of the control socket, who may ack and ping and get no reply that they would have to wait for: however much they say,
//! admins and acks are heard.

use crate::support::{ControlClient, Crowd, LIMIT, Master, OTHER_UID, Setup, Strace, Stranger, Vitals};

const WORKERS: usize = 3;

/// A ping for a worker that is not there.
const PING: &str = r#"{"command": "worker:ping", "pid": 999999, "request_id": "x"}"#;

/// A worker that acks once, by the socket.
const ACK_AND_STAY: &str = r#"
import os, signal, socket
client = socket.socket(socket.AF_UNIX)
client.connect(os.environ["EINHORN_SOCK_PATH"])
client.sendall(b'{"command": "worker:ack", "pid": %d}\n' % os.getpid())
client.recv(1)
signal.pause()
"#;

fn sleepers() -> Master {
    let options = "-n 3 --socket-mode 0666";
    let master = Setup::new(options).open_to_all().program(["sleep", "1000"]).start();
    master.wait_for_workers(WORKERS);
    master.wait_for_socket();
    master
}

/// Three processes of another user that ping as fast as they can, until these are dropped.
fn pestered(master: &Master) -> [Crowd; 3] {
    [(); 3].map(|()| Stranger::in_groups(OTHER_UID, &[]).pester(master.socket(), PING))
}

/// How many processes an ack or a ping has looked up on the main thread so far.
fn looked_up(strace: &Strace) -> usize {
    strace.lines().iter().filter(|line| line.contains("/stat\"")).count()
}

/// Guests say without end what only the main thread can judge, and get no reply that they would have to wait for. Each look at a
/// process takes the main thread five milliseconds here, so that its work for guests can be counted while an admin waits.
#[test]
fn an_admin_does_not_wait_for_the_pings_of_guests() {
    /// The tickets of the control thread, one more round of them while the request is on its way, and as many ancestors as are looked
    /// up for each.
    const LOOKED_UP_MAX: usize = (8 + 8) * 8;
    let master = sleepers();
    let vitals = Vitals::take(&master, WORKERS);
    let mut admin: ControlClient = master.connect();
    let delay = ["-e", "trace=openat", "-e", "inject=openat:delay_enter=5000"];
    let strace = Strace::attach_to_thread(&master, master.process(), &delay);
    let guests = pestered(&master);
    for round in 1..=5 {
        let before = looked_up(&strace);
        master.wait_until("the guests are heard", LIMIT, || looked_up(&strace) > before + 100);
        let before = looked_up(&strace);
        admin.send(&format!("{{command: ehlo, user: round {round}}}"));
        assert!(admin.receive().unwrap().contains(&format!("Welcome, round {round}!")));
        let meanwhile = looked_up(&strace) - before;
        assert!(meanwhile <= LOOKED_UP_MAX, "the admin waited for {meanwhile} looks at processes of guests");
    }
    drop(guests);
    drop(strace);
    assert!(master.log().count("may not speak for worker 999999") <= 2);
    vitals.check();
}

/// An upgrade goes on beside them, and acks of workers that are guests themselves are heard.
#[test]
fn workers_of_another_user_ack_while_guests_of_that_user_ping_without_end() {
    // All 64 places of the user are taken, and a worker gets one.
    let setup = Setup::new("-n 2 -m manual --socket-mode 0666").open_to_all();
    setup.write("ack.py", ACK_AND_STAY);
    let script = "exec setpriv --reuid=65534 --regid=65534 --clear-groups python3 ack.py\n";
    let master = setup.script(script).start();
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    let _guests = pestered(&master);
    master.wait_for_log("may not speak for worker 999999", 1);
    assert!(master.control("{command: upgrade, id: 1}").contains("Upgrading smoothly"));
    master.wait_for_log("Up to 2 / 2 manual ACKs", 2);
}

/// So many users that each has less than a user may, and all together have every place that is not for admins.
#[test]
fn workers_ack_while_guests_of_many_users_hold_all_places() {
    const USERS: u32 = 6;
    const EACH: usize = 60;
    let setup = Setup::new("-n 2 -m manual --socket-mode 0666").open_to_all();
    setup.write("ack.py", ACK_AND_STAY);
    let script = "exec setpriv --reuid=65534 --regid=65534 --clear-groups python3 ack.py\n";
    let master = setup.script(script).start();
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    let mut crowds: Vec<_> =
        (0..USERS).map(|user| Stranger::of(65_500 + user, 65_534, &[]).crowd(master.socket(), EACH)).collect();
    assert!(crowds.iter_mut().all(|crowd| crowd.wait() == EACH));
    let a_client_had_no_place = || {
        let log = master.log();
        log.count("refused a control connection") + log.count("dropped, too many are connected") > 0
    };
    master.wait_until("all places are taken", LIMIT, a_client_had_no_place);
    assert!(master.control("{command: upgrade, id: 1}").contains("Upgrading smoothly"));
    master.wait_for_log("Up to 2 / 2 manual ACKs", 2);
}

/// What a guest could have written into the log without end: each of it is said once in a minute.
#[test]
fn guests_that_ask_without_end_are_logged_once_a_minute() {
    let master = sleepers();
    let guest = Stranger::in_groups(OTHER_UID, &[]);
    for _ in 0..5 {
        assert_eq!(guest.ask(master.socket(), &[r#"{"command": "worker:ack"}"#]), "");
        assert!(guest.ask(master.socket(), &["{command: state}"]).contains("Permission denied"));
    }
    assert_eq!(master.wait_for_log("Invalid request (no pid)", 1).len(), 1);
    assert_eq!(master.wait_for_log("asked for what only an admin may", 1).len(), 1);
}
