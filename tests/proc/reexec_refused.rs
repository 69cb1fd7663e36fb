//! A re-exec that comes to nothing: whatever is wrong with the next program, the master and its workers serve on as before, and
//! the client that asked is told why.

mod check;
mod exec;
mod state;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::{LIMIT, Master, Process, Setup, ask, decoded};

/// A wrapper that does something at the check, and then is the program.
pub(in crate::reexec_refused) fn at_check(does: &str) -> String {
    format!("case $1 in --upgrade-check) {does};; esac\nexec \"$OURS\" \"$@\"")
}

pub(in crate::reexec_refused) fn serving() -> Setup {
    Setup::new("-n 1 -m manual -s 0.01").bind(",r").http_worker("--ack manual").release("old")
}

pub(in crate::reexec_refused) fn start(setup: Setup) -> (Master, Process) {
    let master = setup.start();
    master.wait_for_log("Up to 1 / 1 manual ACKs", 1);
    let worker = master.wait_for_workers(1)[0];
    (master, worker)
}

/// The last thing that a client hears of the upgrade that it asks for.
#[track_caller]
pub(in crate::reexec_refused) fn verdict(master: &Master) -> String {
    let mut client = master.connect();
    client.send("{command: upgrade, id: 1, format: json}");
    let last = std::iter::from_fn(|| client.receive()).find(|line| !line.contains("\"wait\":true"));
    let last: serde_json::Value = serde_json::from_str(&last.expect("the client is told")).unwrap();
    last["message"].as_str().unwrap().to_owned()
}

/// What a process is to the kernel: what its threads block, ignore and catch, and what a worker of its gets.
pub(in crate::reexec_refused) fn condition(process: Process) -> Vec<(String, [u64; 3])> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let task = task.unwrap().path();
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0, |set| u64::from_str_radix(set.trim(), 16).unwrap())
        };
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        threads.push((name, ["SigBlk:", "SigIgn:", "SigCgt:"].map(field)));
    }
    threads.sort();
    threads
}

/// The same when every thread has begun and waits: one that has just been started has no name yet.
#[track_caller]
pub(in crate::reexec_refused) fn steady_condition(master: &Master) -> Vec<(String, [u64; 3])> {
    let (process, mut seen) = (master.process(), Vec::new());
    master.wait_until("it waits for what comes", LIMIT, || {
        seen = condition(process);
        process.is_waiting() && condition(process) == seen
    });
    seen
}

/// It serves with the same worker and can do all that it could.
#[track_caller]
pub(in crate::reexec_refused) fn assert_unimpaired(master: &Master, worker: Process) {
    assert_eq!(master.workers(), [worker], "{}", master.log());
    assert_eq!(ask(&master.addr().into(), "/x").unwrap().release, "old");
    assert!(decoded(&master.control("{command: ehlo, user: me}")).contains("Welcome, me!"));
}

/// A file in the master's directory, with this content and mode.
pub(in crate::reexec_refused) fn file(master: &Master, name: &str, content: &[u8], mode: u32) -> PathBuf {
    let path = master.file(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}
