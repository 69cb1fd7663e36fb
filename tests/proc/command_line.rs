//! What the command line does that comes to no master, and how a master reads it. Every value's range is tested beside
//! `src/config`; here it is that the program keeps to it before it opens anything.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{EINHYRNINGSINS, LIMIT, Master, Process, Setup, Snapshot, decoded, holds_within};

/// Calls of the program that end by themselves, in a directory where everything that they leave would show.
struct Caller {
    directory: TempDir,
    program: PathBuf,
}

impl Caller {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), program: EINHYRNINGSINS.into() }
    }

    /// Through a link of this name.
    fn named(name: &str) -> Self {
        let mut caller = Self::new();
        caller.program = caller.directory.path().join(name);
        symlink(EINHYRNINGSINS, &caller.program).unwrap();
        caller
    }

    /// Runs it to its end and checks that nothing is left, neither on disk nor running.
    #[track_caller]
    fn call(&self, words: &[&str]) -> Output {
        let before = Snapshot::of(self.path());
        // Into files: workers that should not be there would keep a pipe open.
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let mut command = Command::new(&self.program);
        command.args(words).env_clear().env("PATH", "/usr/bin:/bin").env("TMPDIR", self.path());
        command.current_dir(self.path()).stdin(Stdio::null());
        let mut child =
            command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap()).spawn().unwrap();
        let ended = holds_within(LIMIT, || child.try_wait().unwrap().is_some());
        let _ = child.kill();
        let status = child.wait().unwrap();
        let left = Process::all_of_directory(self.path());
        left.iter().for_each(|process| _ = process.signal(Signal::SIGKILL));
        assert!(ended && left.is_empty(), "{words:?} has become a master");
        assert_eq!(before.changes_to(&Snapshot::of(self.path())), [""; 0], "{words:?}");
        Output { status, stdout: content(stdout), stderr: content(stderr) }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// It ends with this code and this one line on stderr, and says nothing else.
    #[track_caller]
    fn assert_refused(&self, words: &[&str], code: i32, reason: &str) {
        let output = self.call(words);
        assert_eq!(text(&output.stderr), format!("einhyrningsins: {reason}\n"), "{words:?}");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(code), ""), "{words:?}");
    }

    /// It ends with this code, having said something on stdout and nothing on stderr.
    #[track_caller]
    fn answer(&self, words: &[&str], code: i32) -> String {
        let output = self.call(words);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(code), ""), "{words:?}");
        text(&output.stdout).to_owned()
    }
}

fn content(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn usage_is_shown_without_a_program() {
    for words in [&[][..], &["-n", "3"], &["--"], &["-b", "127.0.0.1:0", "-m"]] {
        for caller in [Caller::new(), Caller::named("einhorn")] {
            let usage = caller.answer(words, 1);
            assert!(usage.contains("Usage: einhyrningsins [OPTIONS] [--] PROGRAM [ARGS...]"), "{usage}");
            assert!(usage.lines().count() <= 24, "more than a screen");
        }
    }
}

/// Neither of the two causes comes from the reading of the options, which escapes what it repeats by itself.
#[test]
fn error_messages_of_a_start_are_escaped() {
    let odd = "none/x\u{1b}]0;title\u{7}\neinhyrningsins: forged \u{9b}2J\u{202e}";
    let shown = r"none/x\x1b]0;title\x07\x0aeinhyrningsins: forged \x9b2J\u{202e}";
    let missing = format!("cannot run {shown}: no such file");
    Caller::new().assert_refused(&["--check-config", odd], 100, &missing);
    let nowhere = format!("cannot lock {shown}/sock.lock: directory {shown}: no such file or directory");
    Caller::new().assert_refused(&["-q", "-d", &format!("{odd}/sock"), "/bin/true"], 111, &nowhere);
}

#[test]
fn help_names_every_option() {
    let help = Caller::new().answer(&["-h"], 0);
    assert_eq!(help, Caller::new().answer(&["--help"], 0));
    // einhorn's help ends with 1.
    assert_eq!(help, Caller::named("einhorn").answer(&["-h"], 1));
    for option in
        ["-b, --bind", "--max-upgrade-additional", "-t, --signal-timeout", "-6, --ipv6-only", "--with-state-fd"]
    {
        assert!(help.contains(option), "{option} is missing in {help}");
    }
}

#[test]
fn the_version_is_our_own_unless_we_stand_in_for_einhorn() {
    let ours = format!("einhyrningsins {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(Caller::new().answer(&["--version"], 0), ours);
    assert_eq!(Caller::named("another-name").answer(&["--version"], 0), ours);
    assert_eq!(Caller::named("einhorn").answer(&["--version"], 0), "1.1.1\n");
}

#[test]
fn the_upgrade_check_says_nothing_and_succeeds() {
    assert_eq!(Caller::new().answer(&["--upgrade-check"], 0), "");
    assert_eq!(Caller::named("einhorn").answer(&["-n", "2", "--upgrade-check", "--", "no-such-program"], 0), "");
}

/// What comes after is never looked at, what comes before is.
#[test]
fn help_and_version_act_where_they_stand() {
    assert!(Caller::new().answer(&["-h", "--bogus"], 0).contains("Usage"));
    assert!(Caller::new().answer(&["--version", "-n", "x"], 0).contains("einhyrningsins"));
    Caller::new().assert_refused(&["--bogus", "-h"], 100, "unknown option --bogus");
}

// E08, E17, E21.
#[test]
fn a_wrong_option_is_one_line_and_nothing_is_done() {
    let workers = "need a whole number from 1 to 100000";
    for (words, reason) in [
        (&["-n", "abc"][..], format!("-n abc: {workers}, or auto")),
        (&["-n", "0"], format!("-n 0: {workers}")),
        (&["-n", "3x"], format!("-n 3x: {workers}")),
        (&["--max-unacked=x"], format!("--max-unacked x: {workers}")),
        (&["-b", "::1:80"], "-b ::1:80: an ipv6 address needs brackets, as in [::1]:80".into()),
        (&["-b", "/x.sock"], "-b /x.sock: a unix socket is written unix:/x.sock".into()),
        (&["-4", "-b", "[::1]:0"], "-b [::1]:0: cannot stand together with -4".into()),
        (&["-6", "-b", "127.0.0.1:0"], "-b 127.0.0.1:0: cannot stand together with -6".into()),
        (&["--bogus"], "unknown option --bogus".into()),
        (&["--numbr=3"], "unknown option --numbr, did you mean --number?".into()),
        (&["-Z"], "unknown option -Z".into()),
        (&["--quiet=5"], "--quiet=5: takes no value".into()),
        (&["-s", "0"], "-s 0: need a number of seconds above 0, up to 86400".into()),
    ] {
        // Together with what would otherwise start a master.
        let whole: Vec<_> = words.iter().copied().chain(["--", "sleep", "1000"]).collect();
        Caller::new().assert_refused(&whole, 100, &reason);
        Caller::named("einhorn").assert_refused(&whole, 100, &reason);
    }
    let address = ["-b", "127.0.0.1:0,rn", "--", "sleep", "1000"];
    let reason = "-b 127.0.0.1:0,rn: unknown option ,rn: need r (so_reuseaddr) or n (o_nonblock)";
    Caller::new().assert_refused(&address, 100, reason);
    Caller::new().assert_refused(&["-n"], 100, "-n: value missing, need -n N");
    Caller::new().assert_refused(&["--ver"], 100, "ambiguous option --ver: could be --verbose or --version");
    Caller::new().assert_refused(&["-n", "2", "--", ""], 100, "cannot run the program: its name is empty");
}

// Failure mode 73, for the line on stderr.
#[test]
fn refused_values_are_shown_without_control_characters() {
    Caller::new().assert_refused(
        &["-n", "1\u{1b}[2J\nx"],
        100,
        "-n \"1\\u{1b}[2J\\nx\": need a whole number from 1 to 100000",
    );
}

#[test]
fn a_program_that_is_not_there_is_127_and_one_that_cannot_run_is_126() {
    let caller = Caller::new();
    let path = |name: &str| caller.path().join(name).display().to_string();
    fs::write(path("plain"), "#!/bin/sh\n").unwrap();
    fs::create_dir(path("directory")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    for (program, code, why) in [
        ("no-such-program".to_owned(), 127, "not found in PATH"),
        (path("nope"), 127, "no such file"),
        (path("dangling"), 127, "no such file"),
        ("./plain".to_owned(), 126, "the file is not executable"),
        (path("directory"), 126, "not a regular file"),
    ] {
        caller.assert_refused(&["-b", "127.0.0.1:0", &program], code, &format!("cannot run {program}: {why}"));
    }
}

#[test]
fn a_state_that_is_not_there_is_said() {
    let reason = "cannot read the state from descriptor 9: bad file number";
    Caller::new().assert_refused(&["--with-state-fd", "9", "--", "sleep", "1000"], 111, reason);
    Caller::new().assert_refused(&["--with-state-fd=9"], 111, reason);
}

#[test]
fn values_stand_joined_or_apart_and_long_names_may_be_cut_short() {
    let sleep = ["/usr/bin/sleep", "1000"];
    for options in [&["-n3"][..], &["-n", "3"], &["--number=3"], &["--num", "3"], &["-gkn3"], &["-n", "1", "-n", "3"]] {
        let setup = options.iter().fold(Setup::new(""), |setup, word| setup.word(*word));
        let master = setup.program(sleep).start();
        for worker in master.wait_for_workers(3) {
            assert_eq!(worker.command_line(), sleep, "{options:?}");
        }
    }
}

/// With and without a `--` before it.
#[test]
fn options_end_at_the_first_word_and_the_rest_is_the_programs() {
    let words = ["/bin/sh", "-c", "sleep 1000; exit $#", "-n", "5", "--", "--version", ""];
    let parted = Setup::new("-n 2").program(words);
    let plain = words.iter().fold(Setup::new("-n 2"), |setup, word| setup.word(*word));
    for master in [parted.start(), plain.start()] {
        for worker in master.wait_for_workers(2) {
            assert_eq!(worker.command_line(), words);
        }
    }
}

fn state(master: &Master) -> String {
    decoded(&master.control(r#"{"command":"state"}"#))
}

/// einhorn's `-m` has a value, the seed's none.
#[test]
fn m_takes_a_mode_if_one_follows_and_stands_alone_otherwise() {
    let timer = |seconds: &str| format!(":type: :timer\n      :timeout: {seconds}\n");
    for (options, mode) in [
        (&["-m"][..], ":type: :manual\n".to_owned()),
        (&["-m", "--"], ":type: :manual\n".to_owned()),
        (&["-m", "manual"], ":type: :manual\n".to_owned()),
        (&["-m", "1000"], timer("1000.0")),
        (&["-m0.5", "-m", "1000"], timer("1000.0")),
        (&[], timer("1")),
    ] {
        let setup = options.iter().chain(&["sleep", "1000"]).fold(Setup::new(""), |setup, word| setup.word(*word));
        let master = setup.start();
        assert_eq!(master.wait_for_workers(1)[0].command_line().last().unwrap(), "1000", "{options:?}");
        let state = state(&master);
        assert!(state.contains(&format!(":ack_mode:\n      {mode}")), "{options:?}: {state}");
    }
}

/// It is the shell's, as for execvp(3) and Ruby.
#[test]
fn a_script_without_an_interpreter_line_runs() {
    let setup = Setup::new("-n 1");
    let script = setup.write("plain", "trap '' HUP; sleep 1000; exit\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    for program in [script.clone(), "./plain".into()] {
        let master = setup.beside("-n 1").program([program.clone(), "a b".into()]).start();
        let expected = ["/bin/sh", program.to_str().unwrap(), "a b"];
        assert_eq!(master.wait_for_workers(1)[0].command_line(), expected);
    }
}

/// Of two in PATH the first that can be run, and an empty part of it is the master's own directory.
#[test]
fn a_program_without_a_slash_is_looked_for_in_path() {
    let setup = Setup::new("-n 1");
    for (directory, mode) in [("a", 0o644), ("b", 0o755), ("c", 0o755)] {
        fs::create_dir(setup.directory().join(directory)).unwrap();
        let script = setup.write(&format!("{directory}/server"), "sleep 1000; exit\n");
        fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
    }
    let path = |name: &str| setup.directory().join(name).display().to_string();
    let found = path("b/server");
    let search = format!("{}:{}:{}:/usr/bin:/bin", path("a"), path("b"), path("c"));
    let master = setup.beside("-n 1").env("PATH", &search).program(["server"]).start();
    assert_eq!(master.wait_for_workers(1)[0].command_line(), ["/bin/sh", &found]);
}
