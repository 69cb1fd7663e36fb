//! einhyrningsinsctl without a subcommand: the shell, lines of standard input, and `-e`. And what helps those who expect other words.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::ctl::{CTL, Said, assert_explained, ctl, fake_master, running_master, said};
use crate::support::{Master, Setup, example};

/// Has these commands run in this directory.
type Way = fn(&Path, &str) -> Said;

fn execute(directory: &Path, commands: &str) -> Said {
    let mut command = ctl(directory, "-e");
    command.arg(commands);
    said(command)
}

/// With these lines as its standard input.
fn fed(directory: &Path, lines: &str) -> Said {
    let input = directory.join("lines");
    fs::write(&input, lines).unwrap();
    let mut command = ctl(directory, "");
    command.stdin(fs::File::open(input).unwrap());
    said(command)
}

fn status(master: &Master) -> Json {
    serde_json::from_str(&said(ctl(master.directory(), "status --json")).out).unwrap()
}

#[test]
fn commands_and_lines_are_run_in_order_and_a_refusal_is_a_failure() {
    let master = running_master();
    let done = "Incrementing number of workers from 2 -> 3\nDecrementing number of workers from 3 -> 2\n";
    let ways: [(Way, &str); 2] = [(execute, "; "), (fed, "\n")];
    for (run, separator) in ways {
        let run = |commands: [&str; 2]| run(master.directory(), &commands.join(separator));
        let told = run(["inc", "dec"]);
        assert_eq!((told.code, told.out.as_str(), told.err.as_str()), (Some(0), done, ""));
        let told = run(["set_workers 0", "inc"]);
        assert!(told.code == Some(1) && told.out.starts_with("Invalid count") && told.err.is_empty(), "{told:?}");
        assert!(told.out.ends_with("\nIncrementing number of workers from 2 -> 3\n"), "{told:?}");
        assert_eq!(run(["set_workers 2", ""]).code, Some(0));
    }
    assert_eq!(status(&master)["target"], 2);
    // Nothing to be done is done, and needs a master all the same.
    let nothing = fed(master.directory(), "");
    assert_eq!((nothing.code, nothing.out.as_str(), nothing.err.as_str()), (Some(0), "", ""));
}

#[test]
fn an_upgrade_is_waited_for_and_fails_as_it_does() {
    let code = format!("test -e good || exit 3; exec {} --ack manual", example("http_worker").display());
    let setup = Setup::new("-n 2 -m manual -s 0.01 --retries 2").bind(",r").script(&code);
    setup.write("good", "");
    let master = setup.start();
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    let upgraded = execute(master.directory(), "upgrade");
    assert!(upgraded.code == Some(0) && upgraded.out.ends_with("\nUpgrade done\n"), "{upgraded:?}");
    let now = status(&master);
    let is_new_and_serves = |worker: &&Json| worker["version"] == 1 && worker["state"] == "acked";
    assert_eq!(now["workers"].as_array().unwrap().iter().filter(is_new_and_serves).count(), 2, "{now:#}");
    fs::remove_file(master.file("good")).unwrap();
    let failed = execute(master.directory(), "upgrade_fleet");
    assert!(failed.code == Some(1) && failed.out.contains("Upgrade failed: "), "{failed:?}");
}

#[test]
fn a_session_has_the_exit_codes_of_the_subcommands() {
    let directory = TempDir::new().unwrap();
    let missing = ["no such file or directory", "-c NAME"];
    assert_explained(&execute(directory.path(), "inc"), 3, &missing);
    assert_explained(&fed(directory.path(), "inc\n"), 3, &missing);
    assert_explained(&said(ctl(directory.path(), "-c web -e inc")), 3, &["einhorn-web.sock", "name web"]);
    assert_explained(&said(ctl(directory.path(), "-e inc status")), 2, &["einhyrningsinsctl: ", "-e"]);
    let answer = "---%0Amessage: 'Upgrade failed: no new worker served'%0Arequest_id: 1%0A\n";
    let master = fake_master(directory.path(), answer, true);
    let said = execute(directory.path(), "upgrade");
    master.join().unwrap();
    assert_eq!((said.code, said.out.as_str()), (Some(1), "Upgrade failed: no new worker served\n"), "{said:?}");
}

#[test]
fn an_open_quote_is_a_usage_error() {
    let master = running_master();
    assert_explained(&execute(master.directory(), "signal 'a"), 2, &["cannot read signal 'a: a quote is not closed"]);
}

#[test]
fn the_master_is_named_before_and_behind_a_subcommand() {
    let (master, elsewhere) = (running_master(), TempDir::new().unwrap());
    let socket = master.socket();
    let path = socket.to_str().unwrap();
    for words in [
        format!("-d {path} status --check"),
        format!("status -d {path} --check"),
        format!("status --check --socket-path={path}"),
        format!("-d /nowhere status --check -d {path}"),
        format!("raw -d {path} inc"),
        format!("workers -1 -d {path}"),
        format!("-d {path} -e ehlo"),
    ] {
        let said = said(ctl(elsewhere.path(), &words));
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{words}: {said:?}");
    }
    let named = said(ctl(elsewhere.path(), "upgrade -c web"));
    assert_explained(&named, 3, &["einhorn-web.sock", "name web"]);
}

#[test]
fn words_of_other_programs_get_a_hint() {
    let directory = TempDir::new().unwrap();
    for (word, hint) in [
        ("restart", "'upgrade'"),
        ("reload", "'upgrade'"),
        ("stop", "'die'"),
        ("ps", "'status'"),
        ("list", "'status'"),
        ("set_workers", "-e 'set_workers'"),
        ("upgrad", "'upgrade'"),
    ] {
        let said = said(ctl(directory.path(), word));
        let tips: Vec<_> = said.err.lines().filter(|line| line.trim_start().starts_with("tip: ")).collect();
        assert!(said.code == Some(2) && tips.len() == 1 && tips[0].contains(hint), "{word}: {}", said.err);
    }
}

/// Runs a program at a terminal, whose lines come from standard input, once it has asked for one; and shows what is written there.
const AT_A_TERMINAL: &str = r#"
import os, pty, sys

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
shown, lines = b"", sys.stdin.buffer.readlines()
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    shown += more
    if more.endswith(b"> ") and lines:
        os.write(terminal, lines.pop(0))
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn a_terminal_gets_the_shell() {
    let master = running_master();
    let mut command = Command::new("python3");
    command.args(["-c", AT_A_TERMINAL, CTL]).env("TMPDIR", master.directory()).env("HOME", master.directory());
    command.env("TERM", "dumb").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"set_workers 0\ninc\nquit\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    // A refusal that was read is no failure of the session.
    assert_eq!(output.status.code(), Some(0), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    for text in ["Welcome", "Invalid count", "Incrementing number of workers from 2 -> 3", "Goodbye!"] {
        assert!(shown.contains(text), "{text} is not in {shown}");
    }
}
