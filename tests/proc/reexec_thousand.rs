//! A thousand re-execs in a row: nothing is lost, and nothing grows. How long the master is silent in each is printed alone: it is
//! no reason to fail.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, thread};

use nix::sys::signal::Signal;

use crate::support::{LIMIT, Load, Master, Process, Setup, decoded, holds_within};

const REEXECS: u64 = 1_000;
const SIGNALS: u32 = 10_000;

/// How much more memory the thousandth image may have than the first, in KiB. Each has its own; only what it is handed can grow.
const GROWTH_MAX_KIB: i32 = 512;

/// Replaces the program again and again; asks on one connection that is there from the first to the last.
fn reload(master: &Master, until: u64) {
    let mut client = master.connect();
    let mut generation = master.generation();
    while generation < until {
        client.send("{command: reload}");
        client.receive().expect("the connection goes over");
        let began = Instant::now();
        let before = generation;
        while generation == before {
            assert!(began.elapsed() < LIMIT, "the master does not come back; its log:\n{}", master.log());
            client.send("{command: state}");
            let state = decoded(&client.receive().expect("the connection goes over"));
            let number = state.split(":generation: ").nth(1).unwrap().lines().next().unwrap().trim();
            generation = number.parse().unwrap();
        }
    }
}

/// What is open, without the numbers: the order in which the threads open their own is not fixed.
fn open(process: Process) -> Vec<String> {
    let kind = |target: String| target.split(":[").next().unwrap_or_default().to_owned();
    let mut kinds: Vec<String> = process.descriptors().into_values().map(kind).collect();
    kinds.sort();
    kinds
}

/// What both have, at the same numbers: what is handed over.
fn common(one: &BTreeMap<i32, String>, other: &BTreeMap<i32, String>) -> BTreeMap<i32, String> {
    one.iter().filter(|(number, target)| other.get(number) == Some(target)).map(|(&at, to)| (at, to.clone())).collect()
}

/// How long each answer took, on a connection that is asked all the time.
fn probe(master: &Master, done: &AtomicBool) -> Vec<Duration> {
    let mut client = master.connect();
    let mut silent = Vec::new();
    while !done.load(Ordering::SeqCst) {
        let began = Instant::now();
        client.send("{command: ehlo, user: probe}");
        assert!(client.receive().expect("the connection goes over").contains("Welcome, probe!"));
        silent.push(began.elapsed());
    }
    silent
}

/// Of the longest silences, one for each re-exec, what ninety-nine of a hundred stay below.
fn tell_silence(mut silent: Vec<Duration>) {
    silent.sort_unstable_by(|one, other| other.cmp(one));
    silent.truncate(usize::try_from(REEXECS).unwrap());
    let (worst, p99, median) = (silent[0], silent[silent.len() / 100], silent[silent.len() / 2]);
    println!("control socket silent at a re-exec: median {median:?}, p99 {p99:?}, longest {worst:?}");
}

/// Failure mode 47: the same set, number for number, and not only as many.
#[test]
fn a_thousand_re_execs_under_load_lose_no_request_and_leave_nothing_behind() {
    let setup = Setup::new("-n 2 -m manual -s 0.01").bind(",r").http_worker("--ack manual").release("old");
    let master = setup.start();
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    let workers = master.wait_for_workers(2);
    let load = Load::start_on(master.addr(), 4, "/slow?ms=5");
    load.wait_for(20);
    // What the starter has left open ends with the first.
    reload(&master, 1);
    // The two that listen.
    let alone = || open(master.process()).iter().filter(|kind| *kind == "socket").count() == 2;
    master.wait_until("no client is left", LIMIT, alone);
    let all = || master.process().descriptors();
    let before = all();
    reload(&master, 2);
    let handed = common(&before, &all());
    // Standard input to error, the lock, the pid file, and the two sockets.
    assert!(handed.len() >= 7, "{handed:?}");
    master.wait_until("no client is left", LIMIT, alone);
    let (first, memory_kib) = (open(master.process()), master.process().anonymous_kib().unwrap());
    let done = AtomicBool::new(false);
    let silent = thread::scope(|scope| {
        let prober = scope.spawn(|| probe(&master, &done));
        reload(&master, REEXECS);
        done.store(true, Ordering::SeqCst);
        prober.join().unwrap()
    });
    load.wait_for(20);
    let report = load.stop();
    report.assert_nothing_lost();
    println!("{} requests answered over {REEXECS} re-execs", report.total());
    tell_silence(silent);
    let mut last = Vec::new();
    let same = holds_within(LIMIT, || {
        last = open(master.process());
        last == first
    });
    assert!(same, "{last:?} is not {first:?}");
    assert_eq!(common(&handed, &all()), handed);
    let grown_kib = master.process().anonymous_kib().unwrap() - memory_kib;
    assert!(grown_kib < GROWTH_MAX_KIB, "{grown_kib} KiB more");
    assert_eq!(master.workers(), workers);
    let log = master.log();
    assert_eq!(log.count("WARN") + log.count("ERROR") + log.count("===> Exited"), 0, "{log}");
}

/// How often a worker has said each word, read as it goes.
struct Heard {
    counts: Mutex<BTreeMap<String, u32>>,
}

impl Heard {
    fn count(&self, name: &str) -> u32 {
        self.counts.lock().unwrap().get(name).copied().unwrap_or(0)
    }

    fn listen(&self, master: &Master, done: &AtomicBool) {
        let mut file = fs::File::open(master.file("stdout")).unwrap();
        let mut rest = String::new();
        while !done.load(Ordering::SeqCst) {
            if file.read_to_string(&mut rest).unwrap() == 0 {
                thread::sleep(Duration::from_micros(200));
                continue;
            }
            let mut counts = self.counts.lock().unwrap();
            while let Some(end) = rest.find('\n') {
                let word = rest[..end].split(' ').nth(1).unwrap_or_default().to_owned();
                *counts.entry(word).or_default() += 1;
                rest.drain(..=end);
            }
        }
    }
}

/// xorshift64*: the same seed gives the same pauses.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// Sends one signal after the other, each once its elder was heard: equal ones that wait are one to the kernel.
fn send(master: &Master, heard: &Heard, name: &str, signal: Signal, seed: u64, count: u32) {
    let mut random = Random(seed);
    for sent in 1..=count {
        thread::sleep(Duration::from_micros(random.below(8_000)));
        master.signal(signal);
        let arrived = holds_within(LIMIT, || heard.count(name) >= sent);
        assert!(arrived, "{name} number {sent} of seed {seed} is lost; the log:\n{}", master.log());
    }
}

/// E02, and failure mode 24: ten thousand signals at random moments over a thousand re-execs.
#[test]
fn signals_over_a_thousand_re_execs_all_arrive() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    println!("seed {seed}");
    let master = Setup::new("-n 1 -m 0 -s 0.01 -q").signal_logger("USR2").start();
    let worker = master.wait_for_ready(1)[0];
    let (heard, done) = (Heard { counts: Mutex::default() }, AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| heard.listen(&master, &done));
        let kinds = [("USR1", Signal::SIGUSR1), ("CONT", Signal::SIGCONT)];
        let senders = kinds.map(|(name, signal)| {
            let (master, heard, seed) = (&master, &heard, seed + u64::from(signal as u32 as u8));
            scope.spawn(move || send(master, heard, name, signal, seed, SIGNALS.div_ceil(2)))
        });
        reload(&master, REEXECS);
        let fine = senders.into_iter().map(|sender| sender.join().is_ok()).collect::<Vec<_>>();
        done.store(true, Ordering::SeqCst);
        assert_eq!(fine, [true; 2]);
    });
    assert!(master.generation() >= REEXECS);
    assert_eq!(master.workers(), [worker]);
    assert_eq!(master.log().lines(), [""; 0]);
}
