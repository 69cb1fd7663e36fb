//! What /proc says of a process: whose child it is, and what it was born with. For acks from behind a wrapper, and where nothing
//! better is known; what is read may be outdated when it is used.

use std::fs;

use crate::base::Pid;

/// The parent of a process, if it is there and /proc shows it.
pub fn parent(pid: Pid) -> Option<Pid> {
    stat_field(pid, 4)?.parse().ok().map(Pid)
}

/// The living children of the calling thread, in the order of their birth. None where /proc does not show them.
pub fn living_children() -> Option<Vec<Pid>> {
    let text = fs::read_to_string("/proc/thread-self/children").ok()?;
    let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok().map(Pid));
    Some(pids.filter(|pid| stat_field(*pid, 3).is_some_and(|state| state != "Z" && state != "X")).collect())
}

/// A variable of the environment that a process was born with.
pub fn variable(pid: Pid, name: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = format!("{name}=");
    let found = environ.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(prefix.as_bytes()));
    found.map(|value| String::from_utf8_lossy(value).into_owned())
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
    fn living_children_are_found_and_dead_ones_are_not() {
        in_own_process(module_path!(), "living_children_are_found_and_dead_ones_are_not", || {
            let children = [sleeper(|_| {}), sleeper(|_| {})];
            assert_eq!(living_children(), Some(children.to_vec()));
            crate::sys::signal::send(children[0], Signal::KILL).unwrap();
            assert!(wait_until(LIMIT, || stat_field(children[0], 3).as_deref() == Some("Z")));
            assert_eq!(living_children(), Some(vec![children[1]]));
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
    fn our_parent_is_our_parent() {
        let own = Pid(nix::unistd::getpid().as_raw());
        assert_eq!(parent(own), Some(Pid(nix::unistd::getppid().as_raw())));
        assert_eq!(parent(Pid(i32::MAX)), None);
    }
}
