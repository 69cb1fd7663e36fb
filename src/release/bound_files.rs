//! The files of the unix sockets that this master has bound. At its end none may stay, whether a version holds the socket at that
//! moment or the job that prepares one. So the list of them is shared, and closed before the end.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::exit_code::Problem;
use crate::files::unix_socket::remove_socket;
use crate::sys::file_id::FileId;

/// A socket's file, where it was bound.
pub(crate) type BoundFile = (PathBuf, FileId);

/// One list for the whole master. The lock is held while a socket is bound, so that no file is made unseen.
#[derive(Clone, Debug, Default)]
pub(crate) struct BoundFiles(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    files: Vec<BoundFile>,
    /// Of these, those that were adopted, until the start has succeeded: the workers that it has found serve there.
    adopted: Vec<BoundFile>,
    stage: Stage,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Running,
    /// No further file may be made.
    Ending,
}

impl BoundFiles {
    /// Has a socket bound, and remembers its file.
    ///
    /// # Errors
    /// What `bind` says, or that the master is ending.
    pub(crate) fn make<T>(
        &self,
        bind: impl FnOnce() -> Result<(T, BoundFile), Problem>,
    ) -> Result<(T, BoundFile), Problem> {
        let mut known = self.lock();
        if known.stage == Stage::Ending {
            return Err("the master is ending".to_owned().into());
        }
        let (made, file) = bind()?;
        known.files.push(file.clone());
        Ok((made, file))
    }

    /// One that another image of the master has bound, or a master that was killed.
    pub(crate) fn adopt(&self, file: &BoundFile) {
        let mut known = self.lock();
        known.files.push(file.clone());
        known.adopted.push(file.clone());
    }

    /// To be called when the start has succeeded: from now on they go like the others.
    pub(crate) fn own_adopted(&self) {
        self.lock().adopted.clear();
    }

    /// Removes the file of a socket that is to be closed. One that cannot be removed is tried again at the end.
    pub(crate) fn remove(&self, file: &BoundFile) {
        let mut known = self.lock();
        if known.stage == Stage::Ending || known.adopted.contains(file) {
            return;
        }
        if let Some(at) = known.files.iter().position(|other| other == file) {
            if remove(file) == Removal::Done {
                known.files.swap_remove(at);
            }
        }
    }

    /// To be called at the end of the master: removes all, and lets no further one be made. What cannot be removed, as for want of
    /// a descriptor, stays in the list.
    pub(crate) fn remove_all(&self) {
        let mut known = self.lock();
        known.stage = Stage::Ending;
        known.files.retain(|(path, id)| remove_socket(path, *id).is_err());
    }

    /// To be called when nothing else is open any more: tries the others again, and tells which ones stay.
    pub(crate) fn remove_the_rest(&self) {
        self.lock().remove_the_rest();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn remove_the_rest(&mut self) {
        for file in self.files.drain(..) {
            let _it_was_said = remove(&file);
        }
    }
}

/// Of a start that has failed.
impl Drop for Known {
    fn drop(&mut self) {
        let adopted = std::mem::take(&mut self.adopted);
        self.files.retain(|file| !adopted.contains(file));
        self.remove_the_rest();
    }
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Removal {
    Done,
    /// It was said why.
    Failed,
}

fn remove((path, id): &BoundFile) -> Removal {
    match remove_socket(path, *id) {
        Ok(()) => Removal::Done,
        Err(error) => {
            log::warn!("cannot remove {}: {error}", path.display());
            Removal::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn at_the_end_all_go_and_no_further_one_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let files = BoundFiles::default();
        let bind = |name: &str| {
            let path = dir.path().join(name);
            files.make(|| {
                let listener = UnixListener::bind(&path).map_err(|error| error.to_string())?;
                Ok((listener, (path.clone(), FileId::of(&fs::metadata(&path).unwrap()))))
            })
        };
        let (closed, open) = (bind("closed").unwrap(), bind("open").unwrap());
        files.remove(&closed.1);
        assert!(!dir.path().join("closed").exists() && dir.path().join("open").exists());
        files.remove_all();
        assert_eq!(bind("late").map(|_| ()), Err("the master is ending".to_owned().into()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        drop(open);
    }
}
