//! Whose rights a program has: user, group and supplementary groups, which the child of a fork takes on for good. Looks up
//! no name, and never lets a child go on that could have root's rights back.

// Where ids once had 16 bits, the plain numbers are those of the calls that still cut them.
use libc::c_long;
#[cfg(not(any(target_arch = "x86", target_arch = "arm", target_arch = "sparc")))]
use libc::{SYS_setgroups as SYS_SETGROUPS, SYS_setresgid as SYS_SETRESGID, SYS_setresuid as SYS_SETRESUID};
#[cfg(any(target_arch = "x86", target_arch = "arm", target_arch = "sparc"))]
use libc::{SYS_setgroups32 as SYS_SETGROUPS, SYS_setresgid32 as SYS_SETRESGID, SYS_setresuid32 as SYS_SETRESUID};
use nix::errno::Errno;
use nix::sys::prctl::set_keepcaps;
use nix::unistd::{Gid, ResGid, ResUid, Uid, getresgid, getresuid};
use serde::{Deserialize, Serialize};

use crate::sys::capability::Capabilities;
use crate::sys::exec_pipe::Stage;

/// A user and groups by their numbers. `u32::MAX` is no user's number, see setresuid(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// All supplementary groups; what is not listed is given up.
    pub groups: Vec<u32>,
}

impl Identity {
    /// Whether this process, which is not root, has the user and the group already. Then nothing is to be changed. Nor could
    /// the supplementary groups be: they are those that our starter has chosen for this user, and setgroups(2) would refuse
    /// us any others. Root is left out, for it may have groups to give up.
    pub fn is_own(&self) -> bool {
        self.uid != ROOT && check_user(self.uid).is_ok() && check_group(self.gid).is_ok()
    }

    /// Takes it on for good: real, effective and saved. The user comes last, since with it goes the right to change groups.
    ///
    /// Async-signal-safe: the child of a fork calls it.
    pub(super) fn assume(&self) -> Result<(), (Stage, Errno)> {
        self.change()?;
        if self.uid != ROOT {
            set_capabilities(Capabilities::default())
                .and_then(|()| check_no_way_back())
                .map_err(|errno| (Stage::User, errno))?;
        }
        Ok(())
    }

    /// Takes it on for the calling thread with these capabilities, as far as it has them: they may be a way back.
    ///
    /// # Errors
    /// The system refuses it; what was changed by then stays so.
    pub fn put_on(&self, capabilities: &Capabilities) -> Result<(), Errno> {
        let kept = capabilities.and(Capabilities::own());
        set_keepcaps(true)?;
        self.change().map_err(|(_, errno)| errno)?;
        set_capabilities(kept)
    }

    fn change(&self) -> Result<(), (Stage, Errno)> {
        set_groups(&self.groups).map_err(|errno| (Stage::Groups, errno))?;
        set_ids(SYS_SETRESGID, self.gid).map_err(|errno| (Stage::Group, errno))?;
        set_ids(SYS_SETRESUID, self.uid).map_err(|errno| (Stage::User, errno))?;
        check_group(self.gid).map_err(|errno| (Stage::Group, errno))?;
        check_user(self.uid).map_err(|errno| (Stage::User, errno))
    }
}

const ROOT: u32 = 0;

/// What setresuid(2) and setresgid(2) take for "as it was".
const UNCHANGED: u32 = u32::MAX;

/// Past the C library, like [`set_ids`]. Its functions change all threads of a process: they signal each one, and take locks
/// that another thread of the master may have held at the fork. The kernel changes the calling thread, the child's only one.
fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many ids as it is told, and `groups` has as many.
    Errno::result(unsafe { libc::syscall(SYS_SETGROUPS, groups.len(), groups.as_ptr()) }).map(drop)
}

/// Sets real, effective and saved id. EINVAL for an id that would leave them as they were.
fn set_ids(call: c_long, id: u32) -> Result<(), Errno> {
    if id == UNCHANGED {
        return Err(Errno::EINVAL);
    }
    // SAFETY: no memory is passed.
    Errno::result(unsafe { libc::syscall(call, id, id, id) }).map(drop)
}

/// EPERM if real, effective or saved uid is another one: a filter of system calls may have pretended a success.
fn check_user(uid: u32) -> Result<(), Errno> {
    let uid = Uid::from_raw(uid);
    let is_it = getresuid()? == ResUid { real: uid, effective: uid, saved: uid };
    if is_it { Ok(()) } else { Err(Errno::EPERM) }
}

/// As [`check_user`].
fn check_group(gid: u32) -> Result<(), Errno> {
    let gid = Gid::from_raw(gid);
    let is_it = getresgid()? == ResGid { real: gid, effective: gid, saved: gid };
    if is_it { Ok(()) } else { Err(Errno::EPERM) }
}

/// The kernel takes them only from a process that was root: a master that is another user but has CAP_SETUID would leave its workers
/// the same. See capabilities(7); nix and libc have no capset(2).
fn set_capabilities(kept: Capabilities) -> Result<(), Errno> {
    // _LINUX_CAPABILITY_VERSION_3, and ourselves.
    let header: [u32; 2] = [0x2008_0522, 0];
    // Twice 32 bits: effective, permitted, inheritable. The ambient ones go with the permitted.
    let sets: [[u32; 3]; 2] = kept.halves().map(|half| [half, half, 0]);
    // SAFETY: both are readable, and as long as this version says.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) }).map(drop)
}

/// EPERM if the effective uid can be root's.
fn check_no_way_back() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    let returned = unsafe { libc::syscall(SYS_SETRESUID, UNCHANGED, ROOT, UNCHANGED) };
    if returned == 0 { Err(Errno::EPERM) } else { Ok(()) }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
