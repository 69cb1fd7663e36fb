//! What a bad release does wrong, for `tests/bad_releases`: one fault for each worker, and two files in which all workers of the release
//! count what they had in hand. A worker without these options has no fault.
//!
//! Each connection is one request there. The file `taken` grows by a byte with each accepted one, `answered` with each whole answer; the
//! difference is what the release itself has lost. It is exact: a worker that ends by a fault never ends between an accept or an answer
//! and its byte, for all of them hold the gate.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;

use crate::accept::pause;

/// From the moment at which all run it to the end of those that die of that.
const ALL_ARE_THERE: Duration = Duration::from_millis(300);
/// Between two looks at the others, and between two pieces of a leak.
const LOOK_EVERY: Duration = Duration::from_millis(30);
/// What is leaked at once.
const LEAK_BYTES: usize = 64 * 1024 * 1024;

/// What goes wrong, after the ack if nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Is ended by SIGSEGV with its request of this number in hand.
    CrashAt(u64),
    /// Accepts no more, and hears no signal.
    Hang,
    /// Accepts, and never answers.
    Hold,
    /// Stops itself by SIGSTOP.
    Stop,
    /// Listens to another port, from the start.
    Elsewhere,
    /// Closes the socket that it was born with.
    Close,
    /// Shuts that socket down by shutdown(2), which is the end of it for all that share it.
    Shutdown,
    /// Ends, with 0.
    Exit0,
    /// Becomes another program, which never accepts.
    Exec,
    /// Ends, with 0, and a child serves in its place.
    Leave,
    /// Opens files, until it can neither open nor accept any more.
    Hoard,
    /// Takes more and more memory, until it gets none.
    Leak,
    /// Answers each request with 500.
    Error,
    /// Ends when so many of its release live.
    DieWithAll(usize),
    /// Serves, and does not end when it is told to.
    Ignore,
}

impl FromStr for Fault {
    type Err = String;

    /// `NAME` or `NAME=NUMBER`.
    fn from_str(word: &str) -> Result<Self, String> {
        let (name, number) = word.split_once('=').unwrap_or((word, ""));
        let number = number.parse::<u64>();
        match (name, number) {
            ("crash-at", Ok(number)) => Ok(Self::CrashAt(number)),
            ("die-with-all", Ok(number)) => {
                usize::try_from(number).map(Self::DieWithAll).map_err(|why| why.to_string())
            }
            ("hang", Err(_)) => Ok(Self::Hang),
            ("hold", Err(_)) => Ok(Self::Hold),
            ("stop", Err(_)) => Ok(Self::Stop),
            ("elsewhere", Err(_)) => Ok(Self::Elsewhere),
            ("close", Err(_)) => Ok(Self::Close),
            ("shutdown", Err(_)) => Ok(Self::Shutdown),
            ("exit-0", Err(_)) => Ok(Self::Exit0),
            ("exec", Err(_)) => Ok(Self::Exec),
            ("leave", Err(_)) => Ok(Self::Leave),
            ("hoard", Err(_)) => Ok(Self::Hoard),
            ("leak", Err(_)) => Ok(Self::Leak),
            ("error", Err(_)) => Ok(Self::Error),
            ("ignore", Err(_)) => Ok(Self::Ignore),
            (_, _) => Err(format!("no fault is called {word:?}")),
        }
    }
}

/// A worker's fault, and where it counts.
#[derive(Default)]
pub struct Faults {
    fault: Option<Fault>,
    tally: Option<Tally>,
    /// Held from an accept or an answer to its byte, and at the end.
    gate: Mutex<()>,
    requests: AtomicU64,
}

struct Tally {
    directory: PathBuf,
    taken: File,
    answered: File,
}

impl Faults {
    pub fn new(fault: Option<Fault>, directory: Option<&Path>) -> Result<Self, String> {
        let tally = directory.map(Tally::in_directory).transpose()?;
        Ok(Self { fault, tally, ..Self::default() })
    }

    pub fn are(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Runs an accept, and counts what it brings. Without a tally it may block, and nothing is held.
    pub fn taking<T, E>(&self, accept: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let Some(tally) = &self.tally else { return accept() };
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = accept()?;
        count(&tally.taken);
        Ok(taken)
    }

    /// What becomes of a request that was read, before its answer.
    pub fn on_request(&self) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        match self.fault {
            Some(Fault::CrashAt(last)) if number >= last => self.end(crash),
            Some(Fault::Hold) => sleep_for_ever(),
            Some(_) | None => {}
        }
    }

    /// Answers, and counts it, if the client gets something of it.
    pub fn answering<E>(&self, write: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let Some(tally) = self.tally.as_ref().filter(|_| !self.are(Fault::Error)) else { return write() };
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        write()?;
        count(&tally.answered);
        Ok(())
    }

    /// Ends the worker in this way, between two of these.
    pub fn end<T>(&self, how: impl FnOnce() -> T) -> T {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        how()
    }

    /// What goes wrong once the worker has acked.
    pub fn on_ack(&self) {
        match self.fault {
            Some(Fault::Stop) => drop(raise(Signal::SIGSTOP)),
            Some(Fault::Exit0) => self.end(|| process::exit(0)),
            Some(Fault::Exec) => self.end(|| drop(Command::new("sleep").arg("1000").exec())),
            Some(Fault::Leave) => self.leave(),
            Some(Fault::Hoard) => hoard(),
            Some(Fault::Leak) => leak(),
            Some(Fault::DieWithAll(count)) => self.die_with_all(count),
            Some(
                Fault::CrashAt(_)
                | Fault::Hang
                | Fault::Hold
                | Fault::Elsewhere
                | Fault::Close
                | Fault::Shutdown
                | Fault::Error
                | Fault::Ignore,
            )
            | None => {}
        }
    }

    /// The child has the options that let it count where this worker does.
    fn leave(&self) {
        let Some(tally) = &self.tally else { return };
        let child = Command::new("/proc/self/exe").arg("--tally").arg(&tally.directory).spawn();
        self.end(|| process::exit(child.map_or(2, |_| 0)));
    }

    fn die_with_all(&self, count: usize) {
        let Some(tally) = &self.tally else { return };
        let _absent_is_seen_below = fs::write(tally.directory.join(format!("alive.{}", process::id())), "");
        while tally.living_count() < count {
            pause(LOOK_EVERY);
        }
        pause(ALL_ARE_THERE);
        self.end(|| process::exit(1));
    }
}

impl Tally {
    fn in_directory(directory: &Path) -> Result<Self, String> {
        let open = |name: &str| {
            let path = directory.join(name);
            let opened = OpenOptions::new().append(true).create(true).open(&path);
            opened.map_err(|error| format!("cannot open {}: {error}", path.display()))
        };
        Ok(Self { directory: directory.to_owned(), taken: open("taken")?, answered: open("answered")? })
    }

    /// How many have said that they live, and do.
    fn living_count(&self) -> usize {
        let Ok(entries) = fs::read_dir(&self.directory) else { return 0 };
        let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("alive.")?.parse().ok();
        entries.flatten().filter_map(pid).filter(|pid| kill(Pid::from_raw(*pid), None).is_ok()).count()
    }
}

/// One byte, appended by one write.
fn count(mut file: &File) {
    let _full_disk = file.write(b".");
}

/// Twice: at the first, the handler of Rust's runtime only restores what the signal does by default.
fn crash() {
    let _returns = raise(Signal::SIGSEGV);
    let _ends_this_process = raise(Signal::SIGSEGV);
}

pub fn sleep_for_ever() -> ! {
    loop {
        pause(Duration::from_secs(60));
    }
}

/// What the answers to requests in hand give back is taken, too.
fn hoard() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
        pause(LOOK_EVERY);
    }
}

/// Until the allocator aborts the process. The memory is not touched, so that only a limit on addresses ends it.
fn leak() {
    loop {
        Vec::<u8>::with_capacity(LEAK_BYTES).leak();
        pause(LOOK_EVERY);
    }
}
