//! Tells when a file is unlinked or renamed, or a directory or a symbolic link that its path leads through, without looking at
//! them again and again: inotify(7) on the file, the directories and the links themselves, not on what happens in the
//! directories, of which /tmp has much to tell.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::files::directory::places_on;

/// A watch on one file. The last unlink shows as a change of the link count: the file itself lives while it is open.
pub struct FileWatch(Inotify);

impl FileWatch {
    /// # Errors
    /// There is no descriptor, no watch or no such file.
    pub fn new(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let watch = Self(inotify);
        watch.follow(path)?;
        Ok(watch)
    }

    /// A watch on these files, also on what is written to them. What is not there is passed over.
    ///
    /// # Errors
    /// There is no descriptor or no watch to have.
    pub fn of(paths: &[PathBuf]) -> io::Result<Self> {
        let watch = Self(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?);
        watch.follow_all(paths);
        Ok(watch)
    }

    /// Watches what is at these paths now, too.
    pub fn follow_all(&self, paths: &[PathBuf]) {
        for path in paths {
            let _it_may_not_be_there = self.follow(path);
        }
    }

    /// Watches the file that is at `path` now, too, and what the path leads through now. What cannot be watched on the way is
    /// passed over.
    ///
    /// # Errors
    /// The file cannot be watched.
    pub fn follow(&self, path: &Path) -> io::Result<()> {
        let gone = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        // Of a link or a file that has no name any more, the change of the link count is told.
        let itself = gone | AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_DONT_FOLLOW;
        self.0.add_watch(path, itself)?;
        let mut places = places_on(path);
        places.pop();
        // Also as the path calls them, in case that it cannot be walked.
        places.extend(path.ancestors().skip(1).filter(|place| !place.as_os_str().is_empty()).map(Path::to_owned));
        for place in places {
            let is_link = std::fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_symlink());
            if is_link {
                let _it_is_not_watched = self.0.add_watch(&place, itself);
            }
            let _it_is_not_watched = self.0.add_watch(&place, gone | AddWatchFlags::IN_ONLYDIR);
        }
        Ok(())
    }

    /// Forgets what was told, so that it is not readable until something more happens.
    pub fn drain(&self) {
        while self.0.read_events().is_ok_and(|events| !events.is_empty()) {}
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
