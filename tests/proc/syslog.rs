//! `--syslog`: who gets what, and that a syslog that is away, full or restarted holds nothing up.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::support::{FLOOD, LIMIT, Master, Setup, assert_supervised, flood, flood_and_supervise};

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
