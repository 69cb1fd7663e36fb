//! A master under test, in a directory of its own that holds its socket, pid and lock file, its release and its scripts.
//! Dropping it must leave no process behind, and tells the master's log when the test has failed.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::control::ControlClient;
use crate::support::log::Log;
use crate::support::procfs::Process;
use crate::support::setup::Setup;
use crate::support::wait::{LIMIT, holds_within};

/// A master that was started, and may have ended.
pub struct Master {
    process: Process,
    child: Mutex<Child>,
    log: Log,
    address: Option<SocketAddr>,
    socket: PathBuf,
    directory: Arc<TempDir>,
}

impl Master {
    /// Of a child that [`Setup::start`] has started.
    pub(in crate::support) fn of(
        child: Child,
        log: Log,
        address: Option<SocketAddr>,
        socket: PathBuf,
        directory: Arc<TempDir>,
    ) -> Self {
        let process = Process(i32::try_from(child.id()).unwrap());
        Self { process, child: Mutex::new(child), log, address, socket, directory }
    }

    /// A further master in the same directory, which the last of them cleans away.
    pub fn beside(&self, options: &str) -> Setup {
        Setup::in_directory(Arc::clone(&self.directory), options)
    }

    pub fn process(&self) -> Process {
        self.process
    }

    pub fn pid(&self) -> i32 {
        self.process.0
    }

    /// Where the last [`Setup::bind`] bound to.
    #[track_caller]
    pub fn addr(&self) -> SocketAddr {
        self.address.expect("this master was set up without bind()")
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file in the master's directory, whether it is there or not.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What the master and its workers wrote to stdout so far.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.file("stdout")).unwrap()
    }

    /// The signals that a worker of [`Setup::signal_logger`] has got, in their order; `ready` comes first.
    pub fn said_by(&self, worker: Process) -> Vec<String> {
        let begin = format!("{worker} ");
        self.stdout().lines().filter_map(|line| line.strip_prefix(&begin)).map(str::to_owned).collect()
    }

    /// Waits until so many such workers are ready, and returns them.
    #[track_caller]
    pub fn wait_for_ready(&self, count: usize) -> Vec<Process> {
        let ready = || self.stdout().lines().filter(|line| line.ends_with(" ready")).count() >= count;
        self.wait_until(&format!("{count} workers are ready"), LIMIT, ready);
        self.wait_for_workers(count)
    }

    /// Puts another content in place of a file in the master's directory, so that no process reads half of it.
    pub fn replace(&self, name: &str, content: &str) {
        let new = self.file(&format!("{name}.new"));
        fs::write(&new, content).unwrap();
        fs::rename(new, self.file(name)).unwrap();
    }

    /// From now on, a worker that is born says this release.
    pub fn release(&self, release: &str) {
        self.replace("WORKER_VERSION", release);
    }

    /// Whether the log says that this worker was told to go, or passed a signal.
    pub fn was_signalled(&self, worker: Process) -> bool {
        let pid = worker.to_string();
        let lists = self.log.with("INFO: Sending ");
        lists.iter().any(|line| line.split(['[', ']', ',', ' ']).skip(2).any(|word| word == pid))
    }

    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        assert!(self.process.signal(signal), "cannot send {signal}: the master is gone; the log:\n{}", self.log);
    }

    /// Living children that have become another program, in the order of their ids. One that only checks whether the master can
    /// be replaced is none, nor are the relay and the holder.
    pub fn workers(&self) -> Vec<Process> {
        let is_worker = |child: &Process| {
            let words = child.command_line();
            // A question comes right before the `--` that parts it from the workers' program, which may have such words, too.
            let asks = |pair: &[String]| ["--upgrade-check", "--version"].contains(&&*pair[0]) && pair[1] == "--";
            let checks = words.windows(2).any(asks);
            // The master's own, which may change, are read after those that its child took over from it. In the middle of an
            // exec the words are there before the environment is.
            let is_itself = !words.is_empty() && words != self.process.command_line();
            child.is_alive()
                && is_itself
                && !checks
                && !child.is_relay()
                && !child.is_holder()
                && !child.bytes("environ").is_empty()
        };
        self.process.children().into_iter().filter(is_worker).collect()
    }

    /// Waits until there are exactly so many workers.
    #[track_caller]
    pub fn wait_for_workers(&self, count: usize) -> Vec<Process> {
        let mut workers = Vec::new();
        self.wait_until(&format!("there are {count} workers"), LIMIT, || {
            workers = self.workers();
            workers.len() == count
        });
        workers
    }

    /// The same, when all of them wait for something: one that has just begun has files of the dynamic linker's open.
    #[track_caller]
    pub fn wait_for_idle_workers(&self, count: usize) -> Vec<Process> {
        let mut workers = Vec::new();
        self.wait_until(&format!("there are {count} workers, all waiting"), LIMIT, || {
            workers = self.workers();
            workers.len() == count && workers.iter().all(|worker| worker.is_waiting())
        });
        workers
    }

    /// Waits until a thread of the master's has this name, which it gives itself once it runs.
    #[track_caller]
    pub fn wait_for_thread(&self, name: &str) -> Process {
        let mut found = None;
        self.wait_until(&format!("there is a thread {name}"), LIMIT, || {
            found = self.process.thread(name);
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until `count` lines of the log contain this text, and returns them.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str, count: usize) -> Vec<String> {
        holds_within(LIMIT, || self.log.count(text) >= count || !self.is_running());
        self.log.settle();
        let found = self.log.with(text);
        assert!(found.len() >= count, "waited for {count} lines with {text:?}; the log:\n{}", self.log);
        found
    }

    /// Waits for a condition; tells what was waited for and the log when it does not come to hold.
    #[track_caller]
    pub fn wait_until(&self, what: &str, limit: Duration, condition: impl FnMut() -> bool) {
        assert!(holds_within(limit, condition), "waited {limit:?} for this, in vain: {what}; the log:\n{}", self.log);
    }

    /// Waits until the master has ended and its last words are in the log.
    #[track_caller]
    pub fn wait_exit(&self) -> ExitStatus {
        self.wait_until("the master ends", LIMIT, || !self.is_running());
        self.log.settle();
        self.child.lock().unwrap().wait().unwrap()
    }

    pub fn is_running(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_none()
    }

    /// Sends one line to the control socket on a new connection and returns the answer's line as it came.
    #[track_caller]
    pub fn control(&self, line: &str) -> String {
        let mut client = self.connect();
        client.send(line);
        let log = &self.log;
        client.receive().unwrap_or_else(|| panic!("the master closed the connection after {line}; the log:\n{log}"))
    }

    /// A connection to the control socket, once there is one to connect to.
    #[track_caller]
    pub fn connect(&self) -> ControlClient {
        ControlClient::connect(self.wait_for_socket())
    }

    /// Waits until one can connect to the control socket. Its file is there a moment earlier, before its group and mode
    /// are as they shall be; the workers come after both.
    #[track_caller]
    pub fn wait_for_socket(&self) -> &Path {
        let launched = || self.log.count("===> Launched") > 0 || !self.process.children().is_empty();
        let ready = || self.socket.exists() && (self.file("einhorn.pid").exists() || launched());
        self.wait_until("the control socket is there", LIMIT, || ready() || !self.is_running());
        &self.socket
    }

    /// All processes that descend from this master, orphans too, by the directory in their environment.
    pub fn descendants(&self) -> Vec<Process> {
        let alive = |process: &Process| *process != self.process && process.is_alive();
        Process::all_of_directory(self.directory()).into_iter().filter(alive).collect()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of master {}:\n{}", self.process, self.log);
        }
        let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Killed before its children, it can start no further ones.
        let _ = child.kill();
        let _ = child.wait();
        let shared = Arc::strong_count(&self.directory) > 1;
        let gone = holds_within(LIMIT, || {
            let mut left = self.descendants();
            // While others use the directory, theirs are let be.
            left.retain(|process| {
                !shared || process.environ().get("EINHORN_MASTER_PID") == Some(&self.pid().to_string())
            });
            for process in &left {
                process.signal(Signal::SIGKILL);
            }
            left.is_empty()
        });
        assert!(gone || std::thread::panicking(), "processes of master {} cannot be killed", self.process);
    }
}
