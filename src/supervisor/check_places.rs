//! What of its files and directories a start, or a worker of another user, could not have: for `--check-config`. Makes nothing.

use std::path::Path;

use nix::errno::Errno;

use crate::base::AckMode;
use crate::base::exit_code::Problem;
use crate::config::{self, Config, Directory};
use crate::files::control_socket::check_control_socket;
use crate::files::directory::Demand;
use crate::files::error::{FileCause, FileError};
use crate::files::lockfile::Lock;
use crate::files::path_trust::DirectoryError;
use crate::files::pidfile::PidFile;
use crate::files::program::find_program;
use crate::release::exec_spec::ExecSpec;
use crate::supervisor::files::hint_of_name;
use crate::sys::account::own_uid;
use crate::sys::capability::Capabilities;
use crate::sys::closed_directory::{closed, closed_directory};
use crate::sys::errno::words;

/// Below these systemd makes the directories of a service when that starts, and removes them when it ends.
const RUNTIME: [&str; 2] = ["/run", "/var/run"];

/// What was found, a sentence for each.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<Problem>,
    /// What may be otherwise when the service starts.
    pub(crate) remarks: Vec<String>,
}

/// Of lock, control socket and pid file, with where the configuration names them.
pub(crate) fn check_own_files(config: &Config, directory: &Directory) -> Findings {
    let socket = check_control_socket(&config::socket_path(config, directory), Demand::Trusted);
    let pid_file = PidFile::check(&config::pid_path(config, directory));
    let lock = Lock::check(&config::lock_path(config, directory));
    // Without a path of its own the lock lies beside the socket, and is not to be blamed for the same directory once more.
    let is_beside = config.lockfile.is_none() && config.socket_path.is_some();
    let lock = if is_beside && socket.is_err() { Ok(()) } else { lock };
    let lock_flag = if is_beside { "socket-path" } else { "lockfile" };
    let checked = [("socket-path", socket), ("pidfile", pid_file), (lock_flag, lock)];
    let mut findings = Findings::default();
    for (flag, checked) in checked {
        if let Err(error) = checked {
            findings.add(config, directory, flag, &error);
        }
    }
    findings
}

impl Findings {
    fn add(&mut self, config: &Config, directory: &Directory, flag: &str, error: &FileError) {
        let is_default = !config.given.is_given(flag);
        // The package's unit gives its service a directory, which is not that of the one who checks.
        let is_elsewhere = config.service_unit().is_some() && matches!(directory, Directory::Shared(_));
        if is_default && is_elsewhere {
            return;
        }
        let message = |hint: &str| config.blame(flag, &format!("{error}{hint}"));
        let hint = match &error.cause {
            FileCause::Directory(DirectoryError::System { errno: Errno::ENOENT, .. })
                if RUNTIME.iter().any(|runtime| error.path.starts_with(runtime)) =>
            {
                return self.remarks.push(message(", unless RuntimeDirectory= of its unit makes it"));
            }
            FileCause::Directory(doubt) if doubt.is_doubt() && own_uid() == 0 => {
                "; --as USER checks as the user of the service".to_owned()
            }
            FileCause::Mistrusted(_) if is_default => hint_of_name(&error.path).unwrap_or_default(),
            _ => String::new(),
        };
        self.problems.push(Problem { code: error.cause.exit_code(), message: message(&hint) });
    }
}

/// Of the program, of `worker.directory` and of the control socket, where the workers are another user. This process becomes that user for
/// good.
pub(crate) fn check_as_workers(config: &Config, exec_spec: &ExecSpec, socket: Option<&Path>) -> Vec<Problem> {
    let identity = exec_spec.identity.as_ref().filter(|identity| identity.uid != own_uid());
    let (Some(identity), Some(user)) = (identity, &config.worker.user) else { return Vec::new() };
    let blame = |cause: &str| Problem::of_option(config.blame("worker.user", &format!("user {user:?}: {cause}")));
    if let Err(errno) = identity.put_on(&Capabilities::default()) {
        return vec![blame(&words(errno))];
    }
    let entered = exec_spec.directory.as_ref().and_then(|directory| {
        let in_the_way = closed_directory(&directory.join("inside"))?;
        Some(format!("cannot enter {}: {}", directory.display(), closed(&in_the_way)))
    });
    let run = find_program(exec_spec.real_file().as_os_str(), None).err().map(|error| error.to_string());
    // A manual ack goes there, unless the worker has a connection from its birth.
    let acks = socket.filter(|_| config.ack == AckMode::Manual && !config.socket_as_fd);
    let acked = acks.and_then(|socket| {
        let in_the_way = closed(&closed_directory(socket)?);
        Some(format!(
            "cannot ack at {}: {in_the_way}; --command-socket-as-fd passes each worker a connection",
            socket.display()
        ))
    });
    [entered, run, acked].iter().flatten().map(|cause| blame(cause)).collect()
}
