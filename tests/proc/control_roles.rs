//! Which client may say what on the control socket: decided by what the kernel knows of the other end, never by what it claims.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::support::{LIMIT, Master, OTHER_UID, Process, Setup, Stranger};

/// A group without members unless a test says so.
const GROUP: u32 = 65_500;

/// The reply to a client that may not.
const DENIED: &str = "Permission denied: uid 65534 may only ack and ping its worker";

/// What a worker runs: says each of its arguments, Python expressions, as a line of JSON on the control socket, writes
/// what comes back to its standard output, and stays.
const SAY: &str = r#"
import json, os, signal, socket, sys, time
def pid_of(index):
    while not os.path.exists(f"pid-{index}"):
        time.sleep(0.01)
    return int(open(f"pid-{index}").read())
if "EINHORN_SOCK_FD" in os.environ:
    connection = socket.socket(fileno=int(os.environ["EINHORN_SOCK_FD"]))
else:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["EINHORN_SOCK_PATH"])
connection.settimeout(30)
for line in sys.argv[1:]:
    connection.sendall((json.dumps(eval(line)) + "\n").encode())
connection.shutdown(socket.SHUT_WR)
while chunk := connection.recv(65536):
    os.write(1, chunk)
signal.pause()
"#;

const DROP_RIGHTS: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

const ACK_MYSELF: &str = "'{\"command\": \"worker:ack\", \"pid\": os.getpid()}'";

/// Workers that run this shell script, in which `say` stands for [`SAY`] and `drop_rights` for becoming another user. Each
/// leaves its pid, the one that the master knows, in a file first.
fn workers(options: &str, script: &str) -> Setup {
    let setup = Setup::new("-m manual").options(options).open_to_all();
    setup.write("say.py", SAY);
    let script = script.replace("say", "python3 say.py").replace("drop_rights", DROP_RIGHTS);
    setup.script(&format!("echo $$ > pid.$$; mv pid.$$ pid-$EINHORN_CHILD_INDEX\n{script}\n"))
}

/// The worker with this index, as it said itself.
fn worker(master: &Master, index: u32) -> Process {
    let file = master.file(&format!("pid-{index}"));
    master.wait_until("the worker says its pid", LIMIT, || file.exists());
    Process(std::fs::read_to_string(file).unwrap().trim().parse().unwrap())
}

/// Waits until exactly this worker has been acked, alone.
#[track_caller]
fn wait_for_ack(master: &Master, index: u32) {
    let acked = format!("Received a manual ACK from {}", worker(master, index));
    master.wait_for_log(&acked, 1);
    master.wait_for_log("Up to 1 / ", 1);
    master.log().settle();
    assert_eq!(master.log().count("Received a manual ACK from"), 1, "the log:\n{}", master.log());
}

fn sleepers(options: &str) -> Master {
    let master = Setup::new("-n 2 -m manual").options(options).open_to_all().program(["sleep", "1000"]).start();
    master.wait_for_workers(2);
    master.wait_for_socket();
    master
}

fn guest() -> Stranger {
    Stranger::in_groups(OTHER_UID, &[])
}

#[test]
fn the_socket_is_for_its_own_user() {
    let master = sleepers("");
    assert_eq!(master.socket().metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(guest().ask(master.socket(), &["{command: state}"]), "cannot connect: Permission denied\n");
    assert!(Stranger::like_us().ask(master.socket(), &["{command: state}"]).contains(":children:"));
}

#[test]
fn mode_and_group_of_the_socket_are_as_configured() {
    for (options, mode, group) in [
        ("--socket-mode 0660", 0o660, nix::unistd::getgid().as_raw()),
        ("--socket-group 65500", 0o660, GROUP),
        ("--socket-group 65500 --socket-mode 0666", 0o666, GROUP),
    ] {
        let meta = sleepers(options).socket().metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.gid()), (mode, group), "{options}");
    }
}

/// A guest may do nothing in this table, and nothing comes of its tries.
#[test]
fn another_user_may_ask_for_nothing() {
    let master = sleepers("--socket-mode 0666");
    let workers = master.workers();
    let plain = [
        "ehlo",
        "help",
        "state",
        "status",
        "inc",
        "dec",
        "quieter",
        "louder",
        "reload",
        "upgrade",
        "upgrade_fleet",
        "die",
        "nonsense",
    ];
    let mut lines: Vec<_> = plain.iter().map(|command| format!("{{command: {command}, id: 1}}")).collect();
    lines.push("{command: signal, args: [KILL], id: 1}".to_owned());
    lines.push("{command: set_workers, args: ['7'], id: 1}".to_owned());
    lines.push("{command: die, args: [KILL], id: 1}".to_owned());
    lines.push("{command: config, args: ['number: 7'], id: 1}".to_owned());
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let answers = guest().ask(master.socket(), &lines);
    let expected = format!("---%0Amessage: '{DENIED}'%0Arequest_id: 1%0A\n").repeat(lines.len());
    assert_eq!(answers, expected);
    assert!(master.control("{command: status, format: json}").contains("\"target\":2,"));
    assert_eq!(master.workers(), workers);
    let said = master.wait_for_log("uid 65534, pid ", 1);
    assert!(said.len() == 1 && said[0].contains("asked for what only an admin may"), "{said:?}");
    assert_eq!(master.log().count("Starting smooth upgrade"), 0);
}

/// Failure mode 78.
#[test]
fn an_ack_from_a_process_that_is_no_worker_is_logged_once_a_minute() {
    let master = sleepers("--socket-mode 0666");
    let victim = master.workers()[0];
    for _ in 0..5 {
        let ack = format!("{{\"command\": \"worker:ack\", \"pid\": {victim}}}");
        let ping = format!("{{\"command\": \"worker:ping\", \"pid\": {victim}, \"request_id\": \"forged\"}}");
        assert_eq!(guest().ask(master.socket(), &[&ack]), "");
        assert_eq!(guest().ask(master.socket(), &[&ping]), "");
    }
    let status = master.control("{command: status, format: json}");
    assert!(status.contains("\"serving\":0,") && !status.contains("forged"), "{status}");
    let said = master.wait_for_log(&format!("may not speak for worker {victim}"), 1);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("uid 65534"));
    assert_eq!(master.log().count("Received a manual ACK"), 0);
}

/// As with einhorn, whose acks may come from a helper of the deployment's own.
#[test]
fn an_admin_may_ack_any_worker() {
    let master = sleepers("");
    let chosen = master.workers()[1];
    let ack = format!("{{\"command\": \"worker:ack\", \"pid\": {chosen}}}");
    assert_eq!(Stranger::like_us().ask(master.socket(), &[&ack]), "");
    master.wait_for_log(&format!("Received a manual ACK from {chosen}"), 1);
    master.wait_for_log("Up to 1 / 2 manual ACKs", 1);
}

#[test]
fn members_of_the_configured_group_may_do_everything() {
    let master = sleepers("--socket-group 65500");
    for (member, target) in
        [(Stranger::in_groups(GROUP, &[]), 3), (Stranger::in_groups(OTHER_UID, &[65_501, GROUP]), 4)]
    {
        let answers = member.ask(master.socket(), &["{command: inc}", "{command: state}"]);
        assert!(answers.contains(&format!(" -> {target}%0A")) && answers.contains(":children:"), "{answers}");
    }
    assert_eq!(guest().ask(master.socket(), &["{command: inc}"]), "cannot connect: Permission denied\n");
    assert!(master.control("{command: status, format: json}").contains("\"target\":4,"));
}

#[test]
fn a_client_let_in_by_the_mode_is_no_member_of_the_group() {
    let master = sleepers("--socket-group 65500 --socket-mode 0666");
    assert!(guest().ask(master.socket(), &["{command: inc}"]).contains(DENIED));
    assert!(Stranger::in_groups(OTHER_UID, &[65_501]).ask(master.socket(), &["{command: inc}"]).contains(DENIED));
    assert!(
        Stranger::in_groups(OTHER_UID, &[GROUP])
            .ask(master.socket(), &["{command: ehlo, user: m}"])
            .contains("Welcome")
    );
}

#[test]
fn a_worker_of_another_user_acks_and_pings_itself_and_no_more() {
    let ping = "'{\"command\": \"worker:ping\", \"pid\": os.getpid(), \"request_id\": \"beat\"}'";
    let ask = "'{\"command\": \"state\", \"id\": 7}'";
    // A ping ends its connection, and so does an ack.
    let script = format!("drop_rights say {ask} {ping} & drop_rights say {ACK_MYSELF} & wait");
    let master = workers("-n 1 --socket-mode 0666", &script).start();
    wait_for_ack(&master, 0);
    master.wait_until("the ping has come", LIMIT, || {
        master.control("{command: status, format: json}").contains("\"ping_id\":\"beat\"")
    });
    let denial = format!("---%0Amessage: '{DENIED}'%0Arequest_id: 7%0A\n");
    master.wait_until("it has written what it was told", LIMIT, || master.stdout().len() >= denial.len());
    assert_eq!(master.stdout(), denial);
}

/// Failure mode 78. E23.
#[test]
fn a_worker_of_another_user_may_not_ack_its_sibling() {
    let script = "[ $EINHORN_CHILD_INDEX = 0 ] && exec sleep 1000\n\
        exec drop_rights say '{\"command\": \"worker:ack\", \"pid\": pid_of(0)}'";
    let master = workers("-n 2 --socket-mode 0666", script).start();
    master.wait_for_log(&format!("may not speak for worker {}", worker(&master, 0)), 1);
    assert!(master.control("{command: status, format: json}").contains("\"serving\":0,"));
    assert_eq!(master.log().count("Received a manual ACK"), 0);
}

/// The connection was made by the master, so the kernel's word for it would be root: its maker decides, not its claim.
#[test]
fn a_connection_that_was_passed_on_speaks_for_its_worker_alone() {
    let script = "[ $EINHORN_CHILD_INDEX = 0 ] && exec sleep 1000\n\
        exec say '{\"command\": \"inc\", \"id\": 1}' '{\"command\": \"worker:ack\", \"pid\": pid_of(0)}'";
    let master = workers("-n 2 -g", script).start();
    wait_for_ack(&master, 1);
    master.wait_until("it is denied", LIMIT, || master.stdout().contains("Permission denied"));
    assert!(master.control("{command: status, format: json}").contains("\"target\":2,"));
}

#[test]
fn a_connection_that_was_passed_on_serves_a_worker_that_may_not_connect() {
    let master = workers("-n 1 -g", &format!("exec drop_rights say {ACK_MYSELF}")).start();
    wait_for_ack(&master, 0);
    assert_eq!(master.socket().metadata().unwrap().permissions().mode() & 0o7777, 0o600);
}

/// E23: with Ruby's, this ack is ignored for ever.
#[test]
fn an_ack_from_behind_a_wrapper_counts_for_the_worker() {
    for user in ["", "drop_rights"] {
        let master = workers("-n 1 --socket-mode 0666", &format!("{user} say {ACK_MYSELF}; true")).start();
        wait_for_ack(&master, 0);
    }
}

/// Failure mode 80. The worker is `unshare`; what acks is its child, the first process of a namespace of its own.
#[test]
fn an_ack_from_another_pid_namespace_counts_for_the_worker() {
    for user in ["", "drop_rights"] {
        let script = format!("exec unshare -fp {user} say {ACK_MYSELF}");
        let master = workers("-n 1 --socket-mode 0666", &script).start();
        wait_for_ack(&master, 0);
    }
}

/// Failure mode 80, and E23 within it: the second process of the namespace.
#[test]
fn an_ack_from_behind_a_wrapper_in_a_pid_namespace_counts() {
    let ack = "'\"'\"'{\"command\": \"worker:ack\", \"pid\": os.getpid()}'\"'\"'";
    let master = workers("-n 1", &format!("exec unshare -fp sh -c 'say {ack}; true'")).start();
    wait_for_ack(&master, 0);
}

/// E23: Ruby's looks for a worker with the key "123", and finds none.
#[test]
fn a_pid_may_be_given_as_a_string() {
    let ack = "'{\"command\": \"worker:ack\", \"pid\": str(os.getpid())}'";
    let master = workers("-n 1", &format!("exec say {ack}")).start();
    wait_for_ack(&master, 0);
}
