//! `log.file`, `log.format` and `log.time`: where the log goes instead of standard error, and what its lines look like.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use serde_json::Value as Json;

use crate::support::{LIMIT, Master, Setup, holds_within};

fn setup(log: &str) -> Setup {
    let setup = Setup::new("-n 2 -m manual -s 0.01 --config web.toml").bind(",r");
    let file = format!("[log]\nfile = '{}'\n{log}", setup.directory().join("web.log").display());
    setup.write("web.toml", &file);
    setup
}

fn log_of(master: &Master, name: &str) -> String {
    fs::read_to_string(master.file(name)).unwrap_or_default()
}

#[track_caller]
fn wait_for(master: &Master, name: &str, text: &str) {
    assert!(holds_within(LIMIT, || log_of(master, name).contains(text)), "{text}: {}", log_of(master, name));
}

/// What stands behind the time of each line.
fn untimed(log: &str) -> Vec<&str> {
    let behind_time = |line: &'_ str| {
        let (time, _) = line.split_once(' ').unwrap();
        assert!(humantime::parse_rfc3339(time).is_ok(), "{line}");
    };
    log.lines().inspect(|line| behind_time(line)).map(|line| line.split_once(' ').unwrap().1).collect()
}

#[test]
fn the_file_has_the_log_with_its_times_and_is_opened_anew_at_an_upgrade() {
    let master = setup("").script("echo started\nsleep 1000\n").start();
    wait_for(&master, "web.log", "] started\n");
    let first = log_of(&master, "web.log");
    let lines = untimed(&first);
    assert!(lines[0].starts_with(&format!("[MASTER {}] INFO: Writing PID to ", master.pid())), "{first}");
    assert!(lines.iter().any(|line| line.starts_with("[worker 0, pid ")), "{first}");
    assert_eq!(master.log().lines(), [""; 0], "standard error has nothing");
    // As logrotate(8) does.
    fs::rename(master.file("web.log"), master.file("web.log.1")).unwrap();
    master.reload();
    wait_for(&master, "web.log", "Using loaded state");
    assert!(log_of(&master, "web.log.1").contains("About to re-exec"));
}

/// As logrotate(8) has it with `postrotate`. The worker's shell has no handler for USR1, and would end of it.
#[test]
fn usr1_has_the_file_opened_anew_and_ends_no_worker() {
    let master = setup("").script("sleep 1000\n").start();
    wait_for(&master, "web.log", "===> Launched");
    fs::rename(master.file("web.log"), master.file("web.log.1")).unwrap();
    master.signal(Signal::SIGUSR1);
    wait_for(&master, "web.log", "Not sending USR1 to [");
    assert!(!log_of(&master, "web.log.1").contains("USR1"));
    assert!(!log_of(&master, "web.log").contains("Exited"));
}

#[test]
fn each_line_is_a_document_where_json_is_wanted() {
    let master = setup("format = 'json'\n").script("printf 'a\\033b \"c\"\\n'\nsleep 1000\n").start();
    wait_for(&master, "web.log", "a\\\\x1bb");
    wait_for(&master, "web.log", "===> Launched");
    let log = log_of(&master, "web.log");
    let said: Vec<Json> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(said.iter().all(|line| humantime::parse_rfc3339(line["time"].as_str().unwrap()).is_ok()), "{log}");
    let of_worker = said.iter().find(|line| line["slot"] == 0).unwrap();
    assert_eq!((&of_worker["source"], &of_worker["message"]), (&"worker".into(), &"a\\x1bb \"c\"".into()));
    assert_eq!((&of_worker["version"], &of_worker["level"]), (&0.into(), &"info".into()));
    let of_master = said.iter().find(|line| line["message"].as_str().unwrap().starts_with("===> Launched")).unwrap();
    assert_eq!((&of_master["source"], &of_master["pid"]), (&"master".into(), &master.pid().into()));
}

#[test]
fn standard_error_has_the_time_where_that_is_wanted() {
    let setup = Setup::new("-n 1 -s 0.01 --config web.toml").script("sleep 1000\n");
    setup.write("web.toml", "[log]\ntime = true\n");
    let master = setup.start();
    master.wait_for_log("===> Launched", 1);
    let lines = master.log().lines().join("\n");
    assert!(untimed(&lines).iter().all(|line| line.starts_with('[')), "{lines}");
}

#[test]
fn a_file_that_cannot_be_written_is_refused_at_the_start_and_by_the_check() {
    let setup = Setup::new("-n 1 --config web.toml").program(["sleep", "1000"]);
    let path = setup.directory().join("missing/web.log");
    setup.write("web.toml", &format!("[log]\nfile = '{}'\n", path.display()));
    let mut check = Command::new(env!("CARGO_BIN_EXE_einhyrningsins"));
    check.args(["--config", "web.toml", "--check-config", "sleep", "1000"]).current_dir(setup.directory());
    let checked = String::from_utf8(check.output().unwrap().stderr).unwrap();
    let reason = format!("cannot write the log {}: directory {}", path.display(), path.parent().unwrap().display());
    assert!(checked.contains(&reason), "{checked}");
    let refusal = setup.refused();
    assert!(refusal.reason().starts_with(&reason), "{refusal:?}");
}

#[test]
fn a_start_that_is_refused_for_another_reason_says_so_on_standard_error() {
    let setup = setup("").options("-d missing/einhorn.sock");
    let refusal = setup.program(["sleep", "1000"]).refused();
    assert!(refusal.reason().contains("missing"), "{refusal:?}");
    assert!(refusal.changes.iter().any(|change| change == "web.log is new"), "{refusal:?}");
}

/// A file that is exchanged for a link meanwhile is not written through.
#[test]
fn a_link_in_the_place_of_the_file_is_not_followed() {
    let master = setup("").program(["sleep", "1000"]).start();
    master.wait_for_workers(2);
    let log = master.file("web.log");
    fs::rename(&log, master.file("web.log.1")).unwrap();
    let victim = master.file("victim");
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, &log).unwrap();
    master.reload();
    wait_for(&master, "web.log.1", "going on with the file that was open");
    assert_eq!(fs::read_to_string(Path::new(&victim)).unwrap(), "precious");
}
