//! The files that a master owns while it lives: its lock, the control socket's, and the pid file. Claims them in the order in
//! which others could be disturbed, hands them on, and removes what is its own at the end.

use std::path::{Path, PathBuf};

use crate::base::Pid;
use crate::base::exit_code::Problem;
use crate::config::{self, Config, Directory};
use crate::control::socket_file::SocketFile;
use crate::files::control_socket::{Access, bind_control_socket};
use crate::files::directory::Demand;
use crate::files::error::{FileCause, FileError};
use crate::files::lockfile::Lock;
use crate::files::path_trust::other_owner;
use crate::files::pidfile::{PidFile, Restored};
use crate::files::unix_socket::{check_length, remove_socket};
use crate::supervisor::process::own_pid;
use crate::sys::file_id::FileId;

/// The files that a master owns while it lives. They go with it, except for the lock: another master may hold it open.
pub(crate) struct Files {
    socket_path: PathBuf,
    socket_id: FileId,
    pid_file: Option<PidFile>,
    /// None: the image before had let go of it, and another master has it now.
    lock: Option<Lock>,
}

impl Files {
    /// Those that another image of the master has claimed.
    pub(crate) fn adopt(socket: (PathBuf, FileId), lock: Option<Lock>, pid_file: Option<PidFile>) -> Self {
        let (socket_path, socket_id) = socket;
        Self { socket_path, socket_id, pid_file, lock }
    }

    /// Claims the lock and the socket. Lock first: under it, no other master of ours looks for stale sockets.
    pub(crate) fn claim(config: &Config, directory: &Directory, access: Access) -> Result<(Self, SocketFile), Problem> {
        let acquire = if config.adopts() { Lock::acquire_of_dying } else { Lock::acquire };
        let lock = acquire(&config::lock_path(config, directory));
        let lock = lock.map_err(|error| {
            let is_default = config.lockfile.is_none() && config.socket_path.is_none();
            let hint = hint_of_name(&error.path).filter(|_| is_default);
            refused(&error, hint)
        })?;
        let socket_path = config::socket_path(config, directory);
        let (listener, socket_id) = bind_control_socket(&socket_path, access, Demand::Trusted)?;
        let files = Self { socket_path: socket_path.clone(), socket_id, pid_file: None, lock: Some(lock) };
        let socket = SocketFile::new(socket_path, access, Demand::Trusted, listener, socket_id);
        Ok((files, socket))
    }

    /// A pid file that another living master holds stays its own: two that differ in `-d` alone both run, as with einhorn.
    pub(crate) fn write_pid_file(&mut self, path: &Path, config: &Config) -> Result<(), Problem> {
        self.pid_file = match PidFile::write(path, own_pid()) {
            Ok(file) => Some(file),
            Err(error) if matches!(error.cause, FileCause::OfAnotherMaster { .. }) => {
                log::warn!("{error}; going on without a pid file (-e gives this master its own)");
                None
            }
            Err(error) => return Err(refused(&error, hint_of_name(path).filter(|_| config.pidfile.is_none()))),
        };
        Ok(())
    }

    pub(crate) fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    pub(crate) fn pid_file(&self) -> Option<&PidFile> {
        self.pid_file.as_ref()
    }

    /// Writes the pid file anew if something has happened to it.
    pub(crate) fn restore_pid_file(&mut self, pid: Pid) -> Result<Restored, FileError> {
        self.pid_file.as_mut().map_or(Ok(Restored::Intact), |file| file.restore(pid))
    }

    /// As the user gave it.
    pub(crate) fn socket_path(&self) -> &Path {
        &self.socket_path
    }

    /// The control socket was made anew.
    pub(crate) fn socket_moved(&mut self, id: FileId) {
        self.socket_id = id;
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.pid_file.take().map(PidFile::remove) {
            log::warn!("cannot remove the pid file: {error}");
        }
        if let Err(error) = remove_socket(&self.socket_path, self.socket_id) {
            log::warn!("cannot remove {}: {error}", self.socket_path.display());
        }
    }
}

fn refused(error: &FileError, hint: Option<String>) -> Problem {
    Problem { code: error.cause.exit_code(), message: format!("{error}{}", hint.unwrap_or_default()) }
}

/// What helps where another user's master has, or had, the default names. Its lock stays there when it ends.
pub(crate) fn hint_of_name(path: &Path) -> Option<String> {
    let owner = other_owner(path)?;
    Some(format!("; the file is one of the user with uid {owner}: -c NAME gives this master files of its own"))
}

/// A default directory may be too long for a socket. And one file cannot be two of them; what would come of it is a puzzling error of
/// our own making.
pub(crate) fn check_paths(config: &Config, directory: &Directory) -> Result<(), Problem> {
    let path = config::socket_path(config, directory);
    check_length(&path).map_err(|cause| FileError::new("bind", &path, cause))?;
    let socket = ("control socket", path);
    let lock = ("lock file", config::lock_path(config, directory));
    let pid_file = ("pid file", config::pid_path(config, directory));
    let trace = config.trace.iter().map(|path| ("trace", path.clone()));
    let mut files: Vec<_> = [socket, lock, pid_file].into_iter().chain(trace).collect();
    while let Some((what, path)) = files.pop() {
        if let Some((other, _)) = files.iter().find(|(_, other)| *other == path) {
            return Err(Problem::of_option(format!("cannot use {} as {other} and {what}", path.display())));
        }
    }
    Ok(())
}
