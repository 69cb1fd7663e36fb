//! What /proc says of a process: whose child it is, what it was born with, what it holds. For acks from behind a
//! wrapper, for what an ended worker has left, and where nothing better is known; what is read may be outdated when it is used.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::base::Pid;
use crate::sys::directory;
use crate::sys::file_id::FileId;

/// The parent of a process, if it is there and /proc shows it.
pub fn parent(pid: Pid) -> Option<Pid> {
    stat_field(pid, 4)?.parse().ok().map(Pid)
}

/// How many processes of a lineage are looked at, at most.
const LINEAGE_MAX: usize = 8;

/// A process, its parent and so on, as far as /proc shows them.
pub fn lineage(pid: Pid) -> impl Iterator<Item = Pid> {
    std::iter::successors(Some(pid), |&pid| parent(pid)).take(LINEAGE_MAX)
}

/// The process group of a process, by its leader; if the process is there and /proc shows it.
pub fn group(pid: Pid) -> Option<Pid> {
    stat_field(pid, 5)?.parse().ok().map(Pid)
}

/// The session of a process, by its leader; if the process is there and /proc shows it.
pub fn session(pid: Pid) -> Option<Pid> {
    stat_field(pid, 6)?.parse().ok().map(Pid)
}

/// When it began, in ticks of the system: with its pid it names one process for ever.
pub fn began(pid: Pid) -> Option<u64> {
    stat_field(pid, 22)?.parse().ok()
}

/// Neither a zombie nor gone.
pub fn is_living(pid: Pid) -> bool {
    stat_field(pid, 3).is_some_and(|state| state != "Z" && state != "X")
}

/// By job control, or by a debugger.
pub fn is_stopped(pid: Pid) -> bool {
    stat_field(pid, 3).is_some_and(|state| state == "T" || state == "t")
}

/// Whether it is on its way to its end, or a zombie: no signal changes its exit status any more.
pub fn is_ending(pid: Pid) -> bool {
    // Of <linux/sched.h>.
    const PF_EXITING: u64 = 4;
    let flags = stat_field(pid, 9).and_then(|flags| flags.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & PF_EXITING != 0)
}

/// The children of the calling thread, in the order of their birth, zombies too. None where /proc does not show them.
pub fn children() -> Option<Vec<Pid>> {
    pids(&fs::read_to_string("/proc/thread-self/children").ok()?)
}

/// The same, without zombies.
pub fn living_children() -> Option<Vec<Pid>> {
    Some(children()?.into_iter().filter(|pid| is_living(*pid)).collect())
}

/// How many descendants of a process are looked at, at most.
const DESCENDANTS_MAX: usize = 1000;

/// The children of a process, their children and so on, as far as its threads have not gone meanwhile.
pub fn descendants(pid: Pid) -> Vec<Pid> {
    let mut found = children_of(pid);
    let mut at = 0;
    while at < found.len() && found.len() < DESCENDANTS_MAX {
        found.extend(children_of(found[at]));
        at += 1;
    }
    found
}

fn children_of(pid: Pid) -> Vec<Pid> {
    let texts = threads(pid).into_iter().filter_map(|thread| fs::read_to_string(thread.join("children")).ok());
    texts.filter_map(|text| pids(&text)).flatten().collect()
}

/// The directories of its threads.
fn threads(pid: Pid) -> Vec<PathBuf> {
    let directory = PathBuf::from(format!("/proc/{pid}/task"));
    directory::names(&directory).unwrap_or_default().into_iter().map(|name| directory.join(name)).collect()
}

fn pids(text: &str) -> Option<Vec<Pid>> {
    text.split_whitespace().map(|pid| pid.parse().ok().map(Pid)).collect()
}

/// What a process is called: by the kernel (at most 15 bytes), by its program's file, by its first argument. The first is the one to
/// show. A zombie has only that.
pub fn names(pid: Pid) -> Vec<String> {
    let comm = fs::read(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_ascii_end().to_vec());
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok().map(|path| path.as_os_str().as_bytes().to_vec());
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = words.split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
    let last_part = |name: Vec<u8>| {
        let part = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        String::from_utf8_lossy(part).into_owned()
    };
    [comm, exe, first].into_iter().flatten().map(last_part).filter(|name| !name.is_empty()).collect()
}

/// Whether a process has one of these sockets open, as far as we may see.
pub fn holds_socket(pid: Pid, inodes: &[u64]) -> bool {
    socket_descriptor(pid, inodes).is_some()
}

/// The number at which a process has one of these sockets open, as far as we may see.
pub fn socket_descriptor(pid: Pid, inodes: &[u64]) -> Option<RawFd> {
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let mut numbers = directory::numbers(format!("/proc/{pid}/fd")).ok()?.into_iter();
    let is_wanted = |file: &Path| wanted.iter().any(|wanted| file.as_os_str() == wanted.as_str());
    numbers.find(|number| fs::read_link(format!("/proc/{pid}/fd/{number}")).is_ok_and(|file| is_wanted(&file)))
}

/// The sockets that these processes have open, by their inodes. None: that cannot be seen, or more than `max` descriptors would have to be
/// looked at.
pub fn sockets(pids: &[Pid], max: usize) -> Option<BTreeSet<u64>> {
    let mut files = Vec::new();
    for pid in pids {
        let numbers = directory::numbers(format!("/proc/{pid}/fd")).ok()?;
        files.extend(numbers.into_iter().map(|number| format!("/proc/{pid}/fd/{number}")));
        if files.len() > max {
            return None;
        }
    }
    let targets = files.into_iter().filter_map(|file| fs::read_link(file).ok());
    let inode = |target: PathBuf| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    Some(targets.filter_map(inode).collect())
}

/// A variable of the environment that a process was born with.
pub fn variable(pid: Pid, name: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = format!("{name}=");
    let found = environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(prefix.as_bytes()));
    found.map(|value| String::from_utf8_lossy(value).into_owned())
}

/// The file that a process runs, wherever it is by now.
pub fn program(pid: Pid) -> Option<FileId> {
    fs::metadata(format!("/proc/{pid}/exe")).ok().map(|meta| FileId::of(&meta))
}

/// The service of systemd that this process runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    System(String),
    /// One of a user's own manager.
    User(String),
}

/// None where this process is in no service, or /proc does not show it.
pub fn own_unit() -> Option<Unit> {
    unit(&fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// From the lines of cgroups(7), `ID:CONTROLLERS:PATH`; systemd's own hierarchy is the only one, or has its name.
fn unit(cgroups: &str) -> Option<Unit> {
    let named = cgroups.lines().find_map(|line| Some(line.split_once(":name=systemd:")?.1));
    let path = named.or_else(|| cgroups.lines().find_map(|line| line.strip_prefix("0::")))?;
    let services: Vec<&str> = path.split('/').filter(|part| part.ends_with(".service")).collect();
    match services.as_slice() {
        [] => None,
        [one] => Some(Unit::System((*one).to_owned())),
        [.., last] => Some(Unit::User((*last).to_owned())),
    }
}

/// Whether this path lies below a directory that systemd has given this service alone (`PrivateTmp=`).
pub fn is_in_private_tmp(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    private_mounts(&mounts).any(|mount| path.starts_with(mount))
}

/// From the lines of /proc/PID/mountinfo, proc(5): what of its file system is mounted is the fourth word, and where the fifth.
fn private_mounts(mounts: &str) -> impl Iterator<Item = &str> {
    mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(3);
        let (root, place) = (words.next()?, words.next()?);
        root.split('/').any(|name| name.starts_with("systemd-private-")).then_some(place)
    })
}

/// The regular file that standard error is written to.
pub fn stderr_file() -> Option<PathBuf> {
    let path = fs::read_link("/proc/self/fd/2").ok()?;
    fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file()).then_some(path)
}

fn stat_field(pid: Pid, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    field(&stat, number).map(str::to_owned)
}

/// A field of /proc/PID/stat by its number in proc(5), from 3 on. The name before may have blanks and brackets in it.
pub(super) fn field(stat: &str, number: usize) -> Option<&str> {
    let (_, from_third) = stat.rsplit_once(')')?;
    from_third.split_whitespace().nth(number.checked_sub(3)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Signal;
    use crate::sys::testing::{self, LIMIT, in_own_process, sleeper, wait_until};

    #[test]
    fn a_directory_of_systemds_for_one_service_is_known_by_what_is_mounted_there() {
        let mounts = "22 1 254:1 / / rw - ext4 /dev/root rw\n\
            190 160 254:1 /tmp/systemd-private-1a-web.service-b/tmp /tmp rw,relatime shared:97 - ext4 /dev/root rw\n\
            191 160 0:5 /systemd-private-1a-web.service-c/tmp /var/tmp rw - tmpfs tmpfs rw\n\
            192 160 0:6 / /srv/systemd-private- rw - tmpfs tmpfs rw\n";
        assert_eq!(private_mounts(mounts).collect::<Vec<_>>(), ["/tmp", "/var/tmp"]);
        assert!(!is_in_private_tmp(Path::new("/proc/self")));
    }

    #[test]
    fn living_children_are_found_and_dead_ones_are_not() {
        in_own_process(module_path!(), "living_children_are_found_and_dead_ones_are_not", || {
            let children = [sleeper(|_| {}), sleeper(|_| {})];
            assert_eq!(living_children(), Some(children.to_vec()));
            crate::sys::signal::send(children[0], Signal::KILL).unwrap();
            assert!(wait_until(LIMIT, || stat_field(children[0], 3).as_deref() == Some("Z")));
            assert_eq!(living_children(), Some(vec![children[1]]));
            assert_eq!(children.map(is_ending), [true, false]);
            testing::reap(children[0]);
        });
    }

    #[test]
    fn a_variable_is_what_a_process_was_born_with() {
        let own = Pid(nix::unistd::getpid().as_raw());
        assert_eq!(variable(own, "PATH"), std::env::var("PATH").ok());
        assert_eq!(variable(own, "NO_SUCH_VARIABLE"), None);
    }

    #[test]
    fn the_unit_is_the_service_of_the_cgroup() {
        let system = |name: &str| Some(Unit::System(name.to_owned()));
        assert_eq!(unit("0::/system.slice/web.service\n"), system("web.service"));
        assert_eq!(unit("0::/system.slice/system-web.slice/web@a.service/sub\n"), system("web@a.service"));
        assert_eq!(unit("12:cpu:/x\n1:name=systemd:/system.slice/web.service\n0::/\n"), system("web.service"));
        let user = "0::/user.slice/user-7.slice/user@7.service/app.slice/web.service\n";
        assert_eq!(unit(user), Some(Unit::User("web.service".to_owned())));
        for none in ["", "0::/\n", "0::/user.slice/user-0.slice/session-1.scope\n", "nonsense"] {
            assert_eq!(unit(none), None, "{none:?}");
        }
    }

    #[test]
    fn our_parent_is_our_parent() {
        let own = Pid(nix::unistd::getpid().as_raw());
        assert_eq!(parent(own), Some(Pid(nix::unistd::getppid().as_raw())));
        assert_eq!(group(own), Some(Pid(nix::unistd::getpgrp().as_raw())));
        assert_eq!((parent(Pid(i32::MAX)), group(Pid(i32::MAX))), (None, None));
    }
}
