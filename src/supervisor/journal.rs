//! Writes the journal (`handover::journal`) beside the lock at each change of what stands in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::geteuid;

use crate::base::{Mono, Pid, Version};
use crate::files::private_file::PrivateFile;
use crate::handover::held::NamedFile;
use crate::handover::journal::{Author, Journal, JournalSocket};
use crate::handover::process::Process;
use crate::pool::{Pool, State};
use crate::release::exec_spec::Sockets;
use crate::supervisor::process::own_pid;
use crate::sys::procfs;

/// So many inputs in a row put it off at most.
const PUT_OFF_MAX: u32 = 16;

/// What it was last, and where it is. None: this master writes none.
#[derive(Default)]
pub(crate) struct JournalFile(Option<Place>);

struct Place {
    path: PathBuf,
    author: Author,
    /// None: nothing yet.
    written: Option<Content>,
    /// When each worker began, as long as it is one.
    began: BTreeMap<(Pid, Mono), u64>,
    has_failed: bool,
    /// For how many turns it was not looked whether there is something new.
    put_off: u32,
}

/// What is worth a new journal.
#[derive(PartialEq, Eq)]
struct Content {
    lines: Vec<Line>,
    /// By their addresses in memory.
    listeners: Vec<usize>,
    holder: Option<Process>,
}

/// The same of a worker.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Line {
    pid: Pid,
    /// Another may have the number of one that has ended.
    spawned_at: Mono,
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
            began: BTreeMap::new(),
            has_failed: false,
            put_off: 0,
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

    /// Does [`Self::keep`] if no input waits, which may bring another change: acks of a thousand workers that come together are one write.
    pub(crate) fn keep_later(&mut self, pool: &Pool, sockets: &Sockets, holder: Option<Process>, waiting: usize) {
        let Some(place) = &mut self.0 else { return };
        place.put_off = if waiting == 0 { 0 } else { (place.put_off + 1) % PUT_OFF_MAX };
        if place.put_off == 0 {
            self.keep(pool, sockets, holder);
        }
    }

    /// Does it before workers are told to go: others have acked in their places, and a next master that did not know of these acks would
    /// tell the new workers to go. One step of the pool may tell several groups, one after the other. So each worker that was told since
    /// the last write stands there as not told.
    pub(crate) fn keep_ahead(&mut self, pool: &Pool, sockets: &Sockets, holder: Option<Process>) {
        let Some(place) = &self.0 else { return };
        let lines = place.written.iter().flat_map(|written| &written.lines);
        let told_before: BTreeSet<Pid> = lines.filter(|line| line.told).map(|line| line.pid).collect();
        let mut state = pool.state().clone();
        state.workers.iter_mut().filter(|it| !told_before.contains(&it.pid)).for_each(|it| it.told = None);
        self.write(&state, sockets, holder);
    }

    /// Writes it if there is something new in it. What cannot be written is tried again with the next change.
    pub(crate) fn keep(&mut self, pool: &Pool, sockets: &Sockets, holder: Option<Process>) {
        self.write(pool.state(), sockets, holder);
    }

    fn write(&mut self, state: &State, sockets: &Sockets, holder: Option<Process>) {
        let Some(place) = &mut self.0 else { return };
        let lines = state.workers.iter().map(|worker| Line {
            pid: worker.pid,
            spawned_at: worker.spawned_at,
            version: worker.version,
            acked: worker.is_acked(),
            told: worker.is_told(),
        });
        let lines: Vec<Line> = lines.collect();
        let listeners = sockets.listeners.iter().map(|listener| Arc::as_ptr(listener).addr()).collect();
        let content = Content { lines, listeners, holder };
        if place.written.as_ref() == Some(&content) {
            return;
        }
        let lines = &content.lines;
        let known = |line: &Line| place.began.get(&(line.pid, line.spawned_at)).copied();
        let began = |line: &Line| Some(((line.pid, line.spawned_at), known(line).or_else(|| procfs::began(line.pid))?));
        place.began = lines.iter().filter_map(began).collect();
        let workers = place.began.iter().map(|(&(pid, _), &began)| Process { pid, began });
        let sockets = sockets.listeners.iter().filter_map(|listener| {
            let file = listener.file().map(|(path, id)| NamedFile { path: path.clone(), id: *id });
            Some(JournalSocket {
                inode: listener.inode()?,
                bind: listener.bind.clone(),
                file,
                options: listener.options(),
            })
        });
        let journal = Journal::new(place.author.clone(), sockets.collect(), workers.collect(), state.clone());
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
        place.written = Some(content);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Signal, WorkerIndex};
    use crate::pool::{Settings, Told, Worker};
    use crate::release::bound_files::BoundFiles;

    const NOW: Mono = Mono::from_nanos(1);

    fn pool(told: [bool; 3]) -> Pool {
        let mut state = State::new(Settings::default());
        state.workers = (1000..).zip(told).map(|(pid, told)| worker(pid, told)).collect();
        Pool::restore(state)
    }

    fn worker(pid: i32, told: bool) -> Worker {
        let told = told.then(|| Told { signals: vec![Signal::USR2], first_at: NOW, last_at: NOW, kill_at: None });
        Worker { told, ..Worker::new(Pid(pid), WorkerIndex(0), Version(0), Signal::USR2, NOW) }
    }

    /// Two groups of workers may be told in one step of the pool, and the master may be killed between them.
    #[test]
    fn those_that_are_told_next_do_not_stand_there_as_told() {
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join("lock");
        let sockets = Sockets {
            listeners: Vec::new(),
            releases: BTreeMap::new(),
            left: Vec::new(),
            bound_files: BoundFiles::default(),
        };
        let mut file = JournalFile::beside(&lock);
        let told = || {
            let text = std::fs::read_to_string(path(&lock)).unwrap();
            let document: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            let workers = document["pool"]["workers"].as_array().unwrap();
            workers.iter().map(|worker| !worker["told"].is_null()).collect::<Vec<_>>()
        };
        file.keep(&pool([true, false, false]), &sockets, None);
        file.keep_ahead(&pool([true, true, true]), &sockets, None);
        assert_eq!(told(), [true, false, false]);
        file.keep(&pool([true, true, true]), &sockets, None);
        assert_eq!(told(), [true; 3]);
    }
}
