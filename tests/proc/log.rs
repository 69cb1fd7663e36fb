//! The log: what its lines look like, and that nobody who does not read it can hold up the master.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;

use crate::support::{LIMIT, Master, Setup};

/// More lines than the queue and a pipe hold together.
const FLOOD: usize = 4000;

/// Speaker, level and text of a line.
fn parts(line: &str) -> (&str, &str, &str) {
    let (speaker, rest) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).expect(line);
    let (level, text) = rest.split_once(": ").expect(line);
    (speaker, level, text)
}

/// Kills a worker, and waits for another in its place.
#[track_caller]
fn assert_supervised(master: &Master) {
    let before = master.workers();
    assert!(before[0].signal(Signal::SIGKILL));
    master.wait_until("a killed worker is replaced", LIMIT, || {
        let now = master.workers();
        now.len() == before.len() && !now.contains(&before[0])
    });
    assert!(master.control(r#"{"command":"state"}"#).contains(":children:"));
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
        ("-q", &["WARN"][..]),
        ("-v", &["DEBUG", "INFO", "WARN"]),
        ("-v -q", &["INFO", "WARN"]),
        ("-qq", &["WARN"]),
        ("-s 0.01", &["INFO", "WARN"]),
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

/// Each leads to two lines in the log: an ack from nobody we know.
fn flood(master: &Master, requests: usize) {
    for _ in 0..requests {
        let mut client = UnixStream::connect(master.socket()).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.write_all(b"{\"command\":\"worker:ack\", \"pid\":999999999}\n").unwrap();
        assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0, "an ack is not answered");
    }
}

fn pipe() -> (File, OwnedFd) {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    (File::from(reader), writer)
}

// Failure mode 91. E22.
#[test]
fn a_log_that_nobody_reads_holds_nothing_up_and_the_loss_is_told_later() {
    let (reader, writer) = pipe();
    let master = Setup::new("-n 2 -m manual -s 0.01 -v").program(["sleep", "1000"]).stderr(writer).start();
    master.wait_for_workers(2);
    flood_and_supervise(&master);

    let lines = read_lines(reader);
    let mut read: Vec<String> = Vec::new();
    while read.last().is_none_or(|line| dropped(&master, line).is_none()) {
        read.push(lines.recv_timeout(LIMIT).expect("the loss is never told"));
    }
    // From now on every line comes.
    master.signal(Signal::SIGINT);
    read.extend(lines);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(read.iter().any(|line| line.contains("Sending USR2 to [")));
    let lost: usize = read.iter().filter_map(|line| dropped(&master, line)).sum();
    let missing = 2 * FLOOD - read.iter().filter(|line| line.contains("999999999")).count();
    assert!(missing > 0 && (missing..missing + 100).contains(&lost), "{missing} lines are missing, {lost} are told of");
    read.iter().for_each(|line| _ = parts(line));
}

/// Somebody who reads at last, to the end.
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
    count.strip_suffix(" log lines, nobody read them in time")?.parse().ok()
}

fn flood_and_supervise(master: &Master) {
    master.wait_until("the control socket is there", LIMIT, || master.socket().exists());
    flood(master, FLOOD);
    assert_supervised(master);
}

// Failure mode 91: the last lines are waited for, but not for ever.
#[test]
fn a_log_that_nobody_reads_does_not_keep_the_master_from_ending() {
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
fn a_log_that_cannot_be_written_harms_nobody() {
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

// Failure mode 92: the reader goes when there is a lot to write.
#[test]
fn a_reader_that_goes_in_the_middle_harms_nobody() {
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
fn started_with_closed_descriptors_neither_master_nor_worker_has_a_socket_there() {
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
fn what_clients_say_and_files_are_called_cannot_forge_a_line_or_steer_a_terminal() {
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

/// A /dev of the master's own with nothing in it but `null` and `log`, which leads into the test's directory.
const OWN_DEV: &str = "mkdir dev && mount -t tmpfs t dev && cp -a /dev/null dev/null && ln -s \"$TMPDIR/syslog\" dev/log && \
    mount --bind dev /dev && exec \"$@\"";

fn with_own_syslog(options: &str) -> Setup {
    let setup = Setup::new("-n 2 -m manual -s 0.01 --syslog").options(options);
    setup.program(["sleep", "1000"]).through(&["unshare", "-m", "/bin/sh", "-c", OWN_DEV, "sh"])
}

/// The next message for which this holds.
fn receive(syslog: &UnixDatagram, wanted: impl Fn(&str) -> bool) -> (String, Vec<String>) {
    syslog.set_read_timeout(Some(LIMIT)).unwrap();
    let (mut buffer, mut others) = ([0; 4096], Vec::new());
    loop {
        let length = syslog.recv(&mut buffer).expect("no such message came");
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if wanted(&message) {
            return (message, others);
        }
        others.push(message);
    }
}

/// For daemons (3): 27 is an error, 28 a warning.
#[test]
fn syslog_gets_warnings_and_errors_and_nothing_less() {
    let setup = with_own_syslog("-v");
    let syslog = UnixDatagram::bind(setup.directory().join("syslog")).unwrap();
    let master = setup.start();
    let killed = master.wait_for_workers(2)[0];
    assert_supervised(&master);
    flood(&master, 1);
    let (warning, before) = receive(&syslog, |message| message.contains("was killed by"));
    assert!(warning.starts_with("<28>"), "{warning}");
    let ending = format!("einhyrningsins[{}]: Worker {killed} was killed by SIGKILL", master.pid());
    assert!(warning.ends_with(&ending), "{warning}");
    let (error, between) = receive(&syslog, |message| message.contains("Could not find state for PID 999999999"));
    assert!(error.starts_with("<27>"), "{error}");
    let told: Vec<_> = before.iter().chain(&between).collect();
    assert!(told.iter().all(|message| message.starts_with("<27>") || message.starts_with("<28>")), "{told:?}");
    assert!(!told.iter().any(|message| message.contains("===> ") || message.contains("manual ACK")), "{told:?}");
    // The other log has them, too.
    master.wait_for_log("was killed by SIGKILL", 1);
}

// Failure mode 94.
#[test]
fn a_syslog_that_is_away_full_or_restarted_holds_nothing_up() {
    let setup = with_own_syslog("");
    let path = setup.directory().join("syslog");
    let master = setup.start();
    master.wait_for_workers(2);
    flood(&master, 50);
    assert_supervised(&master);

    // Once it is found, nobody reads it any more: its queue is full after some messages.
    let syslog = wait_until_found(&master, &path);
    flood_and_supervise(&master);
    master.wait_for_log("Could not find state", FLOOD);
    drop(syslog);

    fs::remove_file(&path).unwrap();
    wait_until_found(&master, &path);
    assert_supervised(&master);
}

/// Makes a syslog at this path, and waits for its first message.
fn wait_until_found(master: &Master, path: &Path) -> UnixDatagram {
    let syslog = UnixDatagram::bind(path).unwrap();
    syslog.set_nonblocking(true).unwrap();
    master.wait_until("the syslog is found", LIMIT, || {
        flood(master, 1);
        syslog.recv(&mut [0; 4096]).is_ok()
    });
    syslog
}
