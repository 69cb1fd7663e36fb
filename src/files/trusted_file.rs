//! Reads a configuration file whole. What root reads it also does, so for root it has to be a file that root alone can
//! change. Judges the file that was opened, whatever its name leads to later, and not what is in it.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::files::directory::check_way;
use crate::files::path_trust::{DirectoryError, Mistrust, kind, trust_for_root};
use crate::sys::errno::{errno_of, words};

/// More than anybody writes by hand; a log or a disk image that was named by mistake is not read to its end.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a file was not read. The path, as it was given, and the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    pub path: PathBuf,
    pub cause: ReadCause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadCause {
    System(Errno),
    NotRegular {
        kind: &'static str,
    },
    /// More than [`FILE_BYTES_MAX`].
    TooLarge,
    /// Where the first byte stands that is none, from 1; columns are characters.
    NotUtf8 {
        line: usize,
        column: usize,
    },
    Mistrusted(Mistrust),
    Directory(DirectoryError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.cause {
            ReadCause::Mistrusted(_) | ReadCause::Directory(_) => "trust",
            ReadCause::System(_) | ReadCause::NotRegular { .. } | ReadCause::TooLarge | ReadCause::NotUtf8 { .. } => {
                "read"
            }
        };
        write!(f, "cannot {verb} {}: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for ReadError {}

impl fmt::Display for ReadCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(errno) => f.write_str(&words(*errno)),
            Self::NotRegular { kind } => write!(f, "it is {kind}"),
            Self::TooLarge => write!(f, "it is larger than {} MiB", FILE_BYTES_MAX / 1024 / 1024),
            Self::NotUtf8 { line, column } => write!(f, "it is not UTF-8 at line {line}, column {column}"),
            Self::Mistrusted(mistrust) => mistrust.fmt(f),
            Self::Directory(error) => error.fmt(f),
        }
    }
}

/// The text of a regular file, to which the path may be a link: people link configurations. If we are root, nobody else may
/// be able to write the file, or to put another in its place.
pub fn read(path: &Path) -> Result<String, ReadError> {
    read_checked(path).map_err(|cause| ReadError { path: path.to_owned(), cause })
}

fn read_checked(path: &Path) -> Result<String, ReadCause> {
    let file = open(path)?;
    let meta = file.metadata().map_err(system)?;
    if !meta.is_file() {
        return Err(ReadCause::NotRegular { kind: kind(meta.file_type()) });
    }
    if geteuid().is_root() {
        check_for_root(path, &file, &meta)?;
    }
    String::from_utf8(read_whole(&file)?).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        first_bad(error.as_bytes().get(..good).unwrap_or_default())
    })
}

fn system(error: io::Error) -> ReadCause {
    ReadCause::System(errno_of(&error))
}

/// O_NONBLOCK for a FIFO, which would keep us waiting, and O_NOCTTY for a terminal, which would become ours.
fn open(path: &Path) -> Result<File, ReadCause> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    opened.map_err(|error| match fs::metadata(path) {
        // A socket cannot be opened, and the errno alone would not say so.
        Ok(meta) if !meta.is_file() => ReadCause::NotRegular { kind: kind(meta.file_type()) },
        Ok(_) | Err(_) => system(error),
    })
}

/// Both where the file lies and where its name does, with every directory and every link on the way, for a link can be
/// replaced as well. Without /proc, the name alone.
fn check_for_root(path: &Path, file: &File, meta: &Metadata) -> Result<(), ReadCause> {
    trust_for_root(file, meta).map_err(ReadCause::Mistrusted)?;
    if let Ok(place) = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) {
        check_way(&place).map_err(ReadCause::Directory)?;
    }
    check_way(path).map_err(ReadCause::Directory)
}

fn read_whole(file: &File) -> Result<Vec<u8>, ReadCause> {
    let mut bytes = Vec::new();
    // One byte more shows that there is more, even if the file grows meanwhile.
    let length = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(system)?;
    if length as u64 > FILE_BYTES_MAX { Err(ReadCause::TooLarge) } else { Ok(bytes) }
}

/// Where the byte behind this text stands.
fn first_bad(before: &[u8]) -> ReadCause {
    let text = String::from_utf8_lossy(before);
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    ReadCause::NotUtf8 { line, column }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

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
        for (mode, cause) in [(0o646, "it is writable by others"), (0o664, "it is writable by the group with gid 27")] {
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
            let refused = format!("directory {} is writable by everybody and not sticky", directory.path().display());
            set_mode(directory.path(), 0o777);
            assert_refused(&name, "cannot trust", &refused);
            set_mode(directory.path(), 0o1777);
            assert_eq!(read(&name).as_deref(), Ok(""));
        }
    }

    #[test]
    fn whoever_is_not_root_may_read_what_he_likes() {
        in_own_process(module_path!(), "whoever_is_not_root_may_read_what_he_likes", || {
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
