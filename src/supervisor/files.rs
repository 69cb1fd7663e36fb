//! The files that a master owns while it lives: its lock, the control socket's, and the pid file. Claims them in the order in
//! which others could be disturbed, hands them on, and removes what is its own at the end.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::base::Pid;
use crate::config::{self, Config, Directory};
use crate::files::control_socket::{Access, bind_control_socket};
use crate::files::directory::Demand;
use crate::files::lockfile::Lock;
use crate::files::pidfile::{PidFile, PidFileCause};
use crate::files::tmpdir::temporary_directory;
use crate::files::unix_socket::remove_socket;
use crate::supervisor::environment::Environment;
use crate::sys::file_id::FileId;
use crate::threads::socket_file::SocketFile;

/// Where a service manager has made directories for this service alone.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// The files that a master owns while it lives. They go with it, except for the lock: another master may hold it open.
pub(in crate::supervisor) struct Files {
    socket_path: PathBuf,
    socket_id: FileId,
    pid_file: Option<PidFile>,
    /// None: whoever was here before had let go of it, and another has it now.
    lock: Option<Lock>,
}

impl Files {
    /// Those that another image of the master has claimed.
    pub(in crate::supervisor) fn adopt(
        socket: (PathBuf, FileId),
        lock: Option<Lock>,
        pid_file: Option<PidFile>,
    ) -> Self {
        let (socket_path, socket_id) = socket;
        Self { socket_path, socket_id, pid_file, lock }
    }

    /// Claims the lock and the socket. Lock first: under it, nobody else of us looks for stale sockets.
    pub(in crate::supervisor) fn claim(
        config: &Config,
        directory: &Directory,
        access: Access,
    ) -> Result<(Self, SocketFile), String> {
        let lock = Lock::acquire(&config::lock_path(config, directory)).map_err(|error| error.to_string())?;
        let socket_path = config::socket_path(config, directory);
        let bound = bind_control_socket(&socket_path, access, Demand::Trusted);
        let (listener, socket_id) = bound.map_err(|error| error.to_string())?;
        let files = Self { socket_path: socket_path.clone(), socket_id, pid_file: None, lock: Some(lock) };
        let socket = SocketFile::new(socket_path, access, Demand::Trusted, listener, socket_id);
        Ok((files, socket))
    }

    /// A pid file that another living master holds stays its own: two that differ in `-d` alone both run, as with einhorn.
    pub(in crate::supervisor) fn write_pid_file(&mut self, path: &Path) -> Result<(), String> {
        let own_pid = Pid(std::process::id().try_into().unwrap_or(i32::MAX));
        self.pid_file = match PidFile::write(path, own_pid) {
            Ok(file) => Some(file),
            Err(error) if matches!(error.cause, PidFileCause::InUse { .. }) => {
                log::warn!("{error}; going on without a pid file (-e gives this master its own)");
                None
            }
            Err(error) => return Err(error.to_string()),
        };
        Ok(())
    }

    pub(in crate::supervisor) fn lock(&self) -> Option<&Lock> {
        self.lock.as_ref()
    }

    pub(in crate::supervisor) fn pid_file(&self) -> Option<&PidFile> {
        self.pid_file.as_ref()
    }

    /// As the user gave it.
    pub(in crate::supervisor) fn socket_path(&self) -> &Path {
        &self.socket_path
    }

    /// The control socket was made anew.
    pub(in crate::supervisor) fn socket_moved(&mut self, id: FileId) {
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

/// One file cannot be two of them; what would come of it is a puzzling error of our own making.
pub(in crate::supervisor) fn tell_apart(config: &Config, directory: &Directory) -> Result<(), String> {
    let socket = ("control socket", config::socket_path(config, directory));
    let lock = ("lock file", config::lock_path(config, directory));
    let pid_file = ("pid file", config::pid_path(config, directory));
    for (one, other) in [(&socket, &lock), (&socket, &pid_file), (&lock, &pid_file)] {
        if one.1 == other.1 {
            return Err(format!("cannot use {} as {} and {}", one.1.display(), one.0, other.0));
        }
    }
    Ok(())
}

/// Where the files go that were given no path. einhorn's command line means einhorn's places; a service that is a file has the
/// directory that its service manager made for it.
pub(in crate::supervisor) fn directory_of(config: &Config, environ: &Environment) -> Result<Directory, String> {
    let born_with = |name: &str| environ.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    if let Some(own) = runtime_directory(born_with(RUNTIME_DIRECTORY)).filter(|_| config.given.is_given("config")) {
        return Ok(Directory::Own(own));
    }
    temporary_directory(born_with).map(Directory::Shared).map_err(|error| error.to_string())
}

/// The first of those that it names, see systemd.exec(5).
fn runtime_directory(names: Option<OsString>) -> Option<PathBuf> {
    let names = names?.into_vec();
    let first = names.split(|byte| *byte == b':').next()?;
    Some(PathBuf::from(OsStr::from_bytes(first))).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_runtime_directory_counts() {
        let first = |text: &str| runtime_directory(Some(text.into()));
        assert_eq!(first("/run/web"), Some("/run/web".into()));
        assert_eq!(first("/run/web:/run/web/other"), Some("/run/web".into()));
        assert_eq!([first(""), first("run/web"), runtime_directory(None)], [None, None, None]);
    }
}
