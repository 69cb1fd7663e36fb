//! einhyrningsinsctl and einhornsh as programs: exit codes, both outputs, signals, and what they do when there is no
//! master, a dead one, a stranger, or one that dies or falls silent in the middle.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{LIMIT, Master, OTHER_UID, Process, Setup, copy_program, is_root, wait_until};

/// The program under test.
pub(crate) const CTL: &str = env!("CARGO_BIN_EXE_einhyrningsinsctl");

/// What a program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// `words` parted by blanks, in an environment with nothing but this TMPDIR.
pub(crate) fn ctl(directory: &Path, words: &str) -> Command {
    let mut command = Command::new(CTL);
    command.args(words.split_whitespace()).env_clear().env("TMPDIR", directory).stdin(Stdio::null());
    command
}

/// The same program, called as Ruby's shell.
pub(crate) fn einhornsh(directory: &Path, words: &[&str]) -> Command {
    let mut command = ctl(directory, "");
    command.arg0("einhornsh").args(words);
    command
}

pub(crate) fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let said = Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!said.err.contains("panicked"), "{said:?}");
    said
}

/// It ended so, said nothing to scripts, and this to people.
#[track_caller]
pub(crate) fn assert_explained(said: &Said, code: i32, words: &[&str]) {
    assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "{said:?}");
    for part in words {
        assert!(said.err.contains(part), "{part:?} is not in:\n{}", said.err);
    }
}

pub(crate) fn running_master() -> Master {
    let master = Setup::new("-n 2 -m 0").program(["/bin/sleep", "1000"]).start();
    master.wait_for_workers(2);
    master.connect();
    master
}

/// Accepts one connection, reads one line, answers this, and then closes the connection or waits until the client does.
pub(crate) fn fake_master(directory: &Path, answer: &'static str, stays: bool) -> thread::JoinHandle<()> {
    let listener = UnixListener::bind(directory.join("einhorn.sock")).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        reader.read_line(&mut String::new()).unwrap();
        // One that does not wait for it is gone by now; what the others make of it is looked at when they end.
        let _ = stream.write_all(answer.as_bytes());
        if stays {
            let _ = reader.read_to_end(&mut Vec::new());
        }
    })
}

const STEP: &str = "---%0Amessage: Upgrading smoothly, as commanded%0Arequest_id: 1%0Await: true%0A\n";

/// Binds a socket where a dead master would have left it.
fn leave_stale(directory: &Path) -> PathBuf {
    let path = directory.join("einhorn.sock");
    drop(UnixListener::bind(&path).unwrap());
    // A child that another test has just forked may hold the descriptor until its exec.
    wait_until("the socket is stale", LIMIT, || std::os::unix::net::UnixStream::connect(&path).is_err());
    path
}

#[test]
fn a_running_master_is_asked_and_shown() {
    let master = running_master();
    let table = said(ctl(master.directory(), "status"));
    assert_eq!((table.code, table.err.as_str()), (Some(0), ""), "{table:?}");
    assert!(table.out.starts_with(&format!("master {}: version 0, ", master.pid())), "{}", table.out);
    assert_eq!(table.out.lines().filter(|line| line.contains("  0        ")).count(), 2, "{}", table.out);
    assert!(!table.out.contains('\x1b'), "{}", table.out);
    let json = said(ctl(master.directory(), "status --json"));
    let status: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(status["pid"], master.pid());
    assert_eq!(status["target"], 2);
    let shown = status["workers"].as_array().unwrap().iter().map(|worker| worker["pid"].as_i64().unwrap());
    let mut shown: Vec<_> = shown.collect();
    shown.sort_unstable();
    assert_eq!(shown, master.workers().iter().map(|worker| i64::from(worker.0)).collect::<Vec<_>>());
}

#[test]
fn any_command_can_be_sent_raw_and_through_the_shell() {
    let master = running_master();
    let raw = said(ctl(master.directory(), "raw state"));
    assert!(raw.code == Some(0) && raw.out.starts_with("---\n:state:\n"), "{raw:?}");
    let unknown = said(ctl(master.directory(), "raw nope"));
    assert!(unknown.code == Some(1) && unknown.out.starts_with("Unrecognized command: \"nope\"\n"), "{unknown:?}");
    // Ruby's shell has 0 for a refusal too.
    let shell = said(einhornsh(master.directory(), &["-e", "nope; quit; state"]));
    assert_eq!((shell.code, shell.out), (Some(0), unknown.out));
    let mut fed = einhornsh(master.directory(), &["-d", master.socket().to_str().unwrap()]);
    let input = master.file("input");
    fs::write(&input, "state\n\nnope").unwrap();
    fed.stdin(fs::File::open(input).unwrap());
    let fed = said(fed);
    assert_eq!((fed.code, fed.err.as_str()), (Some(0), ""));
    assert!(fed.out.starts_with("---\n:state:\n") && fed.out.contains("Unrecognized command"), "{}", fed.out);
}

#[test]
fn a_missing_master_is_reported_with_the_next_step() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("einhorn.sock");
    let shown = path.to_str().unwrap();
    let missing = [shown, "no such file or directory", "-c NAME"];
    assert_explained(&said(ctl(directory.path(), "status")), 3, &missing);
    assert_explained(&said(einhornsh(directory.path(), &["-e", "inc"])), 1, &missing);
    let named = said(ctl(directory.path(), "-c web upgrade"));
    assert_explained(&named, 3, &["einhorn-web.sock", "name web"]);
    fs::write(&path, "").unwrap();
    assert_explained(&said(ctl(directory.path(), "status")), 3, &[shown, "a regular file, not a socket"]);
    let long = said(ctl(directory.path(), &format!("-d /{} status", "x".repeat(110))));
    assert_explained(&long, 3, &["at most 107 bytes"]);
}

#[test]
fn a_socket_without_a_master_is_called_that() {
    let directory = TempDir::new().unwrap();
    leave_stale(directory.path());
    let words = ["connection refused", "without cleaning up"];
    assert_explained(&said(ctl(directory.path(), "workers 3")), 3, &words);
    assert_explained(&said(einhornsh(directory.path(), &["-e", "inc"])), 1, &words);
}

#[test]
fn a_master_that_dies_in_the_middle_is_no_success() {
    for (program, words) in [("ctl", &["upgrade"][..]), ("einhornsh", &["-e", "upgrade"])] {
        let directory = TempDir::new().unwrap();
        let master = fake_master(directory.path(), STEP, false);
        let said = match program {
            "ctl" => said(ctl(directory.path(), &words.join(" "))),
            _ => said(einhornsh(directory.path(), words)),
        };
        master.join().unwrap();
        assert_eq!((said.code, said.out.as_str()), (Some(1), "Upgrading smoothly, as commanded\n"), "{said:?}");
        assert!(said.err.contains("cannot finish upgrade: master ") && said.err.contains("its log"), "{}", said.err);
    }
}

#[test]
fn a_failed_upgrade_stops_a_script() {
    let failed = "---%0Amessage: 'Upgrade failed: no new worker served'%0Arequest_id: 1%0A\n";
    for is_shell in [false, true] {
        let directory = TempDir::new().unwrap();
        let master = fake_master(directory.path(), failed, true);
        let command =
            if is_shell { einhornsh(directory.path(), &["-e", "upgrade"]) } else { ctl(directory.path(), "upgrade") };
        let said = said(command);
        master.join().unwrap();
        assert_eq!((said.code, said.out.as_str()), (Some(1), "Upgrade failed: no new worker served\n"), "{said:?}");
    }
}

#[test]
fn waiting_ends_with_the_timeout() {
    let directory = TempDir::new().unwrap();
    let master = fake_master(directory.path(), STEP, true);
    let said = said(ctl(directory.path(), "upgrade --timeout 50ms"));
    master.join().unwrap();
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("no end after 50ms") && said.err.contains("einhyrningsinsctl status"), "{}", said.err);
}

/// Starts a program that waits for the end of an upgrade, and returns when it does.
fn waiting(mut command: Command) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut String::new()).unwrap();
    (child, out)
}

#[test]
fn ctrl_c_ends_the_waiting_with_a_word() {
    for (is_shell, code) in [(false, 130), (true, 0)] {
        let directory = TempDir::new().unwrap();
        let master = fake_master(directory.path(), STEP, true);
        let command =
            if is_shell { einhornsh(directory.path(), &["-e", "upgrade"]) } else { ctl(directory.path(), "upgrade") };
        let (child, _out) = waiting(command);
        assert!(Process(i32::try_from(child.id()).unwrap()).signal(Signal::SIGINT));
        let output = child.wait_with_output().unwrap();
        master.join().unwrap();
        assert_eq!(output.status.code(), Some(code));
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(err.contains("stopped waiting for upgrade") && err.contains("goes on"), "{err}");
    }
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let master = running_master();
    for words in ["status", "status --watch", "raw state"] {
        let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        drop(reader);
        let mut command = ctl(master.directory(), words);
        let output = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{words}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let master = running_master();
    let mut command = ctl(master.directory(), "status");
    command.stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("cannot write to standard output: no space left on device"), "{err}");
}

#[test]
fn a_mistyped_line_has_its_own_code() {
    let directory = TempDir::new().unwrap();
    for words in ["nope", "workers x", "upgrade --timeout soon", "logs-level loud"] {
        let said = said(ctl(directory.path(), words));
        assert!(said.code == Some(2) && said.err.starts_with("error: "), "{words}: {said:?}");
    }
    for words in [&["a", "b"][..], &["-h"], &["-x"]] {
        assert_explained(&said(einhornsh(directory.path(), words)), 1, &["Usage: einhornsh "]);
    }
    let help = said(ctl(directory.path(), "help"));
    assert!(help.code == Some(0) && help.out.contains("Exit codes:"), "{help:?}");
}

#[test]
fn another_users_socket_is_refused_with_its_owner() {
    if !is_root() {
        return;
    }
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = leave_stale(directory.path());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // A copy, since the build directory may be closed to others.
    let copy = directory.path().join("ctl");
    copy_program(CTL, &copy);
    let script = "exec \"$0\" -d \"$1\" status";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).args([&copy, &path]).env_clear().uid(OTHER_UID).gid(OTHER_UID);
    assert_explained(&said(command), 3, &["permission denied", "belongs to uid 0", "you are uid 65534"]);
}
