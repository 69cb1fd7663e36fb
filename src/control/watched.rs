//! The files that the main thread wants to hear of. It looks at none: that something has happened is passed on.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use crate::files::file_watch::FileWatch;

#[derive(Default)]
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    watch: Option<FileWatch>,
    /// Something may have happened before the watch began.
    is_new: bool,
}

impl Watched {
    pub(crate) fn begin(paths: Vec<PathBuf>) -> Self {
        if paths.is_empty() {
            return Self::default();
        }
        let watch = FileWatch::of(&paths);
        if let Err(error) = &watch {
            log::warn!("cannot watch the files of sockets and pid: {error}");
        }
        Self { paths, watch: watch.ok(), is_new: true }
    }

    /// Readable when something has happened.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Whether the main thread is to look; `is_readable` is what was found of [`Self::fd`].
    pub(crate) fn take_change(&mut self, is_readable: bool) -> bool {
        if let Some(watch) = self.watch.as_ref().filter(|_| is_readable) {
            watch.drain();
            watch.follow_all(&self.paths);
        }
        std::mem::take(&mut self.is_new) || is_readable
    }
}
