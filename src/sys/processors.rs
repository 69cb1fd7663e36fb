//! On which processors a process may run, and on which the child of a fork shall. Decides no set.

use std::fs;
use std::path::Path;

use libc::{c_ulong, cpu_set_t};
use nix::errno::Errno;

use crate::base::cpu_set::CPUS_MAX;
use crate::base::{CpuSet, Pid};

const BITS: usize = c_ulong::BITS as usize;
const WORDS: usize = CPUS_MAX as usize / BITS;

/// Where hierarchies of cgroups may be that have a cpuset: that of version 1, and that of version 2.
const HIERARCHIES: [&str; 2] = ["sys/fs/cgroup/cpuset", "sys/fs/cgroup"];
/// The processors of a cgroup that there are, in the words of version 2 and of version 1. Cgroups without a cpuset lack it: they have
/// that of the one above.
const EFFECTIVE: [&str; 2] = ["cpuset.cpus.effective", "cpuset.effective_cpus"];

/// A set as sched_setaffinity(2) takes it: of any size, where `cpu_set_t` ends at 1024 processors.
pub(super) struct CpuMask([c_ulong; WORDS]);

impl CpuMask {
    pub(super) fn of(set: &CpuSet) -> Self {
        let mut words = [0; WORDS];
        for cpu in set.cpus().map(usize::from) {
            words.get_mut(cpu / BITS).into_iter().for_each(|word| *word |= 1 << (cpu % BITS));
        }
        Self(words)
    }

    fn to_set(&self) -> Option<CpuSet> {
        let has = |cpu: &u16| {
            self.0.get(usize::from(*cpu) / BITS).is_some_and(|word| word >> (usize::from(*cpu) % BITS) & 1 == 1)
        };
        CpuSet::new((0..CPUS_MAX).filter(has))
    }
}

/// Keeps the calling thread on these processors, or on those of them that there are. EINVAL when there is none.
///
/// Async-signal-safe: the child of a fork calls it.
pub(super) fn set_affinity(mask: &CpuMask) -> Result<(), Errno> {
    set_affinity_by_number(0, mask)
}

/// The same for the first thread of another process.
///
/// # Errors
/// EINVAL: there is none of these processors; ESRCH: the process is gone; EPERM.
pub fn set_affinity_of(pid: Pid, set: &CpuSet) -> Result<(), Errno> {
    set_affinity_by_number(pid.0, &CpuMask::of(set))
}

fn set_affinity_by_number(id: libc::pid_t, mask: &CpuMask) -> Result<(), Errno> {
    // SAFETY: the mask is readable for its whole length.
    Errno::result(unsafe { libc::sched_setaffinity(id, size_of_val(&mask.0), mask.0.as_ptr().cast::<cpu_set_t>()) })
        .map(drop)
}

/// The processors that the calling thread may run on. None when the system does not say.
fn affinity() -> Option<CpuSet> {
    let mut mask = CpuMask([0; WORDS]);
    let words = mask.0.as_mut_ptr().cast::<cpu_set_t>();
    // SAFETY: the mask is writable for its whole length.
    Errno::result(unsafe { libc::sched_getaffinity(0, size_of_val(&mask.0), words) }).ok()?;
    mask.to_set()
}

/// The processors that a child of this process could run on, unless this set has one of them. Our own may be fewer: a child may leave
/// them for others of our cgroup. None also when the system does not say; then only the kernel knows.
pub fn others_than(set: &CpuSet) -> Option<CpuSet> {
    let ours = affinity()?;
    let of_cgroup = of_cgroup(Path::new("/"))?;
    (!set.meets(&ours) && !set.meets(&of_cgroup)).then_some(of_cgroup)
}

/// Of the cgroup that we are in, below this root; without any, those of the machine.
fn of_cgroup(root: &Path) -> Option<CpuSet> {
    let own = fs::read_to_string(root.join("proc/self/cpuset")).unwrap_or_default();
    let own = Path::new(own.trim().trim_start_matches('/'));
    let directories = HIERARCHIES
        .iter()
        .flat_map(|hierarchy| own.ancestors().map(|cgroup| root.join(hierarchy).join(cgroup)).collect::<Vec<_>>());
    let mut files = directories.flat_map(|directory| EFFECTIVE.map(|name| directory.join(name)));
    files.find_map(|file| read(&file)).or_else(|| read(&root.join("sys/devices/system/cpu/online")))
}

fn read(file: &Path) -> Option<CpuSet> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::sys::testing::in_own_process;

    fn set(text: &str) -> CpuSet {
        text.parse().unwrap()
    }

    #[test]
    fn a_mask_has_the_processors_of_its_set() {
        for text in ["0", "1,63-65", "1023-1025,8191"] {
            assert_eq!(CpuMask::of(&set(text)).to_set(), Some(set(text)));
        }
    }

    #[test]
    fn affinity_is_what_was_set_and_an_empty_one_is_refused() {
        in_own_process(module_path!(), "affinity_is_what_was_set_and_an_empty_one_is_refused", || {
            let ours = affinity().unwrap();
            let last = CpuSet::new(ours.cpus().last()).unwrap();
            set_affinity(&CpuMask::of(&last)).unwrap();
            assert_eq!(affinity(), Some(last.clone()));
            // From there to the others, as children of a master that was put on a few.
            assert_eq!(others_than(&ours), None);
            set_affinity(&CpuMask::of(&ours)).unwrap();
            assert_eq!(affinity(), Some(ours.clone()));
            let none = set("8191");
            assert_eq!(others_than(&none).map(|others| others.meets(&ours)), Some(true));
            assert_eq!(set_affinity(&CpuMask::of(&none)), Err(Errno::EINVAL));
        });
    }

    #[test]
    fn the_cpuset_of_a_cgroup_is_its_own_or_that_of_the_one_above() {
        let root = TempDir::new().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(of_cgroup(root.path()), None);
        write("sys/devices/system/cpu/online", "0-7\n");
        assert_eq!(of_cgroup(root.path()), Some(set("0-7")));
        write("proc/self/cpuset", "/system.slice/web.service\n");
        write("sys/fs/cgroup/cpuset.cpus.effective", "0-6\n");
        assert_eq!(of_cgroup(root.path()), Some(set("0-6")));
        write("sys/fs/cgroup/system.slice/cpuset.cpus.effective", "0-5\n");
        assert_eq!(of_cgroup(root.path()), Some(set("0-5")));
        write("sys/fs/cgroup/cpuset/system.slice/web.service/cpuset.effective_cpus", "2-3\n");
        assert_eq!(of_cgroup(root.path()), Some(set("2-3")));
    }
}
