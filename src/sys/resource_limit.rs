//! Resource limits: what a process has, and what the child of a fork gives itself. Decides no limit.

use std::fs;
use std::ptr;

use nix::errno::Errno;
use nix::sys::resource::Resource as Number;
use thiserror::Error;

use crate::base::{Resource, ResourceLimit};
use crate::sys::capability::{self, SYS_RESOURCE};

/// The most that a limit of descriptors can be, for root too.
const DESCRIPTORS_MAX: &str = "/proc/sys/fs/nr_open";

/// What stands in the way of a limit: what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Obstacle {
    /// No process may have more descriptors.
    #[error("need at most {max}, fs.nr_open of this system")]
    AboveTheSystems { max: u64 },
    /// A process that may not raise limits has a lower hard one.
    #[error("need at most {hard}, the hard limit that there is; raising it takes CAP_SYS_RESOURCE")]
    AboveOurs { hard: u64 },
}

/// Why this process cannot give itself the limit, as far as that can be told without trying.
pub fn obstacle(limit: &ResourceLimit) -> Option<Obstacle> {
    if limit.resource.number() == Number::RLIMIT_NOFILE {
        if let Some(max) = descriptors_max().filter(|max| limit.hard > *max) {
            return Some(Obstacle::AboveTheSystems { max });
        }
    }
    // What we are not told is no reason to refuse.
    let hard = current(limit.resource).map_or(u64::MAX, |(_, hard)| hard);
    (limit.hard > hard && !capability::has(&[SYS_RESOURCE])).then_some(Obstacle::AboveOurs { hard })
}

/// The soft and the hard limit of this process, `u64::MAX` for none.
///
/// # Errors
/// The kernel does not know the resource.
pub fn current(resource: Resource) -> Result<(u64, u64), Errno> {
    let mut found = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `found` is writable and of the right type; no new limit is given.
    Errno::result(unsafe { libc::prlimit64(0, resource.number() as _, ptr::null(), &mut found) })?;
    Ok((found.rlim_cur, found.rlim_max))
}

/// Limits this process. EINVAL when soft is above hard, EPERM when hard is above what it was and we may not raise it.
///
/// Async-signal-safe: the child of a fork calls it. prlimit64(2) takes 64 bits on every architecture, with all of them
/// set for no limit, where setrlimit(2) differs.
pub(super) fn apply(limit: &ResourceLimit) -> Result<(), Errno> {
    let new = libc::rlimit64 { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: `new` is readable and of the right type; the old one is not asked for.
    Errno::result(unsafe { libc::prlimit64(0, limit.resource.number() as _, &new, ptr::null_mut()) }).map(drop)
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
    fn who_may_not_raise_limits_is_told_the_hard_one() {
        in_own_process(module_path!(), "who_may_not_raise_limits_is_told_the_hard_one", || {
            let limit = |name, hard| ResourceLimit { resource: Resource::from_name(name).unwrap(), soft: 1, hard };
            apply(&limit("core", 4096)).unwrap();
            if geteuid().is_root() {
                // Root in a container may lack the capability: what the kernel does decides.
                let (told, tried) = (obstacle(&limit("core", 4097)), apply(&limit("core", 4097)));
                assert_eq!(told.is_none(), tried.is_ok());
                apply(&limit("core", 4096)).unwrap();
                let nobody = Uid::from_raw(65534);
                setresuid(nobody, nobody, nobody).unwrap();
            }
            assert_eq!(obstacle(&limit("core", 4096)), None);
            assert_eq!(obstacle(&limit("core", 4097)), Some(Obstacle::AboveOurs { hard: 4096 }));
            assert_eq!(apply(&limit("core", 4097)), Err(Errno::EPERM));
        });
    }

    #[test]
    fn descriptors_are_limited_by_the_system() {
        let max = descriptors_max().unwrap();
        let limit = |name, hard| ResourceLimit { resource: Resource::from_name(name).unwrap(), soft: 1, hard };
        for hard in [max + 1, u64::MAX] {
            assert_eq!(obstacle(&limit("nofile", hard)), Some(Obstacle::AboveTheSystems { max }));
        }
        assert_eq!(obstacle(&limit("nofile", 1)), None);
    }

    #[test]
    fn current_limits_are_those_of_this_process() {
        for resource in Resource::names().filter_map(Resource::from_name) {
            assert_eq!(current(resource), getrlimit(resource.number()));
        }
    }
}
