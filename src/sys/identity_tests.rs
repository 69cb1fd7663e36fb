//! Spawns real children as other users, and looks at them from outside, through /proc, and from inside.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::{getegid, getgroups, getuid, setgroups, setresgid, setresuid};
use tempfile::TempDir;

use super::*;
use crate::base::{Ending, Pid, Resource, ResourceLimit, Signal};
use crate::sys::exec_pipe::ExecState;
use crate::sys::prepared_exec::SpawnRequest;
use crate::sys::process::spawn;
use crate::sys::testing::{end, in_own_process, is_root, outcome, output, reap, request, sleeper, status, words};

/// Numbers that are in no password database.
const STRANGER: u32 = 712_345;
const ELSE: u32 = 723_456;
const FURTHER: u32 = 734_567;

fn stranger() -> Identity {
    Identity { uid: STRANGER, gid: ELSE, groups: vec![ELSE, FURTHER] }
}

/// As a request of the helpers' making needs it.
fn lasting(identity: Identity) -> &'static Identity {
    Box::leak(Box::new(identity))
}

/// How the exec of a child that should have this identity has gone.
fn spawn_as(identity: &Identity, directory: &Path) -> ExecState {
    let (path, argv) = (Path::new("/bin/true"), words(&["true"]));
    let request = SpawnRequest { identity: Some(identity), directory: Some(directory), ..request(path, &argv) };
    let mut spawned = spawn(&request).unwrap();
    let state = outcome(&mut spawned);
    reap(spawned.pid);
    state
}

/// Makes this process, if it is root, an ordinary one.
fn become_ordinary() {
    if getuid().is_root() {
        setgroups(&[Gid::from_raw(FURTHER)]).unwrap();
        become_ordinary_user();
    }
}

fn become_ordinary_user() {
    let (uid, gid) = (Uid::from_raw(STRANGER), Gid::from_raw(ELSE));
    setresgid(gid, gid, gid).unwrap();
    setresuid(uid, uid, uid).unwrap();
}

fn assert_has_no_capability(pid: Pid) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(pid, set), "0000000000000000", "{set}");
    }
}

#[test]
fn a_child_is_who_it_shall_be_in_every_respect() {
    if !is_root() {
        return;
    }
    let identity = lasting(stranger());
    let limit = ResourceLimit { resource: Resource::from_name("nofile").unwrap(), soft: 33, hard: 44 };
    let pid = sleeper(|request| {
        request.identity = Some(identity);
        request.umask = Some(0o027);
        request.limits = Vec::leak(vec![limit]);
    });
    assert_eq!(status(pid, "Uid"), [STRANGER; 4].map(|uid| uid.to_string()).join(" "));
    assert_eq!(status(pid, "Gid"), [ELSE; 4].map(|gid| gid.to_string()).join(" "));
    assert_eq!(status(pid, "Groups"), format!("{ELSE} {FURTHER}"));
    assert_eq!(status(pid, "Umask"), "0027");
    assert_has_no_capability(pid);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let open_files: Vec<_> =
        limits.lines().filter_map(|line| line.strip_prefix("Max open files")).flat_map(str::split_whitespace).collect();
    assert_eq!(open_files, ["33", "44", "files"]);
    end(pid);
}

#[test]
fn a_child_cannot_have_its_masters_rights_back() {
    if !is_root() {
        return;
    }
    let script = "exec python3 -c '
import os
def attempt(change, *ids):
    try:
        change(*ids)
        print(change.__name__, \"succeeded\")
    except PermissionError:
        print(change.__name__, \"refused\")
attempt(os.setuid, 0)
attempt(os.setresuid, -1, 0, -1)
attempt(os.setgid, 0)
attempt(os.setgroups, [0])
'";
    let identity = lasting(stranger());
    let said = output(script, |request| request.identity = Some(identity));
    assert_eq!(said, "setuid refused\nsetresuid refused\nsetgid refused\nsetgroups refused\n");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the end of the forking thread is what is tested")]
fn the_parent_death_signal_reaches_another_user() {
    if !is_root() {
        return;
    }
    let identity = lasting(stranger());
    let script = "exec python3 -c '
import ctypes
signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(signal))  # PR_GET_PDEATHSIG
print(signal.value)
'";
    let armed = output(script, |request| {
        request.identity = Some(identity);
        request.parent_death = Some(Signal::USR2);
    });
    // First, for a sleeper that nothing reaches would stay.
    assert_eq!(armed, format!("{}\n", libc::SIGUSR2));
    let thread = std::thread::spawn(move || {
        sleeper(|request| {
            request.identity = Some(identity);
            request.parent_death = Some(Signal::USR2);
        })
    });
    assert_eq!(reap(thread.join().unwrap()), Ending::Signal(Signal::USR2));
}

#[test]
fn the_directory_is_entered_with_the_new_rights() {
    if !is_root() {
        return;
    }
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let refused = ExecState::Failed { stage: Stage::Directory, errno: Errno::EACCES };
    assert_eq!(spawn_as(&stranger(), dir.path()), refused);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    assert_eq!(spawn_as(&stranger(), dir.path()), ExecState::Execed);
}

#[test]
fn an_impossible_id_ends_the_child() {
    if !is_root() {
        return;
    }
    for (identity, stage) in [
        (Identity { groups: vec![u32::MAX], ..stranger() }, Stage::Groups),
        (Identity { gid: u32::MAX, ..stranger() }, Stage::Group),
        (Identity { uid: u32::MAX, ..stranger() }, Stage::User),
    ] {
        let failed = ExecState::Failed { stage, errno: Errno::EINVAL };
        assert_eq!(spawn_as(&identity, Path::new("/")), failed);
    }
}

#[test]
fn an_ordinary_master_cannot_give_its_children_to_others() {
    in_own_process(module_path!(), "an_ordinary_master_cannot_give_its_children_to_others", || {
        become_ordinary();
        let refused = ExecState::Failed { stage: Stage::Groups, errno: Errno::EPERM };
        let (uid, gid) = (getuid().as_raw(), getegid().as_raw());
        for (uid, gid) in [(uid + 1, gid), (uid, gid + 1), (0, 0)] {
            assert_eq!(spawn_as(&Identity { uid, gid, groups: vec![gid] }, Path::new("/")), refused);
        }
    });
}

#[test]
fn an_ordinary_masters_own_identity_changes_nothing() {
    in_own_process(module_path!(), "an_ordinary_masters_own_identity_changes_nothing", || {
        become_ordinary();
        let (uid, gid) = (getuid().as_raw(), getegid().as_raw());
        let identity = lasting(Identity { uid, gid, groups: vec![gid, gid + 1] });
        assert!(identity.is_own());
        let pid = sleeper(|request| request.identity = Some(identity));
        let own: Vec<_> = getgroups().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(status(pid, "Groups"), own.join(" "));
        end(pid);
    });
}

#[test]
fn a_child_of_roots_can_stay_root_and_give_up_groups() {
    if !is_root() {
        return;
    }
    in_own_process(module_path!(), "a_child_of_roots_can_stay_root_and_give_up_groups", || {
        setgroups(&[Gid::from_raw(FURTHER)]).unwrap();
        let pid = sleeper(|request| request.identity = Some(lasting(Identity { uid: 0, gid: 0, groups: Vec::new() })));
        assert_eq!((status(pid, "Uid"), status(pid, "Groups")), ("0 0 0 0".to_owned(), String::new()));
        assert_eq!(status(pid, "CapEff"), status(Pid(std::process::id() as i32), "CapEff"));
        end(pid);
    });
}

/// Such as a master that systemd has started with AmbientCapabilities.
#[test]
fn capabilities_of_a_master_reach_no_worker() {
    if !is_root() {
        return;
    }
    in_own_process(module_path!(), "capabilities_of_a_master_reach_no_worker", || {
        let keep = libc::SECBIT_NO_SETUID_FIXUP;
        // SAFETY: PR_SET_SECUREBITS takes a number.
        Errno::result(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, keep) }).unwrap();
        become_ordinary_user();
        let identity = lasting(Identity { uid: FURTHER, gid: FURTHER, groups: Vec::new() });
        let pid = sleeper(|request| request.identity = Some(identity));
        assert_eq!(status(pid, "Uid"), [FURTHER; 4].map(|uid| uid.to_string()).join(" "));
        assert_has_no_capability(pid);
        end(pid);
    });
}

#[test]
fn what_is_kept_for_a_return_is_found() {
    if !is_root() {
        return;
    }
    in_own_process(module_path!(), "what_is_kept_for_a_return_is_found", || {
        let (stranger, root) = (Uid::from_raw(STRANGER), Uid::from_raw(ROOT));
        setresuid(stranger, stranger, root).unwrap();
        assert_eq!((check_user(STRANGER), check_no_way_back()), (Err(Errno::EPERM), Err(Errno::EPERM)));
        setresuid(stranger, stranger, stranger).unwrap();
        assert_eq!((check_user(STRANGER), check_no_way_back()), (Ok(()), Ok(())));
        assert_eq!((check_group(ROOT), check_group(ELSE)), (Ok(()), Err(Errno::EPERM)));
    });
}
