//! einhyrningsinsctl and einhornsh with a master of ours: each subcommand does what it says, says so, and its exit code
//! tells a script whether it did.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::{HeldRequest, LIMIT, Load, Master, Setup, example};

const CTL: &str = env!("CARGO_BIN_EXE_einhyrningsinsctl");

/// What a program said, and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn ctl(master: &Master, words: &str) -> Said {
    run(Command::new(CTL).args(words.split_whitespace()), master)
}

fn einhornsh(master: &Master, lines: &str) -> Said {
    run(Command::new(CTL).arg0("einhornsh").args(["-e", lines]), master)
}

fn run(command: &mut Command, master: &Master) -> Said {
    let output = command.env_clear().env("TMPDIR", master.directory()).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

#[track_caller]
fn assert_said(said: &Said, code: i32, parts: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:?}");
    let all = format!("{}{}", said.out, said.err);
    for part in parts {
        assert!(all.contains(part), "{part:?} is not in {said:?}");
    }
}

fn serving(options: &str) -> Master {
    let master = Setup::new(options).bind(",r").http_worker("--ack manual").release("one").start();
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    master
}

#[test]
fn status_shows_every_worker_as_a_table_and_as_json() {
    let master = serving("-n 2 -m manual -s 0.01");
    let table = ctl(&master, "status");
    let pids: Vec<String> = master.workers().iter().map(ToString::to_string).collect();
    assert_said(&table, 0, &[&pids[0], &pids[1], "acked"]);
    let json = ctl(&master, "status --json");
    let status: serde_json::Value = serde_json::from_str(&json.out).unwrap_or_else(|_| panic!("{json:?}"));
    let status = status.get("status").unwrap_or(&status);
    assert_eq!(status["target"], 2, "{json:?}");
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(2), "{json:?}");
    assert_eq!(status["counters"]["launched"], 2, "{json:?}");
}

#[test]
fn an_upgrade_that_works_is_told_step_by_step_and_loses_nothing() {
    let master = serving("-n 2 -m manual -s 0.01");
    let load = Load::start(master.addr(), 2);
    for (release, words) in [("two", "upgrade"), ("three", "upgrade --fleet")] {
        master.release(release);
        assert_said(&ctl(&master, words), 0, &["Upgraded successfully", "Upgrade done"]);
        load.wait_for_release(release, 10);
    }
    load.stop().assert_nothing_lost();
}

#[test]
fn an_upgrade_that_fails_is_a_failure_for_scripts_of_either_shell() {
    let code = format!("test -e good || exit 1; exec {} --ack manual", example("http_worker").display());
    let setup = Setup::new("-n 2 -m manual -s 0.01 --retries 2").bind(",r").script(&code);
    setup.write("good", "");
    let broken = setup.start();
    broken.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    let old = broken.wait_for_workers(2);
    std::fs::remove_file(broken.file("good")).unwrap();
    assert_said(&ctl(&broken, "upgrade"), 1, &["Upgrade failed: 2 new workers in a row"]);
    assert_said(&einhornsh(&broken, "upgrade"), 1, &["Upgrade failed: 2 new workers in a row"]);
    broken.wait_until("the old ones serve on, alone", LIMIT, || broken.workers() == old);
}

#[test]
fn the_log_says_which_user_asked_for_an_upgrade_and_why() {
    let master = serving("-n 2 -m manual -s 0.01");
    let reason = "fix: the {login}\u{1b}[2J";
    let said = run(Command::new(CTL).args(["upgrade", "--fleet", "--reason", reason]), &master);
    assert_said(&said, 0, &["Upgrading fleet, as commanded", "Upgrade done"]);
    let uid = nix::unistd::geteuid();
    let line = &master.wait_for_log("An upgrade was asked for by", 1)[0];
    assert!(line.contains(&format!("uid {uid}, pid ")) && line.ends_with(": fix: the {login}\\x1b[2J"), "{line}");
    let said = run(Command::new(CTL).args(["upgrade", "--reason", &"x".repeat(201)]), &master);
    assert_said(&said, 1, &["Refused :reason: 201 characters, at most 200"]);
    assert_said(&ctl(&master, "raw upgrade now"), 1, &["Parsed argument is a String, not a hash"]);
    assert_said(&ctl(&master, "raw upgrade {reson: x}"), 1, &["Refused key \"reson\""]);
    assert_said(&einhornsh(&master, "upgrade {reason: two words}"), 0, &["Upgrade done"]);
    master.wait_for_log(": two words", 1);
}

#[test]
fn the_number_of_workers_is_set_raised_and_lowered() {
    let master = serving("-n 2 -m manual -s 0.01");
    assert_said(&ctl(&master, "workers 4"), 0, &["Altering worker count, 2 -> 4"]);
    master.wait_for_workers(4);
    assert_said(&ctl(&master, "workers -1"), 0, &["Decrementing number of workers from 4 -> 3"]);
    master.wait_for_workers(3);
    assert_said(&ctl(&master, "workers +1"), 0, &["Incrementing number of workers from 3 -> 4"]);
    master.wait_for_workers(4);
    assert_said(&ctl(&master, "workers 0"), 2, &["a number from 1 to 100000"]);
}

/// Number 17: for load balancers and the health checks of containers.
#[test]
fn a_check_of_the_status_says_no_unless_all_serve() {
    let master = Setup::new("-n 2 -m manual").bind(",r").http_worker("--ack manual").release("one").start();
    master.wait_for_log("Up to 2 / 2", 1);
    let check = |words: &str, code: i32, out: &str| {
        let said = ctl(&master, &format!("status --check {words}"));
        assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(code), out, ""));
    };
    check("", 0, "2 of 2 workers serve\n");
    check("--ready 3", 1, "2 of 2 workers serve, 3 needed\n");
    let held = HeldRequest::begin_many(&master, 1);
    let stopped = master.workers()[0];
    stopped.signal(Signal::SIGSTOP);
    let says_no = || ctl(&master, "status --check").code == Some(1);
    master.wait_until("a stopped worker is not ready", LIMIT, says_no);
    check("", 1, "1 of 2 workers serve\n");
    check("--ready 1", 0, "1 of 2 workers serve, 1 needed\n");
    stopped.signal(Signal::SIGCONT);
    master.wait_until("it is again", LIMIT, || !says_no());
    master.signal(Signal::SIGINT);
    master.wait_for_log("Sending USR2", 1);
    check("--ready 1", 1, "0 of 2 workers serve, 1 needed, and the master is stopping\n");
    held.into_iter().for_each(|request| drop(request.finish().unwrap()));
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(ctl(&master, "status --check").code, Some(3));
}

#[test]
fn signals_and_log_levels_reach_the_master() {
    let master = serving("-n 2 -m manual -s 0.01");
    assert_said(&ctl(&master, "signal WINCH"), 0, &[]);
    master.wait_for_log("Sending WINCH to [", 1);
    assert_said(&ctl(&master, "signal NOPE"), 1, &["Invalid signal: \"NOPE\""]);
    assert_said(&ctl(&master, "logs-level debug"), 0, &["Verbosity set to 0"]);
    master.wait_for_log("Verbosity set to 0", 1);
}

#[test]
fn die_ends_the_master() {
    let master = serving("-n 2 -m manual -s 0.01");
    assert_said(&ctl(&master, "die"), 0, &["Einhorn is going down!"]);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_said(&ctl(&master, "status"), 3, &["einhorn.sock"]);
}

/// Workers that go when they were told to and there is a file `go`.
fn slow_to_go(count: usize) -> Master {
    let code = "trap 'while ! test -e go; do sleep 0.02; done; exit 0' USR2\necho heard\nwhile :; do sleep 0.02; done";
    let master = Setup::new(&format!("-n {count} -m 0 -s 0.01")).script(code).start();
    master.wait_until("all would hear it", LIMIT, || master.stdout().lines().count() == count);
    master
}

#[test]
fn the_end_of_the_old_workers_can_be_waited_for() {
    let master = slow_to_go(2);
    let old = master.wait_for_workers(2);
    let late = ctl(&master, "upgrade --wait-old=300ms");
    assert_said(
        &late,
        4,
        &["Upgrade done\n", "Waiting for 2 old workers\n", "no end after 300ms", "which workers are left"],
    );
    assert!(old.iter().all(|worker| master.workers().contains(worker)), "nothing has told them to hurry");
    std::fs::write(master.file("go"), "").unwrap();
    assert_said(&ctl(&master, "upgrade --fleet --wait-old"), 0, &["Upgrade done\n", "The old workers are gone\n"]);
    let status = ctl(&master, "status --json");
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    let versions: Vec<_> =
        status["workers"].as_array().unwrap().iter().map(|worker| worker["version"].clone()).collect();
    assert_eq!(versions, [2, 2], "{status:#}");
}

#[test]
fn an_upgrade_that_fails_waits_for_no_old_worker() {
    let setup = Setup::new("-n 1 -m 0 -s 0.01").script("test -e good || exit 1; exec sleep 1000");
    setup.write("good", "");
    let master = setup.options("--retries 1").options("-m 0.3").start();
    master.wait_for_log("Up to 1 / 1 timer ACKs", 1);
    std::fs::remove_file(master.file("good")).unwrap();
    let said = ctl(&master, "upgrade --wait-old");
    assert_said(&said, 1, &["Upgrade failed: "]);
    assert!(!said.out.contains("old workers are gone"), "{said:?}");
}

#[test]
fn the_end_of_the_master_can_be_waited_for() {
    let master = slow_to_go(1);
    assert_said(&ctl(&master, "die --wait=200ms"), 4, &["Einhorn is going down!", "no end after 200ms"]);
    assert!(master.is_running());
    // It has no trap for this one.
    assert_said(&ctl(&master, "die --wait TERM"), 0, &["The master is gone\n"]);
    assert!(!master.is_running(), "not even its end was under way");
}

/// The lines of einhornsh that were recorded, with what it printed for them.
#[test]
fn einhornsh_prints_what_rubys_printed() {
    let master = serving("-n 2 -m manual -s 0.01");
    let said = einhornsh(&master, "inc; dec");
    let expected = "Incrementing number of workers from 2 -> 3\nDecrementing number of workers from 3 -> 2\n";
    assert_eq!((said.code, said.out.as_str()), (Some(0), expected), "{said:?}");
    let said = einhornsh(&master, r#"set_workers '0 "x"' y"#);
    let expected = "Invalid count: '0 \"x\"'. Must be an integer in [1,1000).\n";
    assert_eq!((said.code, said.out.as_str()), (Some(0), expected), "{said:?}");
    let said = einhornsh(&master, "dec; quit; inc");
    assert_eq!((said.code, said.out.as_str()), (Some(0), "Decrementing number of workers from 2 -> 1\n"), "{said:?}");
    // The end of another would be among the news, too. (The third may have been launched, or not have been.)
    let told = |text: &str| master.log().count(text);
    master.wait_until("one worker is left", LIMIT, || told("===> Launched") - told("===> Exited worker") == 1);
    let said = einhornsh(&master, "upgrade");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("Upgrading smoothly, as commanded\nStarting smooth upgrade from version 0...\n"));
    assert!(said.out.ends_with("Upgraded successfully to version 1 (Einhorn 1.1.1).\nUpgrade done\n"), "{said:?}");
}
