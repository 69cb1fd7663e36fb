//! Resource limits by their names: what a process has, and what the child of a fork gives itself. Knows every resource of
//! getrlimit(2), and decides no limit.

use std::fmt;
use std::fs;
use std::ptr;

use nix::errno::Errno;
use nix::sys::resource::Resource as Number;
use serde::{Deserialize, Serialize};

use crate::sys::capability::{self, SYS_RESOURCE};

/// The most that a limit of descriptors can be, for root too.
const DESCRIPTORS_MAX: &str = "/proc/sys/fs/nr_open";

/// The names of systemd and limits.conf in lower case, without their prefix.
const NAMES: [(&str, Number); 16] = [
    ("as", Number::RLIMIT_AS),
    ("core", Number::RLIMIT_CORE),
    ("cpu", Number::RLIMIT_CPU),
    ("data", Number::RLIMIT_DATA),
    ("fsize", Number::RLIMIT_FSIZE),
    ("locks", Number::RLIMIT_LOCKS),
    ("memlock", Number::RLIMIT_MEMLOCK),
    ("msgqueue", Number::RLIMIT_MSGQUEUE),
    ("nice", Number::RLIMIT_NICE),
    ("nofile", Number::RLIMIT_NOFILE),
    ("nproc", Number::RLIMIT_NPROC),
    ("rss", Number::RLIMIT_RSS),
    ("rtprio", Number::RLIMIT_RTPRIO),
    ("rttime", Number::RLIMIT_RTTIME),
    ("sigpending", Number::RLIMIT_SIGPENDING),
    ("stack", Number::RLIMIT_STACK),
];

/// One of the things that getrlimit(2) limits. A handoff has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Resource(Number);

impl Resource {
    /// `nofile` for RLIMIT_NOFILE; None for a name that is not known, or not in lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| Self(*number))
    }

    /// The soft and the hard limit of this process, `u64::MAX` for none. The unit is the resource's: see getrlimit(2).
    pub fn current(self) -> Result<(u64, u64), Errno> {
        let mut found = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `found` is writable and of the right type; no new limit is given.
        Errno::result(unsafe { libc::prlimit64(0, self.0 as _, ptr::null(), &mut found) })?;
        Ok((found.rlim_cur, found.rlim_max))
    }

    /// Its place among the names, which a child can send through a pipe.
    pub(super) fn index(self) -> Option<u8> {
        NAMES.iter().position(|(_, number)| *number == self.0).and_then(|index| u8::try_from(index).ok())
    }

    pub(super) fn from_index(index: u8) -> Option<Self> {
        NAMES.get(usize::from(index)).map(|(_, number)| Self(*number))
    }
}

impl From<Resource> for String {
    fn from(resource: Resource) -> Self {
        resource.to_string()
    }
}

impl TryFrom<String> for Resource {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::from_name(&name).ok_or_else(|| format!("the handoff has an unknown limit {name:?}"))
    }
}

impl fmt::Display for Resource {
    /// As [`Resource::from_name`] takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, number)| *number == self.0).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// What a child shall have of a resource. Plain numbers in the resource's unit, so that a handoff can carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    pub resource: Resource,
    /// `u64::MAX` for no limit, like `hard`.
    pub soft: u64,
    pub hard: u64,
}

impl ResourceLimit {
    /// Why this process cannot give itself the limit, as far as that can be told without trying.
    pub fn obstacle(&self) -> Option<Obstacle> {
        if self.resource.0 == Number::RLIMIT_NOFILE {
            if let Some(max) = descriptors_max().filter(|max| self.hard > *max) {
                return Some(Obstacle::AboveTheSystems { max });
            }
        }
        // What we are not told is no reason to refuse.
        let hard = self.resource.current().map_or(u64::MAX, |(_, hard)| hard);
        (self.hard > hard && !capability::has(&[SYS_RESOURCE])).then_some(Obstacle::AboveOurs { hard })
    }

    /// Limits this process. EINVAL when soft is above hard, EPERM when hard is above what it was and we may not raise it.
    ///
    /// Async-signal-safe: the child of a fork calls it. prlimit64(2) takes 64 bits on every architecture, with all of them
    /// set for no limit, where setrlimit(2) differs.
    pub(super) fn apply(&self) -> Result<(), Errno> {
        let limit = libc::rlimit64 { rlim_cur: self.soft, rlim_max: self.hard };
        // SAFETY: `limit` is readable and of the right type; the old one is not asked for.
        Errno::result(unsafe { libc::prlimit64(0, self.resource.0 as _, &limit, ptr::null_mut()) }).map(drop)
    }
}

/// What stands in the way of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Nobody may have more descriptors.
    AboveTheSystems { max: u64 },
    /// Who may not raise limits has a lower hard one.
    AboveOurs { hard: u64 },
}

impl fmt::Display for Obstacle {
    /// What would be right: `need at most 1024, ...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AboveTheSystems { max } => write!(f, "need at most {max}, fs.nr_open of this system"),
            Self::AboveOurs { hard } => {
                write!(f, "need at most {hard}, the hard limit that there is; raising it takes CAP_SYS_RESOURCE")
            }
        }
    }
}

/// None when the system does not say.
fn descriptors_max() -> Option<u64> {
    fs::read_to_string(DESCRIPTORS_MAX).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::getrlimit;
    use nix::unistd::{Uid, geteuid, setresuid};

    use super::*;
    use crate::sys::testing::in_own_process;

    #[test]
    fn each_name_is_that_of_its_constant() {
        for (name, number) in NAMES {
            assert_eq!(format!("RLIMIT_{}", name.to_uppercase()), format!("{number:?}"));
            let resource = Resource::from_name(name).unwrap();
            assert_eq!((resource, resource.to_string().as_str()), (Resource(number), name));
        }
        for unknown in ["", "NOFILE", "rlimit_nofile", "swap"] {
            assert_eq!(Resource::from_name(unknown), None);
        }
    }

    #[test]
    fn who_may_not_raise_limits_is_told_the_hard_one() {
        in_own_process(module_path!(), "who_may_not_raise_limits_is_told_the_hard_one", || {
            let limit = |name, hard| ResourceLimit { resource: Resource::from_name(name).unwrap(), soft: 1, hard };
            limit("core", 4096).apply().unwrap();
            if geteuid().is_root() {
                // Root in a container may lack the capability: what the kernel does decides.
                let (told, tried) = (limit("core", 4097).obstacle(), limit("core", 4097).apply());
                assert_eq!(told.is_none(), tried.is_ok());
                limit("core", 4096).apply().unwrap();
                let nobody = Uid::from_raw(65534);
                setresuid(nobody, nobody, nobody).unwrap();
            }
            assert_eq!(limit("core", 4096).obstacle(), None);
            assert_eq!(limit("core", 4097).obstacle(), Some(Obstacle::AboveOurs { hard: 4096 }));
            assert_eq!(limit("core", 4097).apply(), Err(Errno::EPERM));
        });
    }

    #[test]
    fn descriptors_are_limited_by_the_system() {
        let max = descriptors_max().unwrap();
        let limit = |name, hard| ResourceLimit { resource: Resource::from_name(name).unwrap(), soft: 1, hard };
        for hard in [max + 1, u64::MAX] {
            assert_eq!(limit("nofile", hard).obstacle(), Some(Obstacle::AboveTheSystems { max }));
        }
        assert_eq!(limit("nofile", 1).obstacle(), None);
    }

    #[test]
    fn current_limits_are_those_of_this_process() {
        for (_, number) in NAMES {
            assert_eq!(Resource(number).current(), getrlimit(number));
        }
    }
}
