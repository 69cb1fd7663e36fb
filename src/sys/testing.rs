//! What the tests of this room share: waiting for a condition, and a process of one's own for tests that wait for any
//! child or change what all threads share.

use std::env;
use std::io::{Write, stderr};
use std::panic::Location;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::unistd::geteuid;

use crate::pool::{Ending, Pid};
use crate::sys::birth::Birth;
use crate::sys::clock;
use crate::sys::process::{SpawnRequest, spawn};
use crate::sys::wait;

const MARK: &str = "EINHYRNINGSINS_TEST_ALONE";

/// How long a test waits for what must come.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Looks every few milliseconds whether `condition` holds; false once `limit` has passed.
#[allow(clippy::disallowed_methods, reason = "the one place in the tests that sleeps, with a condition and a ceiling")]
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = clock::now();
    loop {
        if condition() {
            return true;
        }
        if clock::now().since(started) > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A birth for children of tests.
pub const BIRTH: Birth = Birth { umask: 0o022, nofile_soft: 1024, nofile_hard: 1024, nice: 0 };

/// A shell that runs this script, without an environment.
pub fn shell(script: &str) -> Pid {
    let argv = ["sh", "-c", script].map(Into::into);
    let request = SpawnRequest {
        path: Path::new("/bin/sh"),
        argv: &argv,
        env: &[],
        own_pid_variable: None,
        directory: None,
        descriptors: &[],
        birth: &BIRTH,
        nice: None,
        parent_death: None,
    };
    spawn(&request).unwrap().pid
}

/// Reaps a child that must end.
pub fn reap(pid: Pid) -> Ending {
    let mut ending = None;
    assert!(
        wait_until(LIMIT, || {
            ending = wait::reap(pid).unwrap();
            ending.is_some()
        }),
        "process {pid} does not end"
    );
    ending.unwrap()
}

/// Whether we are root; if not, says that the test which asks was not run, so that nobody takes it for one that passed.
#[track_caller]
pub fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        // Not by a macro, whose words the test harness would keep to itself.
        let _nobody_listens = writeln!(stderr(), "{}: this test was not run, it needs root", Location::caller());
    }
    root
}

/// Runs the body in a fresh process of this test binary, in which no other test runs.
pub fn in_own_process(module: &str, test: &str, body: impl FnOnce()) {
    if env::var_os(MARK).is_some() {
        return body();
    }
    let path = format!("{}::{test}", module.split_once("::").unwrap().1);
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &path, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{path} in a process of its own: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
