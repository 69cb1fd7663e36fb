//! A master of Ruby's einhorn is taken over, as its documents were recorded: by a small program that has its sockets and workers,
//! and becomes us with such a document. Ruby itself plays its part in `compat-tests`.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{ControlClient, LIMIT, Load, Master, Process, Setup, Target, ask, decoded, example, free_address};

/// Has a socket, a control socket, two workers and a client that waits, and becomes the rest of its arguments with the state in
/// `document`, in which it fills in who and what they are.
const FOREIGN: &str = r#"
import os, socket, subprocess, sys, time
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
host, port = open("address").read().split(":")
server.bind((host, int(port)))
server.listen(100)
control = socket.socket(socket.AF_UNIX)
control.bind(os.path.join(os.environ["TMPDIR"], "einhorn.sock"))
control.listen(5)
open("listening", "w").close()
while not os.path.exists("connected"):
    time.sleep(0.005)
clients = [control.accept()[0], control.accept()[0]]
open("einhorn.pid", "w").write(str(os.getpid()))
at = sys.argv.index("--")
command = sys.argv[at + 1:]
workers = []
for index in range(2):
    env = dict(os.environ, EINHORN_SOCK_PATH=control.getsockname(), EINHORN_MASTER_PID=str(os.getpid()), EINHORN_FD_COUNT="1", EINHORN_FD_0=str(server.fileno()),
               EINHORN_CHILD_INDEX=str(index))
    workers.append(subprocess.Popen(command, env=env, pass_fds=[server.fileno()], preexec_fn=os.setpgrp))
text = open("document").read()
places = {"4711": workers[0].pid, "4712": workers[1].pid, "<BIND>": server.fileno(), "<SERVER>": control.fileno(),
          "<CLIENT1>": clients[0].fileno(), "<CLIENT2>": clients[1].fileno(), "38211": port, "<HOST>": host,
          "<COMMAND>": "".join(f"  - \"{word}\"\n" for word in command)}
for place, number in places.items():
    text = text.replace(place, str(number))
data = bytearray(text.encode())
if os.path.exists("damage"):
    place = int(open("damage").read()) % len(data)
    data[place] ^= 1
reader, writer = os.pipe()
os.write(writer, data)
os.close(writer)
for fd in [reader, server.fileno(), control.fileno(), *(client.fileno() for client in clients)]:
    os.set_inheritable(fd, True)
os.execv(sys.argv[1], [sys.argv[1], "--with-state-fd", str(reader), "--"] + command)
"#;

/// The recorded document, with places for what is another each time; the workers of it are as ours.
fn document() -> String {
    let golden = include_str!("../golden/handoff/einhorn-1.1.1-busy.yaml");
    let fields = [
        ("  - - 127.0.0.1\n    - 0\n", "  - - <HOST>\n    - 38211\n"),
        (":bind_fds:\n  - 7\n", ":bind_fds:\n  - <BIND>\n"),
        (":server: 8\n", ":server: <SERVER>\n"),
        (":socket: 9\n", ":socket: <CLIENT1>\n"),
        (":socket: 10\n", ":socket: <CLIENT2>\n"),
        ("  - \"./worker\"\n", "<COMMAND>"),
        ("        hash:\n          USR2: true\n", "        hash: {}\n"),
        (":last_signaled_at: 2026-11-23 00:59:41.745983214 +00:00", ":last_signaled_at:"),
        (":number: 1\n", ":number: 2\n"),
        (":reexec_commandline:\n  - \"./dumper.sh\"\n", ":reexec_commandline:\n"),
    ];
    fields.into_iter().fold(golden.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in the document");
        text.replace(from, to)
    })
}

struct TakenOver {
    master: Master,
    workers: Vec<Process>,
    half: ControlClient,
    waiting: ControlClient,
}

/// With what of the document is to be another.
fn take_over(edit: impl FnOnce(String) -> String, damage: Option<usize>) -> (TakenOver, Target) {
    let worker = example("http_worker");
    let setup = Setup::new("").program([worker.as_os_str(), "--ack".as_ref(), "manual".as_ref()]).release("old");
    let address = free_address();
    setup.write("address", &address.to_string());
    setup.write("document", &edit(document()));
    if let Some(place) = damage {
        setup.write("damage", &place.to_string());
    }
    let socket = setup.directory().join("einhorn.sock");
    let master = setup.through(&["python3", "-c", FOREIGN]).start();
    master.wait_until("the foreign master listens", LIMIT, || master.file("listening").exists());
    let half = ControlClient::connect(&socket);
    let waiting = ControlClient::connect(&socket);
    fs::write(master.file("connected"), "").unwrap();
    master.wait_until("it has become us", LIMIT, || {
        let program = Process(master.pid()).program();
        !master.is_running() || program.is_some_and(|program| program.ends_with("einhyrningsins"))
    });
    master.wait_for_log("Using loaded state", 1);
    let workers = master.workers();
    (TakenOver { master, workers, half, waiting }, address.into())
}

#[test]
fn a_recorded_einhorn_amid_an_upgrade_is_taken_over() {
    let (TakenOver { master, mut half, mut waiting, .. }, target) = take_over(|text| text, None);
    let load = Load::start(target, 2);
    // The client that asked hears of it, under the id that it gave to Ruby.
    let news: Vec<String> = std::iter::from_fn(|| waiting.receive().map(|line| decoded(&line)))
        .take_while(|line| !line.contains("Upgrade done"))
        .collect();
    assert!(news[0].contains("Starting smooth upgrade from version 0..."), "{news:?}");
    assert!(news.iter().all(|line| line.contains("request_id: my id\n")), "{news:?}");
    // What another had half said to Ruby is `{"command":"eh`.
    half.send("lo\", \"user\": \"me\"}");
    assert!(decoded(&half.receive().unwrap()).contains("Welcome, me! You are speaking to Einhorn Master Process"));
    master.wait_for_log("===> Exited worker", 2);
    load.wait_for(20);
    load.stop().assert_nothing_lost();
    assert_eq!(master.workers().len(), 2);
    // The workers of this test ack late: to Ruby already, or when they are gone.
    let errors = master.log().with("ERROR").into_iter().filter(|line| !line.contains("; ignoring "));
    assert_eq!(errors.count(), 0, "{}", master.log());
    let state = decoded(&master.control("{command: state}"));
    for line in
        [":generation: 1", ":number: 2", ":backlog: 100", ":seconds: 0.1", ":signal_timeout: 30", ":type: :manual"]
    {
        assert!(state.contains(line), "{line} is not in {state}");
    }
    // From here on it is ours: it replaces itself, and ends as it should.
    master.reload();
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!master.file("einhorn.pid").exists() && !master.socket().exists());
}

/// What Ruby was asked is not what we can do: it is said, and the rest goes on.
#[test]
fn settings_of_einhorn_that_make_no_sense_are_named() {
    let edit = |text: String| {
        let text = text.replace(":reloading_for_upgrade: true", ":reloading_for_upgrade: false");
        let text = text.replace(":backlog: 100", ":backlog: 0").replace("    - []\n", "    - - tcp_nodelay\n");
        text.replace(":path:\n", ":path: app.rb\n")
    };
    let (TakenOver { master, workers, .. }, target) = take_over(edit, None);
    master.wait_for_log("--backlog 0: taken as 1", 1);
    master.wait_for_log(",tcp_nodelay means nothing here", 1);
    assert_eq!(ask(&target, "/x").unwrap().release, "old");
    workers[0].signal(Signal::SIGKILL);
    master.wait_for_log("Proceeding with postload -- could not load app.rb", 1);
    master.wait_for_log("Received a manual ACK", 1);
    assert_eq!(master.wait_for_workers(2).len(), 2);
}

/// Failure mode 42, as a last resort: with one byte wrong there may be nothing to read. Whatever it is, the service goes on.
#[test]
fn a_document_of_rubys_with_a_wrong_byte_never_ends_the_service() {
    let length = document().len();
    let seed = usize::try_from(std::process::id()).unwrap();
    println!("seed {seed}");
    for place in (0..24).map(|step| (seed * 7 + step * 97) % length) {
        let edit = |text: String| text.replace(":reloading_for_upgrade: true", ":reloading_for_upgrade: false");
        let (TakenOver { master, .. }, target) = take_over(edit, Some(place));
        assert!(ask(&target, "/x").is_ok(), "byte {place}: {}", master.log());
        let welcome = decoded(&master.control("{command: ehlo, user: me}"));
        assert!(welcome.contains("Welcome, me!"), "byte {place}: {welcome}");
        master.signal(Signal::SIGINT);
        assert!(master.wait_exit().code().is_some(), "byte {place}");
    }
}

#[test]
fn an_unreadable_state_is_salvaged() {
    let (TakenOver { master, workers, mut waiting, .. }, target) = take_over(|_| "rubbish: [".to_owned(), None);
    master.wait_for_log("going on with 2 workers and 1 sockets that are there, and with default options", 1);
    assert_eq!(ask(&target, "/x").unwrap().release, "old");
    // The state does not say what it waits for, so its connection is closed.
    assert_eq!(waiting.receive(), None);
    workers[0].signal(Signal::SIGKILL);
    master.wait_for_log("===> Launched", 1);
    let now = master.wait_for_workers(2);
    assert!(now.contains(&workers[1]));
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully to version 1", 1);
    assert_eq!(ask(&target, "/x").unwrap().release, "old");
}
