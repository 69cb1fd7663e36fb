//! The record of releases: what each version ran, which user asked for it and why, and how it fared; over the re-exec of every
//! upgrade. And what `status` says of it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use serde_json::Value as Json;

use crate::ctl::{CTL, Said, said};
use crate::support::{LIMIT, Master, Setup, example};

fn ctl(master: &Master, words: &[&str]) -> Said {
    let mut command = Command::new(CTL);
    command.args(words).env_clear().env("TMPDIR", master.directory()).stdin(Stdio::null());
    said(command)
}

fn json(master: &Master, command: &str) -> Json {
    let said = ctl(master, &[command, "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// Workers that die at once, with this status, while there is no file `good`.
fn fragile(options: &str) -> Master {
    let code = format!("test -e good || exit 3; exec {} --ack manual", example("http_worker").display());
    let setup = Setup::new(options).bind(",r").script(&code);
    setup.write("good", "");
    let master = setup.start();
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    master
}

fn results(history: &Json) -> Vec<(Option<i64>, &str)> {
    let entries = history.as_array().unwrap().iter();
    entries.map(|entry| (entry["version"].as_i64(), entry["result"].as_str().unwrap())).collect()
}

#[test]
fn the_record_says_what_each_version_ran_and_how_it_fared() {
    let master = fragile("-n 2 -m manual -s 0.01 --retries 2");
    let start = json(&master, "history");
    assert_eq!((results(&start), start[0]["asked_by"].as_str()), (vec![(Some(0), "done")], Some("start")));
    assert_eq!(start[0]["program"], std::fs::canonicalize("/bin/sh").unwrap().to_str().unwrap());

    let upgraded = ctl(&master, &["upgrade", "--reason", "fix the login"]);
    assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
    std::fs::remove_file(master.file("good")).unwrap();
    let failed = ctl(&master, &["upgrade", "--reason", "no file"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgrade to version 3 failed", 1);

    let history = json(&master, "history");
    let expected = [(Some(0), "done"), (Some(1), "done"), (Some(2), "failed"), (Some(3), "failed")];
    assert_eq!(results(&history), expected, "{history:#}");
    let (good, bad) = (&history[1], &history[2]);
    let user = User::from_uid(geteuid()).unwrap().unwrap();
    assert_eq!((&good["uid"], &good["user"]), (&Json::from(user.uid.as_raw()), &Json::from(user.name.as_str())));
    assert!(good["pid"].as_i64().is_some_and(|pid| pid > 1), "{history:#}");
    assert_eq!((&good["reason"], &bad["reason"]), (&Json::from("fix the login"), &Json::from("no file")));
    assert!(bad["why"].as_str().unwrap().starts_with("2 new workers in a row died or did not ACK"), "{bad:#}");
    assert_eq!((&history[3]["asked_by"], &history[3]["uid"]), (&Json::from("SIGHUP"), &Json::Null));
    let times: Vec<&str> = [&good["began"], &good["ended"]].map(|time| time.as_str().unwrap()).to_vec();
    assert!(times[0] <= times[1] && times[0].ends_with('Z'), "{history:#}");

    let table = ctl(&master, &["history"]);
    assert_eq!(table.code, Some(0), "{table:?}");
    let row = table.out.lines().find(|line| line.starts_with("1 ")).unwrap();
    assert!(row.contains(" done ") && row.contains(&format!("{}, pid ", user.name)), "{}", table.out);
    assert!(table.out.contains("\n  reason: fix the login\n"), "{}", table.out);
}

/// It said "2 new workers in a row died or did not ACK", and nothing else.
#[test]
fn the_last_words_on_a_failed_upgrade_say_how_a_worker_failed_and_where_the_log_is() {
    let master = fragile("-n 2 -m manual -s 0.01 --retries 2");
    std::fs::remove_file(master.file("good")).unwrap();
    let headline = "Upgrade failed: 2 new workers in a row died or did not ACK, version 0 goes on";
    let failed = ctl(&master, &["upgrade"]);
    let at = failed.out.find(headline).unwrap_or_else(|| panic!("{failed:?}"));
    let lines: Vec<&str> = failed.out[at..].lines().collect();
    assert_eq!((lines.len(), lines[2]), (3, "The log: standard error of the master"), "{failed:?}");
    let death = lines[1];
    assert!(death.starts_with("Worker ") && death.contains(" (slot ") && death.contains(") died "), "{death}");
    assert!(death.ends_with("s after its launch, before its ack: exit status 3"), "{death}");
    assert!(failed.err.starts_with("The old workers go on;"), "{failed:?}");
    let mut shell = Command::new(CTL);
    shell.arg0("einhornsh").args(["-e", "upgrade"]).env_clear().env("TMPDIR", master.directory());
    let shown = said(shell);
    assert!(shown.code == Some(1) && shown.out.contains(&format!("{headline}\nWorker ")), "{shown:?}");
    let history = json(&master, "history");
    let why = history[1]["why"].as_str().unwrap();
    assert_eq!(format!("Upgrade failed: {why}"), lines[..2].join("\n"));
}

#[test]
fn the_last_words_have_the_last_ten_lines_of_the_worker() {
    let setup = Setup::new("--config web.toml -n 1 -m 0.3 -s 0.01 --retries 1");
    setup.write("web.toml", "worker.output = 'capture'\n");
    setup.write("good", "");
    let code = "test -e good && exec sleep 1000\ni=1\nwhile test $i -le 12; do echo \"line $i\" >&2; i=$((i+1)); done\n\
                printf 'no module \\033[2Jnamed x'\nexit 3";
    let master = setup.script(code).start();
    master.wait_for_log("Up to 1 / 1 timer ACKs", 1);
    std::fs::remove_file(master.file("good")).unwrap();
    let failed = ctl(&master, &["upgrade"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let mut expected: Vec<String> = (4..=12).map(|number| format!("  line {number}")).collect();
    expected.push("  no module \\x1b[2Jnamed x".to_owned());
    let wrote = format!("exit status 3\nThe last that it wrote:\n{}\nThe log: ", expected.join("\n"));
    assert!(failed.out.contains(&wrote), "{wrote:?} is not in {}", failed.out);
    let status = json(&master, "status");
    assert_eq!(status["last_death"]["last_lines"][9], "no module \\x1b[2Jnamed x", "{status:#}");
}

#[test]
fn the_last_words_say_why_a_program_could_not_be_run() {
    let setup = Setup::new("-n 1 -m 0 -s 0.01 --retries 1");
    let executable = |name: &str, text: &str| {
        let path = setup.write(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let program = executable("worker", "#!/bin/sh\nexec sleep 1000\n");
    let bad = executable("bad", "#!/no/such/interpreter\n");
    let master = setup.program([program.as_os_str()]).start();
    master.wait_for_workers(1);
    std::fs::rename(bad, program).unwrap();
    let failed = ctl(&master, &["upgrade"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    let cause = "could not be started: cannot run ";
    assert!(failed.out.contains(cause) && failed.out.contains("its interpreter /no/such/interpreter is"), "{failed:?}");
}

/// The old workers were said to go on while they, too, were told to go.
#[test]
fn a_master_that_goes_down_says_no_more_than_that() {
    let master = fragile("-n 2 -m manual -s 0.01");
    std::fs::remove_file(master.file("good")).unwrap();
    let mut client = Command::new(CTL);
    client.arg("upgrade").env_clear().env("TMPDIR", master.directory()).stdin(Stdio::null());
    let waiting = client.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    master.wait_for_log("exited unexpectedly with status 3", 1);
    assert_eq!(ctl(&master, &["die"]).code, Some(0));
    let output = waiting.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(out.ends_with("\nUpgrade failed: einhorn is going down\n"), "{out}");
    assert_eq!((output.status.code(), &*err), (Some(1), ""));
}

#[test]
fn an_upgrade_that_is_refused_stands_in_the_record_too() {
    let setup = Setup::new("-n 2 -m 0 -s 0.01");
    let program = setup.directory().join("worker");
    std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
    let master = setup.program([program.as_os_str(), "1000".as_ref()]).start();
    master.wait_for_workers(2);
    std::fs::remove_file(master.file("worker")).unwrap();
    assert_eq!(ctl(&master, &["upgrade"]).code, Some(1));
    let history = json(&master, "history");
    assert_eq!(results(&history), [(Some(0), "done"), (None, "refused")]);
    assert!(history[1]["why"].as_str().unwrap().contains("no such file"), "{history:#}");
    let status = json(&master, "status");
    assert!(status["last_failure"]["why"].as_str().unwrap().contains("no such file"), "{status:#}");
}

#[test]
fn a_status_says_what_runs_what_failed_last_and_which_worker_died_last() {
    let master = fragile("-n 2 -m manual -s 0.01 --retries 2");
    let status = json(&master, "status");
    let names = ["release", "last_failure", "last_death"];
    assert_eq!(names.map(|name| status[name].is_null()), [false, true, true], "{status:#}");
    std::fs::remove_file(master.file("good")).unwrap();
    assert_eq!(ctl(&master, &["upgrade"]).code, Some(1));
    let status = json(&master, "status");
    assert_eq!((&status["release"]["version"], &status["last_failure"]["version"]), (&0.into(), &1.into()));
    let death = status["last_death"]["why"].as_str().unwrap();
    assert!(death.starts_with("Worker ") && death.ends_with("before its ack: exit status 3"), "{death}");
    let table = ctl(&master, &["status"]).out;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].ends_with(": version 0, 2 of 2 workers serve"), "{table}");
    assert!(lines[1].starts_with("version 0 is ") && lines[1].ends_with(", by start"), "{table}");
    assert!(lines[2].starts_with("the last upgrade failed at ") && lines[2].contains("2 new workers"), "{table}");
    assert!(lines[3].starts_with("the last death, at ") && lines[3].ends_with(": exit status 3"), "{table}");
}

/// It said "version 1, 2 of 2 workers serve" while both were of version 0.
#[test]
fn a_status_says_which_versions_serve() {
    let master = fragile("-n 2 -m manual -s 0.01");
    // Neither acks nor ends.
    let code = "test -e good || exec sleep 1000";
    let path = master.file("worker.sh");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{code}\n{text}")).unwrap();
    std::fs::remove_file(master.file("good")).unwrap();
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Starting smooth upgrade from version 0", 1);
    master.wait_until("a new worker is there", LIMIT, || master.workers().len() > 2);
    let table = ctl(&master, &["status"]).out;
    let expected = ": version 1, 2 of 2 workers serve (0 of version 1, 2 of version 0)";
    assert!(table.lines().next().unwrap().ends_with(expected), "{table}");
    let bare = ctl(&master, &["raw", "status"]).out;
    assert!(bare.starts_with("version 1, 2 of 2 serving (0 of version 1, 2 of others), smooth upgrade"), "{bare}");
}
