//! The log: what its lines look like, and that a reader that does not read cannot hold up the master.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{FLOOD, LIMIT, Master, Setup, assert_supervised, flood, flood_and_supervise, is_root};

/// Speaker, level and text of a line.
fn parts(line: &str) -> (&str, &str, &str) {
    let (speaker, rest) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).expect(line);
    let (level, text) = rest.split_once(": ").expect(line);
    (speaker, level, text)
}

#[test]
fn lines_name_their_speaker_and_their_level() {
    let master = Setup::new("-n 2 -m 0 -s 0.01 -b 127.0.0.1:0,r").program(["sleep", "1000"]).start();
    let workers = master.wait_for_workers(2);
    workers[0].signal(Signal::SIGKILL);
    master.wait_for_log("was killed by SIGKILL", 1);
    master.wait_for_log("===> Launched", 3);
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully", 1);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    let mut of_workers = BTreeMap::new();
    for line in master.log().lines() {
        let (speaker, level, text) = parts(&line);
        assert!(["INFO", "WARN", "ERROR"].contains(&level), "{line}");
        if let Some(pid) = speaker.strip_prefix("WORKER ") {
            assert_eq!((level, text), ("INFO", "About to exec [\"/usr/bin/sleep\", \"1000\"]"));
            *of_workers.entry(pid.to_owned()).or_insert(0) += 1;
        } else {
            assert_eq!(speaker, format!("MASTER {}", master.pid()), "{line}");
        }
    }
    assert!(of_workers.len() == 5 && of_workers.values().all(|count| *count == 1), "{of_workers:?}");
    assert_eq!(of_workers.get(&workers[1].to_string()), Some(&1));
}

/// In einhorn's words, which scripts look for.
#[test]
fn a_start_is_told_as_einhorn_tells_it() {
    let master = Setup::new("-n 2 -m 1000 -b 127.0.0.1:0,r").program(["sleep", "1000"]).start();
    let workers = master.wait_for_workers(2);
    master.wait_for_log("===> Launched", 2);
    let lines = master.log().lines();
    let of_master: Vec<_> = lines.iter().filter(|line| line.starts_with("[MASTER")).map(|line| parts(line).2).collect();
    let expected = [
        format!("Writing PID to {}", master.file("einhorn.pid").display()),
        "Binding to 127.0.0.1:0 with flags [\"r\"]".into(),
        format!("Listening on {}", master.process().listening_on().first().unwrap()),
        "Launching 2 new workers".into(),
        format!("===> Launched {} (index: 0)", workers[0]),
        format!("===> Launched {} (index: 1)", workers[1]),
    ];
    assert_eq!(of_master, expected);
}

#[test]
fn q_and_v_say_less_and_more() {
    for (option, levels) in [
        ("-q", &["ERROR", "WARN"][..]),
        ("-v", &["DEBUG", "ERROR", "INFO", "WARN"]),
        ("-v -q", &["ERROR", "INFO", "WARN"]),
        ("-qq", &["ERROR", "WARN"]),
        ("-s 0.01", &["ERROR", "INFO", "WARN"]),
    ] {
        let master = Setup::new("-n 1 -m 0 -s 0.01").options(option).program(["sleep", "1000"]).start();
        master.wait_for_workers(1);
        // Some millisecond after its start: killed at once, it would count as one that never acked, and be told of.
        master.wait_until("it is acked", LIMIT, || !master.control(r#"{"command":"state"}"#).contains(":acked: false"));
        assert_supervised(&master);
        let levels_said = || {
            let lines = master.log().lines();
            lines.iter().map(|line| parts(line).1.to_owned()).collect::<BTreeSet<_>>()
        };
        let expected: BTreeSet<_> = levels.iter().map(ToString::to_string).collect();
        master.wait_until(&format!("{option} says {levels:?}"), LIMIT, || levels_said() == expected);
        master.signal(Signal::SIGINT);
        master.wait_exit();
        assert_eq!(levels_said(), expected, "{option}: {}", master.log());
    }
}

fn pipe() -> (File, OwnedFd) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    (File::from(reader), writer)
}

// Failure mode 91. E22.
#[test]
fn an_unread_log_blocks_nothing_and_its_loss_is_told_later() {
    let (reader, writer) = pipe();
    let master = Setup::new("-n 2 -m manual -s 0.01 -v").program(["sleep", "1000"]).stderr(writer).start();
    master.wait_for_workers(2);
    flood_and_supervise(&master);

    let lines = read_lines(reader);
    let mut read: Vec<String> = Vec::new();
    while read.last().is_none_or(|line| dropped(&master, line).is_none()) {
        read.push(lines.recv_timeout(LIMIT).expect("the loss is never told"));
    }
    // It was told when there was room for one line; when some more have come, every further line has its place.
    for _ in 0..100 {
        read.push(lines.recv_timeout(LIMIT).expect("more lines are waiting"));
    }
    master.signal(Signal::SIGINT);
    read.extend(lines);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(read.iter().any(|line| line.contains("Sending USR2 to [")));
    let lost: usize = read.iter().filter_map(|line| dropped(&master, line)).sum();
    let missing = 2 * FLOOD - read.iter().filter(|line| line.contains("999999999")).count();
    assert!(missing > 0 && (missing..missing + 100).contains(&lost), "{missing} lines are missing, {lost} are told of");
    read.iter().for_each(|line| _ = parts(line));
}

/// A reader that reads at last, to the end.
fn read_lines(reader: File) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut read = BufReader::new(reader).lines().map(Result::unwrap);
        read.all(|line| sender.send(line).is_ok())
    });
    lines
}

/// How many lines this one says are lost.
fn dropped(master: &Master, line: &str) -> Option<usize> {
    let count = line.strip_prefix(&format!("[MASTER {}] WARN: dropped ", master.pid()))?;
    count.strip_suffix(" log lines that were not read in time")?.parse().ok()
}

/// The shortest of the silences of the control socket that some re-execs cause: a machine that is busy may have no time for one of
/// them; a master that waits for its log waits each time.
fn silence(master: &Master) -> Duration {
    let silences = (0..5).map(|_| {
        let generation = master.generation();
        master.control("{command: reload}");
        let (mut longest, mut last) = (Duration::ZERO, Instant::now());
        while master.generation() == generation {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        longest.max(last.elapsed())
    });
    silences.min().unwrap()
}

// Failure mode 91: what a master says of its re-exec is not read, and its clients do not wait for that.
#[test]
fn an_unread_log_does_not_block_a_re_exec() {
    let start = |setup: Setup| {
        let master = setup.options("-n 1 -m 0 -s 0.01 -v").program(["sleep", "1000"]).start();
        master.wait_for_workers(1);
        master
    };
    let read = silence(&start(Setup::new("")));
    let (_reader, writer) = pipe();
    let master = start(Setup::new("").stderr(writer));
    flood(&master, 1000);
    let unread = silence(&master);
    // What a flush may take in vain is half a second.
    assert!(unread < read + Duration::from_millis(400), "{unread:?} against {read:?} with a log that is read");
    let status: Value = serde_json::from_str(&master.control("{command: status, format: json}")).unwrap();
    let lost = status["status"]["counters"]["log_lines_dropped"].as_u64();
    assert!(lost > Some(0), "lines that were not read are not counted: {status}");
}

// Failure mode 91: the last lines are waited for, but not for ever.
#[test]
fn an_unread_log_does_not_keep_the_master_from_ending() {
    let (_reader, writer) = pipe();
    let master = Setup::new("-n 2 -m manual -s 0.01").program(["sleep", "1000"]).stderr(writer).start();
    master.wait_for_workers(2);
    flood_and_supervise(&master);
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!master.socket().exists());
}

// Failure modes 92, 95.
#[test]
fn an_unwritable_log_harms_no_client() {
    let (reader, gone) = pipe();
    drop(reader);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    for stderr in [gone, full.into()] {
        let master = Setup::new("-n 2 -m manual -s 0.01 -v").program(["sleep", "1000"]).stderr(stderr).start();
        master.wait_for_workers(2);
        assert_supervised(&master);
        flood(&master, 20);
        assert_supervised(&master);
        master.signal(Signal::SIGINT);
        assert_eq!(master.wait_exit().code(), Some(0));
    }
}

/// A disk with room for so little, which goes away at the end.
struct SmallDisk(TempDir);

impl SmallDisk {
    const BYTES: usize = 16 * 1024;

    fn mount() -> Self {
        let place = TempDir::new().unwrap();
        let options = format!("size={},mode=700", Self::BYTES);
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(place.path()).status();
        assert!(mounted.unwrap().success());
        Self(place)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

fn lost_count(master: &Master) -> u64 {
    let mut client = master.connect();
    client.send(r#"{"command":"status", "format":"json"}"#);
    let reply: Value = serde_json::from_str(&client.receive().unwrap()).unwrap();
    reply["status"]["counters"]["log_lines_dropped"].as_u64().unwrap()
}

// Failure mode 95.
#[test]
fn lines_lost_on_a_full_disk_are_counted_and_told_later() {
    if !is_root() {
        return;
    }
    let disk = SmallDisk::mount();
    let path = disk.0.path().join("log");
    let file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let master = Setup::new("-n 2 -m manual -s 0.01").program(["sleep", "1000"]).stderr(file).start();
    master.wait_for_workers(2);
    let text = || fs::read_to_string(&path).unwrap();
    master.wait_until("the disk is full", LIMIT, || {
        flood(&master, 50);
        lost_count(&master) > 10
    });
    // What stands there ends with a line that has no end; it counts as lost.
    assert_eq!(text().len(), SmallDisk::BYTES);
    let kept = text();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    let told = format!("[MASTER {}] WARN: lost ", master.pid());
    master.wait_until("the loss is told", LIMIT, || {
        flood(&master, 1);
        text().contains(&told)
    });
    let after = text();
    let line = after.lines().find(|line| line.starts_with(&told)).unwrap();
    let lost: u64 = line[told.len()..].split(' ').next().unwrap().parse().unwrap();
    assert!(line.ends_with(" log lines, cannot write them: no space left on device"), "{line}");
    assert_eq!(lost, lost_count(&master));
    // The line that was cut is ended, and every further one is whole.
    assert!(after.starts_with('\n') != kept.ends_with('\n'), "{after:?}");
    after.lines().filter(|line| !line.is_empty()).for_each(|line| _ = parts(line));
}

// Failure mode 92: the reader goes when there is a lot to write.
#[test]
fn a_log_reader_that_goes_harms_no_client() {
    let (mut reader, writer) = pipe();
    let master = Setup::new("-n 2 -m manual -s 0.01").program(["sleep", "1000"]).stderr(writer).start();
    master.wait_for_workers(2);
    flood_and_supervise(&master);
    reader.read_exact(&mut [0; 100]).unwrap();
    drop(reader);
    flood_and_supervise(&master);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
}

// Failure modes 92, 93.
#[test]
fn closed_standard_descriptors_are_never_taken_by_sockets() {
    for closed in 1..8_u32 {
        let is_closed = |number: i32| closed & (1 << number) != 0;
        let redirections: String =
            (0..3).filter(|&number| is_closed(number)).map(|number| format!(" {number}>&-")).collect();
        let through = ["/bin/sh", "-c", &format!("exec \"$@\" {redirections}"), "sh"];
        let setup = Setup::new("-n 1 -m 0 -s 0.01").bind("").program(["sleep", "1000"]).through(&through);
        let master = setup.start();
        let worker = master.wait_for_workers(1)[0];
        // Its loader may still have a library open.
        master.wait_until("the worker has what it was given", LIMIT, || worker.descriptors().len() == 4);
        for process in [master.process(), worker] {
            let open = process.descriptors();
            for number in 0..3 {
                let is_null = open[&number] == "/dev/null";
                assert_eq!(is_null, is_closed(number) || number == 0, "{redirections}: {open:?}");
            }
        }
        assert_supervised(&master);
    }
}

// Failure mode 73.
#[test]
fn log_lines_escape_client_text_and_file_names() {
    let pid_file = "x\u{1b}]0;title\u{7}\n[MASTER 1] ERROR: forged \u{9b}2J";
    let master = Setup::new("-n 1 -m manual -e").word(pid_file).program(["sleep", "1000"]).start();
    let escaped = "Writing PID to x\\x1b]0;title\\x07\\x0a[MASTER 1] ERROR: forged \\x9b2J";
    assert!(master.wait_for_log("Writing PID to", 1)[0].ends_with(escaped));
    let hostile = [
        r#"{"command":"worker:ack", "x":"\n[MASTER 1] ERROR: forged"}"#,
        r#"{"command":"worker:ping", "x":"\u001b]0;title\u0007\u009b2J\u0000\r"}"#,
        r#"{"command":"worker:ack", "\u001b[31m":"%0A[MASTER 1] ERROR: forged"}"#,
        "---%0Acommand: worker:ping%0Ax: \"\\e]0;title\\a\\r\\n[MASTER 1] x\"%0A",
    ];
    for request in hostile {
        let mut client = master.connect();
        client.send(request);
        assert_eq!(client.receive(), None);
    }
    let said = master.wait_for_log("Invalid request (no pid)", hostile.len());
    assert!(said.iter().any(|line| line.contains("forged")), "{said:?}");
    for line in master.log().lines() {
        assert!(!line.contains(char::is_control) && !line.starts_with("[MASTER 1]"), "{line:?}");
    }
}

/// The journal shows neither; another standard error would.
#[test]
fn lines_that_go_to_the_journal_carry_its_mark_of_their_level() {
    for (offset, mark) in [(0, ["<6>[MASTER ", "<4>[MASTER "]), (1, ["[MASTER ", "[MASTER "])] {
        let setup = Setup::new("-n 1 -m 0 -s 0.01").program(["sleep", "1000"]);
        let path = setup.directory().join("journal");
        let file = File::create(&path).unwrap();
        let meta = file.metadata().unwrap();
        let stream = format!("{}:{}", meta.dev(), meta.ino() + offset);
        let master = setup.stderr(file).env("JOURNAL_STREAM", &stream).start();
        master.wait_for_workers(1)[0].signal(Signal::SIGKILL);
        let text = || std::fs::read_to_string(&path).unwrap();
        master.wait_until("the death is logged", LIMIT, || text().contains("was killed by SIGKILL"));
        let text = text();
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap().to_owned();
        assert!(line("===> Launched").starts_with(mark[0]), "{text}");
        assert!(line("was killed by SIGKILL").starts_with(mark[1]), "{text}");
    }
}

#[test]
fn start_errors_are_errors_in_the_journal() {
    let setup = Setup::new("-n 0").program(["sleep", "1000"]);
    let path = setup.directory().join("journal");
    let file = File::create(&path).unwrap();
    let meta = file.metadata().unwrap();
    let stream = format!("{}:{}", meta.dev(), meta.ino());
    let master = setup.stderr(file).env("JOURNAL_STREAM", &stream).start();
    assert_eq!(master.wait_exit().code(), Some(100));
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "<3>einhyrningsins: -n 0: need a whole number from 1 to 100000\n"
    );
}
