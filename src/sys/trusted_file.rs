//! Reads a configuration file whole, and refuses one that others could have written to command us by. All that is judged is
//! judged of the opened file, so that it cannot be exchanged in between. Writes nothing.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::sys::errno::{errno_of, words};
use crate::sys::place::{self, DirectoryError};

/// The longest file that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    pub path: PathBuf,
    pub cause: ReadCause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadCause {
    /// The system does not let us, in its words.
    System(String),
    /// A directory, a FIFO or the like.
    NotRegular {
        kind: &'static str,
    },
    TooLong,
    /// Where the first byte is that is no UTF-8; counted from 1.
    NotText {
        line: usize,
        column: usize,
    },
    /// We are root, and somebody else could change the file.
    Untrusted(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            ReadCause::System(words) => write!(f, "cannot read {path}: {words}"),
            ReadCause::NotRegular { kind } => write!(f, "cannot read {path}: it is {kind}"),
            ReadCause::TooLong => write!(f, "cannot read {path}: it is larger than {} MiB", FILE_BYTES_MAX >> 20),
            ReadCause::NotText { line, column } => write!(f, "{path}:{line}:{column}: need text in UTF-8"),
            ReadCause::Untrusted(why) => write!(f, "cannot trust {path}: {why}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// The text of a file. Links are followed: people link their configurations.
pub fn read(path: &Path) -> Result<String, ReadError> {
    read_as(path, geteuid().is_root()).map_err(|cause| ReadError { path: path.to_owned(), cause })
}

fn read_as(path: &Path, as_root: bool) -> Result<String, ReadCause> {
    let failed = |error: io::Error| ReadCause::System(words(errno_of(&error)));
    // Not to wait for the other end of a FIFO.
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(ReadCause::NotRegular { kind: place::kind(meta.file_type()) });
    }
    if as_root {
        trust(path, &meta)?;
    }
    let mut bytes = Vec::new();
    File::by_ref(&mut file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ReadCause::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| not_text(error.as_bytes(), error.utf8_error().valid_up_to()))
}

/// What root does by a file is done by everybody who can write it.
fn trust(path: &Path, meta: &Metadata) -> Result<(), ReadCause> {
    let by_others = meta.mode() & libc::S_IWOTH != 0;
    let by_group = meta.mode() & libc::S_IWGRP != 0 && meta.gid() != 0;
    if meta.uid() != 0 {
        return Err(ReadCause::Untrusted(format!("it belongs to uid {}", meta.uid())));
    }
    if by_others {
        return Err(ReadCause::Untrusted("it is writable by others".to_owned()));
    }
    if by_group {
        return Err(ReadCause::Untrusted(format!("it is writable by group {}", meta.gid())));
    }
    match place::check_directory(path) {
        Ok(()) | Err(DirectoryError::NotADirectory { .. } | DirectoryError::System { .. }) => Ok(()),
        Err(unprotected @ DirectoryError::Unprotected { .. }) => Err(ReadCause::Untrusted(unprotected.to_string())),
    }
}

fn not_text(bytes: &[u8], valid_up_to: usize) -> ReadCause {
    let before = String::from_utf8_lossy(&bytes[..valid_up_to]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    ReadCause::NotText { line, column }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::sys::stat::Mode;
    use nix::unistd::{Gid, Uid, chown, mkfifo};
    use tempfile::TempDir;

    use super::*;

    fn file(content: &[u8]) -> (TempDir, PathBuf) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("web.toml");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        (directory, path)
    }

    #[track_caller]
    fn refused(path: &Path, words: &str) {
        let said = read(path).unwrap_err().to_string();
        assert_eq!(said.replace(&path.display().to_string(), "PATH"), words);
    }

    #[test]
    fn a_file_is_read_whole_through_a_link_too() {
        let (directory, path) = file("number = 1 # \u{e9}\n".as_bytes());
        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(read(&link), Ok("number = 1 # \u{e9}\n".to_owned()));
    }

    #[test]
    fn what_is_no_file_is_named() {
        let (directory, path) = file(b"");
        refused(&directory.path().join("none"), "cannot read PATH: no such file or directory");
        refused(directory.path(), "cannot read PATH: it is a directory");
        let fifo = directory.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        refused(&fifo, "cannot read PATH: it is a FIFO");
        refused(&path.join("x"), "cannot read PATH: not a directory");
    }

    #[test]
    fn what_is_too_long_or_no_text_is_refused() {
        let longest = vec![b' '; FILE_BYTES_MAX as usize];
        let (_directory, path) = file(&longest);
        assert_eq!(read(&path).unwrap().len() as u64, FILE_BYTES_MAX);
        let (_directory, path) = file(&[longest.as_slice(), b"x"].concat());
        refused(&path, "cannot read PATH: it is larger than 1 MiB");
        let (_directory, path) = file(b"a = 1\n\xc3\xa9 = \xff\n");
        refused(&path, "PATH:2:5: need text in UTF-8");
    }

    #[test]
    fn root_trusts_no_file_that_another_can_change() {
        if !geteuid().is_root() {
            eprintln!("not run: only root is careful, and we are not");
            return;
        }
        let (directory, path) = file(b"");
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        mode(&path, 0o664);
        assert!(read(&path).is_ok(), "root's own group may");
        chown(&path, None, Some(Gid::from_raw(65_500))).unwrap();
        refused(&path, "cannot trust PATH: it is writable by group 65500");
        mode(&path, 0o646);
        refused(&path, "cannot trust PATH: it is writable by others");
        mode(&path, 0o644);
        mode(directory.path(), 0o777);
        let said = read(&path).unwrap_err().to_string();
        assert!(said.ends_with("is writable by everybody and not sticky"), "{said}");
        mode(directory.path(), 0o1777);
        assert!(read(&path).is_ok());
        chown(&path, Some(Uid::from_raw(65_534)), None).unwrap();
        refused(&path, "cannot trust PATH: it belongs to uid 65534");
        assert_eq!(read_as(&path, false), Ok(String::new()), "who is not root may use what he can read");
    }
}
