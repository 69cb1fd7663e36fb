//! Reads a configuration file whole. What root reads it also does, so for root it has to be a file that root alone can
//! change. Judges the file that was opened, whatever its name leads to later, and not what is in it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::geteuid;

use crate::files::directory::check_way;
use crate::files::error::{FileCause, FileError};
use crate::files::path_trust::{Mistrust, kind, trust_for_root};
use crate::sys::fd::is_read_only;

/// More than a configuration needs; a log or a disk image that was named by mistake is not read to its end.
const FILE_MIB_MAX: u64 = 1;
pub const FILE_BYTES_MAX: u64 = FILE_MIB_MAX * 1024 * 1024;

/// What was tried where a file is not trusted.
pub const TRUST: &str = "trust";

/// The text of a regular file, to which the path may be a link: people link configurations. If we are root, no other user may
/// be able to write the file, or to put another in its place.
///
/// # Errors
/// It is no regular file, is not trusted, cannot be read, has more than [`FILE_BYTES_MAX`], or is not UTF-8.
pub fn read(path: &Path) -> Result<String, FileError> {
    read_if(path, |file, meta| if geteuid().is_root() { check_for_root(path, file, meta) } else { Ok(()) })
}

/// The same, although other users may be able to change it.
///
/// # Errors
/// As [`read`], but for trust.
pub fn read_any(path: &Path) -> Result<String, FileError> {
    read_if(path, |_, _| Ok(()))
}

fn read_if(path: &Path, check: impl FnOnce(&File, &Metadata) -> Result<(), FileCause>) -> Result<String, FileError> {
    let unreadable = |cause| FileError::new("read", path, cause);
    let (file, meta) = open(path).map_err(unreadable)?;
    check(&file, &meta).map_err(|cause| FileError::new(TRUST, path, cause))?;
    read_whole(&file).map_err(unreadable)
}

/// O_NONBLOCK for a FIFO, which would keep us waiting, and O_NOCTTY for a terminal, which would become ours.
fn open(path: &Path) -> Result<(File, Metadata), FileCause> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    // A socket cannot be opened, and the errno alone would not say so.
    let meta = opened.as_ref().map_or_else(|_| fs::metadata(path), File::metadata);
    match (opened, meta) {
        (_, Ok(meta)) if !meta.is_file() => Err(Mistrust::NotRegular { kind: kind(meta.file_type()) }.into()),
        (opened, meta) => Ok((opened?, meta?)),
    }
}

/// Both where the file lies and where its name does, with every directory and every link on the way, for a link can be
/// replaced as well. Without /proc, the name alone.
fn check_for_root(path: &Path, file: &File, meta: &Metadata) -> Result<(), FileCause> {
    // What cannot be written to here was chosen by those who have mounted it.
    if !is_read_only(file) {
        trust_for_root(file, meta)?;
    }
    if let Ok(place) = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) {
        check_way(&place)?;
    }
    Ok(check_way(path)?)
}

fn read_whole(file: &File) -> Result<String, FileCause> {
    let mut bytes = Vec::new();
    // One byte more shows that there is more, even if the file grows meanwhile.
    let length = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(FileCause::TooLarge { max_mib: FILE_MIB_MAX });
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        first_bad(error.as_bytes().get(..good).unwrap_or_default())
    })
}

/// Where the byte behind this text stands.
fn first_bad(before: &[u8]) -> FileCause {
    let text = String::from_utf8_lossy(before);
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    FileCause::NotUtf8 { line, column }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use nix::sys::stat::Mode;
    use nix::unistd::{Gid, Uid, chown, getuid, mkfifo, seteuid};
    use tempfile::TempDir;

    use super::*;
    use crate::sys::testing::{in_own_process, is_root, let_uid_write};

    fn place() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("web.toml");
        (dir, path)
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// What the error says behind the path, and before it.
    fn refusal(path: &Path) -> (String, String) {
        let text = read(path).unwrap_err().to_string();
        let (verb, cause) = text.split_once(&format!(" {}: ", path.display())).unwrap();
        (verb.to_owned(), cause.to_owned())
    }

    fn assert_refused(path: &Path, verb: &str, cause: &str) {
        assert_eq!(refusal(path), (verb.to_owned(), cause.to_owned()));
    }

    #[test]
    fn a_file_is_read_through_links() {
        let (dir, path) = place();
        fs::write(dir.path().join("real.toml"), "workers = 4 # größer\n").unwrap();
        symlink("real.toml", &path).unwrap();
        assert_eq!(read(&path).as_deref(), Ok("workers = 4 # größer\n"));
    }

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let (_dir, path) = place();
        assert_refused(&path, "cannot read", "no such file or directory");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_refused(&path, "cannot read", "it is a FIFO");
        fs::remove_file(&path).unwrap();
        let _listener = UnixListener::bind(&path).unwrap();
        assert_refused(&path, "cannot read", "it is a socket");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_refused(&path, "cannot read", "it is a directory");
        assert_refused(Path::new("/dev/zero"), "cannot read", "it is a device");
    }

    #[test]
    fn a_file_has_a_mebibyte_at_the_most() {
        let (_dir, path) = place();
        let largest = " ".repeat(1024 * 1024);
        fs::write(&path, &largest).unwrap();
        assert_eq!(read(&path), Ok(largest.clone()));
        fs::write(&path, largest + " ").unwrap();
        assert_refused(&path, "cannot read", "it is larger than 1 MiB");
    }

    #[test]
    fn the_first_bad_byte_is_shown_where_an_editor_shows_it() {
        let (_dir, path) = place();
        for (bytes, position) in [
            (&b"\xff"[..], "line 1, column 1"),
            (b"a = 1\nb = \"\xc3\xa4\xff\"\n\xff", "line 2, column 7"),
            (b"a\n\n\xc3", "line 3, column 1"),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_refused(&path, "cannot read", &format!("it is not UTF-8 at {position}"));
        }
    }

    #[test]
    fn root_trusts_no_file_that_others_can_write() {
        if !is_root() {
            return;
        }
        let (_dir, path) = place();
        fs::write(&path, "").unwrap();
        chown(&path, Some(Uid::from_raw(0)), Some(Gid::from_raw(27))).unwrap();
        for (mode, cause) in
            [(0o646, "it is writable by others, its mode is 0646"), (0o664, "it is writable by the group with gid 27")]
        {
            set_mode(&path, mode);
            assert_refused(&path, "cannot trust", cause);
        }
        set_mode(&path, 0o644);
        assert_eq!(read(&path).as_deref(), Ok(""));
        chown(&path, None, Some(Gid::from_raw(0))).unwrap();
        set_mode(&path, 0o664);
        assert_eq!(read(&path).as_deref(), Ok(""));
        chown(&path, Some(Uid::from_raw(33)), None).unwrap();
        assert_refused(&path, "cannot trust", "it belongs to uid 33");
    }

    #[test]
    fn root_trusts_no_file_that_an_access_list_gives_to_others() {
        if !is_root() {
            return;
        }
        let (dir, path) = place();
        fs::write(&path, "").unwrap();
        set_mode(&path, 0o664);
        assert_eq!(read(&path).as_deref(), Ok(""));
        let list = "its access control list lets others write to it";
        let_uid_write(&path, 33);
        assert_refused(&path, "cannot trust", list);
        set_mode(&path, 0o644);
        assert_eq!(read(&path).as_deref(), Ok(""), "the mode is the mask of the list");
        let_uid_write(dir.path(), 33);
        assert_refused(&path, "cannot trust", &format!("directory {}: {list}", dir.path().display()));
    }

    #[test]
    fn root_trusts_no_file_that_others_can_replace() {
        if !is_root() {
            return;
        }
        let ((named, name), (real, file)) = (place(), place());
        fs::write(&file, "").unwrap();
        symlink(&file, &name).unwrap();
        for directory in [&named, &real] {
            let refused = format!("directory {} is writable by all users and not sticky", directory.path().display());
            set_mode(directory.path(), 0o777);
            assert_refused(&name, "cannot trust", &refused);
            set_mode(directory.path(), 0o1777);
            assert_eq!(read(&name).as_deref(), Ok(""));
        }
    }

    #[test]
    fn an_ordinary_user_may_read_any_file() {
        in_own_process(module_path!(), "an_ordinary_user_may_read_any_file", || {
            let (dir, path) = place();
            fs::write(&path, "workers = 4").unwrap();
            set_mode(&path, 0o666);
            set_mode(dir.path(), 0o777);
            if getuid().is_root() {
                seteuid(Uid::from_raw(712_345)).unwrap();
            }
            let text = read(&path);
            // Back, since only root may remove the directory.
            seteuid(getuid()).unwrap();
            assert_eq!(text.as_deref(), Ok("workers = 4"));
        });
    }
}
