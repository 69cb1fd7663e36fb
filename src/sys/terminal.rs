//! The terminal at standard input, and which process group has it: tcgetpgrp(3) and tcsetpgrp(3). The master blocks SIGTTOU, so that it may
//! give the terminal away from the background, too.

use nix::errno::Errno;

use crate::base::Pid;
use crate::sys::errno::retry;

/// The group in the foreground.
///
/// # Errors
/// Standard input is no terminal, or not that of this session.
pub fn foreground() -> Result<Pid, Errno> {
    // SAFETY: no memory is passed.
    retry(|| Errno::result(unsafe { libc::tcgetpgrp(libc::STDIN_FILENO) })).map(Pid)
}

/// Puts this group in the foreground.
///
/// # Errors
/// As above, or there is no such group in this session.
pub fn give_to(group: Pid) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    retry(|| Errno::result(unsafe { libc::tcsetpgrp(libc::STDIN_FILENO, group.0) })).map(drop)
}
