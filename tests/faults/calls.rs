//! The system calls that a fault can be put into, each with the errors that its manual page names and that can come at any time:
//! for want of memory, descriptors or room, by a signal, or by a security module's refusal. It must never name an error that
//! only a mistake of the caller's brings (`EBADF`, `ECHILD`, `EINVAL`, `ESRCH`), for that would be a test of the kernel.

use libc::c_long;
use nix::errno::Errno;
use nix::errno::Errno::{
    E2BIG, EACCES, EADDRINUSE, EAGAIN, EBUSY, ECONNABORTED, ECONNREFUSED, ECONNRESET, EINTR, EIO, EMFILE, ENFILE,
    ENOBUFS, ENOENT, ENOLCK, ENOMEM, ENOSPC, ENOSYS, EPERM, EPIPE, EROFS, ETXTBSY,
};

/// How a call is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// The kernel does nothing, and the caller sees the error.
    Instead,
    /// The kernel does it, and the caller sees the error nevertheless: a descriptor is closed even if close(2) says `EIO`.
    Besides,
    /// brk(2) knows no error: it moves nothing, and says where the end is. So does the call with this argument.
    MovesNothing,
    /// Only when the caller would wait: a wake-up cannot fail.
    Waits,
}

/// A system call and its errors.
pub struct Call {
    pub name: &'static str,
    pub number: c_long,
    pub manner: Manner,
    pub errors: &'static [Errno],
}

const fn call(name: &'static str, number: c_long, errors: &'static [Errno]) -> Call {
    Call { name, number, manner: Manner::Instead, errors }
}

const DESCRIPTORS: &[Errno] = &[EMFILE, ENFILE, ENOMEM];

/// Those that can fail.
pub const CALLS: &[Call] = &[
    // Descriptors.
    call("openat", libc::SYS_openat, &[EMFILE, ENFILE, ENOMEM, EACCES, EINTR]),
    call("pipe2", libc::SYS_pipe2, DESCRIPTORS),
    call("eventfd2", libc::SYS_eventfd2, DESCRIPTORS),
    call("memfd_create", libc::SYS_memfd_create, &[EMFILE, ENFILE, ENOMEM, EPERM]),
    call("inotify_init1", libc::SYS_inotify_init1, DESCRIPTORS),
    call("inotify_add_watch", libc::SYS_inotify_add_watch, &[ENOSPC, ENOMEM, ENOENT]),
    call("fcntl", libc::SYS_fcntl, &[EMFILE, ENOMEM, EPERM]),
    call("dup", libc::SYS_dup, &[EMFILE, EINTR]),
    call("dup2", libc::SYS_dup2, &[EMFILE, EBUSY, EINTR]),
    call("dup3", libc::SYS_dup3, &[EMFILE, EBUSY, EINTR]),
    Call { name: "close", number: libc::SYS_close, manner: Manner::Besides, errors: &[EIO, EINTR, ENOSPC] },
    call("close_range", libc::SYS_close_range, &[EMFILE, ENOMEM, ENOSYS]),
    call("ioctl", libc::SYS_ioctl, &[EIO, EPERM]),
    // Sockets.
    call("socket", libc::SYS_socket, &[EMFILE, ENFILE, ENOMEM, ENOBUFS, EACCES]),
    call("socketpair", libc::SYS_socketpair, &[EMFILE, ENFILE, ENOMEM, ENOBUFS]),
    call("bind", libc::SYS_bind, &[EADDRINUSE, EACCES, ENOMEM, ENOSPC]),
    call("listen", libc::SYS_listen, &[EADDRINUSE, ENOBUFS, EACCES]),
    call("accept4", libc::SYS_accept4, &[EMFILE, ENFILE, ENOMEM, ENOBUFS, ECONNABORTED, EPERM, EINTR, EAGAIN]),
    call("connect", libc::SYS_connect, &[ECONNREFUSED, EACCES, EAGAIN, ENOMEM, EINTR]),
    call("setsockopt", libc::SYS_setsockopt, &[ENOMEM, ENOBUFS, EPERM]),
    call("getsockopt", libc::SYS_getsockopt, &[ENOMEM, ENOBUFS, EPERM]),
    call("getsockname", libc::SYS_getsockname, &[ENOBUFS, EPERM]),
    call("getpeername", libc::SYS_getpeername, &[ENOBUFS, EPERM]),
    call("shutdown", libc::SYS_shutdown, &[ENOBUFS, EPERM]),
    call("sendto", libc::SYS_sendto, &[EPIPE, ENOBUFS, ENOMEM, ECONNRESET, EINTR, EAGAIN]),
    call("sendmsg", libc::SYS_sendmsg, &[EPIPE, ENOBUFS, ENOMEM, ECONNRESET, EINTR, EAGAIN]),
    call("recvfrom", libc::SYS_recvfrom, &[ENOMEM, ECONNRESET, EINTR, EAGAIN]),
    call("recvmsg", libc::SYS_recvmsg, &[ENOMEM, ECONNRESET, EINTR, EAGAIN]),
    // Reading, writing, waiting.
    call("read", libc::SYS_read, &[EIO, EINTR, EAGAIN, ENOMEM]),
    call("pread64", libc::SYS_pread64, &[EIO, EINTR, ENOMEM]),
    call("readv", libc::SYS_readv, &[EIO, EINTR, ENOMEM]),
    call("write", libc::SYS_write, &[EIO, ENOSPC, EPIPE, EINTR, EAGAIN]),
    call("pwrite64", libc::SYS_pwrite64, &[EIO, ENOSPC, EINTR]),
    call("writev", libc::SYS_writev, &[EIO, ENOSPC, EPIPE, EINTR, EAGAIN]),
    call("lseek", libc::SYS_lseek, &[EIO]),
    call("poll", libc::SYS_poll, &[ENOMEM, EINTR]),
    call("ppoll", libc::SYS_ppoll, &[ENOMEM, EINTR]),
    call("rt_sigtimedwait", libc::SYS_rt_sigtimedwait, &[EINTR, EAGAIN]),
    call("clock_nanosleep", libc::SYS_clock_nanosleep, &[EINTR]),
    call("nanosleep", libc::SYS_nanosleep, &[EINTR]),
    Call { name: "futex", number: libc::SYS_futex, manner: Manner::Waits, errors: &[EINTR, EAGAIN] },
    // Files.
    call("flock", libc::SYS_flock, &[EINTR, ENOLCK, EAGAIN]),
    call("ftruncate", libc::SYS_ftruncate, &[EIO, ENOSPC, EINTR]),
    call("fsync", libc::SYS_fsync, &[EIO, ENOSPC]),
    call("chmod", libc::SYS_chmod, &[EPERM, EIO, EROFS]),
    call("fchmod", libc::SYS_fchmod, &[EPERM, EIO, EROFS]),
    call("fchmodat", libc::SYS_fchmodat, &[EPERM, EIO, EROFS]),
    call("fchmodat2", libc::SYS_fchmodat2, &[EPERM, EIO, ENOSYS]),
    call("chown", libc::SYS_chown, &[EPERM, EIO, EROFS]),
    call("lchown", libc::SYS_lchown, &[EPERM, EIO, EROFS]),
    call("fchown", libc::SYS_fchown, &[EPERM, EIO, EROFS]),
    call("fchownat", libc::SYS_fchownat, &[EPERM, EIO, EROFS]),
    call("unlink", libc::SYS_unlink, &[EACCES, EIO, EROFS]),
    call("unlinkat", libc::SYS_unlinkat, &[EACCES, EIO, EROFS]),
    call("rename", libc::SYS_rename, &[EACCES, ENOSPC, EROFS]),
    call("renameat", libc::SYS_renameat, &[EACCES, ENOSPC, EROFS]),
    call("renameat2", libc::SYS_renameat2, &[EACCES, ENOSPC, EROFS, ENOSYS]),
    call("link", libc::SYS_link, &[EACCES, ENOSPC, EPERM]),
    call("linkat", libc::SYS_linkat, &[EACCES, ENOSPC, EPERM]),
    call("mkdir", libc::SYS_mkdir, &[EACCES, ENOSPC, EROFS]),
    call("mkdirat", libc::SYS_mkdirat, &[EACCES, ENOSPC, EROFS]),
    call("rmdir", libc::SYS_rmdir, &[EACCES, EBUSY, EROFS]),
    call("statx", libc::SYS_statx, &[EACCES, ENOMEM, EIO]),
    call("newfstatat", libc::SYS_newfstatat, &[EACCES, ENOMEM, EIO]),
    call("fstat", libc::SYS_fstat, &[ENOMEM, EIO]),
    call("statfs", libc::SYS_statfs, &[EACCES, ENOMEM, EIO]),
    call("fstatfs", libc::SYS_fstatfs, &[ENOMEM, EIO]),
    call("access", libc::SYS_access, &[EACCES, ENOMEM, EIO]),
    call("faccessat2", libc::SYS_faccessat2, &[EACCES, ENOMEM, EIO]),
    call("readlink", libc::SYS_readlink, &[EACCES, ENOMEM, EIO]),
    call("readlinkat", libc::SYS_readlinkat, &[EACCES, ENOMEM, EIO]),
    call("getdents64", libc::SYS_getdents64, &[EIO, ENOMEM]),
    call("getcwd", libc::SYS_getcwd, &[ENOENT, ENOMEM]),
    call("chdir", libc::SYS_chdir, &[EACCES, ENOENT, ENOMEM]),
    call("fchdir", libc::SYS_fchdir, &[EACCES, ENOMEM]),
    // Memory.
    call("mmap", libc::SYS_mmap, &[ENOMEM]),
    call("mprotect", libc::SYS_mprotect, &[ENOMEM]),
    call("munmap", libc::SYS_munmap, &[ENOMEM]),
    call("mremap", libc::SYS_mremap, &[ENOMEM]),
    call("madvise", libc::SYS_madvise, &[ENOMEM, EAGAIN]),
    Call { name: "brk", number: libc::SYS_brk, manner: Manner::MovesNothing, errors: &[ENOMEM] },
    // Processes.
    call("clone", libc::SYS_clone, &[EAGAIN, ENOMEM, EPERM]),
    call("clone3", libc::SYS_clone3, &[EAGAIN, ENOMEM, EPERM, ENOSYS]),
    call("fork", libc::SYS_fork, &[EAGAIN, ENOMEM]),
    call("vfork", libc::SYS_vfork, &[EAGAIN, ENOMEM]),
    call("execve", libc::SYS_execve, &[ENOMEM, EACCES, ENOENT, ETXTBSY, E2BIG, EMFILE]),
    call("execveat", libc::SYS_execveat, &[ENOMEM, EACCES, ENOENT, ETXTBSY, E2BIG, EMFILE]),
    call("waitid", libc::SYS_waitid, &[EINTR]),
    call("wait4", libc::SYS_wait4, &[EINTR]),
    call("kill", libc::SYS_kill, &[EPERM]),
    call("tgkill", libc::SYS_tgkill, &[EPERM, EAGAIN]),
    call("pidfd_open", libc::SYS_pidfd_open, DESCRIPTORS),
    call("pidfd_getfd", libc::SYS_pidfd_getfd, &[EMFILE, EPERM]),
    call("pidfd_send_signal", libc::SYS_pidfd_send_signal, &[EPERM]),
    call("setpgid", libc::SYS_setpgid, &[EPERM, EACCES]),
    call("getpgid", libc::SYS_getpgid, &[EPERM]),
    call("setsid", libc::SYS_setsid, &[EPERM]),
    call("prlimit64", libc::SYS_prlimit64, &[EPERM]),
    call("prctl", libc::SYS_prctl, &[EPERM]),
    call("setpriority", libc::SYS_setpriority, &[EPERM, EACCES]),
    call("setuid", libc::SYS_setuid, &[EPERM, EAGAIN]),
    call("setgid", libc::SYS_setgid, &[EPERM]),
    call("setresuid", libc::SYS_setresuid, &[EPERM, EAGAIN]),
    call("setresgid", libc::SYS_setresgid, &[EPERM]),
    call("setgroups", libc::SYS_setgroups, &[EPERM, ENOMEM]),
    call("getgroups", libc::SYS_getgroups, &[EPERM]),
    call("capget", libc::SYS_capget, &[EPERM]),
    call("capset", libc::SYS_capset, &[EPERM]),
    call("getrandom", libc::SYS_getrandom, &[EINTR]),
];

/// Those that cannot fail when they are called as the manual says, and those that do not return. What stands in neither list ends a
/// run: its row has to say which errors it has.
pub const INFALLIBLE: &[c_long] = &[
    libc::SYS_arch_prctl,
    libc::SYS_clock_gettime,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getpgrp,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_umask,
    libc::SYS_uname,
];

/// The call of this number, if it can fail.
pub fn of_number(number: c_long) -> Option<&'static Call> {
    CALLS.iter().find(|call| call.number == number)
}

pub fn of_name(name: &str) -> Option<&'static Call> {
    CALLS.iter().find(|call| call.name == name)
}
