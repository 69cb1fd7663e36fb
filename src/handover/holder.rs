//! The holder: a process beside the master that holds its listening sockets, where the kernel would not let a next master take them from
//! the workers. It does nothing while the master lives. When that is gone, it gives them to each next master that asks for them
//! (`sys::meeting_point`): one that comes to supervise kills it. Or it ends once no worker has them any more.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use nix::unistd::getpid;

use crate::base::{Pid, exit_code};
use crate::handover::process::Process;
use crate::sys::process_watch::ProcessWatch;
use crate::sys::unix_client::wait_readable;
use crate::sys::{clock, fd, meeting_point, port_use, procfs, title, wakeup};

/// Where it finds the first of the sockets; the others follow.
pub(crate) const FIRST_FD: i32 = 3;

/// Its name in ps(1) and pgrep(1), which shall not be the master's.
const NAME: &str = "einhyr-holder";

/// How often it looks whether a worker is left.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The whole life of a holder. Behind its flag stand the pid of the master, and when that began.
pub(crate) fn main() -> ExitCode {
    title::set_process_name(OsStr::new(NAME));
    let mut words = std::env::args().skip(2);
    let master = (words.next().and_then(|word| word.parse().ok()), words.next().and_then(|word| word.parse().ok()));
    let (Some(pid), Some(began)) = master else { return ExitCode::from(exit_code::CANNOT_START) };
    let numbers = fd::open_numbers().unwrap_or_default().into_iter().filter(|number| *number >= FIRST_FD);
    let sockets: Vec<OwnedFd> = numbers.filter_map(|number| fd::adopt(number).ok()).collect();
    match hold(&Process { pid: Pid(pid), began }, &sockets) {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::from(exit_code::CANNOT_START),
    }
}

/// None: it is of no use.
fn hold(master: &Process, sockets: &[OwnedFd]) -> Option<()> {
    let own = Pid(getpid().as_raw());
    let point = meeting_point::open(own, procfs::began(own)?).ok()?;
    let watch = ProcessWatch::of(master.pid).ok();
    // Looked at after it was opened: it is of the process that has its number now.
    while procfs::began(master.pid) == Some(master.began) && procfs::is_living(master.pid) {
        let waited = watch.as_ref().map(|watch| wait_readable(&[watch.as_fd()], None));
        if !matches!(waited, Some(Ok(_))) {
            wakeup::rest(LOOK_EVERY);
        }
    }
    let inodes: Vec<u64> = sockets.iter().filter_map(|socket| fd::inode(socket.as_fd()).ok()).collect();
    loop {
        let until = clock::now().after(LOOK_EVERY);
        match wait_readable(&[point.as_fd()], Some(until)) {
            Ok(Some(_)) => meeting_point::give(point.as_fd(), sockets),
            Ok(None) => {}
            Err(_) => wakeup::rest(LOOK_EVERY),
        }
        if port_use::holders(&inodes).iter().all(|pid| *pid == own) {
            return Some(());
        }
    }
}
