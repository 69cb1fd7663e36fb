//! Files in memory, for what one image of the master hands to the next: no full or read-only disk is in their way. Seals
//! what it writes, so that it cannot be changed on its way; reads whatever it is given. Looks at no byte, and never leaves
//! a descriptor open when it fails.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use nix::unistd::{Whence, lseek};
use thiserror::Error;

use crate::base::Mono;
use crate::sys::clock;
use crate::sys::errno::{errno_of, may_pass, retry, words};
use crate::sys::fd;
use crate::sys::unix_client::wait_readable;

/// How long reading may take: the writer of a pipe may never come to an end.
const READ_TIME_MAX: Duration = Duration::from_secs(10);

/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Why there is no sealed file, or nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MemfdError {
    #[error("cannot {verb} a file in memory: {}", words(*errno))]
    Write { verb: &'static str, errno: Errno },
    #[error("cannot read the descriptor: {}", words(*.0))]
    Read(Errno),
    /// Its writer holds it open, and is silent.
    #[error("cannot read the descriptor: its end does not come")]
    Endless,
    #[error("cannot read the descriptor: more than {max_bytes} bytes")]
    TooLong { max_bytes: usize },
}

impl MemfdError {
    /// Whether the same may succeed later.
    pub fn may_pass(self) -> bool {
        match self {
            Self::Write { errno, .. } | Self::Read(errno) => may_pass(errno),
            Self::Endless | Self::TooLong { .. } => false,
        }
    }
}

/// A file in memory that holds these bytes and can never be changed again, at its beginning. Close-on-exec. The name is for
/// readers of /proc.
///
/// # Errors
/// No descriptor or no memory is to be had, or the bytes are more than RLIMIT_FSIZE.
pub fn sealed(name: &str, bytes: &[u8]) -> Result<OwnedFd, MemfdError> {
    let mut file = create(name)?;
    file.write_all(bytes).and_then(|()| file.rewind()).map_err(unwritten)?;
    seal(file, SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL)
}

/// A file in memory that its receiver can write, up to this many bytes: what would make it longer is refused with EPERM, so
/// that no writer takes more memory than that. What was not written is NUL. Close-on-exec.
///
/// # Errors
/// No descriptor or no memory is to be had.
pub fn scratch(name: &str, bytes: usize) -> Result<OwnedFd, MemfdError> {
    let file = create(name)?;
    file.set_len(bytes as u64).map_err(unwritten)?;
    seal(file, SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK)
}

fn unwritten(error: io::Error) -> MemfdError {
    MemfdError::Write { verb: "write", errno: errno_of(&error) }
}

fn seal(file: File, seals: SealFlag) -> Result<OwnedFd, MemfdError> {
    let sealed = retry(|| fcntl(&file, FcntlArg::F_ADD_SEALS(seals)));
    sealed.map_err(|errno| MemfdError::Write { verb: "seal", errno }).map(|_| file.into())
}

/// What was written into a file of [`scratch`], without the NULs at its end.
///
/// # Errors
/// It cannot be read, or more than `max_bytes` were written.
pub fn read_scratch(file: impl AsFd, max_bytes: usize) -> Result<Vec<u8>, MemfdError> {
    let mut bytes = read_all(file, usize::MAX)?;
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if length > max_bytes {
        return Err(MemfdError::TooLong { max_bytes });
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// All that a descriptor has to give: what can be rewound from its beginning, a pipe from where it is, until its last writer
/// has closed it.
///
/// # Errors
/// It cannot be read, gives more than `max_bytes`, or does not end within ten seconds.
pub fn read_all(fd: impl AsFd, max_bytes: usize) -> Result<Vec<u8>, MemfdError> {
    read_all_until(fd.as_fd(), max_bytes, clock::now().after(READ_TIME_MAX))
}

/// The effective user and group of the process that made the file with this number.
///
/// # Errors
/// Nothing is open there.
pub fn maker(number: RawFd) -> Result<(u32, u32), Errno> {
    fd::look_at(number, |file| fstat(file))?.map(|stat| (stat.st_uid, stat.st_gid))
}

/// Not executable: some systems allow no other (vm.memfd_noexec). Before Linux 6.3 there was no way to say so.
fn create(name: &str) -> Result<File, MemfdError> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let made = match memfd_create(name, flags | MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL)) {
        Err(Errno::EINVAL) => memfd_create(name, flags),
        result => result,
    };
    made.map(File::from).map_err(|errno| MemfdError::Write { verb: "make", errno })
}

fn read_all_until(fd: BorrowedFd<'_>, max_bytes: usize, until: Mono) -> Result<Vec<u8>, MemfdError> {
    rewind(fd).map_err(MemfdError::Read)?;
    let mut bytes = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = read_some(fd, &mut chunk, until)?;
        if read.is_empty() {
            return Ok(bytes);
        }
        if bytes.len() + read.len() > max_bytes {
            return Err(MemfdError::TooLong { max_bytes });
        }
        bytes.extend_from_slice(read);
    }
}

/// As far as it can be done.
fn rewind(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // To read nothing never waits; waiting for the end of a pipe that can only be written would be in vain.
    retry(|| nix::unistd::read(fd, &mut []))?;
    match lseek(fd, 0, Whence::SeekSet) {
        Ok(_) | Err(Errno::ESPIPE) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Nothing at the end only.
fn read_some<'a>(fd: BorrowedFd<'_>, chunk: &'a mut [u8], until: Mono) -> Result<&'a [u8], MemfdError> {
    loop {
        wait_readable(&[fd], Some(until)).map_err(MemfdError::Read)?.ok_or(MemfdError::Endless)?;
        match retry(|| nix::unistd::read(fd, chunk)) {
            Ok(length) => return Ok(chunk.get(..length).unwrap_or_default()),
            // Another process reads it, too.
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(MemfdError::Read(errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::Read;

    use nix::fcntl::OFlag;
    use nix::sys::resource::{Resource, setrlimit};
    use nix::unistd::pipe2;

    use super::*;
    use crate::sys::fd::closes_on_exec;
    use crate::sys::signal::block_all;
    use crate::sys::testing::in_own_process;

    const PLENTY: usize = 1 << 20;

    /// The numbers that are open; the directory's own is the same each time.
    fn open() -> BTreeSet<String> {
        let names = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn what_others_write_is_read_from_the_beginning() {
        assert_eq!(read_scratch(scratch("answer", 100).unwrap(), PLENTY).unwrap(), b"");
        let fd = scratch("answer", 100).unwrap();
        File::from(fd.try_clone().unwrap()).write_all(b"here").unwrap();
        assert_eq!(read_scratch(&fd, PLENTY).unwrap(), b"here");
        assert_eq!(closes_on_exec(fd.as_fd()), Ok(true));
    }

    #[test]
    fn a_writer_that_never_ends_fills_no_memory() {
        let fd = scratch("answer", CHUNK_BYTES + 1).unwrap();
        let mut writer = File::from(fd.try_clone().unwrap());
        let refused = std::iter::repeat_with(|| writer.write(&[b'x'; 1000])).take(1000).find_map(Result::err);
        assert_eq!(errno_of(&refused.unwrap()), Errno::EPERM);
        assert!(writer.metadata().unwrap().len() == CHUNK_BYTES as u64 + 1 && writer.set_len(1 << 30).is_err());
        assert_eq!(read_scratch(&fd, 60_000), Err(MemfdError::TooLong { max_bytes: 60_000 }));
    }

    #[test]
    fn what_is_sealed_is_read_as_often_as_one_likes() {
        for bytes in [&b""[..], b"state", &[7; 300_000]] {
            let fd = sealed("state", bytes).unwrap();
            assert_eq!(closes_on_exec(fd.as_fd()), Ok(true));
            let mut from_where_it_stands = Vec::new();
            File::from(fd.try_clone().unwrap()).read_to_end(&mut from_where_it_stands).unwrap();
            assert_eq!(from_where_it_stands, bytes);
            assert_eq!(read_all(&fd, bytes.len()).unwrap(), bytes);
            assert_eq!(read_all(fd, PLENTY).unwrap(), bytes);
        }
    }

    #[test]
    fn a_sealed_file_cannot_be_changed() {
        let fd = sealed("state", b"state").unwrap();
        let mut file = File::from(fd.try_clone().unwrap());
        for error in [
            file.write(b"x").unwrap_err(),
            file.set_len(2).unwrap_err(),
            file.set_len(9).unwrap_err(),
            fcntl(&fd, FcntlArg::F_ADD_SEALS(SealFlag::empty())).unwrap_err().into(),
        ] {
            assert_eq!(errno_of(&error), Errno::EPERM);
        }
        assert_eq!(read_all(fd, PLENTY).unwrap(), b"state");
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        for flags in [OFlag::O_CLOEXEC, OFlag::O_CLOEXEC | OFlag::O_NONBLOCK] {
            let (reader, writer) = pipe2(flags).unwrap();
            nix::unistd::write(&writer, b"state").unwrap();
            drop(writer);
            assert_eq!(read_all(reader, PLENTY).unwrap(), b"state");
        }
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let long = vec![b'x'; 300_000];
        let read = std::thread::scope(|scope| {
            scope.spawn(|| File::from(writer).write_all(&long).unwrap());
            read_all(reader, PLENTY)
        });
        assert_eq!(read.unwrap(), long);
    }

    #[test]
    fn a_writer_that_never_closes_is_not_waited_for_for_ever() {
        for flags in [OFlag::O_CLOEXEC, OFlag::O_CLOEXEC | OFlag::O_NONBLOCK] {
            let (reader, writer) = pipe2(flags).unwrap();
            nix::unistd::write(&writer, b"half a st").unwrap();
            let soon = clock::now().after(Duration::from_millis(20));
            assert_eq!(read_all_until(reader.as_fd(), PLENTY, soon), Err(MemfdError::Endless));
        }
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        let max_bytes = CHUNK_BYTES + 10;
        let fd = sealed("state", &vec![b'x'; max_bytes + 1]).unwrap();
        assert_eq!(read_all(fd, max_bytes), Err(MemfdError::TooLong { max_bytes }));
        // It would never end, either.
        let endless = File::open("/dev/zero").unwrap();
        assert_eq!(read_all(endless, max_bytes), Err(MemfdError::TooLong { max_bytes }));
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let (_reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let directory = File::open("/").unwrap();
        assert_eq!(read_all(directory, PLENTY), Err(MemfdError::Read(Errno::EISDIR)));
        let error = read_all(writer, PLENTY).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the descriptor: bad file number");
    }

    #[test]
    fn a_failure_leaves_nothing_open() {
        in_own_process(module_path!(), "a_failure_leaves_nothing_open", || {
            // XFSZ would end the process.
            block_all();
            let before = open();
            let create_error = sealed(&"x".repeat(300), b"").unwrap_err();
            assert_eq!(create_error.to_string(), "cannot make a file in memory: invalid argument");
            setrlimit(Resource::RLIMIT_FSIZE, 10, 10).unwrap();
            let write_error = sealed("state", &[0; 11]).unwrap_err();
            assert_eq!(write_error.to_string(), "cannot write a file in memory: file too large");
            assert_eq!(read_all(sealed("state", &[0; 10]).unwrap(), 9), Err(MemfdError::TooLong { max_bytes: 9 }));
            assert_eq!(open(), before);
        });
    }
}
