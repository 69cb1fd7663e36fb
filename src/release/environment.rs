//! The environment of a worker. Built anew for each from the one the master was born with: nothing that pretends to come
//! from a supervisor gets through (failure mode 104).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::base::{Pid, Slot, WorkerIndex};
use crate::config::{self, Env};
use crate::sys::account::Entry;

/// Where the manager listens, see sd_notify(3); how often it wants to hear of us, and which process it means.
pub(crate) const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
pub(crate) const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
pub(crate) const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// How many descriptors it keeps for us; `output::fd_store` gives it some, whether this is set or not, since systemd sets it from 254 on.
pub(crate) const FDSTORE: &str = "FDSTORE";
/// What a worker's descendants have in their environment, too: so it is known what an ended worker has left.
pub(crate) const MASTER_PID: &str = "EINHORN_MASTER_PID";
pub(crate) const CHILD_INDEX: &str = "EINHORN_CHILD_INDEX";
/// The worker's own pid, which it writes itself: in its descendants' environment it is another's.
pub(crate) const SLOT_PID: &str = "EINHYRNINGSINS_SLOT_PID";
/// What is said to the master and to no worker.
const MANAGERS: [&str; 4] = [NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, FDSTORE];

/// A listening socket's address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Inet,
    Inet6,
    Unix,
}

/// What only this worker, or only this master, can say.
pub(crate) struct WorkerFacts<'a> {
    pub(crate) master: Pid,
    /// As the user gave it; the client libraries connect to it.
    pub(crate) socket_path: &'a Path,
    /// With `-g`: where the worker finds its own connection to the control socket.
    pub(crate) socket_fd: Option<i32>,
    /// Number and family of each listening socket, in the order of the `-b` options.
    pub(crate) listeners: &'a [(i32, Family)],
    pub(crate) index: WorkerIndex,
    pub(crate) slot: Slot,
    /// How many there are.
    pub(crate) slots: u32,
    /// What is set for it alone.
    pub(crate) of_slot: Environment,
}

pub(crate) type Environment = Vec<(OsString, OsString)>;

/// What every worker of a release has: the master's own less what is `dropped`, what belongs to the user that it runs as, what
/// stands in the files of the configuration, all that less what it unsets, and what it sets.
pub(crate) fn of_release(
    environ: &Environment,
    dropped: &[OsString],
    changes: &Env,
    user: Option<&Entry>,
) -> Environment {
    let mut environment = inherited(environ, dropped);
    let of_user = user.map(of_user).unwrap_or_default();
    put(&mut environment, of_user);
    put(&mut environment, changes.from_files.clone());
    let unset: BTreeSet<&OsString> = changes.unset.iter().collect();
    environment.retain(|(name, _)| !unset.contains(name));
    put(&mut environment, changes.set.clone());
    environment
}

/// Each variable in place of the one of its name.
fn put(environment: &mut Environment, variables: Environment) {
    let names: BTreeSet<&OsString> = variables.iter().map(|(name, _)| name).collect();
    environment.retain(|(known, _)| !names.contains(known));
    environment.extend(variables);
}

/// As login(1) has it.
fn of_user(user: &Entry) -> Environment {
    vec![
        ("USER".into(), user.name.clone().into()),
        ("LOGNAME".into(), user.name.clone().into()),
        ("HOME".into(), user.home.clone().into()),
        ("SHELL".into(), user.shell.clone().into()),
    ]
}

/// What of the master's environment is for processes that it starts. The first of two equal names counts, as getenv(3) has it.
pub(crate) fn inherited(environ: &Environment, dropped: &[OsString]) -> Environment {
    // What is dropped is as if it had been met before.
    let mut met: BTreeSet<&OsString> = dropped.iter().collect();
    let is_ours = |name: &OsString| config::is_masters(name.as_bytes()) || MANAGERS.iter().any(|known| name == *known);
    environ.iter().filter(|(name, _)| !is_ours(name) && met.insert(name)).cloned().collect()
}

/// einhorn's variables, with `EINHORN_FDS` of its versions before 1.0, which PHP's client reads, and `EINHORN_FD_FAMILY_n` as
/// Python's client does.
pub(crate) fn of_worker(inherited: &Environment, facts: &WorkerFacts<'_>) -> Environment {
    let mut environment = inherited.clone();
    put(&mut environment, facts.of_slot.clone());
    let mut set = |name: String, value: OsString| environment.push((name.into(), value));
    set(MASTER_PID.into(), facts.master.to_string().into());
    set("EINHORN_SOCK_PATH".into(), facts.socket_path.into());
    if let Some(fd) = facts.socket_fd {
        set("EINHORN_SOCK_FD".into(), fd.to_string().into());
    }
    set("EINHORN_FD_COUNT".into(), facts.listeners.len().to_string().into());
    let all: Vec<String> = facts.listeners.iter().map(|(fd, _)| fd.to_string()).collect();
    set("EINHORN_FDS".into(), all.join(" ").into());
    for (at, (fd, family)) in facts.listeners.iter().enumerate() {
        set(format!("EINHORN_FD_{at}"), fd.to_string().into());
        set(format!("EINHORN_FD_FAMILY_{at}"), family_name(*family).into());
    }
    set(CHILD_INDEX.into(), facts.index.to_string().into());
    set("EINHYRNINGSINS_SLOT".into(), facts.slot.to_string().into());
    set("EINHYRNINGSINS_SLOTS".into(), facts.slots.to_string().into());
    environment
}

/// The name of the constant in Python's `socket` module.
fn family_name(family: Family) -> &'static OsStr {
    OsStr::new(match family {
        Family::Inet => "AF_INET",
        Family::Inet6 => "AF_INET6",
        Family::Unix => "AF_UNIX",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::linear::{assert_linear, numbered};

    fn pairs(text: &[(&str, &str)]) -> Environment {
        text.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[test]
    fn variables_of_another_supervisor_are_dropped() {
        let born =
            pairs(&[("A", "1"), ("EINHORN_FD_COUNT", "9"), ("LISTEN_FDS", "3"), ("B", "2"), ("A", "3"), ("C", "x")]);
        assert_eq!(inherited(&born, &["C".into()]), pairs(&[("A", "1"), ("B", "2")]));
        let born = pairs(&[
            ("NOTIFY_SOCKET", "/n"),
            ("WATCHDOG_USEC", "1"),
            ("WATCHDOG_PID", "1"),
            ("FDSTORE", "1"),
            ("WATCHDOG_DOG", "rex"),
        ]);
        assert_eq!(inherited(&born, &[]), pairs(&[("WATCHDOG_DOG", "rex")]));
    }

    #[test]
    fn an_environment_takes_time_in_proportion_to_its_variables() {
        let names = |count| numbered(count, |n| format!("V{n}"));
        let environ = |count| names(count).into_iter().map(|name| (name.into(), "x".into())).collect::<Environment>();
        let make =
            |count| (environ(count), numbered(count, |n| format!("W{n}")).into_iter().map(OsString::from).collect());
        assert_linear("of a release", make, |(environ, unset): (Environment, Vec<OsString>)| {
            let changes =
                Env { unset: unset.clone(), files: Vec::new(), from_files: environ.clone(), set: environ.clone() };
            assert_eq!(of_release(&environ, &unset, &changes, None).len(), environ.len());
        });
    }

    #[test]
    fn env_set_counts_most_and_env_unset_removes_from_any_source() {
        let changes = Env {
            unset: vec!["A".into(), "F".into()],
            files: Vec::new(),
            from_files: pairs(&[("F", "file"), ("S", "file"), ("HOME", "/file")]),
            set: pairs(&[("S", "set"), ("A", "again")]),
        };
        let entry = Entry { name: "web".to_owned(), gid: 7, home: "/home/web".into(), shell: "/bin/sh".into() };
        let found = of_release(&pairs(&[("A", "1"), ("HOME", "/root"), ("B", "2")]), &[], &changes, Some(&entry));
        let expected = [
            ("B", "2"),
            ("USER", "web"),
            ("LOGNAME", "web"),
            ("SHELL", "/bin/sh"),
            ("HOME", "/file"),
            ("S", "set"),
            ("A", "again"),
        ];
        assert_eq!(sorted(found), sorted(pairs(&expected)));
    }

    fn sorted(mut environment: Environment) -> Environment {
        environment.sort();
        environment
    }

    #[test]
    fn a_worker_is_told_its_place_and_its_sockets() {
        let facts = WorkerFacts {
            master: Pid(7),
            socket_path: Path::new("./rel.sock"),
            socket_fd: Some(5),
            listeners: &[(3, Family::Inet), (4, Family::Unix)],
            index: WorkerIndex(2),
            slot: Slot(1),
            slots: 4,
            of_slot: pairs(&[("P", "of slot 1")]),
        };
        let expected = [
            ("A", "b"),
            ("P", "of slot 1"),
            ("EINHORN_MASTER_PID", "7"),
            ("EINHORN_SOCK_PATH", "./rel.sock"),
            ("EINHORN_SOCK_FD", "5"),
            ("EINHORN_FD_COUNT", "2"),
            ("EINHORN_FDS", "3 4"),
            ("EINHORN_FD_0", "3"),
            ("EINHORN_FD_FAMILY_0", "AF_INET"),
            ("EINHORN_FD_1", "4"),
            ("EINHORN_FD_FAMILY_1", "AF_UNIX"),
            ("EINHORN_CHILD_INDEX", "2"),
            ("EINHYRNINGSINS_SLOT", "1"),
            ("EINHYRNINGSINS_SLOTS", "4"),
        ];
        assert_eq!(of_worker(&pairs(&[("P", "q"), ("A", "b")]), &facts), pairs(&expected));
    }
}
