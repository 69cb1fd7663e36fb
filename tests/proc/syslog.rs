//! `--syslog`: which output gets which line, and that a syslog that is away, full or restarted holds nothing up.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::support::{LIMIT, Master, Process, Setup, Strace, assert_supervised, flood};

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
        let length = syslog.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}; only these came: {others:#?}"));
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

/// As RFC 3164 has it; readers of syslog would show it some hours off.
#[test]
fn the_time_of_a_message_is_local_time() {
    let setup = with_own_syslog("").env("TZ", "EAST-5:30");
    let syslog = UnixDatagram::bind(setup.directory().join("syslog")).unwrap();
    let master = setup.start();
    let before = SystemTime::now();
    master.wait_for_workers(2);
    flood(&master, 1);
    let (message, _) = receive(&syslog, |message| message.contains("Could not find state"));
    let half_hours_east = Duration::from_secs(330 * 60);
    let stamps = [before, SystemTime::now()].map(|moment| {
        let local = humantime::format_rfc3339_seconds(moment + half_hours_east).to_string();
        local.get("2026-11-30T".len()..local.len() - ":00Z".len()).unwrap().to_owned()
    });
    assert!(stamps.iter().any(|stamp| message.contains(&format!(" {stamp}:"))), "{message}: {stamps:?}");
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

    // Once it is found, it is not read any more: its queue is full after some messages.
    let syslog = wait_until_found(&master, &path);
    flood(&master, MANY);
    assert_supervised(&master);
    master.wait_for_log("Could not find state", MANY);
    drop(syslog);

    fs::remove_file(&path).unwrap();
    wait_until_found(&master, &path);
    assert_supervised(&master);
}

/// More requests than messages may wait for syslog; the two lines of each still find room on their way to standard error.
const MANY: usize = 1500;

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

/// What syslog is told of what it missed.
const MISSED: &str = " lines did not get here, standard error has them";

fn missed(message: &str) -> Option<usize> {
    message.strip_suffix(MISSED)?.rsplit(' ').next()?.parse().ok()
}

/// The lines of the log that are about syslog; such lines stay away from it.
fn about_syslog(master: &Master) -> Vec<String> {
    master.log().settle();
    master.log().with("syslog")
}

/// How many lines of the log were for syslog.
fn for_syslog(master: &Master) -> usize {
    master.log().settle();
    let lines = master.log().lines();
    let is_for_it = |line: &&String| line.contains("] WARN: ") || line.contains("] ERROR: ");
    lines.iter().filter(is_for_it).filter(|line| !line.contains("syslog")).count()
}

// Failure mode 94: as in a container.
#[test]
fn a_syslog_that_is_away_is_said_once_and_found_without_being_asked() {
    let setup = with_own_syslog("");
    let path = setup.directory().join("syslog");
    let master = setup.start();
    master.wait_for_workers(2);
    flood(&master, 50);
    master.wait_for_log("Could not find state", 50);
    let away = format!(
        "[MASTER {}] WARN: cannot reach syslog: no such file or directory, its lines go to standard error until it is \
         there",
        master.pid()
    );
    let strace = Strace::attach_to_thread(&master, syslog_thread(&master), &["-e", "trace=connect"]);
    master.wait_until("it is looked for once more", LIMIT, || {
        strace.lines().iter().any(|line| line.contains("\"/dev/log\""))
    });
    strace.detach();
    assert_eq!(about_syslog(&master), [&*away]);
    assert_eq!(master.log().count("Could not find state"), 50, "nothing is there twice");

    let syslog = UnixDatagram::bind(&path).unwrap();
    let (note, before) = receive(&syslog, |message| message.ends_with(MISSED));
    assert!(note.starts_with("<28>") && before.is_empty(), "{before:?} {note}");
    assert_eq!(missed(&note), Some(for_syslog(&master)));
    let back = format!("syslog is there, {} lines went to standard error alone", for_syslog(&master));
    master.wait_for_log(&back, 1);
    assert_eq!(about_syslog(&master), [away, format!("[MASTER {}] WARN: {back}", master.pid())]);
    flood(&master, 1);
    receive(&syslog, |message| message.contains("Could not find state"));
}

#[track_caller]
fn syslog_thread(master: &Master) -> Process {
    master.wait_for_thread("syslog")
}

// Failure mode 94: it does not read for a while, and then goes on.
#[test]
fn a_syslog_that_was_full_is_told_how_much_it_missed() {
    let setup = with_own_syslog("");
    let syslog = UnixDatagram::bind(setup.directory().join("syslog")).unwrap();
    let master = setup.start();
    master.wait_for_workers(2);
    flood(&master, MANY);
    assert_supervised(&master);
    master.wait_for_log("cannot reach syslog: resource temporarily unavailable", 1);

    let (note, mut before) = receive(&syslog, |message| message.ends_with(MISSED));
    master.wait_for_log("syslog is there, ", 1);
    let mut client = master.connect();
    client.send(r#"{"command":"worker:ack", "pid":888888888}"#);
    let (_, between) = receive(&syslog, |message| message.contains("for PID 888888888"));
    before.extend(between);
    // Its line may come a moment later than its message.
    master.wait_for_log("for PID 888888888", 1);
    let later: usize = before.iter().filter_map(|message| missed(message)).sum();
    let lost = missed(&note).unwrap() + later;
    let came = before.iter().filter(|message| missed(message).is_none()).count() + 1;
    assert_eq!((lost > 0, lost + came), (true, for_syslog(&master)), "{lost} were lost, {came} came");
}

/// The thread wakes up so slowly that they would be too late, were they not waited for.
#[test]
fn the_last_words_come_to_syslog_too() {
    let setup = with_own_syslog("--config web.toml").script("setsid sleep 1000 & exec sleep 1000");
    setup.write("web.toml", "[worker]\nleave = ['sleep']\n");
    let syslog = UnixDatagram::bind(setup.directory().join("syslog")).unwrap();
    let master = setup.start();
    let is_apart = |process: &Process| process.command_line() == ["sleep", "1000"];
    master.wait_until("all have their sessions", LIMIT, || {
        master.descendants().iter().filter(|it| is_apart(it)).count() == 4
    });
    let slowly = ["-e", "trace=futex", "-e", "inject=futex:delay_exit=100000"];
    let _slow = Strace::attach_to_thread(&master, syslog_thread(&master), &slowly);
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    receive(&syslog, |message| message.contains("Workers left processes behind in sessions"));
}

/// The first of them keeps the thread waiting, and the others behind it.
#[test]
fn the_last_words_are_on_standard_error_when_syslog_does_not_read_them() {
    let setup = with_configured_log(ALONE);
    let path = setup.directory().join("syslog");
    let syslog = UnixDatagram::bind(&path).unwrap();
    let master = setup.start();
    receive(&syslog, |message| message.contains("Up to 1 / 1 timer ACKs"));
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send_to(b"of another sender", &path).is_ok() {}
    let worker = master.wait_for_workers(1)[0];
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    for words in [format!("Sending TERM to [{worker}]"), format!("===> Exited worker {worker}")] {
        assert_eq!(master.log().count(&words), 1, "{words}; {}", master.log());
    }
}

/// A file that sends the log to syslog alone, at first.
const ALONE: &str =
    "ack-mode = 0\n[log]\ntarget = 'syslog'\nsyslog-level = 'info'\nfacility = 'local3'\nident = 'web'\n";

fn with_configured_log(file: &str) -> Setup {
    let setup = Setup::new("--config web.toml");
    setup.write("web.toml", file);
    setup.program(["sleep", "1000"]).through(&["unshare", "-m", "/bin/sh", "-c", OWN_DEV, "sh"])
}

/// For local3 (19): 158 is information, 156 a warning.
#[test]
fn syslog_target_name_and_facility_follow_the_file_and_its_reload() {
    let setup = with_configured_log(ALONE);
    let syslog = UnixDatagram::bind(setup.directory().join("syslog")).unwrap();
    let master = setup.start();
    let (up, _) = receive(&syslog, |message| message.contains("Up to 1 / 1 timer ACKs"));
    assert!(up.starts_with("<158>") && up.contains(&format!(" web[{}]: ", master.pid())), "{up}");
    assert_eq!(master.log().lines(), [""; 0]);
    master.replace("web.toml", "ack-mode = 0\n[log]\ntarget = 'both'\nlevel = 'warn'\nfacility = 'local4'\n");
    let old = master.wait_for_workers(1);
    master.control("{id: 1, command: upgrade}");
    receive(&syslog, |message| message.starts_with("<158>") && message.contains("log.facility: local3 -> local4"));
    let mut now = Vec::new();
    master.wait_until("the old worker is gone", LIMIT, || {
        now = master.workers();
        now.len() == 1 && now != old
    });
    assert!(now[0].signal(Signal::SIGKILL));
    // For local4 (20): 164 is a warning.
    let (death, between) = receive(&syslog, |message| message.contains("was killed by SIGKILL"));
    assert!(death.starts_with("<164>") && death.contains(" einhyrningsins["), "{death}");
    assert!(!between.iter().any(|message| message.contains("===> ")), "{between:?}");
    master.wait_for_log("WARN: Worker", 1);
    assert_eq!(master.log().count("INFO"), 0, "{}", master.log());
}

#[test]
fn syslog_lines_go_to_stderr_while_syslog_is_unreachable() {
    let master = with_configured_log(ALONE).start();
    master.wait_for_log("INFO: Up to 1 / 1 timer ACKs", 1);
    assert_eq!(master.log().count("cannot reach syslog"), 1, "{}", master.log());
}
