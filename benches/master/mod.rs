//! A master of a benchmark: started, asked and ended. It measures nothing.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long a master may take to have all its workers, or to end.
const LIMIT: Duration = Duration::from_secs(300);

/// It ends with this.
pub(crate) struct Master {
    child: Child,
    pub(crate) socket: PathBuf,
    _directory: TempDir,
}

impl Master {
    /// Waits until all workers serve. The words are options, and the program with its arguments.
    pub(crate) fn start(worker_count: usize, words: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_einhyrningsins"));
        command.args(["-q", "-s", "0.001", "-n", &worker_count.to_string()]).args(words);
        command.env("TMPDIR", directory.path()).current_dir(directory.path()).stdin(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn().expect("cannot start the master");
        let socket = directory.path().join("einhorn.sock");
        let master = Self { child, socket, _directory: directory };
        wait_until("all workers serve", || master.serving() == Some(worker_count));
        master
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn workers(&self) -> Vec<i32> {
        let list = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid())).unwrap();
        list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    }

    fn serving(&self) -> Option<usize> {
        let mut stream = BufReader::new(UnixStream::connect(&self.socket).ok()?);
        stream.get_mut().write_all(b"{command: status, format: json}\n").ok()?;
        let mut reply = String::new();
        stream.read_line(&mut reply).ok()?;
        let (_, serving) = reply.split_once("\"serving\":")?;
        serving.split(',').next()?.parse().ok()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        let _ = kill(pid, Signal::SIGTERM);
        wait_until("the master ends", || !matches!(self.child.try_wait(), Ok(None)));
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "waited {LIMIT:?} for this, in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
