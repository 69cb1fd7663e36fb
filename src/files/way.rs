//! The way to a path: every directory in which a name on it stands, those that symbolic links lead through too, and who else
//! could put something else there. Looks only, and changes nothing.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use crate::files::path_trust::{Shared, sharing, trust_owner};

/// As many links as the kernel follows, see path_resolution(7).
const LINKS_MAX: usize = 40;

/// A directory on the way, and what the next name in it stands for, which may be a link.
struct Step {
    at: PathBuf,
    directory: Metadata,
    next: Metadata,
}

/// Whether nobody can have put something at this path who was not let into its directory: no directory on the way is one
/// in which everybody may make files, unless it is sticky and what stands there is root's or ours.
pub fn is_guarded(path: &Path) -> bool {
    let is_safe = |step: &Step| match sharing(&step.directory) {
        Shared::Private => true,
        Shared::Sticky => trust_owner(&step.next).is_ok(),
        Shared::Unprotected => false,
    };
    steps_to(path).is_ok_and(|steps| steps.iter().all(is_safe))
}

/// The places of all that the path leads through, its own last: directories, and the links to them.
///
/// Errors: as [`steps_to`].
pub(super) fn places_on(path: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(steps_to(path)?.into_iter().map(|step| step.at).collect())
}

/// Walks as the kernel does. Errors: something is missing, or may not be looked at; ELOOP, for too many links.
fn steps_to(path: &Path) -> io::Result<Vec<Step>> {
    let mut names: VecDeque<OsString> = names_of(&std::path::absolute(path)?).collect();
    let (mut steps, mut links, mut here) = (Vec::new(), 0, PathBuf::from("/"));
    while let Some(name) = names.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let at = here.join(&name);
        let next = fs::symlink_metadata(&at)?;
        let link = next.is_symlink().then(|| fs::read_link(&at)).transpose()?;
        steps.push(Step { at: at.clone(), directory: fs::symlink_metadata(&here)?, next });
        let Some(target) = link else {
            here = at;
            continue;
        };
        links += 1;
        if links > LINKS_MAX {
            return Err(Errno::ELOOP.into());
        }
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        for name in names_of(&target).collect::<Vec<_>>().into_iter().rev() {
            names.push_front(name);
        }
    }
    Ok(steps)
}

fn names_of(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::unistd::{Uid, chown};
    use tempfile::TempDir;

    use super::*;
    use crate::sys::testing::is_root;

    const SOMEBODY: u32 = 712_345;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A directory, and a file in one below it.
    fn place() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        let path = dir.path().join("a/file");
        fs::write(&path, "").unwrap();
        (dir, path)
    }

    #[test]
    fn a_directory_that_everybody_may_write_is_seen_wherever_it_is_on_the_way() {
        let (dir, path) = place();
        assert!(is_guarded(&path));
        for open in [dir.path().to_owned(), dir.path().join("a")] {
            set_mode(&open, 0o777);
            assert!(!is_guarded(&path), "{}", open.display());
            set_mode(&open, 0o1777);
            assert!(is_guarded(&path), "what is ours in a sticky directory is safe: {}", open.display());
            set_mode(&open, 0o755);
        }
        assert!(!is_guarded(&dir.path().join("none")), "what is not there was put there by nobody we know");
    }

    #[test]
    fn links_are_followed_through_every_place_that_they_name() {
        let (dir, path) = place();
        let (between, _) = place();
        symlink(&path, between.path().join("second")).unwrap();
        symlink(between.path().join("x/../second"), dir.path().join("first")).unwrap();
        let first = dir.path().join("first");
        assert!(steps_to(&first).is_err(), "x is not there");
        fs::create_dir(between.path().join("x")).unwrap();
        assert!(is_guarded(&first));
        set_mode(between.path(), 0o777);
        assert!(!is_guarded(&first));
        symlink("circle", dir.path().join("circle")).unwrap();
        let circle = steps_to(&dir.path().join("circle")).map(|_| ()).unwrap_err();
        assert_eq!(circle.raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn what_somebody_else_owns_is_guarded_but_not_in_a_sticky_directory() {
        if !is_root() {
            return;
        }
        let (dir, path) = place();
        let below = dir.path().join("a");
        chown(&below, Some(Uid::from_raw(SOMEBODY)), None).unwrap();
        assert!(is_guarded(&path), "whoever names a path in somebody's directory means that one");
        set_mode(dir.path(), 0o1777);
        assert!(!is_guarded(&path), "anybody could have made that directory in a sticky one");
    }
}
