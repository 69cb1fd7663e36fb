//! Number 23 of "what real operators trip over": an upgrade that waits says for what, in the log once, in `status`, in the client's
//! progress, to systemd. einhorn's clients hear einhorn's lines alone.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::support::{HeldRequest, Injection, LIMIT, Manager, Master, Setup, example};

const CTL: &str = env!("CARGO_BIN_EXE_einhyrningsinsctl");

/// A client that asks for an upgrade and waits for its end.
struct Client {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Client {
    fn start(master: &Master, name: &str, words: &[&str]) -> Self {
        let mut command = Command::new(CTL);
        let command = command.arg0(name).args(words).env_clear().env("TMPDIR", master.directory());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// All that it says until its end.
    fn said(mut self) -> Vec<String> {
        let lines = self.out.lines().map(Result::unwrap).collect();
        self.child.wait().unwrap();
        lines
    }
}

fn waits_for(master: &Master) -> Json {
    let reply: Json = serde_json::from_str(&master.control("{command: status, format: json}")).unwrap();
    reply["status"]["waits_for"].clone()
}

fn wait_until_waiting(master: &Master, kind: &str) -> Json {
    master.wait_until("the upgrade waits", LIMIT, || waits_for(master)["kind"] == kind);
    waits_for(master)
}

fn setup(options: &str) -> Setup {
    let code = format!("exec {} --ack manual", example("http_worker").display());
    Setup::new("-n 2 -m manual -s 0.01").options(options).bind(",r").script(&code)
}

fn start(setup: Setup) -> Master {
    let master = setup.start();
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    master
}

// The same for max-upgrade-additional: the old worker takes the room of a new one.
#[test]
fn an_upgrade_that_waits_for_an_old_worker_names_it_and_its_connections() {
    let directory = tempfile::tempdir().unwrap();
    let mut manager = Manager::at(&directory.path().join("notify"));
    let master = start(setup("--max-upgrade-additional 1").env("NOTIFY_SOCKET", manager.name()));
    assert_eq!(waits_for(&master), Json::Null);
    let workers = master.workers();
    let mut held = Vec::new();
    // One connection for the one, two for the other: the one that is stopped takes none.
    for (worker, count) in workers.iter().zip(1..) {
        let other = workers.iter().find(|other| *other != worker).unwrap();
        assert!(other.signal(Signal::SIGSTOP));
        master.wait_until("it is stopped", LIMIT, || other.is_stopped());
        held.extend((0..count).map(|_| HeldRequest::begin(master.addr(), "/held")));
        master.wait_until("it has them", LIMIT, || worker.thread_count() == Some(2 + count));
        assert!(other.signal(Signal::SIGCONT));
    }
    let counts: Vec<(i32, i32)> = workers.iter().zip(1..).map(|(worker, count)| (worker.0, count)).collect();
    let own = Client::start(&master, "einhyrningsinsctl", &["upgrade"]);
    let einhorns = Client::start(&master, "einhornsh", &["-e", "upgrade"]);
    let waits_for = wait_until_waiting(&master, "exit");
    let (old, connections) = *counts.iter().find(|(pid, _)| waits_for["pid"] == *pid).unwrap();
    let text = waits_for["text"].as_str().unwrap();
    let begins = format!("waits for worker {old} (slot {}), told to go ", waits_for["slot"]);
    assert!(text.starts_with(&begins), "{text}");
    let (_, shown) = text.split_once("s ago").unwrap();
    let expected = format!(", {connections} connection{}", if connections == 1 { "" } else { "s" });
    assert_eq!(shown, expected, "{counts:?}");
    let line = master.wait_for_log(&begins, 1).remove(0);
    assert!(line.contains("Upgrade to version "), "{line}");
    let told = format!(", waits for worker {old} (slot {}), told to go", waits_for["slot"]);
    master.wait_until("systemd hears of it", LIMIT, || {
        manager.values("STATUS").iter().any(|status| status.ends_with(&told))
    });
    held.into_iter().for_each(|held| drop(held.finish().unwrap()));
    let (own, einhorns) = (own.said(), einhorns.said());
    assert!(own.iter().any(|line| line.contains(&begins)), "{own:?}");
    assert_eq!(own.last().map(String::as_str), Some("Upgrade done"));
    assert!(!einhorns.iter().any(|line| line.contains("waits for")), "{einhorns:?}");
    assert!(einhorns.iter().any(|line| line.contains("===> Launched")), "{einhorns:?}");
    assert_eq!(master.log().count(&begins), 1, "{}", master.log());
}

#[test]
fn an_upgrade_that_waits_for_an_ack_names_the_worker_and_its_time() {
    let master = start(setup("--ack-timeout 60"));
    master.replace("worker.sh", "exec sleep 1000");
    master.signal(Signal::SIGHUP);
    let waits_for = wait_until_waiting(&master, "ack");
    let text = waits_for["text"].as_str().unwrap();
    let begins = format!("waits for the ack of worker {} (slot 0), launched ", waits_for["pid"]);
    assert!(text.starts_with(&begins) && text.ends_with("s left"), "{text}");
    assert!(master.workers().iter().any(|worker| waits_for["pid"] == worker.0), "{text}");
    // A pause is another wait.
    master.control("{command: pause}");
    let text = wait_until_waiting(&master, "resume")["text"].to_string();
    assert!(text.contains("paused 0s ago") || text.contains("paused 1s ago"), "{text}");
}

// The job control of number 9. What it means with max-surge = 0, a test of the pool shows.
#[test]
fn an_upgrade_that_waits_for_a_stopped_worker_says_how_it_goes_on() {
    let master = start(setup(""));
    let old = master.workers();
    let worker = example("http_worker").display().to_string();
    let waiting = "[ $EINHORN_CHILD_INDEX = 0 ] || until [ -e go ]; do sleep 0.02; done";
    master.replace("worker.sh", &format!("{waiting}; exec {worker} --ack manual"));
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Up to 1 / 2 manual ACKs", 2);
    let new = *master.workers().iter().filter(|worker| !old.contains(worker)).min().unwrap();
    assert!(new.signal(Signal::SIGSTOP));
    master.wait_for_log(&format!("Worker {new} was stopped"), 1);
    std::fs::write(master.file("go"), "").unwrap();
    let text = wait_until_waiting(&master, "continue")["text"].to_string();
    assert!(text.contains(&format!("worker {new} (slot ")) && text.contains("CONT lets it go on"), "{text}");
    assert!(new.signal(Signal::SIGCONT));
    master.wait_for_log("Upgraded successfully", 1);
}

// After the upgrade, for those who wait until the old code is gone.
#[test]
fn old_workers_that_are_waited_for_are_named_with_their_connections() {
    let master = start(setup(""));
    let held = HeldRequest::begin_many(&master, 1);
    let mut client = Client::start(&master, "einhyrningsinsctl", &["upgrade", "--wait-old"]);
    let mut line = String::new();
    while !line.contains("told to go") {
        line.clear();
        assert_ne!(client.out.read_line(&mut line).unwrap(), 0, "it has ended: {}", master.log());
    }
    let waits_for = waits_for(&master);
    assert_eq!(waits_for["kind"], "exit");
    held.into_iter().for_each(|held| drop(held.finish().unwrap()));
    assert_eq!(client.said().last().map(String::as_str), Some("The old workers are gone"));
    assert_eq!(self::waits_for(&master), Json::Null);
}

#[test]
fn a_version_that_is_being_prepared_is_waited_for() {
    let setup = Setup::new("--config web.toml");
    let file = |binds: &str| format!("command = 'sleep 1000'\nbind = [{binds}]\n");
    setup.write("web.toml", &file("'unix:web.sock'"));
    let master = setup.start();
    master.wait_for_workers(1);
    master.replace("web.toml", &file("'unix:web.sock', 'unix:new.sock'"));
    let slowness = Injection::attach(&master, "bind:delay_exit=3000000");
    master.signal(Signal::SIGHUP);
    let text = wait_until_waiting(&master, "job")["text"].clone();
    assert_eq!(text, "waits until the configuration is read");
    drop(slowness);
}
