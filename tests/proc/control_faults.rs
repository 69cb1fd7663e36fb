//! einhorn's faults on the control socket, each shown to be absent: clients wait for ever for upgrades that cannot come,
//! `config` cannot set what it offers to set, the socket is lost for good once its file is. Hostile lines have their own file.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use nix::sys::signal::Signal;

use crate::support::{ControlClient, LIMIT, Master, Process, Setup, Strace, decoded};

const WORKERS: usize = 3;

/// Acks, once it serves, at the socket's path as it is then; stays. `again` in its directory makes it ack again.
const ACK_LATE: &str = r#"
import json, os, socket, time
while not os.path.exists("serve"):
    time.sleep(0.01)
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ["EINHORN_SOCK_PATH"])
connection.sendall((json.dumps({"command": "worker:ack", "pid": os.getpid()}) + "\n").encode())
time.sleep(1000)
"#;

fn sleepers(options: &str) -> Master {
    let master = Setup::new("-n 3 -m 0 -s 0.05").options(options).program(["sleep", "1000"]).start();
    master.wait_for_workers(WORKERS);
    master.wait_for_socket();
    master
}

/// Workers that ack when there is a file `serve`, and not before.
fn acking(options: &str) -> Setup {
    Setup::new("-m manual -s 0.05").options(options).program(["python3", "-c", ACK_LATE])
}

fn status(master: &Master) -> String {
    master.control("{command: status, format: json}")
}

/// The next answer, decoded.
#[track_caller]
fn receive(client: &mut ControlClient) -> String {
    decoded(&client.receive().expect("the master closed the connection"))
}

/// E09: with Ruby's, the client waits for ever.
#[test]
fn a_refused_upgrade_is_told_to_its_client_and_ends_the_wait() {
    let setup = Setup::new("-n 1 -m 0");
    let program = setup.directory().join("prog");
    std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
    let master = setup.program([program.as_os_str(), "1000".as_ref()]).start();
    let workers = master.wait_for_workers(1);
    let mut bystander = master.connect();
    fs::remove_file(&program).unwrap();
    for (refused, command, said) in [(2, "upgrade", "smoothly"), (4, "upgrade_fleet", "fleet")] {
        let mut client = master.connect();
        client.send(&format!("{{command: {command}, id: mine}}"));
        let first = format!("---\nmessage: Upgrading {said}, as commanded\nrequest_id: mine\nwait: true\n");
        let last = format!(
            "---\nmessage: 'Upgrade failed: cannot run {}: no such file'\nrequest_id: mine\n",
            program.display()
        );
        assert_eq!([receive(&mut client), receive(&mut client)], [first, last]);
        // Nothing more for this id, whatever happens from now on.
        master.signal(Signal::SIGHUP);
        master.wait_for_log("Upgrade refused, nothing was changed", refused);
        client.send("{command: ehlo, user: next, id: 2}");
        assert!(receive(&mut client).contains("Welcome, next!"));
    }
    bystander.send("{command: ehlo, user: bystander}");
    assert!(receive(&mut bystander).contains("Welcome, bystander!"));
    assert_eq!(master.workers(), workers);
}

/// E10: with Ruby's, upgrade and client wait for ever.
#[test]
fn an_upgrade_that_never_acks_fails_after_its_timeout() {
    let master = acking("-n 1 --ack-timeout 20").start();
    let old = master.wait_for_workers(1);
    fs::write(master.file("serve"), "").unwrap();
    master.wait_for_log("Up to 1 / 1 manual ACKs", 1);
    fs::remove_file(master.file("serve")).unwrap();
    master.control("{command: config, args: ['ack_timeout: 0.2']}");
    let mut client = master.connect();
    client.send("{command: upgrade, id: 5, format: json}");
    let verdict = "Upgrade failed: 3 new workers in a row died or did not ACK, version 0 goes on";
    let mut news = vec![receive(&mut client)];
    while news.last().unwrap().contains("\"wait\":true") {
        news.push(receive(&mut client));
    }
    let last: serde_json::Value = serde_json::from_str(news.last().unwrap()).unwrap();
    assert_eq!((&last["request_id"], &last["wait"]), (&5.into(), &serde_json::Value::Null), "{news:?}");
    let lines: Vec<&str> = last["message"].as_str().unwrap().lines().collect();
    assert_eq!((lines.len(), lines[0], lines[2]), (3, verdict, "The log: standard error of the master"), "{news:?}");
    assert!(lines[1].starts_with("Worker ") && lines[1].contains(") sent no ack within "), "{news:?}");
    let seconds = |line: &String| line.split_once("sent no ACK within ")?.1.split_once('s')?.0.parse::<f64>().ok();
    let waits: Vec<f64> = news.iter().filter_map(seconds).collect();
    // How much later it is seen is the scheduler's affair; by the timeout before it would have been 20 seconds.
    assert!(waits.len() == 3 && waits.iter().all(|waited| (0.2..20.0).contains(waited)), "{news:?}");
    assert_eq!(master.wait_for_workers(1), old);
}

fn config(master: &Master, setting: &str) -> String {
    decoded(&master.control(&format!("{{command: config, args: [\"{setting}\"]}}")))
}

/// A worker acks once. What fails on the way for a moment must not lose it.
#[test]
fn an_ack_arrives_though_calls_fail_on_its_way() {
    for fault in
        ["recvfrom:error=ENOMEM", "recvfrom:error=ECONNRESET", "getsockopt:error=EPERM", "accept4:error=EMFILE"]
    {
        let master = acking("-n 1").start();
        master.wait_for_workers(1);
        let control = master.wait_for_thread("control");
        let strace = Strace::attach_to_thread(&master, control, &["-e", &format!("inject={fault}:when=1..3")]);
        fs::write(master.file("serve"), "").unwrap();
        master.wait_for_log("Up to 1 / 1 manual ACKs", 1);
        let calls = strace.detach();
        assert!(calls.iter().any(|line| line.contains("(INJECTED)")), "{fault} was not put in: {calls:?}");
    }
}

/// E16: with Ruby's, `config` always fails.
#[test]
fn config_sets_the_number_of_workers_and_the_pace() {
    let master = Setup::new("-n 1 -m 0 -s 1000").program(["sleep", "1000"]).start();
    master.wait_for_workers(1);
    assert_eq!(config(&master, "number: 3"), "---\nmessage: 'Successfully merged in config: {\"number\"=>3}'\n");
    assert!(status(&master).contains("\"target\":3,"));
    assert_eq!(master.workers().len(), 1, "the pace should still be one in a thousand seconds");
    let reply = config(&master, ":seconds: 0.05");
    assert_eq!(reply, "---\nmessage: 'Successfully merged in config: {:seconds=>0.05}'\n");
    master.wait_for_workers(3);
    config(&master, "number: 2");
    master.wait_for_workers(2);
}

/// E16.
#[test]
fn config_sets_the_signal_timeout_of_workers_that_are_told_to_go_later() {
    let master = Setup::new("-n 2 -m 0").script("trap '' USR2; while :; do sleep 1; done").start();
    let workers = master.wait_for_workers(2);
    // One that is told before it ignores the signal dies of it.
    let ignores = |worker: &Process| worker.ignored().contains(Signal::SIGUSR2);
    master.wait_until("both ignore it", LIMIT, || workers.iter().all(ignores));
    config(&master, ":signal_timeout: 1");
    master.control("{command: dec}");
    assert!(!master.wait_for_log("SIGKILL", 1).is_empty());
    master.wait_for_workers(1);
}

/// E16: all or nothing, and by name.
#[test]
fn config_refuses_what_is_not_on_its_list_and_then_changes_nothing() {
    let master = sleepers("");
    let before = settings(&master);
    for (given, refused) in [
        ("{number: 2, cmd: [/bin/sh]}", "Refused key :cmd:"),
        ("{number: 2, :reexec_commandline: [/bin/sh]}", "Refused key :reexec_commandline:"),
        ("{config: {number: 2, :kill_children_on_exit: true}}", "Refused key :kill_children_on_exit:"),
        ("{number: 2, seconds: 0}", "Refused value 0 of :seconds:"),
        ("{number: 2, seconds: .nan}", "Refused value NaN of :seconds:"),
        ("{number: 2, signal_timeout: -1}", "Refused value -1 of :signal_timeout:"),
        ("{number: 100001}", "Refused value 100001 of :number:"),
        ("{number: 2, verbosity: 3}", "Refused value 3 of :verbosity:"),
        ("{number: 2, retries: many}", "Refused value many of :retries:"),
        ("{number: 2, 7: 7}", "Refused key 7:"),
    ] {
        let reply = config(&master, given).replace('"', "");
        assert!(reply.contains(refused), "{given} was answered {reply}");
    }
    assert_eq!(settings(&master), before);
    assert_eq!(master.workers().len(), WORKERS);
}

/// The part of the state document that `config` may change.
fn settings(master: &Master) -> Vec<String> {
    let state = decoded(&master.control("{command: state}"));
    let keys =
        [":number:", ":seconds:", ":signal_timeout:", ":verbosity:", ":max_unacked:", ":cmd:", ":reexec_commandline:"];
    let mut found: Vec<_> =
        state.lines().filter(|line| keys.iter().any(|key| line.contains(key))).map(str::to_owned).collect();
    assert!(found.len() >= 5, "{state}");
    found.sort();
    found
}

/// E25. Failure mode 82. With Ruby's, no worker could ack any more, nor any client get in.
#[test]
fn a_removed_socket_comes_back_by_itself_and_acks_go_on() {
    let master = acking("-n 1").start();
    master.wait_for_workers(1);
    let mut old_client = master.connect();
    for times in 1..=3 {
        fs::remove_file(master.wait_for_socket()).unwrap();
        master.wait_for_log("was removed, made it anew", times);
        old_client.send("{command: ehlo, user: old}");
        assert!(receive(&mut old_client).contains("Welcome, old!"));
        assert!(master.control("{command: ehlo, user: new}").contains("Welcome, new!"));
    }
    fs::write(master.file("serve"), "").unwrap();
    master.wait_for_log("Up to 1 / 1 manual ACKs", 1);
    assert_ends_without_a_trace(&master);
}

#[track_caller]
fn assert_ends_without_a_trace(master: &Master) {
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!master.socket().exists(), "the socket is left behind");
    assert!(!master.file("einhorn.pid").exists(), "the pid file is left behind");
}

/// E25. Both are seen at the same time here: the connections, not accepted yet, and the loss of the file.
#[test]
fn clients_from_before_the_sockets_removal_are_served() {
    let master = sleepers("");
    let control = master.wait_for_thread("control");
    let strace = Strace::attach_to_thread(&master, control, &["-e", "inject=ppoll:delay_enter=1000000"]);
    // Ends the ppoll(2) that was under way; the next one is held.
    let mut clients = vec![master.connect()];
    clients[0].send("{command: ehlo, user: early}");
    master.wait_until("a ppoll is held", LIMIT, || strace.lines().len() >= 3);
    clients.extend((0..50).map(|_| master.connect()));
    fs::remove_file(master.socket()).unwrap();
    drop(strace);
    master.wait_for_log("was removed, made it anew", 1);
    for client in &mut clients {
        client.send("{command: ehlo, user: early}");
        assert!(receive(client).contains("Welcome, early!"));
    }
}

/// E25. Its access rights come back, too.
#[test]
fn a_renamed_socket_comes_back_at_its_place_with_its_rights() {
    use std::os::unix::fs::MetadataExt;
    let master = sleepers("--socket-mode 0620 --socket-group 65500");
    fs::rename(master.socket(), master.file("away")).unwrap();
    master.wait_for_log("was removed, made it anew", 1);
    let meta = fs::symlink_metadata(master.socket()).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.gid()), (0o620, 65_500));
    assert!(master.control("{command: ehlo, user: new}").contains("Welcome, new!"));
    assert_ends_without_a_trace(&master);
    assert!(master.file("away").exists(), "it was another process's by then");
}

/// E25. Its path may lead through links; that a link leads elsewhere takes the socket from its clients as its removal does.
#[test]
fn a_socket_behind_a_link_that_leads_elsewhere_comes_back() {
    let setup = Setup::new("-n 1 -m 0");
    let file = |name: &str| setup.directory().join(name);
    let (one, two, socket) = (file("one"), file("two"), file("first/way/s.sock"));
    for directory in [&one, &two] {
        fs::create_dir_all(directory.join("way")).unwrap();
    }
    let lead = {
        let directory = setup.directory().to_owned();
        move |link: &str, target: &str| {
            symlink(target, directory.join("new")).unwrap();
            fs::rename(directory.join("new"), directory.join(link)).unwrap();
        }
    };
    lead("second", "one");
    lead("first", "second");
    let master = setup.socket(socket).program(["sleep", "1000"]).start();
    master.wait_for_workers(1);
    master.wait_for_socket();
    // Another link to the same place takes nothing away, but is one that can lead elsewhere.
    lead("first", "./second");
    lead("second", "./one");
    assert!(master.control("{command: ehlo, user: same}").contains("Welcome, same!"));
    lead("second", "two");
    master.wait_for_log("was removed, made it anew", 1);
    assert!(master.control("{command: ehlo, user: new}").contains("Welcome, new!"));
    lead("first", "one");
    master.wait_for_log("was removed, made it anew", 2);
    assert!(master.control("{command: ehlo, user: new}").contains("Welcome, new!"));
    assert_ends_without_a_trace(&master);
}

/// E25. What stands in its place is another process's.
#[test]
fn a_file_in_the_sockets_place_is_left_alone_and_reported() {
    let master = sleepers("");
    let mut client = master.connect();
    fs::write(master.file("precious"), "precious").unwrap();
    fs::rename(master.file("precious"), master.socket()).unwrap();
    let said = master.wait_for_log("was removed: ", 1);
    assert!(said[0].contains("ERROR") && said[0].contains("there is a regular file"), "{said:?}");
    client.send("{command: ehlo, user: old}");
    assert!(receive(&mut client).contains("Welcome, old!"));
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(fs::read_to_string(master.socket()).unwrap(), "precious");
}

/// E25, another master's.
#[test]
fn a_living_socket_in_its_place_is_left_alone_and_reported() {
    let master = sleepers("");
    let other = UnixListener::bind(master.file("other.sock")).unwrap();
    fs::rename(master.file("other.sock"), master.socket()).unwrap();
    master.wait_for_log("was removed: ", 1);
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    let client = std::os::unix::net::UnixStream::connect(master.socket());
    assert!(client.is_ok(), "its file was taken from the other");
    drop(other);
}

/// E25: once the place is free again, the socket is back, after a while.
#[test]
fn the_socket_comes_back_when_its_place_is_free_again() {
    let master = sleepers("");
    fs::write(master.file("precious"), "precious").unwrap();
    fs::rename(master.file("precious"), master.socket()).unwrap();
    master.wait_for_log("was removed: ", 1);
    fs::remove_file(master.socket()).unwrap();
    master.wait_until("it is made anew", LIMIT * 2, || master.log().count("was removed, made it anew") > 0);
    assert!(master.control("{command: ehlo, user: new}").contains("Welcome, new!"));
    assert_ends_without_a_trace(&master);
}

/// E32: Ruby's answers `No args provided`, though its own help says that none are needed.
#[test]
fn die_without_arguments_ends_the_master_with_usr2() {
    for request in
        ["{\"command\": \"die\"}", "{\"command\": \"die\", \"args\": null}", "{\"command\": \"die\", \"args\": []}"]
    {
        let master =
            Setup::new("-n 1").script("trap 'echo usr2; exit' USR2; echo up; while :; do sleep 0.05; done").start();
        master.wait_until("the worker is up", LIMIT, || master.stdout().contains("up\n"));
        assert_eq!(master.control(request), "---%0Amessage: 'Einhorn is going down! '%0A");
        assert_eq!(master.wait_exit().code(), Some(0));
        assert_eq!(master.stdout(), "up\nusr2\n");
    }
}

/// E32, when there is hardly time for it: the workers are gone before the control thread comes to write.
#[test]
fn the_last_words_are_written_before_the_master_ends() {
    let master = endless_upgrade_of_sleepers();
    let mut waiting = master.connect();
    waiting.send("{command: upgrade, id: 1, format: json}");
    master.wait_for_log("===> Launched", 2);
    let control = master.wait_for_thread("control");
    let _slow = Strace::attach_to_thread(&master, control, &["-e", "inject=ppoll:delay_exit=200000"]);
    assert_eq!(master.control("{command: die, args: [KILL]}"), "---%0Amessage: 'Einhorn is going down! '%0A");
    while receive(&mut waiting) != "{\"message\":\"Upgrade failed: einhorn is going down\",\"request_id\":1}" {}
    assert_eq!(master.wait_exit().code(), Some(0));
}

/// Its upgrade does not end, for its workers never ack.
fn endless_upgrade_of_sleepers() -> Master {
    let master = Setup::new("-n 1 -m manual").program(["sleep", "1000"]).start();
    master.wait_for_workers(1);
    master
}

/// E32: the replies as they were recorded of Ruby's.
#[test]
fn signal_and_die_reply_as_recorded() {
    let master = sleepers("");
    for (request, reply) in [
        ("{\"command\": \"die\", \"args\": [\"NOPE\"]}", "---%0Amessage: 'Invalid signal: \"NOPE\"'%0A"),
        ("{\"command\": \"signal\", \"args\": [\"CONT\"]}", "---%0Amessage: ''%0A"),
        ("{\"command\": \"signal\"}", "---%0Amessage: No args provided%0A"),
        (
            "{\"command\": \"die\", \"args\": [\"sigterm\"], \"id\": 2}",
            "---%0Amessage: 'Einhorn is going down! '%0Arequest_id: 2%0A",
        ),
    ] {
        assert_eq!(master.control(request), reply, "{request}");
    }
    assert_eq!(master.wait_exit().code(), Some(0));
}

/// Without memory poll(2) fails at once, and would be called again without end. Each failure is followed by a rest, in which the
/// thread waits for a signal.
#[test]
fn the_control_thread_rests_each_time_poll_fails() {
    const FAILURES: usize = 20;
    let master = sleepers("");
    let faults = ["-e", "trace=ppoll,rt_sigtimedwait", "-e", "inject=ppoll:error=ENOMEM"];
    let failures = |lines: &[String]| lines.iter().filter(|line| line.contains("ENOMEM")).count();
    let strace = Strace::attach_to_thread(&master, master.wait_for_thread("control"), &faults);
    // Its wait under way has an end, and the next one fails.
    let mut client = master.connect();
    client.send("{command: ehlo, user: me}");
    master.wait_until("poll fails", LIMIT, || failures(&strace.lines()) >= FAILURES);
    let lines = strace.detach();
    assert!(receive(&mut client).contains("Welcome, me!"));
    let calls: Vec<&String> =
        lines.iter().filter(|line| line.contains("ppoll(") || line.contains("timedwait(")).collect();
    for pair in calls.windows(2).filter(|pair| pair[0].contains("ENOMEM")) {
        assert!(pair[1].contains("rt_sigtimedwait("), "no rest between {} and {}", pair[0], pair[1]);
    }
}
