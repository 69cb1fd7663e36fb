//! The file of the master's control socket: for its own user only, and under the master's lock. Removes nothing but a
//! dead socket of its own user's; decides nothing about who may speak.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use nix::unistd::geteuid;

use crate::sys::errno::errno_of;
use crate::sys::fd::Blocking;
use crate::sys::place::{FileId, check_directory};
use crate::sys::unix_socket::{Occupant, UnixSocketCause, UnixSocketError, bind_and_listen, check_length, occupant};

/// Who may connect, as the file's mode and group say: connecting needs the right to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub mode: u32,
    /// None: the group that a new file has.
    pub group: Option<u32>,
}

impl Access {
    /// Ourselves and root.
    pub const OWN: Self = Self { mode: 0o600, group: None };
}

const BACKLOG: i32 = 128;

/// Binds the control socket: listening, non-blocking, closed to others until its group is set. The caller holds the lock, so that of two masters only one
/// comes here at a time. The id is for [`remove_control_socket`].
pub fn bind_control_socket(path: &Path, access: Access) -> Result<(OwnedFd, FileId), UnixSocketError> {
    bind(path, access).map_err(|cause| UnixSocketError { path: path.to_owned(), cause })
}

/// Removes the file if it still is the one that was bound; another master's stays.
pub fn remove_control_socket(path: &Path, id: FileId) -> io::Result<()> {
    if id.stands_at(path) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Says who may connect. The group comes before the mode, which must not be meant for another group even for a moment.
pub fn set_access(path: &Path, access: Access) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(Access::OWN.mode))?;
    lchown(path, None, access.group)?;
    fs::set_permissions(path, Permissions::from_mode(access.mode))
}

fn bind(path: &Path, access: Access) -> Result<(OwnedFd, FileId), UnixSocketCause> {
    check_length(path)?;
    check_directory(path).map_err(UnixSocketCause::Directory)?;
    refuse_foreign(path)?;
    let stale = match occupant(path)? {
        Occupant::Nobody => None,
        Occupant::Stale(id) => Some(id),
        Occupant::Listener => return Err(UnixSocketCause::InUse),
        Occupant::NotASocket { kind } => return Err(UnixSocketCause::NotASocket { kind }),
    };
    let fd = bind_and_listen(path, stale, Access::OWN.mode, BACKLOG, Blocking::NonBlocking)?;
    let failed = |error| UnixSocketCause::System(errno_of(&error));
    let meta = fs::symlink_metadata(path).map_err(failed)?;
    let id = FileId::of(&meta);
    if let Err(error) = set_access(path, access) {
        // Nobody may find a socket there that is never served.
        let _gone_or_not = remove_control_socket(path, id);
        return Err(failed(error));
    }
    Ok((fd, id))
}

/// Not even a dead one is taken from another user, nor a living one spoken to. Not from root either: root's clients would
/// come to us.
fn refuse_foreign(path: &Path) -> Result<(), UnixSocketCause> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() && meta.uid() != geteuid().as_raw() => {
            Err(UnixSocketCause::Foreign { uid: meta.uid(), hint: "choose another path with -d" })
        }
        // What else there is or is not, is for the occupant to say.
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;

    use nix::unistd::{Uid, chown};
    use tempfile::TempDir;

    use super::*;
    use crate::sys::socket::is_accepting;
    use crate::sys::testing::{LIMIT, is_root, wait_until};

    fn place() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("einhorn.sock");
        (dir, path)
    }

    fn refusal(path: &Path) -> UnixSocketCause {
        bind_control_socket(path, Access::OWN).unwrap_err().cause
    }

    #[test]
    fn the_socket_is_for_its_user_and_never_waits() {
        let (_dir, path) = place();
        let (fd, id) = bind_control_socket(&path, Access::OWN).unwrap();
        assert!(is_accepting(fd.as_fd()).unwrap());
        let meta = fs::symlink_metadata(&path).unwrap();
        assert_eq!((meta.mode() & 0o7777, FileId::of(&meta)), (0o600, id));
        UnixStream::connect(&path).unwrap();
        let listener = UnixListener::from(fd);
        listener.accept().unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(refusal(&path), UnixSocketCause::InUse);
        assert!(id.stands_at(&path));
        remove_control_socket(&path, id).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let (_dir, path) = place();
        let (first, first_id) = bind_control_socket(&path, Access::OWN).unwrap();
        drop(first);
        // A child that another test has just forked may hold the descriptor until its exec.
        assert!(wait_until(LIMIT, || matches!(occupant(&path), Ok(Occupant::Stale(_)))));
        // Keeps the inode number from being given to the second.
        let kept = path.with_extension("kept");
        fs::hard_link(&path, kept).unwrap();
        let (_second, second_id) = bind_control_socket(&path, Access::OWN).unwrap();
        remove_control_socket(&path, first_id).unwrap();
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
        let refused = bind_control_socket(&path, Access::OWN).unwrap_err().to_string();
        assert!(refused.ends_with("there is a socket of uid 12345, choose another path with -d"), "{refused}");
        assert!(path.exists());
    }

    #[test]
    fn a_file_is_refused_and_stays() {
        let (_dir, path) = place();
        fs::write(&path, "precious").unwrap();
        assert_eq!(refusal(&path), UnixSocketCause::NotASocket { kind: "a regular file" });
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn an_unprotected_directory_is_refused() {
        let (dir, path) = place();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(refusal(&path), UnixSocketCause::Directory(_)));
        assert!(!path.exists());
    }
}
