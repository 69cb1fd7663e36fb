//! A system call that has stopped at its entry or at its exit, and how it is bent there. The only place that knows a processor.

use libc::c_long;
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// The call's number and its first two arguments, as far as they are ints.
#[cfg(target_arch = "x86_64")]
pub fn call(thread: Pid) -> nix::Result<(c_long, [i32; 2])> {
    let registers = ptrace::getregs(thread)?;
    Ok((registers.orig_rax as c_long, [registers.rdi as i32, registers.rsi as i32]))
}

/// At the entry: the kernel shall find no call to do.
#[cfg(target_arch = "x86_64")]
pub fn skip(thread: Pid) -> nix::Result<()> {
    let mut registers = ptrace::getregs(thread)?;
    registers.orig_rax = u64::MAX;
    ptrace::setregs(thread, registers)
}

/// At the entry: the call's first argument shall be 0. Comes back with what it was.
#[cfg(target_arch = "x86_64")]
pub fn clear_first_argument(thread: Pid) -> nix::Result<u64> {
    let mut registers = ptrace::getregs(thread)?;
    let argument = std::mem::take(&mut registers.rdi);
    ptrace::setregs(thread, registers)?;
    Ok(argument)
}

/// At the exit: puts it back, for a system call leaves its arguments where they are, and the caller relies on that.
#[cfg(target_arch = "x86_64")]
pub fn restore_first_argument(thread: Pid, argument: u64) -> nix::Result<()> {
    let mut registers = ptrace::getregs(thread)?;
    registers.rdi = argument;
    ptrace::setregs(thread, registers)
}

/// At the exit: the caller shall see this error.
#[cfg(target_arch = "x86_64")]
pub fn fail(thread: Pid, errno: Errno) -> nix::Result<()> {
    let mut registers = ptrace::getregs(thread)?;
    registers.rax = -i64::from(errno as i32) as u64;
    ptrace::setregs(thread, registers)
}

#[cfg(not(target_arch = "x86_64"))]
compile_error!("say here how a system call is skipped on this processor; `make faults` knows x86-64 alone");
