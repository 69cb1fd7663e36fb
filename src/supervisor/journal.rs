//! Writes the journal (`handover::journal`) beside the lock at each change of what stands in it.

use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::base::{Pid, Version};
use crate::files::private_file::PrivateFile;
use crate::handover::held::NamedFile;
use crate::handover::journal::{Author, Journal, JournalSocket};
use crate::handover::process::Process;
use crate::pool::Pool;
use crate::release::exec_spec::Sockets;
use crate::supervisor::process::own_pid;
use crate::sys::procfs;

/// What is read of one at most; a thousand workers take a quarter of it.
pub(crate) const BYTES_MAX: u64 = 1 << 20;

/// What it was last, and where it is. None: this master writes none.
#[derive(Default)]
pub(crate) struct JournalFile(Option<Place>);

struct Place {
    path: PathBuf,
    author: Author,
    /// None: nothing yet.
    written: Option<(Vec<Line>, Option<Process>)>,
    workers: Vec<Process>,
    has_failed: bool,
}

/// What of a worker is worth a new journal.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Line {
    pid: Pid,
    version: Version,
    acked: bool,
    told: bool,
}

/// Beside the lock.
pub(crate) fn path(lock: &Path) -> PathBuf {
    let mut name = lock.as_os_str().to_owned();
    name.push(".journal");
    PathBuf::from(name)
}

/// None: /proc does not say when this process began, or which boot this is.
pub(crate) fn author() -> Option<Author> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
    let master = Process { pid: own_pid(), began: procfs::began(own_pid())? };
    Some(Author { boot, uid: geteuid().as_raw(), master })
}

impl JournalFile {
    /// Beside the lock that is held.
    pub(crate) fn beside(lock: &Path) -> Self {
        Self(author().map(|author| Place {
            path: path(lock),
            author,
            written: None,
            workers: Vec::new(),
            has_failed: false,
        }))
    }

    /// At a clean end there is nothing to be adopted.
    pub(crate) fn remove(&mut self) {
        let Some(place) = self.0.take() else { return };
        let removed = PrivateFile::in_directory_of(&place.path).and_then(|file| file.remove());
        if let Err(error) = removed {
            log::warn!("cannot remove {}: {error}", place.path.display());
        }
    }
}

impl JournalFile {
    /// Writes it if there is something new in it. What cannot be written is tried again with the next change.
    pub(crate) fn keep(&mut self, pool: &Pool, sockets: &Sockets, holder: Option<Process>) {
        let Some(place) = &mut self.0 else { return };
        let lines = pool.workers().iter().map(|worker| Line {
            pid: worker.pid,
            version: worker.version,
            acked: worker.is_acked(),
            told: worker.is_told(),
        });
        let lines: Vec<Line> = lines.collect();
        if place.written.as_ref() == Some(&(lines.clone(), holder)) {
            return;
        }
        place.workers.retain(|known| lines.iter().any(|line| line.pid == known.pid));
        for line in &lines {
            if place.workers.iter().all(|known| known.pid != line.pid) {
                place.workers.extend(procfs::began(line.pid).map(|began| Process { pid: line.pid, began }));
            }
        }
        let sockets = sockets.listeners.iter().filter_map(|listener| {
            let file = listener.file().map(|(path, id)| NamedFile { path: path.clone(), id: *id });
            Some(JournalSocket {
                inode: listener.inode()?,
                bind: listener.bind.clone(),
                file,
                options: listener.options(),
            })
        });
        let journal =
            Journal::new(place.author.clone(), sockets.collect(), place.workers.clone(), pool.state().clone());
        let journal = journal.with_holder(holder);
        let written = PrivateFile::in_directory_of(&place.path).and_then(|file| Ok(file.replace(&journal.text())?));
        match written {
            Ok(()) => place.has_failed = false,
            Err(error) if !place.has_failed => {
                place.has_failed = true;
                log::warn!("cannot write {}, a next master could not adopt the workers: {error}", place.path.display());
            }
            Err(_) => {}
        }
        place.written = Some((lines, holder));
    }
}
