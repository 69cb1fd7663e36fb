//! Everything that the child of a fork will need, laid out before the fork: after it, nothing may be allocated. Refuses
//! what execve(2) could not take.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use libc::{c_char, c_int, pid_t};
use nix::errno::Errno;

use crate::base::{CpuSet, ResourceLimit, Signal};
use crate::sys::birth::Birth;
use crate::sys::identity::Identity;
use crate::sys::processors::CpuMask;

/// What to run, and with what. The child gets a process group of its own, default dispositions, an empty signal mask, the
/// master's descriptors 0 to 2, and nothing else that is not named here.
pub struct SpawnRequest<'a> {
    /// No search in PATH. A relative path is looked up from `directory`.
    pub path: &'a Path,
    /// The file of a program that was opened before, which is run by this descriptor. Only what cannot be run so, a script, is
    /// run by `path`. None: `path` alone.
    pub file: Option<BorrowedFd<'a>>,
    /// With the program's name first.
    pub argv: &'a [OsString],
    /// The whole environment.
    pub env: &'a [(OsString, OsString)],
    /// One more variable, in which the child writes its own pid (LISTEN_PID).
    pub own_pid_variable: Option<&'a OsStr>,
    /// None: the master's.
    pub directory: Option<&'a Path>,
    /// Which descriptors of ours at which numbers of the child's. Every one must stand above all those numbers, see
    /// [`crate::sys::fd::lift`]: then none is overwritten before it is used.
    pub descriptors: &'a [(BorrowedFd<'a>, RawFd)],
    pub birth: &'a Birth,
    /// None: the birth's.
    pub umask: Option<u32>,
    /// An absolute nice level; None: the birth's.
    pub nice: Option<i32>,
    /// Where it may run; None: where the master may.
    pub cpus: Option<&'a CpuSet>,
    /// What is not named here is as the master has it, but for the birth's number of descriptors.
    pub limits: &'a [ResourceLimit],
    /// Whose rights it has, also when it enters its directory; None: the master's. One that [`Identity::is_own`] changes
    /// nothing, the supplementary groups included.
    pub identity: Option<&'a Identity>,
    /// Sent to the child when the thread that spawned it ends.
    pub parent_death: Option<Signal>,
}

/// Room for the largest pid, 4194304 on Linux and ten digits in principle, and its final NUL.
pub(super) const PID_ROOM: usize = 11;

/// What the child works from. The pointers lead into the buffers beside them, which are never touched again.
pub(super) struct PreparedExec {
    pub path: CString,
    /// What is run instead where it can be; above every target.
    pub file: Option<RawFd>,
    pub directory: Option<CString>,
    pub argv: StringArray,
    pub envp: StringArray,
    /// Where in `envp` the child writes its own pid.
    pub pid_slot: Option<*mut u8>,
    /// From which descriptor to which; no source is at or below the highest target.
    pub descriptors: Vec<(RawFd, RawFd)>,
    /// With the umask that was asked for, if one was.
    pub birth: Birth,
    pub nice: Option<i32>,
    pub cpus: Option<CpuMask>,
    pub limits: Vec<ResourceLimit>,
    /// None when it is the master's.
    pub identity: Option<Identity>,
    pub parent_death: Option<c_int>,
    pub master_pid: pid_t,
}

impl PreparedExec {
    /// EINVAL for a NUL byte anywhere, and for a variable whose name is empty or has a `=`.
    pub(super) fn lay_out(request: &SpawnRequest<'_>) -> Result<Self, Errno> {
        let (envp, pid_slot) = lay_out_env(request.env, request.own_pid_variable)?;
        Ok(Self {
            path: c_string(request.path.as_os_str())?,
            file: request.file.map(|file| file.as_raw_fd()),
            directory: request.directory.map(Path::as_os_str).map(c_string).transpose()?,
            argv: StringArray::of_words(request.argv)?,
            envp,
            pid_slot,
            descriptors: request.descriptors.iter().map(|(source, target)| (source.as_raw_fd(), *target)).collect(),
            birth: Birth { umask: request.umask.unwrap_or(request.birth.umask), ..*request.birth },
            nice: request.nice,
            cpus: request.cpus.map(CpuMask::of),
            limits: request.limits.to_vec(),
            identity: request.identity.filter(|identity| !identity.is_own()).cloned(),
            parent_death: request.parent_death.map(|signal| signal.number()),
            master_pid: nix::unistd::getpid().as_raw(),
        })
    }
}

/// Strings, and the null-terminated array of pointers to them that execve(2) takes.
pub(super) struct StringArray {
    pointers: Vec<*const c_char>,
    /// Owns what the pointers lead to.
    _strings: Vec<Vec<u8>>,
}

impl StringArray {
    /// An argument vector. EINVAL for a NUL byte.
    pub(super) fn of_words(words: &[OsString]) -> Result<Self, Errno> {
        words.iter().map(|word| Ok(c_string(word)?.into_bytes_with_nul())).collect::<Result<_, _>>().map(Self::new)
    }

    /// An environment. EINVAL for a NUL byte, and for a variable whose name is empty or has a `=`.
    pub(super) fn of_variables(env: &[(OsString, OsString)]) -> Result<Self, Errno> {
        Ok(Self::new(assignments(env)?))
    }

    /// Each string must have its final NUL.
    fn new(strings: Vec<Vec<u8>>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr().cast()).chain([ptr::null()]).collect();
        Self { pointers, _strings: strings }
    }

    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

fn lay_out_env(
    env: &[(OsString, OsString)],
    own_pid_variable: Option<&OsStr>,
) -> Result<(StringArray, Option<*mut u8>), Errno> {
    let mut strings = assignments(env)?;
    let Some(name) = own_pid_variable else {
        return Ok((StringArray::new(strings), None));
    };
    let mut slot = assignment(name, OsStr::new(""))?.into_bytes();
    let digits_at = slot.len();
    slot.resize(digits_at + PID_ROOM, 0);
    strings.push(slot);
    // The buffer of a Vec stays where it is when the Vec itself moves.
    let pid_slot = strings.last_mut().and_then(|slot| slot.get_mut(digits_at..)).map(<[u8]>::as_mut_ptr);
    Ok((StringArray::new(strings), pid_slot))
}

fn assignments(env: &[(OsString, OsString)]) -> Result<Vec<Vec<u8>>, Errno> {
    env.iter().map(|(name, value)| Ok(assignment(name, value)?.into_bytes_with_nul())).collect()
}

pub(super) fn assignment(name: &OsStr, value: &OsStr) -> Result<CString, Errno> {
    if name.is_empty() || name.as_bytes().contains(&b'=') {
        return Err(Errno::EINVAL);
    }
    c_string(&[name, OsStr::new("="), value].into_iter().collect::<OsString>())
}

pub(super) fn c_string(word: &OsStr) -> Result<CString, Errno> {
    CString::new(word.as_bytes()).map_err(|_| Errno::EINVAL)
}
