//! The file of the master's control socket: for its own user only, and under the master's lock. Removes nothing but a
//! dead socket of its own user's; decides nothing about who may speak.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::unistd::geteuid;

use crate::files::directory::Demand;
use crate::files::error::{FileCause, FileError};
use crate::files::spot::Spot;
pub use crate::files::unix_socket::Access;
use crate::files::unix_socket::{Wanted, check_place_unless, listen_unless};
use crate::sys::fd::Blocking;
use crate::sys::file_id::FileId;

const BACKLOG: i32 = 128;

/// Binds the control socket: listening, non-blocking, closed to others until its group is set. The caller holds the lock, so
/// that of two masters only one comes here at a time.
///
/// # Errors
/// As [`crate::files::unix_socket::listen_unix`]; and another user's socket is there, dead or not.
pub fn bind_control_socket(path: &Path, access: Access, demand: Demand) -> Result<(OwnedFd, FileId), FileError> {
    let wanted = Wanted { access, backlog: BACKLOG, blocking: Blocking::NonBlocking, demand };
    listen_unless(path, wanted, refuse_foreign)
}

/// What can be known without binding it; one that is there may be that of a master that runs with these files.
///
/// # Errors
/// As [`bind_control_socket`], but for another process that listens there.
pub fn check_control_socket(path: &Path, demand: Demand) -> Result<(), FileError> {
    check_place_unless(path, demand, refuse_foreign)
}

/// Not even a dead one is taken from another user, nor a living one spoken to. Not from root either: root's clients would
/// come to us.
fn refuse_foreign(spot: &Spot) -> Result<(), FileCause> {
    match spot.look()?.map(|found| (found.meta().file_type(), found.meta().uid())) {
        Some((file_type, uid)) if file_type.is_socket() && uid != geteuid().as_raw() => {
            Err(FileCause::ForeignSocket { uid, hint: "choose another path with -d" })
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;

    use nix::unistd::{Uid, chown};
    use tempfile::TempDir;

    use super::*;
    use crate::files::unix_socket::{remove_socket, vacancy};
    use crate::sys::socket::is_accepting;
    use crate::sys::testing::{LIMIT, is_root, wait_until};

    fn place() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("einhorn.sock");
        (dir, path)
    }

    fn bind_own(path: &Path) -> Result<(OwnedFd, FileId), FileError> {
        bind_control_socket(path, Access::OWN, Demand::Trusted)
    }

    fn refusal(path: &Path) -> FileCause {
        bind_own(path).unwrap_err().cause
    }

    #[test]
    fn the_socket_is_for_its_user_and_never_waits() {
        let (_dir, path) = place();
        let (fd, id) = bind_own(&path).unwrap();
        assert!(is_accepting(fd.as_fd()).unwrap());
        let meta = fs::symlink_metadata(&path).unwrap();
        assert_eq!((meta.mode() & 0o7777, FileId::of(&meta)), (0o600, id));
        UnixStream::connect(&path).unwrap();
        let listener = UnixListener::from(fd);
        listener.accept().unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(refusal(&path), FileCause::InUse);
        assert!(id.stands_at(&path));
        remove_socket(&path, id).unwrap();
        assert!(!path.exists());
    }

    fn is_stale(path: &Path) -> bool {
        let spot = Spot::find(path, Demand::Trusted).unwrap();
        matches!(vacancy(path, &spot), Ok(Some(_)))
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let (_dir, path) = place();
        let (first, first_id) = bind_own(&path).unwrap();
        drop(first);
        // A child that another test has just forked may hold the descriptor until its exec.
        assert!(wait_until(LIMIT, || is_stale(&path)));
        // Keeps the inode number from being given to the second.
        let kept = path.with_extension("kept");
        fs::hard_link(&path, kept).unwrap();
        let (_second, second_id) = bind_own(&path).unwrap();
        remove_socket(&path, first_id).unwrap();
        assert!(second_id.stands_at(&path));
    }

    #[test]
    fn another_users_socket_is_refused_and_stays() {
        if !is_root() {
            return;
        }
        let (_dir, path) = place();
        drop(UnixListener::bind(&path).unwrap());
        chown(&path, Some(Uid::from_raw(12345)), None).unwrap();
        let refused = bind_own(&path).unwrap_err().to_string();
        assert!(refused.ends_with("there is a socket of uid 12345, choose another path with -d"), "{refused}");
        assert!(path.exists());
    }

    #[test]
    fn a_file_is_refused_and_stays() {
        let (_dir, path) = place();
        fs::write(&path, "precious").unwrap();
        assert_eq!(refusal(&path), FileCause::NotASocket { kind: "a regular file" });
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn an_unprotected_directory_is_refused() {
        let (dir, path) = place();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(refusal(&path), FileCause::Directory(_)));
        assert!(!path.exists());
    }
}
