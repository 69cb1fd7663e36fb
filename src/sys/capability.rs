//! What the calling thread may do although it is not root, or may not although it is, see capabilities(7). Changes nothing.

use std::fs;

/// One capability: its bit in the sets of /proc/PID/status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capability(u32);

pub(super) const CHOWN: Capability = Capability(0);
pub(super) const KILL: Capability = Capability(5);
pub(super) const SETGID: Capability = Capability(6);
pub(super) const SETUID: Capability = Capability(7);
pub(super) const SYS_NICE: Capability = Capability(23);
pub(super) const SYS_RESOURCE: Capability = Capability(24);

/// Whether all of them are in the effective set. Without /proc none is. In a user namespace of its own a process has them
/// there only, and may yet be refused.
pub(super) fn has(needed: &[Capability]) -> bool {
    fs::read_to_string("/proc/thread-self/status").is_ok_and(|status| are_listed(needed, &status))
}

/// Whether it is known not to be in the effective set.
pub(super) fn lacks(needed: Capability) -> bool {
    fs::read_to_string("/proc/thread-self/status").is_ok_and(|status| !are_listed(&[needed], &status))
}

fn are_listed(needed: &[Capability], status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    bits.is_some_and(|bits| needed.iter().all(|capability| bits & 1 << capability.0 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_them_has_to_be_effective() {
        let three = [KILL, SETGID, SETUID];
        for (line, enough) in [("00000000000000e0", true), ("00000000000000c0", false), ("0000000000000060", false)] {
            let status = format!("Name:\tx\nCapPrm:\t00000000000000c0\nCapEff:\t{line}\n");
            assert_eq!(are_listed(&three, &status), enough, "{line}");
        }
        assert!(are_listed(&[SYS_RESOURCE], "CapEff:\t0000000001000000\n"));
        assert!(!are_listed(&[SYS_RESOURCE], "CapEff:\t000001fffeffffff\n"));
        assert!(!are_listed(&three, "") && !are_listed(&three, "CapEff:\tmany"));
    }
}
