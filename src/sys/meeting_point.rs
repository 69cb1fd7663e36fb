//! Where one process gives descriptors to another of the same user that it does not know yet: a unix socket with an abstract name, which no
//! file system has to hold. Each side asks the kernel whom it meets.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, connect, listen, socket};
use nix::unistd::geteuid;

use crate::base::Pid;
use crate::sys::accept::accept;
use crate::sys::errno::retry;
use crate::sys::fd_passing::{RECORD_BYTES, Received, pass, receive};
use crate::sys::peer;
use crate::sys::socket::bind_to;
use crate::sys::unix_client::wait_readable;
use crate::sys::{capability, clock, held_socket};

/// How long the taker waits for what it is given.
const PATIENCE: Duration = Duration::from_secs(2);

/// Other users may come, and get nothing.
const BACKLOG: i32 = 128;

/// For the pid and the beginning of the process that gives.
fn address(pid: Pid, began: u64) -> Result<UnixAddr, Errno> {
    UnixAddr::new_abstract(format!("einhyrningsins-holder-{pid}-{began}").as_bytes())
}

/// # Errors
/// What socket(2), bind(2) and listen(2) say.
pub fn open(own_pid: Pid, began: u64) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let point = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind_to(&point, &address(own_pid, began)?)?;
    listen(&point, Backlog::new(BACKLOG)?)?;
    Ok(point)
}

/// Gives a copy of each descriptor to the next that comes, if one of our user waits. What there is no room for, it does not get.
pub fn give(point: BorrowedFd<'_>, given: &[OwnedFd]) {
    let Ok(Some(taker)) = accept(point) else { return };
    if peer::credentials(taker.as_fd()).map(|it| it.uid) == Ok(geteuid().as_raw()) {
        let _number = given.iter().take_while(|fd| pass(taker.as_fd(), &[0; RECORD_BYTES], fd.as_fd()).is_ok()).count();
    }
}

/// What this process gives. Nothing, where it is another user's or is not there.
pub fn take(pid: Pid, began: u64) -> Vec<OwnedFd> {
    let Ok(connection) = meet(pid, began) else { return Vec::new() };
    let (mut taken, until) = (Vec::new(), clock::now().after(PATIENCE));
    loop {
        match receive(connection.as_fd()) {
            Received::Passed(_, fd) => taken.push(fd),
            Received::Nothing => match wait_readable(&[connection.as_fd()], Some(until)) {
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return taken,
            },
            Received::End | Received::Failed | Received::Lost => return taken,
        }
    }
}

fn meet(pid: Pid, began: u64) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let connection = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let address = address(pid, began)?;
    retry(|| connect(connection.as_raw_fd(), &address))?;
    let met = peer::credentials(connection.as_fd())?;
    if met.pid == pid && met.uid == geteuid().as_raw() { Ok(connection) } else { Err(Errno::EPERM) }
}

/// Whether a next master of ours could not take descriptors from the workers without help: pidfd_getfd(2), which an old kernel lacks and a
/// filter of system calls may refuse, takes the right to trace them. A user's processes may be closed to the user: by Yama, or where the
/// user may not read their program.
pub fn is_needed() -> bool {
    capability::lacks(capability::PTRACE) || !held_socket::can_take()
}
