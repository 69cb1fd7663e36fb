//! The directory for files that were given no path, found as Ruby's `Dir.tmpdir` finds it: master and client must come to
//! the same one. Makes nothing, and reads no environment but through its caller.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};
use thiserror::Error;

use crate::base::exit_code::{BAD_OPTION, CANNOT_START};
use crate::files::path_trust::{Shared, sharing};
use crate::sys::errno::{errno_of, exit_code, words};

/// In Ruby's order; `/tmp` comes after them.
const VARIABLES: [&str; 3] = ["TMPDIR", "TMP", "TEMP"];

/// None of these may be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot find a directory for temporary files, tried {}", listed(tried))]
pub struct NoTemporaryDirectory {
    /// Each with why it cannot be used.
    tried: Vec<(PathBuf, Unusable)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
enum Unusable {
    #[error("writable by all users and not sticky")]
    Unprotected,
    #[error("{}", words(*.0))]
    System(Errno),
}

impl NoTemporaryDirectory {
    /// How a start ends for want of one: whether one of them may be used later.
    pub(crate) fn exit_code(&self) -> u8 {
        let code = |cause: &Unusable| match cause {
            Unusable::Unprotected => BAD_OPTION,
            Unusable::System(errno) => exit_code(*errno),
        };
        let all_last = self.tried.iter().all(|(_, cause)| code(cause) == BAD_OPTION);
        if all_last { BAD_OPTION } else { CANNOT_START }
    }
}

/// The first of the directories named by TMPDIR, TMP and TEMP, and `/tmp`, that may be used. `variable` looks up the
/// environment.
///
/// # Errors
/// None of them may be used.
pub fn temporary_directory(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, NoTemporaryDirectory> {
    let mut tried = Vec::new();
    for candidate in candidates(variable) {
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(cause) => tried.push((candidate, cause)),
        }
    }
    Err(NoTemporaryDirectory { tried })
}

fn listed(tried: &[(PathBuf, Unusable)]) -> String {
    tried.iter().map(|(path, cause)| format!("{} ({cause})", path.display())).collect::<Vec<_>>().join(", ")
}

fn candidates(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let named = VARIABLES.iter().filter_map(|name| variable(name)).filter(|value| !value.is_empty());
    named.chain([OsString::from("/tmp")]).map(PathBuf::from).collect()
}

/// A directory that we may write, and in which others cannot replace our files.
fn check(path: &Path) -> Result<(), Unusable> {
    let meta = fs::metadata(path).map_err(|error| Unusable::System(errno_of(&error)))?;
    if !meta.is_dir() {
        return Err(Unusable::System(Errno::ENOTDIR));
    }
    if sharing(&meta) == Shared::Unprotected {
        return Err(Unusable::Unprotected);
    }
    eaccess(path, AccessFlags::W_OK).map_err(Unusable::System)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_shared_directory_needs_its_sticky_bit() {
        let dir = tempfile::tempdir().unwrap();
        let set_mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        for (mode, usable) in [(0o700, true), (0o1777, true), (0o777, false)] {
            set_mode(mode);
            assert_eq!(check(dir.path()).is_ok(), usable, "{mode:o}");
        }
        assert_eq!(check(&dir.path().join("none")), Err(Unusable::System(Errno::ENOENT)));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(check(&file), Err(Unusable::System(Errno::ENOTDIR)));
    }

    #[test]
    fn directories_are_tried_in_rubys_order() {
        let named = |name: &str| match name {
            "TMPDIR" => Some(OsString::from("/a")),
            "TEMP" => Some(OsString::from("/c")),
            _ => Some(OsString::new()),
        };
        assert_eq!(candidates(|_| None), [Path::new("/tmp")]);
        assert_eq!(candidates(named), ["/a", "/c", "/tmp"].map(PathBuf::from));
    }

    #[test]
    fn the_first_that_may_be_used_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let named = |name: &str| match name {
            "TMPDIR" => Some(dir.path().join("none").into_os_string()),
            _ => Some(dir.path().into()),
        };
        assert_eq!(temporary_directory(named), Ok(dir.path().to_owned()));
    }

    #[test]
    fn what_was_tried_is_named() {
        let tried = ["/a", "/tmp"].map(|path| (PathBuf::from(path), Unusable::System(Errno::EROFS))).into();
        let said = "tried /a (read-only file system), /tmp (read-only file system)";
        assert_eq!(
            NoTemporaryDirectory { tried }.to_string(),
            format!("cannot find a directory for temporary files, {said}")
        );
    }

    #[test]
    fn a_directory_that_is_missing_may_be_there_later() {
        let code = |causes: &[Unusable]| {
            let tried = causes.iter().map(|cause| (PathBuf::from("/tmp"), *cause)).collect();
            NoTemporaryDirectory { tried }.exit_code()
        };
        let read_only = Unusable::System(Errno::EROFS);
        assert_eq!(code(&[read_only, Unusable::Unprotected]), BAD_OPTION);
        assert_eq!(code(&[read_only, Unusable::System(Errno::ENOENT)]), CANNOT_START);
    }
}
