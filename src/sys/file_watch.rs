//! Tells when a file is unlinked or renamed, without looking at it again and again: inotify(7) on the file itself, since a
//! directory such as /tmp has much to tell that concerns nobody here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// A watch on one file. The last unlink shows as a change of the link count: the file itself lives while it is open.
pub struct FileWatch(Inotify);

impl FileWatch {
    /// Errors: no descriptor, no watch to be had, or no such file.
    pub fn new(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let watch = Self(inotify);
        watch.follow(path)?;
        Ok(watch)
    }

    /// Watches the file that is at `path` now, too.
    pub fn follow(&self, path: &Path) -> io::Result<()> {
        let wanted = AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        self.0.add_watch(path, wanted)?;
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
