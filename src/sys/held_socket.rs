//! A listening socket that we have closed and other processes hold still: taken back from one of them, so that it can be shut down.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::getpid;

use crate::base::Pid;
use crate::sys::errno::retry;
use crate::sys::process_watch::ProcessWatch;
use crate::sys::socket::socket_pair;
use crate::sys::{fd, port_use, procfs};

/// Where the kernel lists sockets with their inodes.
const LISTS: [&str; 3] = ["/proc/net/tcp", "/proc/net/tcp6", "/proc/net/unix"];

/// A descriptor of the listening socket with this inode. None: no process holds it, or it was shut down.
///
/// # Errors
/// The holders, of which none gives it: it takes the right to trace them, and Linux 5.6. None at all, if /proc does not show them.
pub fn take_back(inode: u64) -> Result<Option<OwnedFd>, Vec<Pid>> {
    if !is_listed(inode) {
        return Ok(None);
    }
    let holders = port_use::holders(&[inode]);
    match holders.iter().find_map(|pid| take_from(*pid, inode)) {
        Some(socket) => Ok(Some(socket)),
        None => Err(holders),
    }
}

fn is_listed(inode: u64) -> bool {
    let inode = inode.to_string();
    let lists = LISTS.iter().filter_map(|list| fs::read(list).ok());
    lists.into_iter().any(|list| list.split(|byte| byte.is_ascii_whitespace()).any(|word| word == inode.as_bytes()))
}

/// Whether this kernel and its filters let a process of ours do it at all.
pub fn can_take() -> bool {
    let Ok((probe, _other)) = socket_pair() else { return true };
    fd::inode(probe.as_fd()).is_ok_and(|inode| take_from(Pid(getpid().as_raw()), inode).is_some())
}

/// The same from this process. None, too, where the kernel does not let us.
pub fn take_from(pid: Pid, inode: u64) -> Option<OwnedFd> {
    let process = ProcessWatch::of(pid).ok()?;
    let there = procfs::socket_descriptor(pid, &[inode])?;
    let taken = retry(|| {
        // SAFETY: a descriptor of ours, which the kernel only looks at, and no memory.
        let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_fd().as_raw_fd(), there, 0) };
        Errno::result(taken)
    });
    let taken = RawFd::try_from(taken.ok()?).ok()?;
    // SAFETY: the kernel has just made it for us, and it closes on exec.
    let taken = unsafe { OwnedFd::from_raw_fd(taken) };
    // The process may have put another in its place.
    (fd::inode(taken.as_fd()) == Ok(inode)).then_some(taken)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::sys::testing::in_own_process;

    #[test]
    fn a_socket_is_taken_back_from_the_process_that_holds_it_until_it_is_shut_down() {
        let name = "a_socket_is_taken_back_from_the_process_that_holds_it_until_it_is_shut_down";
        in_own_process(module_path!(), name, || {
            let directory = tempfile::tempdir().unwrap();
            let tcp: OwnedFd = TcpListener::bind("127.0.0.1:0").unwrap().into();
            let unix: OwnedFd = UnixListener::bind(directory.path().join("socket")).unwrap().into();
            let inodes = [&tcp, &unix].map(|socket| fd::inode(socket.as_fd()).unwrap());
            for socket in [&tcp, &unix] {
                nix::fcntl::fcntl(socket, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
            }
            let mut holder = std::process::Command::new("sleep").arg("600").spawn().unwrap();
            drop((tcp, unix));
            for inode in inodes {
                let taken = take_back(inode).unwrap().expect("it is held");
                assert_eq!(fd::inode(taken.as_fd()), Ok(inode));
            }
            let taken = TcpListener::from(take_back(inodes[0]).unwrap().unwrap());
            nix::sys::socket::shutdown(taken.as_raw_fd(), nix::sys::socket::Shutdown::Both).unwrap();
            drop(taken);
            assert!(take_back(inodes[0]).unwrap().is_none());
            holder.kill().unwrap();
            holder.wait().unwrap();
            assert!(take_back(inodes[1]).unwrap().is_none());
        });
    }
}
