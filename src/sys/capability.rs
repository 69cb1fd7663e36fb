//! What the calling thread may do although it is not root, or may not although it is, see capabilities(7). Changes nothing.

use std::fs;

/// One capability: its bit in the sets of /proc/PID/status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capability(u32);

pub(super) const CHOWN: Capability = Capability(0);
pub(super) const DAC_OVERRIDE: Capability = Capability(1);
pub(super) const DAC_READ_SEARCH: Capability = Capability(2);
pub(super) const FOWNER: Capability = Capability(3);
pub(super) const KILL: Capability = Capability(5);
pub(super) const SETGID: Capability = Capability(6);
pub(super) const SETUID: Capability = Capability(7);
pub(super) const NET_BIND_SERVICE: Capability = Capability(10);
pub(super) const PTRACE: Capability = Capability(19);
pub(super) const SYS_NICE: Capability = Capability(23);
pub(super) const SYS_RESOURCE: Capability = Capability(24);

/// Those that decide what a master may do, as systemd writes them.
const NAMES: [(&str, Capability); 10] = [
    ("cap_chown", CHOWN),
    ("cap_dac_override", DAC_OVERRIDE),
    ("cap_dac_read_search", DAC_READ_SEARCH),
    ("cap_fowner", FOWNER),
    ("cap_kill", KILL),
    ("cap_setgid", SETGID),
    ("cap_setuid", SETUID),
    ("cap_net_bind_service", NET_BIND_SERVICE),
    ("cap_sys_nice", SYS_NICE),
    ("cap_sys_resource", SYS_RESOURCE),
];

/// A set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Those that decide nothing of what a master may do are left out.
    pub fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let bit = |name: &str| NAMES.iter().find(|(known, _)| *known == name).map_or(0, |(_, it)| 1 << it.0);
        Self(names.into_iter().fold(0, |bits, name| bits | bit(name)))
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The effective ones of the calling thread, as far as /proc says.
    pub(super) fn own() -> Self {
        Self(fs::read_to_string(STATUS).ok().and_then(|status| effective(&status)).unwrap_or_default())
    }

    /// Its lower and its upper half, as capset(2) takes them.
    pub(super) fn halves(self) -> [u32; 2] {
        let [a, b, c, d, e, f, g, h] = self.0.to_le_bytes();
        [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
    }
}

const STATUS: &str = "/proc/thread-self/status";

/// Whether all of them are in the effective set. Without /proc none is. In a user namespace of its own a process has them
/// there only, and may yet be refused.
pub(super) fn has(needed: &[Capability]) -> bool {
    fs::read_to_string(STATUS).is_ok_and(|status| are_listed(needed, &status))
}

/// Whether it is known not to be in the effective set.
pub(super) fn lacks(needed: Capability) -> bool {
    fs::read_to_string("/proc/thread-self/status").is_ok_and(|status| !are_listed(&[needed], &status))
}

fn are_listed(needed: &[Capability], status: &str) -> bool {
    effective(status).is_some_and(|bits| needed.iter().all(|capability| bits & 1 << capability.0 != 0))
}

fn effective(status: &str) -> Option<u64> {
    let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(digits.trim(), 16).ok()
}

/// Whether the calling thread may bind this port of TCP. Where /proc does not say from which port on all users may, none is refused.
pub fn may_bind(port: u16) -> bool {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok();
    let first: u16 = first.and_then(|text| text.trim().parse().ok()).unwrap_or_default();
    port == 0 || port >= first || has(&[NET_BIND_SERVICE])
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
