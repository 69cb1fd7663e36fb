//! einhyrningsinsctl and einhornsh where another user's process listens, or what comes from outside would steer a terminal:
//! they speak to no process that is not known to be the right master, not for root either, and they escape all that they show.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::ctl::{CTL, Said, assert_explained, ctl, einhornsh, said};
use crate::support::{OTHER_UID, copy_program, is_root};

/// A user that no system has.
const STRANGER: u32 = 65_533;

/// Every way to say something to a master.
const SUBCOMMANDS: [&str; 15] = [
    "status",
    "status --json",
    "status --watch",
    "upgrade",
    "upgrade --fleet",
    "diff",
    "history",
    "history --json",
    "workers 3",
    "workers +1",
    "signal USR1",
    "die",
    "logs-level debug",
    "raw state",
    "shell -e state",
];

/// What would clear the screen, set the title, turn text around and begin a new line, in a reply. (The last for a terminal that
/// takes C1 for what it is.)
const STEERING: &str = "\\e[2J\\e]0;owned\\a\\r\\x9b2J\\u202e\\u2066\\u2028\\ufeff\\x7f\\0";

/// A process that listens at the path and says what it heard, one line a connection. Whatever it hears it answers so.
struct Squatter {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Squatter {
    fn listen(path: &Path, uid: u32, answer: &str) -> Self {
        let script = "import os, socket, sys\nos.umask(0)\n\
            s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n\
            print('listening', flush=True)\n\
            while True:\n  c = s.accept()[0]; heard = c.recv(1000)\n\
            \x20 if heard: c.sendall(sys.argv[2].encode() + b'\\n')\n\
            \x20 c.close(); print('heard', heard, flush=True)\n";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(path).arg(answer).uid(uid).gid(uid).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "listening");
        Self { process, lines }
    }

    fn pid(&self) -> String {
        self.process.id().to_string()
    }

    /// By the next of its connections.
    fn heard(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn directory_with_mode(mode: u32) -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
    directory
}

#[track_caller]
fn assert_plain(said: &Said) {
    let hides = |c: char| (c.is_control() && c != '\n' && c != '\t') || "\u{202e}\u{2066}\u{2028}\u{feff}".contains(c);
    assert!(!said.out.contains(hides) && !said.err.contains(hides), "{said:?}");
}

#[test]
fn a_stranger_is_not_spoken_to() {
    if !is_root() {
        return;
    }
    let directory = directory_with_mode(0o1777);
    let mut stranger = Squatter::listen(&directory.path().join("einhorn.sock"), STRANGER, "---%0Amessage: x%0A");
    // A copy, since the build directory may be closed to others.
    let copy = directory.path().join("ctl");
    copy_program(CTL, &copy);
    let diff = || {
        let mut command = Command::new(&copy);
        command.arg("diff").env_clear().env("TMPDIR", directory.path()).uid(OTHER_UID).gid(OTHER_UID);
        command
    };
    let refused = said(diff());
    assert_explained(&refused, 3, &["uid 65533", &format!("process {}", stranger.pid()), "EINHORN_MASTER_PID"]);
    assert_eq!(stranger.heard(), "heard b''");
    let mut believed = diff();
    believed.env("EINHORN_MASTER_PID", stranger.pid());
    let believed = said(believed);
    assert_eq!((believed.code, believed.out.as_str()), (Some(0), "x\n"), "{believed:?}");
    assert!(stranger.heard().contains("command: diff"));
}

#[test]
fn root_speaks_to_no_stranger_either_by_any_subcommand() {
    if !is_root() {
        return;
    }
    let directory = directory_with_mode(0o1777);
    for (name, socket) in [("", "einhorn.sock"), ("-c web ", "einhorn-web.sock")] {
        let mut stranger = Squatter::listen(&directory.path().join(socket), STRANGER, "---%0Amessage: owned%0A");
        let process = format!("process {} of uid 65533", stranger.pid());
        let words = [socket, process.as_str(), "EINHORN_MASTER_PID", "-d PATH"];
        for subcommand in SUBCOMMANDS {
            let code = if subcommand.starts_with("shell") { 1 } else { 3 };
            assert_explained(&said(ctl(directory.path(), &format!("{name}{subcommand}"))), code, &words);
            assert_eq!(stranger.heard(), "heard b''", "{subcommand}");
        }
        let mut shell_words: Vec<&str> = name.split_whitespace().collect();
        shell_words.extend(["-e", "state"]);
        assert_explained(&said(einhornsh(directory.path(), &shell_words)), 1, &words);
        assert_eq!(stranger.heard(), "heard b''");
        // Without -e, the shell reads commands; nothing is said before the first either.
        assert_explained(&said(einhornsh(directory.path(), &shell_words[..shell_words.len() - 2])), 1, &words);
        assert_eq!(stranger.heard(), "heard b''");
    }
}

#[test]
fn a_named_socket_in_a_safe_directory_is_trusted_by_root() {
    if !is_root() {
        return;
    }
    let diff = |directory: &TempDir, path: &Path| ctl(directory.path(), &format!("-d {} diff", path.display()));
    let answer = "---%0Amessage: mine%0A";
    // A directory of the stranger's own, whose path says who is meant.
    let own = directory_with_mode(0o755);
    let path = own.path().join("einhorn.sock");
    std::os::unix::fs::chown(own.path(), Some(STRANGER), None).unwrap();
    let parent = directory_with_mode(0o755);
    let place = parent.path().join("of-the-stranger");
    fs::create_dir(&place).unwrap();
    std::os::unix::fs::chown(&place, Some(STRANGER), None).unwrap();
    let named = place.join("einhorn.sock");
    let mut stranger = Squatter::listen(&named, STRANGER, answer);
    let believed = said(diff(&parent, &named));
    assert_eq!((believed.code, believed.out.as_str()), (Some(0), "mine\n"), "{believed:?}");
    assert!(stranger.heard().contains("command: diff"));
    // The default path does not say it, not even there: TMPDIR may come from elsewhere. But the hint has the words to say.
    assert_explained(&said(ctl(&place, "diff")), 3, &["uid 65533", &format!("-d {}", named.display())]);
    assert_eq!(stranger.heard(), "heard b''");
    drop(stranger);
    // In a directory like /tmp, any user could have made that directory; and in one that all users may write, any file.
    let mut stranger = Squatter::listen(&path, STRANGER, answer);
    assert_explained(&said(diff(&own, &path)), 3, &["uid 65533", "EINHORN_MASTER_PID"]);
    assert_eq!(stranger.heard(), "heard b''");
    let mut by_pid = diff(&own, &path);
    by_pid.env("EINHORN_MASTER_PID", stranger.pid());
    assert_eq!(said(by_pid).out, "mine\n");
    assert!(stranger.heard().contains("command: diff"));
}

#[test]
fn pid_zero_is_no_master() {
    if !is_root() {
        return;
    }
    let directory = directory_with_mode(0o1777);
    let path = directory.path().join("einhorn.sock");
    // As a process of another pid namespace, which has the pid 0 here.
    let mut outside = Command::new("unshare");
    outside.args(["--pid", "--fork", "--mount-proc", CTL, "diff"]).env_clear().env("TMPDIR", directory.path());
    outside.env("PATH", "/usr/bin:/bin").env("EINHORN_MASTER_PID", "0");
    let mut stranger = Squatter::listen(&path, STRANGER, "---%0Amessage: owned%0A");
    let refused = said(outside);
    assert_explained(&refused, 3, &["a process of another pid namespace of uid 65533"]);
    assert!(!refused.err.contains("EINHORN_MASTER_PID"), "{refused:?}");
    assert_eq!(stranger.heard(), "heard b''");
}

/// Of our own user, so that it is believed: a master of ours may pass on what its workers and other clients say.
#[test]
fn replies_of_a_master_are_escaped() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("einhorn.sock");
    // The end of an upgrade is told by its id, and that of a step of the verbosity by the number.
    let answer = format!("---%0Amessage: \"a{STEERING}b 0\"%0Arequest_id: 1%0A");
    let own_uid = nix::unistd::geteuid().as_raw();
    let _master = Squatter::listen(&path, own_uid, &answer);
    for subcommand in SUBCOMMANDS {
        let said = said(ctl(directory.path(), subcommand));
        assert_plain(&said);
        let all = format!("{}{}", said.out, said.err);
        let is_shown =
            all.contains("a\\x1b[2J\\x1b]0;owned\\x07\\x0d\\x9b2J\\u{202e}\\u{2066}\\u{2028}\\u{feff}\\x7f\\x00b");
        // These are documents, which the next test has.
        let is_document = subcommand.starts_with("status") || subcommand == "history --json";
        assert!(is_shown || (is_document && said.code != Some(0)), "{subcommand}: {said:?}");
    }
    let shell = said(einhornsh(directory.path(), &["-e", "state"]));
    assert_plain(&shell);
    assert!(shell.out.starts_with("a\\x1b[2J"), "{shell:?}");
}

#[test]
fn a_status_is_escaped_and_in_json_as_json_has_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("einhorn.sock");
    let answer = r#"{"message":"","request_id":1,"status":{"name":"a\u001b[2J\u009b\u202e\u007f","workers":[]}}"#;
    let own_uid = nix::unistd::geteuid().as_raw();
    let _master = Squatter::listen(&path, own_uid, answer);
    let json = said(ctl(directory.path(), "status --json"));
    assert_plain(&json);
    let status: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(status["name"], "a\u{1b}[2J\u{9b}\u{202e}\u{7f}");
    for subcommand in ["status", "status --watch"] {
        let table = said(ctl(directory.path(), subcommand));
        assert_plain(&table);
        assert!(table.out.contains("(a\\x1b[2J\\x9b\\u{202e}\\x7f)"), "{subcommand}: {table:?}");
    }
}

#[test]
fn a_history_is_escaped_in_json_as_json_has_it() {
    let directory = TempDir::new().unwrap();
    let answer = r#"{"message":"","request_id":1,"history":[{"reason":"a\u001b[2J\u009b\u202e\u007f"}]}"#;
    let own_uid = nix::unistd::geteuid().as_raw();
    let _master = Squatter::listen(&directory.path().join("einhorn.sock"), own_uid, answer);
    let json = said(ctl(directory.path(), "history --json"));
    assert_plain(&json);
    let history: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(history[0]["reason"], "a\u{1b}[2J\u{9b}\u{202e}\u{7f}");
}

#[test]
fn names_of_files_and_words_of_the_command_line_cannot_steer_a_terminal() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("einhorn-\u{1b}[2J\u{202e}.sock"), "").unwrap();
    let missing = said(ctl(directory.path(), "-c web status"));
    assert_plain(&missing);
    assert_explained(&missing, 3, &["There is: -c \\x1b[2J\\u{202e}."]);
    let mut odd = ctl(directory.path(), "");
    odd.args(["-c", "\u{1b}[2J", "\u{9b}2J"]);
    let odd = said(odd);
    assert_plain(&odd);
    assert_explained(&odd, 2, &["\\x9b2J"]);
    let path: PathBuf = directory.path().join("\u{1b}]0;x\u{7}");
    let mut named = ctl(directory.path(), "");
    named.arg("-d").arg(path).arg("status");
    let named = said(named);
    assert_plain(&named);
    assert_explained(&named, 3, &["\\x1b]0;x\\x07: no such file"]);
}
