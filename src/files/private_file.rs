//! A file that its user alone reads and writes, below that user's home. Makes the directories that are missing. Touches
//! nothing in a directory where another user could exchange it, and nothing through a link: a root who has another user's HOME
//! must not write where that user wants.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags};
use nix::unistd::geteuid;

use crate::files::directory::{Demand, Directory};
use crate::files::error::FileCause;
use crate::files::path_trust::Mistrust;
use crate::files::spot::Spot;
use crate::sys::file_id::FileId;

const MODE: u32 = 0o600;

/// By its group, or by all.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Its place.
pub struct PrivateFile(Spot);

impl PrivateFile {
    /// Makes the directory if need be.
    ///
    /// # Errors
    /// It cannot be had, or is not trusted.
    pub fn at(path: &Path) -> io::Result<Self> {
        let directory = path.parent().ok_or(Errno::EISDIR)?;
        // Below the first that is there and is trusted, no other user can make anything.
        let there = directory.ancestors().find(|ancestor| std::fs::symlink_metadata(ancestor).is_ok());
        if let Some(there) = there {
            Directory::open(there, Demand::Trusted).map_err(io::Error::other)?;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        Ok(Self::in_directory_of(path)?)
    }

    /// The same in a directory that is there.
    ///
    /// # Errors
    /// The directory is not there, or is not trusted.
    pub(crate) fn in_directory_of(path: &Path) -> Result<Self, FileCause> {
        Ok(Self(Spot::find(path, Demand::Trusted)?))
    }

    /// To be read; None: there is none yet.
    ///
    /// # Errors
    /// It cannot be opened, or is not this user's alone.
    pub fn open(&self) -> Result<Option<File>, FileCause> {
        match self.own(OFlag::O_RDONLY) {
            Err(FileCause::System(Errno::ENOENT)) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// To be written at its end; made if there is none.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn append(&self) -> Result<File, FileCause> {
        let file = self.own(OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT)?;
        // It may be older than this rule.
        file.set_permissions(Permissions::from_mode(MODE))?;
        Ok(file)
    }

    /// Gives this file a name with an ending, in the place of what has that name, if it still stands here.
    ///
    /// # Errors
    /// The system refuses it.
    pub(crate) fn set_aside(&self, file: &File, ending: &str) -> io::Result<()> {
        let mut name = OsString::from(self.0.name());
        name.push(ending);
        if self.0.holds(FileId::of(&file.metadata()?)) {
            self.0.rename(&self.0.beside(name), RenameFlags::empty())?;
        }
        Ok(())
    }

    /// Written beside it and renamed, so that it is never half of itself.
    ///
    /// # Errors
    /// The system refuses one of the steps.
    pub fn replace(&self, content: &[u8]) -> io::Result<()> {
        let mut name = OsString::from(self.0.name());
        name.push(".new");
        let new = self.0.beside(name);
        match new.unlink() {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut file = new.open(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL, MODE)?;
        let written = file.write_all(content).and_then(|()| Ok(new.rename(&self.0, RenameFlags::empty())?));
        if written.is_err() {
            let _may_stay = new.unlink();
        }
        written
    }

    /// What stands in it, up to so many bytes. None: there is none.
    ///
    /// # Errors
    /// As [`Self::open`], or other users may write it, or it is longer.
    pub(crate) fn read(&self, bytes_max: u64) -> Result<Option<Vec<u8>>, FileCause> {
        let Some(file) = self.open()? else { return Ok(None) };
        let mode = file.metadata()?.mode() & 0o7777;
        if mode & WRITABLE_BY_OTHERS != 0 {
            return Err(Mistrust::WritableByOthers { mode }.into());
        }
        let mut content = Vec::new();
        file.take(bytes_max + 1).read_to_end(&mut content)?;
        if content.len() as u64 > bytes_max { Err(Errno::EFBIG.into()) } else { Ok(Some(content)) }
    }

    /// That there is none is no error.
    ///
    /// # Errors
    /// The system refuses it.
    pub(crate) fn remove(&self) -> Result<(), FileCause> {
        match self.0.unlink() {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Not even a file of root's, which another user has linked there.
    fn own(&self, flags: OFlag) -> Result<File, FileCause> {
        let (file, meta) = self.0.open_trusted(flags, MODE)?;
        if meta.uid() != geteuid().as_raw() {
            return Err(Mistrust::Foreign { uid: meta.uid() }.into());
        }
        if meta.nlink() > 1 { Err(Mistrust::HardLinked.into()) } else { Ok(file) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    use super::*;
    use crate::sys::testing::is_root;

    #[test]
    fn a_planted_link_is_not_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("history"), dir.path().join("victim"));
        fs::write(&victim, "precious").unwrap();
        for plant in [
            |victim: &Path, path: &Path| symlink(victim, path),
            |victim: &Path, path: &Path| fs::hard_link(victim, path),
        ] {
            plant(&victim, &path).unwrap();
            let file = PrivateFile::at(&path).unwrap();
            assert!(file.append().is_err() && file.open().is_err());
            fs::remove_file(&path).unwrap();
            plant(&victim, &dir.path().join("history.new")).unwrap();
            file.replace(b"new").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "new");
            fs::remove_file(&path).unwrap();
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_ne!(fs::metadata(&victim).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[test]
    fn root_keeps_nothing_in_another_users_home() {
        if !is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        fs::create_dir(&home).unwrap();
        chown(&home, Some(12_345), None).unwrap();
        let refused = PrivateFile::at(&home.join("a/history")).err().map(|error| error.to_string());
        assert_eq!(refused, Some(format!("directory {}: it belongs to uid 12345", home.display())));
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
    }
}
