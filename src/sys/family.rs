//! Whose child a process is, from /proc. For acks from behind a wrapper, never for deciding whom to signal: what is read
//! may be outdated when it is used.

use std::fs;

use crate::pool::Pid;

/// The parent of a process, if it is there and /proc shows it.
pub fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have blanks and brackets in it; after the last bracket come the state and the parent.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok().map(Pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_parent_is_our_parent() {
        let own = Pid(nix::unistd::getpid().as_raw());
        assert_eq!(parent(own), Some(Pid(nix::unistd::getppid().as_raw())));
        assert_eq!(parent(Pid(i32::MAX)), None);
    }
}
