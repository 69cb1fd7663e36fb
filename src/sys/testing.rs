//! What the tests of this room share: waiting for a condition, children to look at, and a process of one's own for tests
//! that wait for any child or change what all threads share.

use std::env;
use std::ffi::{CString, OsString};
use std::fs;
use std::io::{self, Seek, Write, stderr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::Location;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::unistd::geteuid;

use crate::base::{Ending, Pid, Signal};
use crate::sys::birth::Birth;
use crate::sys::exec_pipe::ExecState;
use crate::sys::fd::lift;
use crate::sys::prepared_exec::SpawnRequest;
use crate::sys::process::{Spawned, spawn};
use crate::sys::signal::send;
use crate::sys::{clock, wait};

const MARK: &str = "EINHYRNINGSINS_TEST_ALONE";

/// How long a test waits for what must come.
pub const LIMIT: Duration = Duration::from_secs(60);

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

/// The arguments of a program, its name first.
pub fn words(list: &[&str]) -> Vec<OsString> {
    list.iter().map(OsString::from).collect()
}

/// For a child with nothing but its program.
pub fn request<'a>(path: &'a Path, argv: &'a [OsString]) -> SpawnRequest<'a> {
    SpawnRequest {
        path,
        file: None,
        argv,
        env: &[],
        own_pid_variable: None,
        directory: None,
        descriptors: &[],
        birth: &BIRTH,
        umask: None,
        nice: None,
        cpus: None,
        limits: &[],
        identity: None,
        parent_death: None,
    }
}

/// What has become of the exec, once it is decided.
pub fn outcome(spawned: &mut Spawned) -> ExecState {
    assert!(wait_until(LIMIT, || spawned.exec.poll() != ExecState::Pending));
    spawned.exec.poll()
}

/// A sleeper that has come to its program; `change` may alter the request.
pub fn sleeper(change: impl FnOnce(&mut SpawnRequest<'_>)) -> Pid {
    let argv = words(&["sleep", "600"]);
    let mut request = request(Path::new("/bin/sleep"), &argv);
    // A failing test leaves none behind.
    request.parent_death = Some(Signal::KILL);
    change(&mut request);
    let mut spawned = spawn(&request).unwrap();
    assert_eq!(outcome(&mut spawned), ExecState::Execed);
    spawned.pid
}

/// Kills a child and reaps it.
pub fn end(pid: Pid) {
    send(pid, Signal::KILL).unwrap();
    assert_eq!(reap(pid), Ending::Signal(Signal::KILL));
}

/// The words of a field of /proc/PID/status.
pub fn status(pid: Pid, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

/// Runs a shell script as the child and returns what it printed.
pub fn output(script: &str, change: impl FnOnce(&mut SpawnRequest<'_>)) -> String {
    // Passed open, for the child may have no right to open it.
    let mut file = tempfile::tempfile().unwrap();
    let stdout = lift(file.try_clone().unwrap().into(), 100).unwrap();
    let descriptors = [(stdout.as_fd(), 1)];
    let argv = words(&["sh", "-c", script]);
    let mut request = SpawnRequest { descriptors: &descriptors, ..request(Path::new("/bin/sh"), &argv) };
    change(&mut request);
    let mut spawned = spawn(&request).unwrap();
    assert_eq!(outcome(&mut spawned), ExecState::Execed);
    assert_eq!(reap(spawned.pid), Ending::Code(0));
    file.rewind().unwrap();
    io::read_to_string(file).unwrap()
}

/// A shell that runs this script, without an environment.
pub fn shell(script: &str) -> Pid {
    spawn(&request(Path::new("/bin/sh"), &words(&["sh", "-c", script]))).unwrap().pid
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

/// Whether we are root; if not, says that the test which asks was not run, so that it is not taken for one that passed.
#[track_caller]
pub fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        // Not by a macro, whose words the test harness would keep to itself.
        let _may_be_closed = writeln!(stderr(), "{}: this test was not run, it needs root", Location::caller());
    }
    root
}

/// Runs the body on the first and only thread of a process; it may become another program, which must end with 0.
pub fn on_first_thread(module: &str, test: &str, body: impl FnOnce()) {
    in_own_process(module, test, || assert_eq!(reap(fork_to_run(body)), Ending::Code(0)));
}

/// A child that runs the body on its only thread. To be called in a process of its own: the lock that another test's
/// thread holds at the fork would stay locked in the child.
pub fn fork_to_run(body: impl FnOnce()) -> Pid {
    // SAFETY: only the thread that waits for this test is left behind, and the C library keeps its own locks usable.
    match unsafe { libc::fork() } {
        0 => {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            // SAFETY: ends the process without running what belongs to its parent.
            unsafe { libc::_exit(i32::from(result.is_err())) }
        }
        pid => {
            assert!(pid > 0, "cannot fork");
            Pid(pid)
        }
    }
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

/// Gives a file an access control list that lets this user write to it, as setfacl(1) does with `-m u:UID:rwx`. The mode shows the
/// right as the group's.
pub fn let_uid_write(path: &Path, uid: u32) {
    const NO_ID: u32 = u32::MAX;
    // The owner, the user, the group, the mask, all others.
    let entries = [(0x01, 7, NO_ID), (0x02, 7, uid), (0x04, 5, NO_ID), (0x10, 7, NO_ID), (0x20, 5, NO_ID)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend([u16::to_le_bytes(tag), u16::to_le_bytes(rights)].concat());
        list.extend(id.to_le_bytes());
    }
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let name = c"system.posix_acl_access";
    // SAFETY: two strings that end with NUL, and a buffer of the length that is given.
    let set = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), list.as_ptr().cast(), list.len(), 0) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}
