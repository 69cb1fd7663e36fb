//! The control socket's file, which something may delete (a cleaner of /tmp): then no client could connect any more, and manual acks
//! would never come. It is watched, not polled, and bound anew; while that fails, it is tried twice a second.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::base::Mono;
use crate::files::control_socket::{Access, bind_control_socket};
use crate::files::directory::Demand;
use crate::files::file_watch::FileWatch;
use crate::files::unix_socket::set_access;
use crate::sys::clock;
use crate::sys::file_id::FileId;

/// How long to wait after a failed attempt, as while its directory is missing or another file is in its place.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How often the file is looked at where it cannot be watched.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// The listening socket and its file.
pub(crate) struct SocketFile {
    path: PathBuf,
    access: Access,
    /// Of the file's directory, whenever it is made anew.
    demand: Demand,
    listener: OwnedFd,
    id: FileId,
    /// None where the system has no watch to give: then the file is looked at from time to time.
    watch: Option<FileWatch>,
    again: Option<Mono>,
    loss: Loss,
    retired: Retired,
}

/// What was said of a file that is gone: one line when it cannot be made anew, and one when it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Nothing, or it is back.
    Unsaid,
    Said,
}

/// Said at the very end: the file goes for good.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retired(Arc<AtomicBool>);

impl Retired {
    /// To be called before the file is removed.
    pub(crate) fn retire(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl SocketFile {
    /// `listener` was bound at `path` and made the file `id`, now or in the image before.
    pub(crate) fn new(path: PathBuf, access: Access, demand: Demand, listener: OwnedFd, id: FileId) -> Self {
        let (watch, again) = watch(&path, id);
        let (loss, retired) = (Loss::Unsaid, Retired::default());
        Self { path, access, demand, listener, id, watch, again, loss, retired }
    }

    pub(crate) fn retired(&self) -> Retired {
        self.retired.clone()
    }

    pub(crate) fn listener_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// Readable when something has happened to the file.
    pub(crate) fn watch_fd(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.again
    }

    /// Binds the socket anew if its file is gone; says which file it is now. Connections that were made stay.
    pub(crate) fn restore(&mut self) -> Option<FileId> {
        match &self.watch {
            Some(watch) => {
                watch.drain();
                // Something else may stand on the way now, though it leads to the same file.
                let followed = watch.follow(&self.path);
                self.again = followed.err().map(|_| clock::now().after(LOOK_PAUSE));
            }
            None => self.again = Some(clock::now().after(LOOK_PAUSE)),
        }
        // In this order: the end of the master is announced before the file is removed.
        if self.id.stands_at(&self.path) || self.retired.0.load(Ordering::SeqCst) {
            return None;
        }
        match self.bind() {
            Ok(id) => {
                log::warn!("the control socket {} was removed, made it anew", self.path.display());
                self.loss = Loss::Unsaid;
                Some(id)
            }
            Err(error) => {
                if self.loss == Loss::Unsaid {
                    let path = self.path.display();
                    log::error!("the control socket {path} was removed: {error}; trying again twice a second");
                }
                self.loss = Loss::Said;
                self.again = Some(clock::now().after(RETRY_PAUSE));
                None
            }
        }
    }

    /// Gives the file another mode and group, now and whenever it is made anew.
    pub(crate) fn set_access(&mut self, access: Access) {
        if self.access == access {
            return;
        }
        self.access = access;
        if let Err(error) = set_access(&self.path, self.id, access) {
            log::error!("cannot change who may connect to {}: {error}", self.path.display());
        }
    }

    fn bind(&mut self) -> Result<FileId, String> {
        let bound = bind_control_socket(&self.path, self.access, self.demand);
        let (listener, id) = bound.map_err(|error| error.to_string())?;
        self.listener = listener;
        self.id = id;
        (self.watch, self.again) = watch(&self.path, id);
        Ok(id)
    }
}

/// A watch on the file, or else when to look at it. At once if it is gone already, for then nothing happens to it any more.
fn watch(path: &Path, id: FileId) -> (Option<FileWatch>, Option<Mono>) {
    let watch = FileWatch::new(path);
    if !id.stands_at(path) {
        return (watch.ok(), Some(clock::now()));
    }
    match watch {
        Ok(watch) => (Some(watch), None),
        Err(error) => {
            log::warn!("cannot watch {}, looking at it twice a second instead: {error}", path.display());
            (None, Some(clock::now().after(LOOK_PAUSE)))
        }
    }
}
