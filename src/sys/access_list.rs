//! POSIX access control lists, see acl(5): whom one lets write to a file beside its owner and its group. The mode does not say
//! so: with a list, what looks like the group's rights is the most that any entry of the list may have. Looks only.

use std::fs::File;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

use crate::sys::errno::retry;

/// The attribute that holds the list.
const NAME: &std::ffi::CStr = c"system.posix_acl_access";

/// More than a file system keeps in one attribute.
const BYTES_MAX: usize = 64 * 1024;

/// The layout of the attribute, as in linux/posix_acl_xattr.h: a version, then entries.
const HEADER_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;
const WRITE: u16 = 0x02;

/// Whether the list of a file names a user or a group that may write, root and root's group aside. The mask is the mode's: it is to
/// be asked only if the mode lets the group write.
///
/// # Errors
/// The system does not say. A file that is open with O_PATH can be asked where there is a /proc.
pub fn lets_others_write(file: &File) -> Result<bool, Errno> {
    match read(file) {
        Ok(list) => Ok(entries(&list).any(is_of_others)),
        // No list, or a file system that knows none.
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn read(file: &File) -> Result<Vec<u8>, Errno> {
    let path = format!("/proc/self/fd/{}\0", file.as_raw_fd());
    let mut list = vec![0; BYTES_MAX];
    let length = retry(|| {
        // SAFETY: two strings that end with NUL, and a buffer of the length that is given.
        Errno::result(unsafe {
            libc::getxattr(path.as_ptr().cast(), NAME.as_ptr(), list.as_mut_ptr().cast(), BYTES_MAX)
        })
    })?;
    list.truncate(length.try_into().unwrap_or_default());
    Ok(list)
}

fn is_of_others((tag, rights, id): (u16, u16, u32)) -> bool {
    [USER, GROUP].contains(&tag) && rights & WRITE != 0 && id != 0
}

fn entries(list: &[u8]) -> impl Iterator<Item = (u16, u16, u32)> + '_ {
    list.get(HEADER_BYTES..).unwrap_or_default().chunks_exact(ENTRY_BYTES).filter_map(|entry| match *entry {
        [a, b, c, d, e, f, g, h] => {
            Some((u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]), u32::from_le_bytes([e, f, g, h])))
        }
        _ => None,
    })
}
