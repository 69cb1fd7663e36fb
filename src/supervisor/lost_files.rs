//! The files beside the control socket's that something may delete or change while the master runs: those of bound unix sockets, and the
//! pid file. The control thread watches them, and says when to look.
//!
//! A socket whose file is gone cannot be given another: a new one is needed, and workers that accept on it, which only an upgrade brings.
//! None is begun here, for it would start what may be half deployed.

use std::path::{Path, PathBuf};

use log::Level;

use crate::config::Bind;
use crate::files::pidfile::Restored;
use crate::pool::Manner;
use crate::supervisor::master::Supervisor;
use crate::supervisor::process::own_pid;

impl Supervisor {
    /// Has those watched that there are now.
    pub(crate) fn watch_files(&mut self) {
        let of_sockets = self.modern_listeners().iter().filter_map(|listener| listener.file());
        let paths: Vec<PathBuf> = of_sockets.map(|(path, _)| path.clone()).chain(self.pid_path()).collect();
        if paths != self.lookout.watched {
            self.lookout.watched.clone_from(&paths);
            self.threads.control.watch(paths);
        }
    }

    fn pid_path(&self) -> Option<PathBuf> {
        self.files.pid_file().map(|file| file.path().to_owned())
    }

    /// Something may have happened to one of them.
    pub(crate) fn look_at_files(&mut self) {
        if self.pool.is_stopping() {
            return;
        }
        let binds: Vec<Bind> = self.config().binds.clone();
        for (at, bind) in binds.iter().enumerate() {
            self.look_at_socket(at, bind);
        }
        self.look_at_pid_file();
    }

    fn look_at_socket(&mut self, at: usize, bind: &Bind) {
        let Some(listener) = self.modern_listeners().get(at).cloned() else { return };
        let Some((path, _)) = listener.file() else { return };
        let wanted = listener.options().mode;
        match listener.file_mode() {
            None => self.lookout.complain(
                Level::Error,
                path,
                format!(
                    "the file of {bind} was removed: no client can connect to it any more; an upgrade makes it anew, with workers that \
                     accept there"
                ),
            ),
            Some(mode) if mode == wanted => drop(self.lookout.told.remove(path)),
            Some(mode) => {
                let changed = format!("the mode of {bind} was changed from 0{wanted:o} to 0{mode:o}");
                let level = Level::Warn;
                // Where no mode is configured, a script that starts the service may have set it.
                let is_configured = matches!(bind, Bind::Unix { mode: Some(_), .. });
                match is_configured.then(|| listener.restore_mode()) {
                    None => self.lookout.complain(level, path, format!("{changed}; ,mode=0{mode:o} makes it last")),
                    Some(Ok(())) => log::warn!("{changed}, set it back"),
                    Some(Err(error)) => self.lookout.complain(level, path, format!("{changed}: {error}")),
                }
            }
        }
    }

    fn look_at_pid_file(&mut self) {
        let Some(path) = self.pid_path() else { return };
        // einhorn leaves it as it is, and scripts may count on that.
        match self.pool.settings().manner {
            Manner::Own => self.restore_pid_file(&path),
            Manner::Einhorn if self.files.pid_file().is_some_and(|file| !file.is_intact(own_pid())) => {
                let complaint = format!("the pid file {} was removed or changed", path.display());
                self.lookout.complain(Level::Warn, &path, complaint);
            }
            Manner::Einhorn => drop(self.lookout.told.remove(&path)),
        }
    }

    fn restore_pid_file(&mut self, path: &Path) {
        match self.files.restore_pid_file(own_pid()) {
            Ok(Restored::Intact) => drop(self.lookout.told.remove(path)),
            Ok(Restored::Written) => {
                log::warn!("the pid file {} was removed or changed, wrote it anew", path.display());
                // It may be another file now.
                self.lookout.watched.clear();
            }
            Err(error) => {
                self.lookout.complain(Level::Error, path, format!("the pid file was removed or changed: {error}"));
            }
        }
    }

    /// The binds whose files are gone, so that no client can connect.
    pub(crate) fn lost_sockets(&self) -> Vec<String> {
        let lost = self.modern_listeners().iter().filter(|it| it.file().is_some() && it.file_mode().is_none());
        lost.map(|listener| listener.bind.to_string()).collect()
    }
}
