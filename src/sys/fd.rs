//! Descriptors: which are open at the start, which survive an exec, and where they stand. Never closes one that it does
//! not own.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::sys::directory;
use crate::sys::errno::{errno_of, insist, retry};

/// Whether a call on a descriptor may wait. The flag belongs to the open file description, so that all that share a
/// socket share it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    Blocking,
    NonBlocking,
}

/// Whether what this is open on lies on a read-only mount, or in a file system that is. No, where the system does not say.
pub fn is_read_only(fd: &impl AsFd) -> bool {
    retry(|| fstatvfs(fd)).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY))
}

/// Opens /dev/null on each of the descriptors 0, 1 and 2 that the starter left closed, so that no socket can take its
/// number and have log lines written into it. To be called first in main.
///
/// # Errors
/// /dev/null cannot be opened.
pub fn fill_stdio_holes() -> io::Result<()> {
    for standard in 0..=2 {
        if is_open(standard) {
            continue;
        }
        // The lowest free number is given out, and every lower one is open by now.
        let opened = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        if opened.as_raw_fd() != standard {
            // It was open all the same.
            continue;
        }
        keep_over_exec(opened.as_fd())?;
        let _stays_open = opened.into_raw_fd();
    }
    Ok(())
}

/// Marks every descriptor from 3 up close-on-exec but for `keep`, so that what the starter left open never reaches a
/// worker.
///
/// # Errors
/// Neither close_range(2) nor fcntl(2) can do it for one of them; all the others are marked then.
pub fn set_cloexec_on_inherited(keep: &[RawFd]) -> Result<(), Errno> {
    cloexec_between(keep).or_else(|_| cloexec_each(keep))
}

/// The number by which /proc names what is open there.
///
/// # Errors
/// As fstat(2).
pub fn inode(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    nix::sys::stat::fstat(fd).map(|status| status.st_ino)
}

/// The same descriptor at number `min` or above, close-on-exec; the one it was is closed.
///
/// # Errors
/// EMFILE: no such number is free.
pub fn lift(fd: OwnedFd, min: RawFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= min {
        return Ok(fd);
    }
    Ok(duplicate_above(fd.as_fd(), min)?)
}

/// Another descriptor of the same, at number `min` or above, close-on-exec.
///
/// # Errors
/// EMFILE: no such number is free.
pub fn duplicate_above(fd: BorrowedFd<'_>, min: RawFd) -> Result<OwnedFd, Errno> {
    let duplicate = retry(|| fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(min)))?;
    // SAFETY: fcntl has just made this descriptor, and nothing else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(duplicate) })
}

/// Takes over a descriptor that came over an exec and is known by its number alone. It stays as it is, so that no error can lose
/// it: [`set_cloexec_on_inherited`] has all of them close on the next exec. The caller sees to it that nothing else owns that
/// number, and adopts none twice.
///
/// # Errors
/// EBADF if it is not open, or one of the standard three, which belong to the whole process.
pub fn adopt(number: RawFd) -> Result<OwnedFd, Errno> {
    if number <= libc::STDERR_FILENO || !is_open(number) {
        return Err(Errno::EBADF);
    }
    // SAFETY: it is open, and the caller says that nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Lends what is open at this number, which stays as it is. It needs no second descriptor, of which there may be none to be had.
/// The caller sees to it that nothing closes the number meanwhile.
///
/// # Errors
/// EBADF if nothing is open there.
pub fn look_at<T>(number: RawFd, look: impl FnOnce(BorrowedFd<'_>) -> T) -> Result<T, Errno> {
    if number < 0 || !is_open(number) {
        return Err(Errno::EBADF);
    }
    // SAFETY: it is open, and stays so for this call, as the caller says.
    Ok(look(unsafe { BorrowedFd::borrow_raw(number) }))
}

/// The numbers from 3 up that are open. None if /proc cannot be read.
pub fn open_numbers() -> Option<Vec<RawFd>> {
    let mut numbers = insist(|| directory::numbers("/proc/self/fd")).ok()?;
    // The directory's own is among them, and closed by now.
    numbers.retain(|number| *number > libc::STDERR_FILENO && is_open(*number));
    Some(numbers)
}

/// Closes numbers that came over an exec and that were not adopted. The caller sees to it that nothing owns them.
pub fn close_strays(numbers: &[RawFd]) {
    for number in numbers.iter().filter(|number| **number > libc::STDERR_FILENO) {
        // SAFETY: nothing owns it, as the caller says; one that is not open is an error without consequence.
        unsafe { libc::close(*number) };
    }
}

/// Lets the descriptor through the next exec: the exception, for what is handed on.
///
/// # Errors
/// A sandbox forbids the call.
pub fn keep_over_exec(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    retry(|| fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))).map(drop)
}

/// Takes [`keep_over_exec`] back.
///
/// # Errors
/// As [`keep_over_exec`].
pub fn close_on_exec(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    retry(|| fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))).map(drop)
}

/// Whether the next exec will close it.
pub(super) fn closes_on_exec(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let flags = retry(|| fcntl(fd, FcntlArg::F_GETFD))?;
    Ok(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC))
}

/// Sets or clears O_NONBLOCK, and leaves the other flags alone.
///
/// # Errors
/// As [`keep_over_exec`].
pub fn set_blocking(fd: BorrowedFd<'_>, blocking: Blocking) -> Result<(), Errno> {
    let mut flags = OFlag::from_bits_retain(retry(|| fcntl(fd, FcntlArg::F_GETFL))?);
    match blocking {
        Blocking::Blocking => flags.remove(OFlag::O_NONBLOCK),
        Blocking::NonBlocking => flags.insert(OFlag::O_NONBLOCK),
    }
    retry(|| fcntl(fd, FcntlArg::F_SETFL(flags))).map(drop)
}

/// fchmodat2(2), since Linux 6.6. Unlike fchmod(2), it takes a descriptor of O_PATH too.
///
/// # Errors
/// ENOSYS before Linux 6.6; EPERM for a file of another user, or in a sandbox that does not know the call.
pub fn fchmod_any(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    let call = || {
        // SAFETY: an open descriptor, and a string that lives on; the call writes to no memory.
        unsafe { libc::syscall(libc::SYS_fchmodat2, fd.as_raw_fd(), c"".as_ptr(), mode, libc::AT_EMPTY_PATH) }
    };
    retry(|| Errno::result(call())).map(drop)
}

/// Marks `first..=last` close-on-exec with one call; async-signal-safe. ENOSYS before Linux 5.9, EINVAL before 5.11.
pub(super) fn cloexec_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: only flags are changed, no descriptor is closed, and no memory is passed.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(result).map(drop)
}

/// The ranges between the kept descriptors.
fn cloexec_between(keep: &[RawFd]) -> Result<(), Errno> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|&fd| u32::try_from(fd).ok()).filter(|&fd| fd >= 3).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        if fd > first {
            cloexec_range(first, fd - 1)?;
        }
        first = fd.saturating_add(1);
    }
    cloexec_range(first, u32::MAX)
}

/// One by one, for kernels and sandboxes without close_range: what /proc lists, else every number that may be open.
fn cloexec_each(keep: &[RawFd]) -> Result<(), Errno> {
    let candidates = directory::numbers("/proc/self/fd").unwrap_or_else(|_| (3..number_limit()).collect());
    let wanted = candidates.into_iter().filter(|fd| *fd >= 3 && !keep.contains(fd));
    wanted.map(cloexec_number).fold(Ok(()), Result::and)
}

/// A number that is not open is passed over.
fn cloexec_number(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: only a flag is changed, and no memory is passed.
    match Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }) {
        Ok(_) | Err(Errno::EBADF) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// One above the highest number that open(2) gives out now. Higher ones, opened under a higher limit, are not looked for.
fn number_limit() -> RawFd {
    let soft =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    RawFd::try_from(soft).unwrap_or(RawFd::MAX)
}

/// Whether anything is open at this number. EBADF alone says that nothing is; another error says nothing.
pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD only asks, and takes no pointer.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_GETFD) }) != Err(Errno::EBADF)
}

/// Closes what this descriptor leads to. The number stays taken: it leads to /dev/null.
///
/// # Errors
/// EMFILE: no descriptor is to be had, which it takes for a moment.
pub fn leave(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let null = File::open("/dev/null").map_err(|error| errno_of(&error))?;
    // SAFETY: both are open, the one by its owner here, the other by that of the borrow, which goes on to own the number.
    retry(|| Errno::result(unsafe { libc::dup3(null.as_raw_fd(), fd.as_raw_fd(), libc::O_CLOEXEC) })).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::sys::testing::in_own_process;

    fn closes_on_exec(fd: BorrowedFd<'_>) -> bool {
        super::closes_on_exec(fd).unwrap()
    }

    fn inherited() -> OwnedFd {
        let file = OwnedFd::from(File::open("/dev/null").unwrap());
        keep_over_exec(file.as_fd()).unwrap();
        file
    }

    #[test]
    fn lifted_descriptors_stand_above_the_minimum_and_close_on_exec() {
        let lifted = lift(File::open("/dev/null").unwrap().into(), 200).unwrap();
        assert!(lifted.as_raw_fd() >= 200);
        assert!(closes_on_exec(lifted.as_fd()));
        let number = lifted.as_raw_fd();
        assert_eq!(lift(lifted, 100).unwrap().as_raw_fd(), number);
    }

    #[test]
    fn an_adopted_number_is_open_and_stays_as_it_is() {
        let number = lift(inherited(), 300).unwrap().into_raw_fd();
        // SAFETY: the number is open, and has no owner.
        keep_over_exec(unsafe { BorrowedFd::borrow_raw(number) }).unwrap();
        let adopted = adopt(number).unwrap();
        assert_eq!((adopted.as_raw_fd(), closes_on_exec(adopted.as_fd())), (number, false));
        for unowned in [-1, 0, 1, 2, 100_000] {
            assert_eq!(adopt(unowned).unwrap_err(), Errno::EBADF, "{unowned}");
        }
    }

    #[test]
    fn strays_are_found_by_their_numbers_and_closed() {
        in_own_process(module_path!(), "strays_are_found_by_their_numbers_and_closed", || {
            let before = open_numbers().unwrap();
            let (stray, owned) = (inherited().into_raw_fd(), inherited());
            let mut now = open_numbers().unwrap();
            now.retain(|number| !before.contains(number));
            now.sort_unstable();
            let mut expected = [stray, owned.as_raw_fd()];
            expected.sort_unstable();
            assert_eq!(now, expected);
            close_strays(&[-1, 0, 1, 2, stray]);
            assert_eq!([0, 1, 2, stray, owned.as_raw_fd()].map(is_open), [true, true, true, false, true]);
            for closed in [stray, -1] {
                assert_eq!(look_at(closed, |_| ()), Err(Errno::EBADF));
            }
            assert_eq!(look_at(owned.as_raw_fd(), |fd| fd.as_raw_fd()), Ok(owned.as_raw_fd()));
        });
    }

    #[test]
    fn the_blocking_flag_goes_both_ways() {
        let (reader, _writer) = nix::unistd::pipe().unwrap();
        let flags = || OFlag::from_bits_retain(fcntl(&reader, FcntlArg::F_GETFL).unwrap());
        set_blocking(reader.as_fd(), Blocking::NonBlocking).unwrap();
        assert!(flags().contains(OFlag::O_NONBLOCK));
        set_blocking(reader.as_fd(), Blocking::Blocking).unwrap();
        assert!(!flags().contains(OFlag::O_NONBLOCK));
    }

    #[test]
    fn inherited_descriptors_close_on_exec_but_for_the_kept_ones() {
        in_own_process(module_path!(), "inherited_descriptors_close_on_exec_but_for_the_kept_ones", || {
            for mark in [set_cloexec_on_inherited, cloexec_each, cloexec_between] {
                let (stray, kept, other) = (inherited(), inherited(), inherited());
                mark(&[1, kept.as_raw_fd(), 5000]).unwrap();
                assert!(closes_on_exec(stray.as_fd()));
                assert!(!closes_on_exec(kept.as_fd()));
                assert!(closes_on_exec(other.as_fd()));
                assert!(!closes_on_exec(io::stdout().as_fd()));
            }
        });
    }

    #[test]
    fn holes_among_the_standard_descriptors_are_filled() {
        in_own_process(module_path!(), "holes_among_the_standard_descriptors_are_filled", || {
            for hole in [0, 2] {
                nix::unistd::close(hole).unwrap();
            }
            fill_stdio_holes().unwrap();
            for hole in [0, 2] {
                assert_eq!(fs::read_link(format!("/proc/self/fd/{hole}")).unwrap().to_str(), Some("/dev/null"));
            }
            assert!(!closes_on_exec(io::stdin().as_fd()));
        });
    }
}
