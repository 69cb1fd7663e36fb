//! The configuration file, read again with each upgrade: what it says counts from then on, nothing is lost on the way, and
//! a file that cannot be used changes nothing.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    ControlClient, HeldRequest, Injection, LIMIT, Load, Master, Process, Setup, Target, ask, decoded, example,
    free_address, wait_until,
};

/// A file whose workers serve on these addresses, and whatever else it says.
pub(crate) fn file(addresses: &[SocketAddr], rest: &str) -> String {
    let binds: Vec<String> = addresses.iter().map(|address| format!("'{address},r'")).collect();
    let command = format!("command = ['{}', '--ack', 'manual']", example("http_worker").display());
    format!("{command}\nbind = [{}]\nack-mode = 'manual'\nseconds = 0.01\n{rest}", binds.join(", "))
}

pub(crate) fn start(text: &str) -> Master {
    let setup = Setup::new("--config web.toml").release("old");
    setup.write("web.toml", text);
    setup.start()
}

pub(crate) fn wait_for_first(master: &Master, count: usize) -> Vec<Process> {
    master.wait_for_log(&format!("Up to {count} / {count} manual ACKs"), 1);
    master.wait_for_workers(count)
}

/// Puts another file and release in place and upgrades to it.
pub(crate) fn upgrade(master: &Master, text: &str, release: &str, times: usize) {
    master.replace("web.toml", text);
    master.release(release);
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully to version", times);
}

fn variable(worker: Process, name: &str) -> Option<String> {
    worker.environ().get(name).cloned()
}

// Number 16 of what operators trip over. The old socket cannot be closed first: its queue would be lost.
#[test]
fn an_address_widened_at_its_port_is_refused_with_the_socket_that_has_it() {
    let address = free_address();
    let wide = SocketAddr::from(([0, 0, 0, 0], address.port()));
    for [from, to] in [[address, wide], [wide, address]] {
        let master = start(&file(&[from], "number = 1"));
        let workers = wait_for_first(&master, 1);
        master.replace("web.toml", &file(&[to], "number = 1"));
        master.signal(Signal::SIGHUP);
        let reason = format!(
            "cannot bind {to}: address already in use by our own socket of {from}, it takes a restart to have the one for the other"
        );
        master.wait_for_log(&reason, 1);
        assert_eq!(ask(&address.into(), "/x").unwrap().release, "old");
        assert_eq!(master.workers(), workers);
    }
    let setup = Setup::new("--config web.toml --check-config");
    setup.write("web.toml", &file(&[address, wide], ""));
    let refusal = setup.refused();
    let reason = format!("bind: {wide} and {address} cannot both be bound, one of them has the other's address");
    assert!(refusal.code == Some(100) && refusal.reason().ends_with(&reason), "{refusal:?}");
}

#[test]
fn reload_under_load_applies_every_kind_of_change_and_loses_nothing() {
    let (kept, added) = (free_address(), free_address());
    let master = start(&file(&[kept], "number = 2\nenv.set.COLOUR = 'red'"));
    let old = wait_for_first(&master, 2);
    let load = Load::start_on(kept, 4, "/slow?ms=5");
    load.wait_for_release("old", 20);
    let text = file(&[added, kept], "number = 3\nenv.set.COLOUR = 'blue'")
        .replace("'manual']", "'manual', '--ack-after', '1']");
    upgrade(&master, &text, "new", 1);
    load.wait_for_release("new", 20);
    master.wait_for_log("===> Exited worker", 2);
    let new = master.wait_for_workers(3);
    for worker in &new {
        assert!(!old.contains(worker));
        assert_eq!(variable(*worker, "COLOUR").as_deref(), Some("blue"));
        assert!(worker.command_line().contains(&"--ack-after".to_owned()));
        assert_eq!(variable(*worker, "EINHORN_FD_COUNT").as_deref(), Some("2"));
    }
    assert_eq!(ask(&added.into(), "/x").unwrap().release, "new");
    load.stop().assert_nothing_lost();
    for line in ["number: 2 -> 3 (web.toml:5)", "env.set.COLOUR: (a value) -> (another value) (web.toml:6)"] {
        assert_eq!(master.log().count(&format!("INFO: Configuration: {line}")), 1, "{}", master.log());
    }
    assert_eq!(master.log().count("WARN") + master.log().count("ERROR"), 0, "{}", master.log());
}

#[test]
fn a_request_on_a_dropped_bind_is_answered_and_the_socket_is_closed_behind_it() {
    let (kept, dropped) = (free_address(), free_address());
    let master = start(&file(&[kept, dropped], "number = 1"));
    let old = wait_for_first(&master, 1);
    master.wait_until("its ack is over", LIMIT, || old[0].thread_count() == Some(3));
    let held = HeldRequest::begin(dropped, "/held");
    master.wait_until("the request is in flight", LIMIT, || old[0].thread_count() == Some(4));
    upgrade(&master, &file(&[kept], "number = 1"), "new", 1);
    master.wait_until("the old worker is told to go", LIMIT, || master.was_signalled(old[0]));
    assert!(old[0].is_alive());
    assert_eq!(held.finish().unwrap().release, "old");
    master.wait_for_log(&format!("Closing {dropped}, no worker needs it any more"), 1);
    master.wait_until("it is closed", LIMIT, || !master.process().listening_on().contains(&dropped));
    TcpStream::connect(dropped).unwrap_err();
    assert_eq!(ask(&kept.into(), "/x").unwrap().release, "new");
}

#[test]
fn new_workers_find_their_sockets_however_many_there_were_before() {
    let addresses: Vec<SocketAddr> = (0..9).map(|_| free_address()).collect();
    let master = start(&file(&addresses[..1], "number = 1\ncommand-socket-as-fd = true"));
    wait_for_first(&master, 1);
    upgrade(&master, &file(&addresses, "number = 1\ncommand-socket-as-fd = true"), "many", 1);
    master.wait_for_log("===> Exited worker", 1);
    for address in &addresses {
        assert_eq!(ask(&(*address).into(), "/x").unwrap().release, "many", "{address}");
    }
    let reversed: Vec<SocketAddr> = addresses[6..].iter().rev().copied().collect();
    upgrade(&master, &file(&reversed, "number = 1"), "few", 2);
    master.wait_for_log("===> Exited worker", 2);
    master.wait_for_log("no worker needs it any more", 6);
    let worker = master.wait_for_workers(1)[0];
    let at = |fd: i32| worker.socket_address(&worker.descriptors()[&fd]).unwrap();
    assert_eq!([at(3), at(4), at(5)], reversed[..]);
    master.wait_until("three are left", LIMIT, || master.process().listening_on().len() == 3);
}

#[test]
fn a_bad_file_refuses_the_upgrade_and_the_service_goes_on() {
    let address = free_address();
    let good = file(&[address], "number = 2");
    let master = start(&good);
    let old = wait_for_first(&master, 2);
    master.replace("web.toml", &good.replace("number = 2", "nubmer = 3\nretries = 0"));
    let mut client = master.connect();
    client.send("{id: 1, command: upgrade, format: json}");
    assert!(client.receive().unwrap().contains("Upgrading smoothly"));
    let verdict: Value = serde_json::from_str(&client.receive().unwrap()).unwrap();
    let lines = "web.toml:5:1: unknown key \"nubmer\", did you mean \"number\"?; web.toml:6:11: retries 0: need a whole \
                 number from 1 to 1000000";
    assert_eq!(verdict["message"], format!("Upgrade failed: {lines}"));
    master.wait_for_log(&format!("ERROR: Upgrade refused, nothing was changed: {lines}"), 1);
    assert_eq!(master.workers(), old);
    assert!(old.iter().all(|worker| !master.was_signalled(*worker)));
    // What names something that is not there is as bad.
    master.replace("web.toml", &good.replace("command = ['", "command = ['/no/such"));
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgrade refused, nothing was changed: web.toml:1:12: command: cannot run /no/such", 1);
    // So is an address that another process has.
    let holder = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = holder.local_addr().unwrap();
    master.replace("web.toml", &file(&[address, taken], "number = 2"));
    master.signal(Signal::SIGHUP);
    master.wait_for_log(&format!("nothing was changed: cannot bind {taken}: address already in use"), 1);
    assert_eq!(master.workers(), old);
    upgrade(&master, &good, "new", 1);
    assert_eq!(ask(&address.into(), "/x").unwrap().release, "new");
}

#[test]
fn an_upgrade_that_is_given_up_gives_the_old_configuration_back() {
    let (kept, added) = (free_address(), free_address());
    let master = start(&file(&[kept], "number = 2\nretries = 2\nenv.set.COLOUR = 'red'\nlog.level = 'info'"));
    wait_for_first(&master, 2);
    let text = file(&[kept, added], "number = 1\nretries = 2\nenv.set.COLOUR = 'blue'\nlog.level = 'debug'");
    master.replace("web.toml", &text.replace("'--ack', 'manual'", "'--exit-before-ack'"));
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Going back to version 0", 1);
    master.wait_for_log(&format!("Closing {added}, no worker needs it any more"), 1);
    // The number is 2 again, and a worker that is launched now is of the old kind.
    master.wait_until("two old workers serve", LIMIT, || {
        let workers = master.workers();
        workers.len() == 2 && workers.iter().all(|it| variable(*it, "COLOUR").as_deref() == Some("red"))
    });
    let victim = master.workers()[0];
    victim.signal(Signal::SIGKILL);
    master.wait_until("a worker of the old kind takes its place", LIMIT, || {
        let workers = master.workers();
        workers.len() == 2
            && !workers.contains(&victim)
            && workers.iter().all(|it| variable(*it, "COLOUR").as_deref() == Some("red"))
    });
    let status: Value = serde_json::from_str(&master.control("{id: 1, command: status, format: json}")).unwrap();
    assert_eq!((&status["status"]["target"], &status["status"]["version"]), (&2.into(), &0.into()));
    upgrade(&master, &text, "new", 1);
    assert_eq!(ask(&added.into(), "/x").unwrap().release, "new");
}

fn mode(master: &Master, name: &str) -> u32 {
    std::fs::metadata(master.file(name)).unwrap().mode() & 0o777
}

/// A file whose workers serve on this unix socket.
pub(crate) fn unix_file(bind: &str, rest: &str) -> String {
    file(&[], rest).replace("bind = []", &format!("bind = ['unix:{bind}']"))
}

#[test]
fn a_unix_socket_has_the_mode_of_the_configuration_that_counts() {
    let master = start(&unix_file("web.sock,mode=0600", "retries = 1"));
    wait_for_first(&master, 1);
    let bad = unix_file("web.sock,mode=0666", "retries = 1").replace("'--ack', 'manual'", "'--exit-before-ack'");
    master.replace("web.toml", &bad);
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Going back to version 0", 1);
    master.wait_until("the mode is as before", LIMIT, || mode(&master, "web.sock") == 0o600);
    upgrade(&master, &unix_file("web.sock,mode=0640", "retries = 1"), "new", 1);
    assert_eq!(mode(&master, "web.sock"), 0o640);
    // What is not said is what the umask leaves.
    upgrade(&master, &unix_file("web.sock", "retries = 1"), "newer", 2);
    assert_eq!(mode(&master, "web.sock") & 0o700, 0o700);
}

#[test]
fn a_unix_socket_that_was_deleted_is_there_again_after_an_upgrade() {
    let master = start(&unix_file("web.sock", ""));
    wait_for_first(&master, 1);
    std::fs::remove_file(master.file("web.sock")).unwrap();
    upgrade(&master, &unix_file("web.sock", ""), "new", 1);
    let target: Target = master.file("web.sock").as_path().into();
    assert_eq!(ask(&target, "/x").unwrap().release, "new");
    master.wait_for_log("===> Exited worker", 1);
    master.wait_for_log("Closing unix:web.sock, no worker needs it any more", 1);
    assert_eq!(ask(&target, "/x").unwrap().release, "new");
}

#[test]
fn an_address_that_is_written_in_another_way_is_the_same_socket() {
    let address = free_address();
    let SocketAddr::V4(v4) = address else { panic!("{address}") };
    let [a, b, c, d] = v4.ip().octets();
    // inet_aton(3) knows this one.
    let other = format!("{a}.{b}.{}:{}", u32::from(c) * 256 + u32::from(d), address.port());
    let with_unix = |text: String, path: &str| text.replace(",r'", &format!(",r', 'unix:{path}'"));
    let master = start(&with_unix(file(&[address], ""), "web.sock"));
    wait_for_first(&master, 1);
    let text = with_unix(file(&[address], "").replace(&address.to_string(), &other), "./web.sock");
    upgrade(&master, &text, "new", 1);
    master.wait_for_log("===> Exited worker", 1);
    assert_eq!(ask(&address.into(), "/x").unwrap().release, "new");
    assert_eq!(ask(&master.file("web.sock").as_path().into(), "/x").unwrap().release, "new");
    assert_eq!(master.log().count("INFO: Closing") + master.log().count("INFO: Binding"), 2, "{}", master.log());
}

#[test]
fn a_client_whose_upgrade_comes_after_the_one_under_way_waits_for_its_own() {
    let address = free_address();
    let master = start(&file(&[address], "number = 1"));
    wait_for_first(&master, 1);
    let text = file(&[address], "number = 1");
    master.replace("web.toml", &text.replace("'manual']", "'manual', '--ack-after', '3000']"));
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Starting smooth upgrade", 1);
    // What it opens at its start is not to be slow.
    master.wait_until("the new one has begun", LIMIT, || {
        let now = master.workers();
        now.len() == 2 && now.iter().all(|worker| worker.thread_count() >= Some(2))
    });
    master.replace("web.toml", &text);
    // The first upgrade is done while the file is opened for the second.
    let slowness = Injection::attach(&master, "openat:delay_enter=3000000");
    let mut client = master.connect();
    client.send("{id: 1, command: upgrade, format: json}");
    master.wait_for_log("Upgraded successfully to version 1", 1);
    drop(slowness);
    let mut news: Vec<Value> = Vec::new();
    while news.last().is_none_or(|last| last["message"] != "Upgrade done") {
        news.push(serde_json::from_str(&client.receive().unwrap()).unwrap());
    }
    let is_own = |it: &Value| it["message"].as_str().unwrap().starts_with("Upgraded successfully to version 2");
    assert!(news.iter().any(is_own), "{news:?}");
}

#[test]
fn fixed_settings_stay_and_are_named() {
    let address = free_address();
    let master = start(&file(&[address], "number = 1\ncommand-name = 'web'"));
    wait_for_first(&master, 1);
    upgrade(&master, &file(&[address], "number = 1\ncommand-name = 'www'\nsocket-path = 'other.sock'"), "new", 1);
    let lines =
        master.wait_for_log("WARN: Configuration: command-name: web -> www (web.toml:6) needs the master to be", 1);
    assert!(lines[0].ends_with("started again, it stays web till then"), "{lines:?}");
    master.wait_for_log("WARN: Configuration: socket-path: nothing -> other.sock", 1);
    assert!(master.file("einhorn-web.sock").exists() && !master.file("other.sock").exists());
    // It is not taken for what counts, so it goes on to differ.
    let mut client = ControlClient::connect(&master.file("einhorn-web.sock"));
    let mut asked = |line: &str| {
        client.send(line);
        decoded(&client.receive().unwrap())
    };
    let state = asked("{id: 1, command: state, format: json}");
    assert!(state.contains("\"cmd_name\":\"web\""), "{state}");
    let diff = asked("{id: 2, command: diff, format: json}");
    assert!(diff.contains("command-name: web -> www"), "{diff}");
}

#[test]
fn a_nice_level_of_the_master_stays_with_that_of_its_workers() {
    let address = free_address();
    let master = start(&file(&[address], "number = 1\nnice = '15:16'"));
    wait_for_first(&master, 1);
    for (nice, version, level) in [("17:18", 1, 16), ("15:18", 2, 18)] {
        upgrade(&master, &file(&[address], &format!("number = 1\nnice = '{nice}'")), "new", version);
        assert_eq!(master.process().nice(), Some(15));
        wait_until("the old worker is gone", LIMIT, || master.workers().len() == 1);
        assert_eq!(master.workers()[0].nice(), Some(level), "{nice}");
    }
    let lines = master.wait_for_log("WARN: Configuration: nice: ", 1);
    assert!(
        lines[0].ends_with(
            "nice: 15:16 -> 17:18 (web.toml:6) needs the master to be started again, it stays 15:16 till then"
        ),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 1);
}

#[test]
fn a_client_is_told_what_an_upgrade_would_change() {
    let address = free_address();
    let master = start(&file(&[address], "number = 1\npidfile = 'a.pid'"));
    wait_for_first(&master, 1);
    let diff = || decoded(&master.control("{id: 1, command: diff}"));
    assert!(diff().contains("message: An upgrade would change nothing in the configuration"), "{}", diff());
    master.replace("web.toml", &file(&[address], "number = 4\npidfile = 'b.pid'"));
    let shown = diff();
    assert!(shown.contains("number: 1 -> 4 (web.toml:5)"), "{shown}");
    assert!(shown.contains("pidfile: a.pid -> b.pid (web.toml:6) needs the master to be started again"), "{shown}");
    let json: Value = serde_json::from_str(&master.control("{id: 2, command: diff, format: json}")).unwrap();
    assert_eq!(json["differences"][0]["effect"], "at-once");
    master.replace("web.toml", "number = 'x'");
    assert!(diff().contains("Refused: the configuration cannot be used"), "{}", diff());
    assert_eq!(master.workers().len(), 1);
    assert_eq!(master.log().count("Configuration:"), 0);
}

#[test]
fn a_client_that_asks_while_an_upgrade_is_prepared_is_told_what_is_left_to_change() {
    let address = free_address();
    let master = start(&file(&[address], "number = 1"));
    wait_for_first(&master, 1);
    master.replace("web.toml", &file(&[address], "number = 2"));
    let mut client = master.connect();
    // The new image opens the file for the upgrade first, and then for the client.
    let slowness = Injection::attach(&master, "openat:delay_enter=100000");
    master.signal(Signal::SIGHUP);
    master.wait_for_generation(1);
    client.send("{id: 1, command: diff}");
    master.wait_for_log("Starting smooth upgrade", 1);
    drop(slowness);
    let told = decoded(&client.receive().unwrap());
    assert!(told.contains("message: An upgrade would change nothing in the configuration"), "{told}");
}

#[test]
fn workers_are_told_to_go_by_the_signal_of_their_own_version() {
    let setup = Setup::new("--config web.toml -m 0").signal_logger("USR2 INT");
    setup.write("web.toml", "number = 1\nworker.output = 'inherit'\n");
    let master = setup.start();
    let old = master.wait_for_ready(1)[0];
    master.replace("web.toml", "number = 1\nworker.output = 'inherit'\nworker.graceful-signal = 'INT'\n");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully to version 1", 1);
    master.wait_for_log("===> Exited worker", 1);
    assert_eq!(master.said_by(old), ["ready", "USR2"]);
    let new = master.wait_for_workers(1)[0];
    master.wait_until("the new worker is ready", LIMIT, || master.said_by(new) == ["ready"]);
    master.signal(Signal::SIGUSR2);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.said_by(new), ["ready", "INT"]);
}
