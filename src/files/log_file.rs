//! The file of the log. It is opened again and again, for it may have been renamed meanwhile. What is there may be of another mode, as a
//! rotating program has made it; but no other user may have put it there.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::files::directory::Demand;
use crate::files::error::{FileCause, FileError};
use crate::files::path_trust::Mistrust;
use crate::files::room::check_writable;
use crate::files::spot::Spot;

/// Of one that is made; without what the umask takes away.
const MODE: u32 = 0o640;

/// Opens it to be written at its end, and makes it if there is none.
///
/// # Errors
/// The system refuses it; it is no file of this user's or of root's, or another user could exchange it.
pub fn open(path: &Path) -> Result<File, FileError> {
    let place = Spot::find(path, Demand::Trusted).map_err(FileCause::Directory);
    place.and_then(|place| append(&place)).map_err(|cause| FileError::new("write the log", path, cause))
}

/// What can be known of it without making it.
///
/// # Errors
/// As [`open`].
pub fn check(path: &Path) -> Result<(), FileError> {
    check_writable(path).map_err(|cause| FileError::new("write the log", path, cause))
}

fn append(place: &Spot) -> Result<File, FileCause> {
    let (file, meta) = place.open_trusted(OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT, MODE)?;
    // Another user may have linked a file of ours there.
    if meta.nlink() > 1 { Err(Mistrust::HardLinked.into()) } else { Ok(file) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn it_is_made_or_written_at_its_end_and_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.log");
        open(&path).unwrap().write_all(b"one\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o137, 0);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        open(&path).unwrap().write_all(b"two\n").unwrap();
        assert_eq!(
            (fs::read_to_string(&path).unwrap(), fs::metadata(&path).unwrap().mode() & 0o777),
            ("one\ntwo\n".into(), 0o644)
        );
    }

    #[test]
    fn what_another_may_have_put_there_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("web.log"), dir.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        for plant in [
            |victim: &Path, path: &Path| symlink(victim, path),
            |victim: &Path, path: &Path| fs::hard_link(victim, path),
        ] {
            plant(&victim, &path).unwrap();
            let refusal = open(&path).unwrap_err().to_string();
            assert!(refusal.starts_with(&format!("cannot write the log {}: ", path.display())), "{refusal}");
            fs::remove_file(&path).unwrap();
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(check(&path), Ok(()));
        fs::create_dir(&path).unwrap();
        assert!(check(&path).unwrap_err().to_string().ends_with("it is a directory"));
        assert!(
            open(&dir.path().join("missing/web.log")).unwrap_err().to_string().ends_with("no such file or directory")
        );
    }
}
