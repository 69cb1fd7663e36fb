//! The holder: a process beside the master that holds its listening sockets, where the kernel would not let a next master take them from
//! the workers. It does nothing while the master lives. When that is gone, it gives them to each next master that asks for them
//! (`sys::meeting_point`): one that comes to supervise kills it. Or it ends once no worker has them any more.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use nix::unistd::{getpid, getppid};

use crate::base::{Pid, exit_code};
use crate::sys::process_watch::ProcessWatch;
use crate::sys::unix_client::wait_readable;
use crate::sys::{clock, fd, meeting_point, port_use, procfs, title};

/// Where it finds the first of the sockets; the others follow.
pub(crate) const FIRST_FD: i32 = 3;

/// Its name in ps(1) and pgrep(1), which shall not be the master's.
const NAME: &str = "einhyr-holder";

/// How often it looks whether a worker is left.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The whole life of a holder.
pub(crate) fn main() -> ExitCode {
    title::set_process_name(OsStr::new(NAME));
    let numbers = fd::open_numbers().unwrap_or_default().into_iter().filter(|number| *number >= FIRST_FD);
    let sockets: Vec<OwnedFd> = numbers.filter_map(|number| fd::adopt(number).ok()).collect();
    match hold(&sockets) {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::from(exit_code::CANNOT_START),
    }
}

/// None: it is of no use.
fn hold(sockets: &[OwnedFd]) -> Option<()> {
    let (own, master) = (Pid(getpid().as_raw()), Pid(getppid().as_raw()));
    let point = meeting_point::open(own, procfs::began(own)?).ok()?;
    let watch = ProcessWatch::of(master).ok()?;
    while Pid(getppid().as_raw()) == master {
        wait_readable(&[watch.as_fd()], None).ok()?;
    }
    let inodes: Vec<u64> = sockets.iter().filter_map(|socket| fd::inode(socket.as_fd()).ok()).collect();
    loop {
        let until = clock::now().after(LOOK_EVERY);
        let asked = wait_readable(&[point.as_fd()], Some(until)).ok()?;
        if asked.is_some() {
            meeting_point::give(point.as_fd(), sockets);
        }
        if port_use::holders(&inodes).iter().all(|pid| *pid == own) {
            return Some(());
        }
    }
}
