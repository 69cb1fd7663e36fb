//! The state document: what was recorded of einhorn, with the pings and the upgrades that show in it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::control::{message, start, tell};
use crate::support::{EINHYRNINGSINS, LIMIT, Master, Process, Setup};

/// With what differs from run to run masked as in the recorded documents: pids, times, ports, and the program's name.
fn masked(state: &str) -> String {
    let mut masked = String::new();
    let mut in_ports = false;
    for line in state.lines() {
        let pid = line.strip_prefix("    ").and_then(|rest| rest.strip_suffix(':'));
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok()) {
            masked.push_str("    <PID>:");
        } else if in_ports
            && line.strip_prefix("  - ").is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
        {
            masked.push_str("  - <PORT>");
        } else {
            masked.push_str(&mask_time(line).replace(EINHYRNINGSINS, "<EINHORN>"));
        }
        masked.push('\n');
        in_ports = line == "  :bound_ports:" || (in_ports && line.starts_with("  - "));
    }
    masked
}

/// A time of Ruby's at the end of a line: `2026-11-23 17:53:00.123456789 +00:00`.
fn mask_time(line: &str) -> String {
    const SHAPE: &str = "0000-00-00 00:00:00.000000000 +00:00";
    let Some(start) = line.len().checked_sub(SHAPE.len()).filter(|start| line.is_char_boundary(*start)) else {
        return line.to_owned();
    };
    let shape: String = line[start..].chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if shape == SHAPE { format!("{}<TIME>", &line[..start]) } else { line.to_owned() }
}

/// The state is what was recorded of einhorn, but for these lines, each with what stands here instead.
#[track_caller]
fn assert_recorded(master: &Master, recorded: &str, differences: &[(&str, &str)]) {
    let expected = differences.iter().fold(recorded.to_owned(), |text, (theirs, ours)| {
        assert!(text.contains(theirs), "nothing differs in {theirs:?}");
        text.replace(theirs, ours)
    });
    let found = masked(&message(master));
    let pairs = found.lines().zip(expected.lines());
    let wrong: Vec<_> = pairs.filter(|(found, expected)| found != expected).collect();
    assert!(found == expected, "found, expected: {wrong:#?}\nthe whole:\n{found}");
}

/// A master that runs `./worker` with this text, as the recorded one did.
fn recorded_setup(options: &str, text: &str) -> Setup {
    // The recordings show a command line for the re-exec, which einhorn has only if it was given one.
    let setup = Setup::new(options).word("--reexec-as").word(EINHYRNINGSINS);
    let worker = setup.write("worker", text);
    fs::set_permissions(worker, Permissions::from_mode(0o755)).unwrap();
    setup.program(["./worker"])
}

#[test]
fn the_state_is_einhorns() {
    let master = recorded_setup("-n 2 -b 127.0.0.1:0,r,n -b localhost:0", "exec sleep 1000").start();
    // By then the answer is the same however late it comes.
    master.wait_for_log("Up to 2 / 2 timer ACKs", 1);
    let differences = [
        (":backlog: 100\n", ":backlog: 1024\n"),
        ("  - 7\n  - 9\n", "  - 3\n  - 4\n"),
        (":acked: false\n", ":acked: true\n"),
    ];
    assert_recorded(&master, include_str!("../../golden/state/two_binds.yaml"), &differences);
}

#[test]
fn the_state_shows_every_option_as_einhorn_does() {
    let options = "-n 1 -b 127.0.0.1:0 -l 7 -s 2 --max-unacked 3 --max-upgrade-additional 4 --gc-before-fork -q \
                   -m manual -k -g --nice 0:0 --drop-env-var A --drop-env-var B -t 9";
    let setup = recorded_setup(options, "exec sleep 1000").named("nm");
    let master = setup.start();
    let worker = master.wait_for_workers(1)[0];
    tell(&master, &format!("{{\"command\":\"worker:ack\",\"pid\":{worker}}}"));
    tell(&master, &format!("{{\"command\":\"worker:ping\",\"pid\":{worker},\"request_id\":\"req-1\"}}"));
    assert_recorded(&master, include_str!("../../golden/state/all_options.yaml"), &[("  - 7\n", "  - 3\n")]);
}

/// HUP does not re-execute the master yet, so that its generation stays.
#[test]
fn the_state_after_a_smooth_upgrade_is_einhorns() {
    let setup = recorded_setup("-n 2 -s 0.1 -m manual", "trap '' USR2; exec sleep 1000");
    // Under another name, indices are those of the slots.
    let master = setup.through(&["bash", "-c", "exec -a einhorn \"$0\" \"$@\""]).start();
    let mut acked: Vec<Process> = Vec::new();
    let mut ack_all = |count: usize| {
        master.wait_until(&format!("{count} workers are acked"), LIMIT, || {
            let new: Vec<_> = master.workers().into_iter().filter(|worker| !acked.contains(worker)).collect();
            new.iter().for_each(|worker| tell(&master, &format!("{{\"command\":\"worker:ack\",\"pid\":{worker}}}")));
            acked.extend(new);
            acked.len() == count
        });
    };
    ack_all(2);
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    // Each has to ignore the signal before it may be sent one.
    master.wait_until("both ignore USR2", LIMIT, || {
        master.workers().iter().all(|worker| worker.ignored().contains(Signal::SIGUSR2))
    });
    master.signal(Signal::SIGHUP);
    ack_all(4);
    master.wait_for_log("Upgraded successfully", 1);
    master.wait_until("all old ones are told", LIMIT, || message(&master).matches("USR2: true").count() == 2);
    let differences = [(":backlog: 100\n", ":backlog: 1024\n")];
    assert_recorded(&master, include_str!("../../golden/state/after_upgrade.yaml"), &differences);
}

#[test]
fn a_ping_shows_in_the_state_with_the_latest_request() {
    let (master, workers) = start("");
    assert!(!message(&master).contains("pinged"));
    for id in ["\"r-1\"", "\"r 2\"", "7"] {
        tell(&master, &format!("{{\"command\":\"worker:ping\",\"pid\":{},\"request_id\":{id}}}", workers[0]));
    }
    let state = masked(&message(&master));
    assert!(state.contains("      :pinged_at: <TIME>\n      :pinged_request_id: 7\n"), "{state}");
    assert_eq!(state.matches("pinged_at").count(), 1);
}

// Failure mode 74.
#[test]
fn a_long_request_id_is_cut() {
    let (master, workers) = start("");
    let id = "é".repeat(20_000);
    tell(&master, &format!("{{\"command\":\"worker:ping\",\"pid\":{},\"request_id\":\"{id}\"}}", workers[0]));
    let state = message(&master);
    let kept = state.matches('é').count();
    assert!((1..=1000).contains(&kept), "{kept} characters are kept");
}
