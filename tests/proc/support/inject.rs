//! Faults put into the system calls of a running master, by strace. Dropping an injection takes it back; it must never
//! leave the master stopped.

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::master::Master;
use crate::support::procfs::Process;
use crate::support::wait::{LIMIT, wait_until};

/// strace, attached to every thread of a master and to the children that it forks from now on.
pub struct Injection {
    strace: Child,
    target: Process,
}

impl Injection {
    /// `what` as in `strace -e inject=WHAT`, for instance `execve:delay_enter=3000000`. Returns when it is in force.
    #[track_caller]
    pub fn attach(master: &Master, what: &str) -> Self {
        let target = master.process();
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={what}"), "-p", &target.to_string()]);
        let strace = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("cannot start strace");
        let injection = Self { strace, target };
        wait_until("strace is attached to every thread", LIMIT, || injection.is_in_force());
        injection
    }

    fn is_in_force(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.target)).into_iter().flatten().flatten();
        let mut tracers = tasks.map(|task| tracer(&fs::read_to_string(task.path().join("status")).unwrap_or_default()));
        let strace = self.strace.id().to_string();
        tracers.all(|tracer| tracer.as_deref() == Some(&*strace))
    }
}

fn tracer(status: &str) -> Option<String> {
    status.lines().find_map(|line| line.strip_prefix("TracerPid:")).map(|pid| pid.trim().to_owned())
}

impl Drop for Injection {
    /// At INT it detaches from all processes in good order.
    fn drop(&mut self) {
        let strace = Process(i32::try_from(self.strace.id()).unwrap());
        strace.signal(Signal::SIGINT);
        let _ = self.strace.wait();
    }
}
