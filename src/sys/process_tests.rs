//! Spawns real processes and looks at them from outside, through /proc.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource as Number, getrlimit};
use nix::sys::stat::{Mode, umask};
use tempfile::TempDir;

use super::*;
use crate::base::{Ending, Resource, ResourceLimit, Signal};
use crate::sys::birth::Birth;
use crate::sys::exec_pipe::{ExecState, Stage};
use crate::sys::signal::{block_all, prepare_dispositions, send};
use crate::sys::testing::{
    BIRTH, LIMIT, end, in_own_process, outcome, output, reap, request, shell, sleeper, status, wait_until, words,
};
use crate::sys::wait::process_group;

fn descriptors_of(process: &str) -> BTreeSet<(i32, PathBuf)> {
    let directory = format!("/proc/{process}/fd");
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    // The directory's own descriptor is gone by now.
    let open = entries.collect::<Vec<_>>().into_iter().filter_map(|path| Some((fs::read_link(&path).ok()?, path)));
    open.map(|(link, path)| (path.file_name().unwrap().to_str().unwrap().parse().unwrap(), link)).collect()
}

fn failure(path: &Path, argv: &[&str]) -> ExecState {
    let mut spawned = spawn(&request(path, &words(argv))).unwrap();
    let state = outcome(&mut spawned);
    assert_eq!(reap(spawned.pid), Ending::Code(127));
    state
}

fn program(dir: &TempDir, content: &[u8], mode: u32) -> PathBuf {
    let path = dir.path().join("program");
    let _ = fs::remove_file(&path);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

const fn failed(errno: Errno) -> ExecState {
    ExecState::Failed { stage: Stage::Exec, errno }
}

#[test]
fn only_named_descriptors_reach_the_child_and_stand_where_they_shall() {
    let source = lift(File::open("/etc/passwd").unwrap().into(), 100).unwrap();
    let other = lift(File::open("/dev/zero").unwrap().into(), 100).unwrap();
    // Where no target would hide it.
    let stray = lift(File::open("/etc/passwd").unwrap().into(), 100).unwrap();
    crate::sys::fd::keep_over_exec(stray.as_fd()).unwrap();
    let pid = sleeper(|request| request.descriptors = Vec::leak(vec![(borrow(&source), 5), (borrow(&other), 3)]));
    let open = || descriptors_of(&pid.to_string()).into_iter().filter(|(fd, _)| *fd > 2).collect::<Vec<_>>();
    let named = [(3, "/dev/zero".into()), (5, "/etc/passwd".into())];
    // The program's loader may be reading a library just now.
    assert!(wait_until(LIMIT, || open() == named), "{:?}", open());
    end(pid);
}

/// For the tests' request, which lives no longer than the descriptor.
fn borrow<'a>(fd: &OwnedFd) -> BorrowedFd<'a> {
    // SAFETY: the callers keep the descriptor open until the spawn has returned.
    unsafe { BorrowedFd::borrow_raw(fd.as_raw_fd()) }
}

#[test]
#[should_panic(expected = "may be overwritten")]
fn a_source_among_the_targets_is_our_mistake() {
    let source = OwnedFd::from(File::open("/dev/null").unwrap());
    let argv = words(&["true"]);
    let descriptors = [(source.as_fd(), source.as_raw_fd() + 1)];
    let _ = spawn(&SpawnRequest { descriptors: &descriptors, ..request(Path::new("/bin/true"), &argv) });
}

#[test]
fn the_child_has_no_signal_blocked_or_ignored() {
    in_own_process(module_path!(), "the_child_has_no_signal_blocked_or_ignored", || {
        prepare_dispositions();
        block_all();
        let pid = sleeper(|_| ());
        for field in ["SigBlk", "SigIgn", "SigCgt"] {
            assert_eq!(status(pid, field), "0000000000000000", "{field}");
        }
        send(pid, Signal::TERM).unwrap();
        assert_eq!(reap(pid), Ending::Signal(Signal::TERM));
    });
}

#[test]
fn the_environment_is_exactly_the_one_given() {
    let env = [("A".into(), "1".into()), ("B".into(), "two words".into())];
    let pid = sleeper(|request| {
        request.env = Vec::leak(env.to_vec());
        request.own_pid_variable = Some(OsStr::new("LISTEN_PID"));
    });
    let environ = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert_eq!(
        environ.trim_end_matches('\0').split('\0').collect::<Vec<_>>(),
        ["A=1", "B=two words", &format!("LISTEN_PID={pid}"),]
    );
    end(pid);
}

#[test]
fn the_child_leads_a_group_at_once() {
    let argv = words(&["sleep", "600"]);
    let spawned = spawn(&request(Path::new("/bin/sleep"), &argv)).unwrap();
    assert_eq!(process_group(spawned.pid), Some(spawned.pid));
    end(spawned.pid);
}

#[test]
fn limits_and_umask_are_those_of_the_birth() {
    in_own_process(module_path!(), "limits_and_umask_are_those_of_the_birth", || {
        let hard = getrlimit(Number::RLIMIT_NOFILE).unwrap().1;
        let birth: &Birth = Box::leak(Box::new(Birth { umask: 0o027, nofile_soft: 77, nofile_hard: hard, nice: 0 }));
        umask(Mode::from_bits_truncate(0o002));
        birth.raise_nofile().unwrap();
        let said = output("umask; ulimit -Sn; ulimit -Hn", |request| request.birth = birth);
        assert_eq!(said, format!("0027\n77\n{hard}\n"));
        assert_eq!(getrlimit(Number::RLIMIT_NOFILE).unwrap(), (hard, hard));
    });
}

#[test]
fn a_umask_that_is_asked_for_is_the_childs() {
    assert_eq!(output("umask", |request| request.umask = Some(0o077)), "0077\n");
}

fn limit(name: &str, soft: u64, hard: u64) -> ResourceLimit {
    ResourceLimit { resource: Resource::from_name(name).unwrap(), soft, hard }
}

#[test]
fn limits_that_are_asked_for_are_the_childs() {
    let hard = getrlimit(Number::RLIMIT_CORE).unwrap().1;
    // The birth says 1024 descriptors.
    let limits = vec![limit("nofile", 33, 44), limit("core", hard, hard), limit("fsize", 4096, 8192)];
    let pid = sleeper(|request| request.limits = Vec::leak(limits));
    let shown = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let shown: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    let core = if hard == u64::MAX { "unlimited".to_owned() } else { hard.to_string() };
    assert!(shown.contains(&vec!["Max", "open", "files", "33", "44", "files"]), "{shown:?}");
    assert!(shown.contains(&vec!["Max", "core", "file", "size", &core, &core, "bytes"]), "{shown:?}");
    assert!(shown.contains(&vec!["Max", "file", "size", "4096", "8192", "bytes"]), "{shown:?}");
    end(pid);
}

#[test]
fn descriptors_are_passed_above_the_childs_own_limit() {
    let source = lift(File::open("/dev/zero").unwrap().into(), 100).unwrap();
    let pid = sleeper(|request| {
        request.descriptors = Vec::leak(vec![(borrow(&source), 50)]);
        request.limits = Vec::leak(vec![limit("nofile", 20, 20)]);
    });
    assert!(descriptors_of(&pid.to_string()).contains(&(50, "/dev/zero".into())));
    end(pid);
}

#[test]
fn an_impossible_limit_ends_the_child() {
    let argv = words(&["true"]);
    let limits = [limit("core", 0, 0), limit("nofile", 2, 1)];
    let mut spawned = spawn(&SpawnRequest { limits: &limits, ..request(Path::new("/bin/true"), &argv) }).unwrap();
    assert_eq!(
        outcome(&mut spawned),
        ExecState::Failed { stage: Stage::Limit(limits[1].resource), errno: Errno::EINVAL }
    );
    reap(spawned.pid);
}

#[test]
fn the_nice_level_is_the_one_asked_for_or_that_of_the_birth() {
    let level = |pid: Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // Field 19, counted from the end of the name in field 2.
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().to_owned()
    };
    let asked = sleeper(|request| request.nice = Some(7));
    let born = sleeper(|request| request.birth = &const { Birth { nice: 3, ..BIRTH } });
    assert_eq!((level(asked).as_str(), level(born).as_str()), ("7", "3"));
    end(asked);
    end(born);
}

#[test]
fn the_child_starts_in_its_directory() {
    let dir = TempDir::new().unwrap();
    let here: &Path = Box::leak(dir.path().canonicalize().unwrap().into_boxed_path());
    assert_eq!(output("pwd", |request| request.directory = Some(here)), format!("{}\n", here.display()));
    let argv = words(&["true"]);
    let missing = Some(Path::new("/no/such"));
    let mut spawned = spawn(&SpawnRequest { directory: missing, ..request(Path::new("/bin/true"), &argv) }).unwrap();
    assert_eq!(outcome(&mut spawned), ExecState::Failed { stage: Stage::Directory, errno: Errno::ENOENT });
    reap(spawned.pid);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the end of the forking thread is what is tested")]
fn the_parent_death_signal_comes_when_the_forking_thread_ends() {
    let thread = std::thread::spawn(|| sleeper(|request| request.parent_death = Some(Signal::USR2)));
    assert_eq!(reap(thread.join().unwrap()), Ending::Signal(Signal::USR2));
    let without = std::thread::spawn(|| sleeper(|request| request.parent_death = None)).join().unwrap();
    end(without);
}

#[test]
fn a_child_whose_master_is_gone_never_runs_its_program() {
    let dir = TempDir::new().unwrap();
    let made = dir.path().join("made");
    let argv = words(&["touch", made.to_str().unwrap()]);
    let parent_death = Some(Signal::KILL);
    let request = SpawnRequest { parent_death, ..request(Path::new("/bin/touch"), &argv) };
    let mut plan = PreparedExec::lay_out(&request).unwrap();
    plan.master_pid = i32::MAX;
    let (reader, writer) = error_pipe(2).unwrap();
    // SAFETY: as in `spawn`.
    let pid = match unsafe { libc::fork() } {
        0 => become_program(&plan, writer.as_raw_fd()),
        pid => Pid(pid),
    };
    drop(writer);
    assert_eq!(reap(pid), Ending::Code(127));
    assert!(wait_until(LIMIT, || ExecPipe::new(reader.try_clone().unwrap()).poll() == ExecState::Execed));
    assert!(!made.exists());
}

#[test]
fn each_failing_exec_tells_its_errno() {
    let dir = TempDir::new().unwrap();
    assert_eq!(failure(Path::new("/no/such"), &["x"]), failed(Errno::ENOENT));
    assert_eq!(failure(&program(&dir, b"#!/no/such\n", 0o755), &["x"]), failed(Errno::ENOENT));
    assert_eq!(failure(&program(&dir, b"#!/bin/sh\n", 0o644), &["x"]), failed(Errno::EACCES));
    assert_eq!(failure(dir.path(), &["x"]), failed(Errno::EACCES));
    assert_eq!(failure(&program(&dir, b"", 0o755), &["x"]), failed(Errno::ENOEXEC));
    let mut foreign = fs::read("/bin/true").unwrap();
    foreign[18..20].copy_from_slice(&[0xfe, 0xfe]); // e_machine, elf(5)
    assert_eq!(failure(&program(&dir, &foreign, 0o755), &["x"]), failed(Errno::ENOEXEC));
    assert_eq!(failure(Path::new("/bin/true"), &["x", &"y".repeat(200_000)]), failed(Errno::E2BIG));
}

/// In a process of its own, since a child of another test could inherit the writer.
#[test]
fn a_program_that_is_being_written_is_tried_again() {
    in_own_process(module_path!(), "a_program_that_is_being_written_is_tried_again", || {
        let dir = TempDir::new().unwrap();
        let path = program(&dir, &fs::read("/bin/true").unwrap(), 0o755);
        let writer = shell(&format!("exec 3>>{}; exec sleep 600", path.display()));
        assert!(wait_until(LIMIT, || descriptors_of(&writer.to_string()).iter().any(|(_, open)| *open == path)));
        let argv = words(&["true"]);
        let mut spawned = spawn(&request(&path, &argv)).unwrap();
        // Asleep between two attempts.
        assert!(wait_until(LIMIT, || status(spawned.pid, "State").starts_with('S')));
        assert_eq!(spawned.exec.poll(), ExecState::Pending);
        end(writer);
        assert_eq!(outcome(&mut spawned), ExecState::Execed);
        assert_eq!(reap(spawned.pid), Ending::Code(0));
    });
}

#[test]
fn a_program_that_stays_open_for_writing_is_given_up() {
    in_own_process(module_path!(), "a_program_that_stays_open_for_writing_is_given_up", || {
        let dir = TempDir::new().unwrap();
        let path = program(&dir, &fs::read("/bin/true").unwrap(), 0o755);
        let _writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert_eq!(failure(&path, &["true"]), failed(Errno::ETXTBSY));
    });
}

#[test]
fn arguments_that_exec_cannot_take_are_refused_before_the_fork() {
    let argv = words(&["a\0b"]);
    assert_eq!(spawn(&request(Path::new("/bin/true"), &argv)).err(), Some(Errno::EINVAL));
    let argv = words(&["true"]);
    for name in ["", "A=B", "A\0"] {
        let env = [(name.into(), "1".into())];
        let refused = spawn(&SpawnRequest { env: &env, ..request(Path::new("/bin/true"), &argv) });
        assert_eq!(refused.err(), Some(Errno::EINVAL));
    }
}

#[test]
fn a_hundred_spawns_leave_the_same_descriptors() {
    in_own_process(module_path!(), "a_hundred_spawns_leave_the_same_descriptors", || {
        let before = descriptors_of("self");
        for round in 0..100 {
            let path = if round % 2 == 0 { "/bin/true" } else { "/no/such" };
            let mut spawned = spawn(&request(Path::new(path), &words(&["x"]))).unwrap();
            outcome(&mut spawned);
            reap(spawned.pid);
        }
        assert_eq!(descriptors_of("self"), before);
    });
}
