//! Finds the program that a command names, as einhorn does. Runs nothing.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};
use thiserror::Error;

use crate::sys::closed_directory::{closed, closed_directory};

/// Searched when there is no PATH at all, as execvp(3) does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// As much of a file as is read to see what it is; a shell looks at about as much.
const HEAD_MAX: u64 = 256;

/// Why a command names no program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FindError {
    #[error("cannot run {}: no such file", path.display())]
    NoSuchFile { path: PathBuf },
    #[error("cannot run {}: not found in PATH", Path::new(name).display())]
    NotInPath { name: OsString },
    #[error("cannot run {}: the file is not executable", path.display())]
    NotExecutable { path: PathBuf },
    /// It may be there, behind a directory that is closed to us.
    #[error("cannot run {}: {}", path.display(), closed(directory))]
    Closed { path: PathBuf, directory: PathBuf },
    #[error("cannot run {}: not a regular file", path.display())]
    NotAFile { path: PathBuf },
}

/// The program's path: the name itself if it has a `/`, else the first executable file of that name in `path_var`. A file
/// that may not be executed is passed over, and named only if nothing better is found; so is a directory that may not be searched.
///
/// # Errors
/// There is none, or it may not be executed.
pub fn find_program(name: &OsStr, path_var: Option<&OsStr>) -> Result<PathBuf, FindError> {
    if name.as_bytes().contains(&b'/') {
        return judge(PathBuf::from(name));
    }
    let mut refusal = FindError::NotInPath { name: name.to_owned() };
    if name.is_empty() {
        return Err(refusal);
    }
    for directory in path_var.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|byte| *byte == b':') {
        // An empty part of PATH is the current directory.
        let directory = if directory.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(directory) };
        match judge(Path::new(directory).join(name)) {
            Ok(path) => return Ok(path),
            Err(found @ FindError::NotExecutable { .. }) => refusal = found,
            Err(found @ FindError::Closed { .. }) => match refusal {
                FindError::NotInPath { .. } => refusal = found,
                FindError::NotExecutable { .. }
                | FindError::Closed { .. }
                | FindError::NoSuchFile { .. }
                | FindError::NotAFile { .. } => {}
            },
            Err(FindError::NoSuchFile { .. } | FindError::NotInPath { .. } | FindError::NotAFile { .. }) => {}
        }
    }
    Err(refusal)
}

/// Whether the file is a script without a first line `#!`, which execvp(3) and Ruby give to /bin/sh: some text, that is.
///
/// # Errors
/// It cannot be read.
pub fn needs_shell(path: &Path) -> io::Result<bool> {
    let head = head(path)?;
    let first_line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(!head.is_empty() && !head.starts_with(b"#!") && !head.starts_with(b"\x7fELF") && !first_line.contains(&0))
}

/// Whether an interpreter will read the file: the kernel passes it the path that it was told, and the program goes by it.
///
/// # Errors
/// As [`needs_shell`].
pub fn is_script(path: &Path) -> io::Result<bool> {
    Ok(head(path)?.starts_with(b"#!") || needs_shell(path)?)
}

/// The words of a first line `#!`. None: it has none.
///
/// # Errors
/// As [`needs_shell`].
pub fn interpreter_line(path: &Path) -> io::Result<Option<Vec<OsString>>> {
    let head = head(path)?;
    let Some(rest) = head.strip_prefix(b"#!") else { return Ok(None) };
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    Ok(Some(words.map(|word| OsStr::from_bytes(word).to_owned()).collect()))
}

/// Whether the kernel runs the file without an interpreter.
///
/// # Errors
/// As [`needs_shell`].
pub fn is_machine_code(path: &Path) -> io::Result<bool> {
    Ok(head(path)?.starts_with(b"\x7fELF"))
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD_MAX).read_to_end(&mut head)?;
    Ok(head)
}

fn judge(path: PathBuf) -> Result<PathBuf, FindError> {
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(match closed_directory(&path) {
            Some(directory) => FindError::Closed { path, directory },
            None => FindError::NotExecutable { path },
        }),
        Err(_) => Err(FindError::NoSuchFile { path }),
        Ok(meta) if !meta.is_file() => Err(FindError::NotAFile { path }),
        Ok(_) if eaccess(&path, AccessFlags::X_OK).is_err() => Err(FindError::NotExecutable { path }),
        Ok(_) => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    fn file(dir: &TempDir, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn search(name: &str, dirs: &[&TempDir]) -> Result<PathBuf, FindError> {
        let path = dirs.iter().map(|dir| dir.path().to_str().unwrap()).collect::<Vec<_>>().join(":");
        find_program(OsStr::new(name), Some(OsStr::new(&path)))
    }

    #[test]
    fn the_first_executable_in_path_is_taken() {
        let (first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let blocked = file(&first, "web", b"", 0o644);
        assert_eq!(search("web", &[&first, &second]), Err(FindError::NotExecutable { path: blocked }));
        let good = file(&second, "web", b"", 0o755);
        assert_eq!(search("web", &[&first, &second]), Ok(good));
        fs::create_dir(first.path().join("api")).unwrap();
        assert_eq!(search("api", &[&first]), Err(FindError::NotInPath { name: "api".into() }));
        assert_eq!(search("", &[&first]), Err(FindError::NotInPath { name: "".into() }));
    }

    #[test]
    fn a_name_with_a_slash_is_used_as_it_is() {
        let dir = TempDir::new().unwrap();
        let good = file(&dir, "web", b"", 0o755);
        assert_eq!(find_program(good.as_os_str(), None), Ok(good));
        let missing = dir.path().join("none");
        let refusal = find_program(missing.as_os_str(), None).unwrap_err();
        assert_eq!(refusal.to_string(), format!("cannot run {}: no such file", missing.display()));
        let refusal = find_program(dir.path().as_os_str(), None).unwrap_err();
        assert_eq!(refusal, FindError::NotAFile { path: dir.path().to_owned() });
    }

    #[test]
    fn without_a_path_the_standard_one_is_searched() {
        assert_eq!(find_program(OsStr::new("sh"), None), Ok("/bin/sh".into()));
    }

    #[test]
    fn only_text_without_an_interpreter_needs_a_shell() {
        let dir = TempDir::new().unwrap();
        for (content, expected) in [
            (&b"echo hello\n"[..], true),
            (b"exit 0\n\0binary behind a script", true),
            (b"#!/bin/sh\n", false),
            (b"\x7fELF\x02", false),
            (b"", false),
            (b"ab\0cd\n", false),
        ] {
            let path = file(&dir, "script", content, 0o755);
            assert_eq!(needs_shell(&path).unwrap(), expected, "{content:?}");
        }
    }
}
