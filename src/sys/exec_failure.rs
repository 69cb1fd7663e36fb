//! Says in words why a program could not be run: execve(2) has one errno for several causes, and "no such file" for a file
//! that is there is no help. Only looks, and only after the failure.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};

use crate::sys::closed_directory::{closed, closed_directory};
use crate::sys::errno::words;

/// As much of a `#!` line as the kernel reads.
const LINE_MAX: u64 = 256;

/// How every binary begins.
const ELF_MAGIC: &[u8] = b"\x7fELF";

/// A binary that this machine can run.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// `cannot run /srv/web: its interpreter /usr/bin/rubby is missing`
pub fn explain_exec_failure(path: &Path, errno: Errno) -> String {
    let cause = match errno {
        Errno::ENOENT => missing(path),
        Errno::EACCES => denied(path),
        Errno::ENOEXEC => unknown_format(path),
        Errno::E2BIG => "its arguments and environment are too long".to_owned(),
        Errno::ETXTBSY => "the file is still open for writing".to_owned(),
        other => words(other),
    };
    format!("cannot run {}: {cause}", path.display())
}

/// ENOENT is for the file, for its interpreter, or for a dynamic program's loader.
fn missing(path: &Path) -> String {
    if fs::symlink_metadata(path).is_err() {
        return words(Errno::ENOENT);
    }
    if fs::metadata(path).is_err() {
        return "it is a symbolic link to nothing".to_owned();
    }
    match interpreter(path) {
        // `escape_debug` shows the carriage return of a script that was written elsewhere.
        Some(name) => format!("its interpreter {} is missing", name.to_string_lossy().escape_debug()),
        None => "the loader that it names is missing, it may be built for another system".to_owned(),
    }
}

/// EACCES is for a directory on the way, for the file, or for its interpreter.
fn denied(path: &Path) -> String {
    if let Some(directory) = closed_directory(path) {
        return closed(&directory);
    }
    let Ok(meta) = fs::metadata(path) else {
        return words(Errno::EACCES);
    };
    if meta.is_dir() {
        return "it is a directory".to_owned();
    }
    if eaccess(path, AccessFlags::X_OK).is_err() {
        return "the file is not executable".to_owned();
    }
    match interpreter(path) {
        Some(name) => format!("its interpreter {} may not be run", name.display()),
        None => words(Errno::EACCES),
    }
}

fn unknown_format(path: &Path) -> String {
    let head = head(path);
    if head.is_empty() {
        "the file is empty".to_owned()
    } else if !head.starts_with(ELF_MAGIC) {
        "it is neither a program for this machine nor a script that begins with #!".to_owned()
    } else if is_for_this_machine(&head) {
        "the file is damaged".to_owned()
    } else {
        "it is built for another kind of machine".to_owned()
    }
}

/// Whether this is the head of a binary that is like ours. So little of one that it does not say is not.
fn is_for_this_machine(head: &[u8]) -> bool {
    let own = self::head(Path::new(OWN_PROGRAM));
    kind_of_machine(head).is_some_and(|kind| kind_of_machine(&own) == Some(kind))
}

/// Word size and byte order, and the field e_machine, see elf(5).
fn kind_of_machine(head: &[u8]) -> Option<(&[u8], &[u8])> {
    Some((head.get(4..6)?, head.get(18..20)?))
}

/// What the file's `#!` line names.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let head = head(path);
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    words.next().map(|word| PathBuf::from(OsStr::from_bytes(word)))
}

/// Empty if the file cannot be read; only regular files are opened, since a FIFO would keep us waiting.
fn head(path: &Path) -> Vec<u8> {
    let mut head = Vec::new();
    if fs::metadata(path).is_ok_and(|meta| meta.is_file()) {
        if let Ok(file) = File::open(path) {
            let _ = file.take(LINE_MAX).read_to_end(&mut head);
        }
    }
    head
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    fn cause(dir: &TempDir, content: &[u8], mode: u32, errno: Errno) -> String {
        let path = dir.path().join("program");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let text = explain_exec_failure(&path, errno);
        text.strip_prefix(&format!("cannot run {}: ", path.display())).unwrap().to_owned()
    }

    #[test]
    fn each_cause_has_its_words() {
        let dir = TempDir::new().unwrap();
        for (content, mode, errno, expected) in [
            (&b"#! /no/such -x\n"[..], 0o755, Errno::ENOENT, "its interpreter /no/such is missing"),
            (b"#!/bin/sh\r\n", 0o755, Errno::ENOENT, "its interpreter /bin/sh\\r is missing"),
            (
                b"\x7fELF",
                0o755,
                Errno::ENOENT,
                "the loader that it names is missing, it may be built for another system",
            ),
            (b"x", 0o644, Errno::EACCES, "the file is not executable"),
            (b"#!/etc/passwd\n", 0o755, Errno::EACCES, "its interpreter /etc/passwd may not be run"),
            (b"", 0o755, Errno::ENOEXEC, "the file is empty"),
            (b"\x7fELF", 0o755, Errno::ENOEXEC, "it is built for another kind of machine"),
            (b"x", 0o755, Errno::E2BIG, "its arguments and environment are too long"),
            (b"x", 0o755, Errno::ETXTBSY, "the file is still open for writing"),
            (b"x", 0o755, Errno::ENOMEM, "out of memory"),
        ] {
            assert_eq!(cause(&dir, content, mode, errno), expected);
        }
        assert!(cause(&dir, b"hello", 0o755, Errno::ENOEXEC).starts_with("it is neither a program"));
    }

    #[test]
    fn a_damaged_program_is_told_from_a_foreign_one() {
        let dir = TempDir::new().unwrap();
        let mut header = head(Path::new(OWN_PROGRAM));
        assert_eq!(cause(&dir, &header, 0o755, Errno::ENOEXEC), "the file is damaged");
        header[18] ^= 0xff;
        assert_eq!(cause(&dir, &header, 0o755, Errno::ENOEXEC), "it is built for another kind of machine");
    }

    #[test]
    fn what_is_not_there_is_told_from_what_leads_nowhere() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("none");
        assert!(explain_exec_failure(&path, Errno::ENOENT).ends_with(": no such file or directory"));
        symlink("nowhere", &path).unwrap();
        assert!(explain_exec_failure(&path, Errno::ENOENT).ends_with(": it is a symbolic link to nothing"));
        assert!(explain_exec_failure(dir.path(), Errno::EACCES).ends_with(": it is a directory"));
    }
}
