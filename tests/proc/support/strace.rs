//! strace(1) on a running master: what it calls, and errors and delays put into its calls. It must never outlive the test.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::log::Log;
use crate::support::procfs::Process;
use crate::support::wait::wait_until;
use crate::support::{LIMIT, Master};

/// A tracer that has attached.
pub struct Strace {
    child: Child,
    output: PathBuf,
}

impl Strace {
    /// Attaches to every thread of the master, and to each child that it will have. `options` as for strace, for instance
    /// `["-e", "trace=waitid"]`.
    #[track_caller]
    pub fn attach(master: &Master, options: &[&str]) -> Self {
        Self::start(master, master.process(), &[&["-f"], options].concat())
    }

    /// Attaches to one thread alone, as [`Process::thread`] finds it.
    #[track_caller]
    pub fn attach_to_thread(master: &Master, thread: Process, options: &[&str]) -> Self {
        Self::start(master, thread, options)
    }

    #[track_caller]
    fn start(master: &Master, target: Process, options: &[&str]) -> Self {
        let output = master.file(&format!("strace.{target}"));
        let (said, stderr) = Log::catch();
        let mut command = Command::new("strace");
        command.args(["-p", &target.to_string(), "-o"]).arg(&output).args(options);
        let child = command.stdin(Stdio::null()).stderr(stderr).spawn().expect("cannot start strace");
        // Dropped first, it lets go of the pipe that strace holds, too.
        drop(command);
        let strace = Self { child, output };
        wait_until("strace attaches", LIMIT, || said.count(" attached") > 0);
        strace
    }

    /// What it has written so far: one line for each call, and for each call that was under way at the beginning.
    pub fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.output).unwrap().lines().map(str::to_owned).collect()
    }

    /// Lets go of the master.
    pub fn detach(mut self) -> Vec<String> {
        self.stop();
        self.lines()
    }

    /// INT makes it detach from the processes that it traces.
    fn stop(&mut self) {
        Process(i32::try_from(self.child.id()).unwrap()).signal(Signal::SIGINT);
        let _ = self.child.wait();
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.stop();
        }
    }
}
