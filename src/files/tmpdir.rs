//! The directory for files that were given no path, found as Ruby's `Dir.tmpdir` finds it: master and client must come to
//! the same one. Makes nothing, and reads no environment but through its caller.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};
use thiserror::Error;

use crate::files::path_trust::{Shared, sharing};

/// In Ruby's order; `/tmp` comes after them.
const VARIABLES: [&str; 3] = ["TMPDIR", "TMP", "TEMP"];

/// None of these may be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cannot find a directory for temporary files, tried {}", listed(tried))]
pub struct NoTemporaryDirectory {
    tried: Vec<PathBuf>,
}

/// The first of the directories named by TMPDIR, TMP and TEMP, and `/tmp`, that may be used. `variable` looks up the
/// environment.
///
/// # Errors
/// None of them may be used.
pub fn temporary_directory(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, NoTemporaryDirectory> {
    let tried = candidates(variable);
    match tried.iter().find(|candidate| is_usable(candidate)) {
        Some(found) => Ok(found.clone()),
        None => Err(NoTemporaryDirectory { tried }),
    }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn candidates(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let named = VARIABLES.iter().filter_map(|name| variable(name)).filter(|value| !value.is_empty());
    named.chain([OsString::from("/tmp")]).map(PathBuf::from).collect()
}

/// A directory that we may write, and in which others cannot replace our files.
fn is_usable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_dir() && sharing(&meta) != Shared::Unprotected)
        && eaccess(path, AccessFlags::W_OK).is_ok()
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
            assert_eq!(is_usable(dir.path()), usable, "{mode:o}");
        }
        assert!(!is_usable(&dir.path().join("none")));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(!is_usable(&file));
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
        let refusal = NoTemporaryDirectory { tried: ["/a", "/tmp"].map(PathBuf::from).into() };
        assert_eq!(refusal.to_string(), "cannot find a directory for temporary files, tried /a, /tmp");
    }
}
