//! Tells when a file is unlinked or renamed, or a directory that it lies in, without looking at them again and again:
//! inotify(7) on the file and on the directories themselves, not on what happens in them, of which /tmp has much to tell.

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

    /// Watches the file that is at `path` now, too. A directory that cannot be watched is passed over.
    pub fn follow(&self, path: &Path) -> io::Result<()> {
        let gone = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        self.0.add_watch(path, gone | AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_DONT_FOLLOW)?;
        for directory in path.ancestors().skip(1).filter(|directory| !directory.as_os_str().is_empty()) {
            let _it_is_not_watched = self.0.add_watch(directory, gone | AddWatchFlags::IN_ONLYDIR);
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
