//! A small HTTP/1.1 worker for the demo and the tests: it serves on the sockets it was born with, acks, and ends
//! gracefully at USR2 or TERM. It never closes a connection that it accepted without an answer.
//!
//! Options and ack are here; `accept.rs` takes the connections, `answer.rs` says what each path answers, `fault.rs` what a bad one
//! does instead.

#![allow(clippy::disallowed_methods, reason = "a program of its own: it has clock, threads and exit for itself")]

mod accept;
mod answer;
mod fault;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::accept::{Reception, adopt, pause};
use crate::answer::Birth;
use crate::fault::{Fault, Faults, sleep_for_ever};

/// Ends the worker, or is told on stderr when it comes; blocked in every thread, and taken one by one by the first.
const HEARD: [Signal; 6] =
    [Signal::SIGUSR2, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGCONT];

const USAGE: &str = "usage: http_worker [--ack manual|none] [--ack-after MS] [--ignore-usr2] [--exit-before-ack] \
[--die-after MS] [--fault NAME[=NUMBER]] [--tally DIRECTORY]";

/// Whether it ends for that.
static CANNOT_ACK: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let birth = Birth::now();
    match serve(birth) {
        Ok(()) if CANNOT_ACK.load(Ordering::Relaxed) => ExitCode::from(3),
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("http_worker {}: {message}", process::id());
            ExitCode::from(2)
        }
    }
}

fn serve(birth: Birth) -> Result<(), String> {
    let options = Options::parse(std::env::args().skip(1))?;
    let heard: SigSet = HEARD.into_iter().collect();
    heard.thread_block().map_err(|errno| format!("cannot block signals: {errno}"))?;
    let faults = Arc::new(Faults::new(options.fault, options.tally.as_deref())?);
    let reception = Reception::open(birth, &faults)?;
    options.start_death_clock(&faults);
    options.start_ack(&faults);
    wait_for_the_end(&heard, &options)?;
    reception.close()
}

#[derive(Default)]
struct Options {
    ack: bool,
    ack_after: Duration,
    ignore_usr2: bool,
    exit_before_ack: bool,
    die_after: Option<Duration>,
    fault: Option<Fault>,
    tally: Option<PathBuf>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--ack" => options.ack = manual_or_none(&words.next().ok_or(USAGE)?)?,
                "--ack-after" => options.ack_after = millis(words.next())?,
                "--die-after" => options.die_after = Some(millis(words.next())?),
                "--fault" => options.fault = Some(words.next().ok_or(USAGE)?.parse()?),
                "--tally" => options.tally = Some(words.next().ok_or(USAGE)?.into()),
                "--ignore-usr2" => options.ignore_usr2 = true,
                "--exit-before-ack" => options.exit_before_ack = true,
                unknown => return Err(format!("unknown word {unknown:?}; {USAGE}")),
            }
        }
        Ok(options)
    }

    fn start_death_clock(&self, faults: &Arc<Faults>) {
        if let Some(span) = self.die_after {
            let faults = Arc::clone(faults);
            thread::spawn(move || {
                pause(span);
                faults.end(|| process::exit(1));
            });
        }
    }

    /// Acks, after the time set for it, from a thread of its own: signals are heard meanwhile.
    fn start_ack(&self, faults: &Arc<Faults>) {
        if !self.ack && !self.exit_before_ack {
            return;
        }
        let (exit_before_ack, span, faults) = (self.exit_before_ack, self.ack_after, Arc::clone(faults));
        thread::spawn(move || {
            pause(span);
            if exit_before_ack {
                process::exit(1);
            }
            if let Err(why) = send_ack() {
                eprintln!("http_worker {}: cannot ack: {why}", process::id());
                // Not at once: it may have a connection in hand.
                CANNOT_ACK.store(true, Ordering::Relaxed);
                let _ended_already = kill(Pid::this(), Signal::SIGTERM);
                return;
            }
            faults.on_ack();
        });
    }
}

fn manual_or_none(word: &str) -> Result<bool, String> {
    match word {
        "manual" => Ok(true),
        "none" => Ok(false),
        other => Err(format!("--ack {other}: allowed are manual and none")),
    }
}

fn millis(word: Option<String>) -> Result<Duration, String> {
    word.and_then(|word| word.parse().ok()).map(Duration::from_millis).ok_or_else(|| USAGE.to_owned())
}

/// Tells the master that this worker serves: over the socket it was given with `-g`, else over the control socket.
fn send_ack() -> Result<(), String> {
    let master = std::env::var("EINHORN_MASTER_PID").unwrap_or_default();
    let parent = nix::unistd::getppid();
    if master != parent.to_string() {
        return Err(format!("the parent is {parent}, EINHORN_MASTER_PID is {master:?}"));
    }
    let mut stream = match std::env::var("EINHORN_SOCK_FD") {
        Ok(number) => UnixStream::from(adopt(number.parse().map_err(|_| format!("EINHORN_SOCK_FD is {number:?}"))?)?),
        Err(_) => {
            let path = std::env::var("EINHORN_SOCK_PATH").map_err(|_| "EINHORN_SOCK_PATH is not set")?;
            UnixStream::connect(&path).map_err(|error| format!("cannot connect to {path}: {error}"))?
        }
    };
    let line = format!("{{\"command\":\"worker:ack\", \"pid\":{}}}\n", process::id());
    stream.write_all(line.as_bytes()).map_err(|error| error.to_string())
}

fn wait_for_the_end(signals: &SigSet, options: &Options) -> Result<(), String> {
    if matches!(options.fault, Some(Fault::Hang | Fault::Ignore)) {
        sleep_for_ever();
    }
    loop {
        match signals.wait() {
            Ok(Signal::SIGUSR2) if options.ignore_usr2 => {}
            Ok(Signal::SIGUSR2 | Signal::SIGTERM) => return Ok(()),
            Ok(other) => eprintln!("http_worker {}: got {other}", process::id()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(format!("cannot wait for signals: {errno}")),
        }
    }
}
