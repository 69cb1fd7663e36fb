//! Number 17: what of a killed master's journal is believed, and what it means for workers that no next master can be sure of.

use std::fs;

use einhyrningsins::handoff::crc32;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::rng::Rng;
use crate::support::{LIMIT, Master, Process, Setup, wait_until};

/// Writes each signal that it gets into a file that all share, and ends at those by which it is told to go.
pub const LISTENER: &str = r#"
import os, signal
heard = os.open("heard", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
signals = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
name = "ready"
while True:
    os.write(heard, f"{os.getpid()} {name}\n".encode())
    if name in ("SIGUSR2", "SIGTERM"):
        break
    name = signal.Signals(signal.sigwait(signals)).name
"#;

pub fn listening(setup: Setup) -> Setup {
    let path = setup.write("listener.py", LISTENER);
    setup.program(["/usr/bin/env".into(), "python3".into(), path.into_os_string()])
}

pub fn heard(master: &Master, worker: Process) -> Vec<String> {
    let begin = format!("{worker} ");
    let text = fs::read_to_string(master.file("heard")).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix(&begin)).map(str::to_owned).collect()
}

fn body(journal: &[u8]) -> Value {
    serde_json::from_slice(journal.split(|byte| *byte == b'\n').next().unwrap()).unwrap()
}

/// What is whole.
fn sealed(body: &Value) -> Vec<u8> {
    let body = body.to_string();
    format!("{body}\n{:08x}\n", crc32(body.as_bytes())).into_bytes()
}

pub fn changed(journal: &[u8], pointer: &str, value: Value) -> Vec<u8> {
    let mut body = body(journal);
    *body.pointer_mut(pointer).unwrap() = value;
    sealed(&body)
}

/// What a power cut leaves, and what another machine, user or time has written: the reason that is logged for each.
fn journals(whole: &[u8], worker: Process, rng: &mut Rng) -> Vec<(&'static str, Vec<u8>)> {
    let mut journals = vec![
        ("it is not whole", Vec::new()),
        ("it is damaged", vec![b'\n'; 4096]),
        ("before the machine was started", changed(whole, "/boot", json!("another"))),
        ("by a master of uid 4711", changed(whole, "/uid", json!(4711))),
        ("it is of another version: format 7", changed(whole, "/format", json!(7))),
        ("no worker has the process id 1", changed(whole, "/workers/0/pid", json!(1))),
    ];
    let mut began = body(whole);
    for worker in began["workers"].as_array_mut().unwrap() {
        worker["began"] = json!(worker["began"].as_u64().unwrap() - 1);
    }
    journals.push(("none of its workers is there", sealed(&began)));
    let mut lives = body(whole);
    let process =
        lives["workers"].as_array().unwrap().iter().find(|process| process["pid"] == worker.0).unwrap().clone();
    lives["master"] = process;
    journals.push(("lives and has let go of its lock", sealed(&lives)));
    for _ in 0..4 {
        let length = rng.below(whole.len() as u64) as usize;
        journals.push(("is of no use", whole[..length].to_vec()));
        let mut garbage = whole.to_vec();
        garbage[length] ^= 1 << rng.below(8);
        journals.push(("is of no use", garbage));
    }
    journals
}

#[test]
fn a_journal_that_is_not_whole_or_not_ours_adopts_and_signals_no_process() {
    let seed =
        std::env::var("JOURNAL_SEED").map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    eprintln!("JOURNAL_SEED={seed}");
    let options = "--config web.toml -n 2 -m 0.1";
    let setup = Setup::new(options);
    setup.write("web.toml", "worker.output = 'inherit'\n");
    let first = listening(setup).start();
    first.wait_for_log("Up to 2 / 2", 1);
    let old = first.workers();
    wait_until("they listen", LIMIT, || old.iter().all(|worker| heard(&first, *worker) == ["ready"]));
    first.signal(Signal::SIGKILL);
    first.wait_exit();
    let path = first.file("einhorn.lock.journal");
    let whole = fs::read(&path).unwrap();
    let start = || listening(first.beside(options)).start();
    for (reason, journal) in journals(&whole, old[0], &mut Rng::new(seed)) {
        fs::write(&path, &journal).unwrap();
        let next = start();
        next.wait_for_log(reason, 1);
        next.wait_for_log("Up to 2 / 2", 1);
        next.signal(Signal::SIGINT);
        assert_eq!(next.wait_exit().code(), Some(0), "{reason}");
        let all = old.iter().all(|worker| worker.is_alive() && heard(&first, *worker) == ["ready"]);
        assert!(all && next.log().count("adopting") == 0, "{reason}: {:?}", next.log().lines());
    }
    fs::write(&path, whole).unwrap();
    let next = start();
    next.wait_for_log("was killed: adopting its workers", 1);
    wait_until("they were told", LIMIT, || old.iter().all(|worker| heard(&first, *worker) == ["ready", "SIGUSR2"]));
    next.wait_for_log("Upgraded successfully", 1);
}
