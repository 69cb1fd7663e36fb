//! From a configuration to a running supervisor. What can be wrong is found before anything is opened; what is opened is
//! put away again when a later step fails. A start that is refused changes nothing on disk.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crossbeam_channel::bounded;

use crate::config::{self, Config, Detail, Invocation};
use crate::pool::{Pid, Pool, Version};
use crate::supervisor::logging::{self, Logging};
use crate::supervisor::recheck::Recheck;
use crate::supervisor::release::{self, Release};
use crate::supervisor::reply::Denials;
use crate::supervisor::status::Counters;
use crate::supervisor::{Supervisor, exit_code, listeners, settings, signals};
use crate::sys::birth::Birth;
use crate::sys::control_socket::Access;
use crate::sys::errno::words;
use crate::sys::lockfile::Lock;
use crate::sys::pidfile::{PidFile, PidFileCause};
use crate::sys::place::FileId;
use crate::sys::program::FindError;
use crate::sys::tmpdir::temporary_directory;
use crate::sys::{account, control_socket, fd, limits, signal, wait};
use crate::threads::admission::Policy;
use crate::threads::log_plan::{LogPlan, Target, level_of};
use crate::threads::socket_file::SocketFile;
use crate::threads::{self, INBOX_MAX, control, reaper};

/// What `--version` says to a script that takes us for Ruby's einhorn.
pub(in crate::supervisor) const EINHORN_VERSION: &str = "1.1.1";

/// How many connections to the control socket there may be, at the least and at the most.
const CONNECTIONS_MIN: usize = 16;
const CONNECTIONS_MAX: usize = 256;

/// How many descriptors are not for connections: sockets, log, lock and what a launch needs.
const DESCRIPTORS_RESERVED: usize = 24;

/// Why there is no supervisor, and the exit code that says so.
struct StartError {
    code: u8,
    message: String,
}

/// The files that a master owns while it lives. They go with it, except for the lock: another master may hold it open.
pub(in crate::supervisor) struct Files {
    socket_path: PathBuf,
    socket_id: FileId,
    pid_file: Option<PidFile>,
    _lock: Lock,
}

impl Files {
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
        if let Err(error) = control_socket::remove_control_socket(&self.socket_path, self.socket_id) {
            log::warn!("cannot remove {}: {error}", self.socket_path.display());
        }
    }
}

/// Before anything else, while there is one thread: no descriptor 0 to 2 may be missing, and no signal may come before
/// there is somebody to hear it.
///
/// Errors: the system does not say what the process was born with.
pub(in crate::supervisor) fn first_things() -> std::io::Result<Birth> {
    limits::keep_no_freed_memory();
    fd::fill_stdio_holes()?;
    signal::block_all();
    signal::prepare_dispositions();
    fd::set_cloexec_on_inherited(&[])?;
    Ok(Birth::record()?)
}

/// What needs no supervisor.
pub(in crate::supervisor) fn answer(invocation: Invocation, name: &OsStr) -> ExitCode {
    let as_einhorn = Path::new(name).file_name() == Some(OsStr::new("einhorn"));
    let (text, code) = match invocation {
        Invocation::Version if as_einhorn => (format!("{EINHORN_VERSION}\n"), 0),
        Invocation::Version => (format!("einhyrningsins {}\n", env!("CARGO_PKG_VERSION")), 0),
        // einhorn's help ends with 1, and some script may have come to rely on it.
        Invocation::Help => (config::usage(Detail::Long), u8::from(as_einhorn)),
        Invocation::Usage => (config::usage(Detail::Short), exit_code::NO_PROGRAM),
        Invocation::UpgradeCheck => return ExitCode::SUCCESS,
        Invocation::Run(_) => return ExitCode::from(exit_code::CANNOT_START),
    };
    let _nobody_listens = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

/// One line on standard error.
pub(in crate::supervisor) fn complain(error: &dyn Display, code: u8) -> ExitCode {
    let _nobody_listens = writeln!(std::io::stderr(), "einhyrningsins: {error}");
    ExitCode::from(code)
}

/// Starts, supervises, ends.
pub(in crate::supervisor) fn run(config: Config, birth: Birth) -> ExitCode {
    let environ: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let release = match check(&config, &environ) {
        Ok(release) => release,
        Err(error) => return complain(&error.message, error.code),
    };
    // A thread keeps the level that it was started at, so this comes before the first.
    let nice = config.nice.master.map_or(Ok(()), limits::set_nice);
    let logging = match start_logging(&config) {
        Ok(logging) => logging,
        Err(error) => return complain(&error, exit_code::CANNOT_START),
    };
    if let Err(errno) = nice {
        log::error!("cannot set the nice level of the master, going on without: {}", words(errno));
    }
    let started = start(config, birth, environ, release);
    let code = match started {
        Ok(mut supervisor) => {
            let reason = supervisor.run();
            supervisor.control.retire();
            if wait::any_child() {
                log::warn!("Workers left processes behind in sessions or groups of their own; they live on");
            }
            supervisor.control.finish();
            supervisor.hear_of_the_socket();
            ExitCode::from(exit_code::of(reason))
        }
        Err(message) => {
            logging.finish();
            return complain(&message, exit_code::CANNOT_START);
        }
    };
    logging.finish();
    code
}

/// What can be found wrong without touching anything.
fn check(config: &Config, environ: &Vec<(OsString, OsString)>) -> Result<Release, StartError> {
    if config.with_state_fd.is_some() {
        let message = "--with-state-fd: taking over from a running master is not possible with this version".to_owned();
        return Err(StartError { code: exit_code::BAD_OPTION, message });
    }
    release::resolve(&config.program, environ, &[]).map_err(|error| StartError {
        code: match error {
            FindError::NoSuchFile { .. } | FindError::NotInPath { .. } => exit_code::NOT_FOUND,
            FindError::NotExecutable { .. } | FindError::NotAFile { .. } => exit_code::NOT_EXECUTABLE,
        },
        message: error.to_string(),
    })
}

fn start_logging(config: &Config) -> std::io::Result<Logging> {
    let target = if config.syslog { Target::Both } else { Target::Stderr };
    logging::start(&LogPlan { level: level_of(config.verbosity), target, ..LogPlan::default() })
}

/// Opens what is to be opened, in the order in which others could be disturbed: nobody, until the lock is held.
fn start(
    config: Config,
    birth: Birth,
    environ: Vec<(OsString, OsString)>,
    release: Release,
) -> Result<Supervisor, String> {
    settle_in(&config, &birth);
    let born_with = |name: &str| environ.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let directory = temporary_directory(born_with).map_err(|error| error.to_string())?;
    let pid_path = config::pid_path(&config, &directory);
    tell_apart(&config, &directory)?;
    log::info!("Writing PID to {}", pid_path.display());
    let access = access(&config)?;
    let (mut files, socket) = claim_files(&config, &directory, access)?;
    let listeners = listeners::open_all(&config, &birth)?;
    files.pid_file = write_pid_file(&pid_path)?;

    let (sender, inbox) = bounded(INBOX_MAX);
    let said = |error: std::io::Error| format!("cannot start a thread: {error}");
    threads::signals::start(signals::HEARD, sender.clone()).map_err(said)?;
    let reaper = reaper::start(sender.clone()).map_err(said)?;
    let control = control::start(socket, policy(access), sender).map_err(said)?;
    Ok(Supervisor {
        pool: Pool::new(settings::of(&config)),
        config,
        birth,
        environ,
        releases: BTreeMap::from([(Version(0), release)]),
        listeners,
        exec_pipes: Vec::new(),
        recheck: Recheck::default(),
        inbox,
        reaper,
        control,
        files,
        actions: Vec::new(),
        upgrade_askers: Vec::new(),
        counters: Counters::default(),
        denials: Denials::default(),
        strangers: 0,
    })
}

/// The process itself: room for descriptors, and orphans of workers come to us rather than to init.
fn settle_in(config: &Config, birth: &Birth) {
    if let Err(errno) = birth.raise_nofile() {
        log::warn!("cannot raise the limit of open files: {}", words(errno));
    }
    if let Err(errno) = limits::set_child_subreaper() {
        log::warn!("cannot adopt what workers leave behind: {}", words(errno));
    }
    if config.nice.renice_cmd.is_some() {
        log::warn!("The renice command of --nice is not run, nice levels are set directly");
    }
    if let Some(path) = &config.preload {
        log::warn!("Proceeding with postload: preloading {} is not possible with this version", path.display());
    }
}

/// One file cannot be two of them; what would come of it is a puzzling error of our own making.
fn tell_apart(config: &Config, directory: &Path) -> Result<(), String> {
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

/// Lock first: under it, nobody else of us looks for stale sockets.
fn claim_files(config: &Config, directory: &Path, access: Access) -> Result<(Files, SocketFile), String> {
    let lock = Lock::acquire(&config::lock_path(config, directory)).map_err(|error| error.to_string())?;
    let socket_path = config::socket_path(config, directory);
    let bound = control_socket::bind_control_socket(&socket_path, access);
    let (listener, socket_id) = bound.map_err(|error| error.to_string())?;
    let files = Files { socket_path: socket_path.clone(), socket_id, pid_file: None, _lock: lock };
    let socket = SocketFile::new(socket_path, access, listener, socket_id);
    Ok((files, socket))
}

/// Who may connect to the control socket.
fn access(config: &Config) -> Result<Access, String> {
    let group = match &config.socket_group {
        Some(name) => Some(account::find_group(name).map_err(|error| error.to_string())?),
        None => None,
    };
    let mode = config.socket_mode.unwrap_or(if group.is_some() { 0o660 } else { Access::OWN.mode });
    Ok(Access { mode, group })
}

/// Who may speak on it. Half of the descriptors stay for workers, and what is to be opened for them.
fn policy(access: Access) -> Policy {
    let descriptors = usize::try_from(limits::descriptor_limit()).unwrap_or(usize::MAX);
    let connections_max = descriptors.saturating_sub(DESCRIPTORS_RESERVED) / 2;
    Policy {
        own_uid: limits::own_uid(),
        groups: access.group.into_iter().collect(),
        connections_max: connections_max.clamp(CONNECTIONS_MIN, CONNECTIONS_MAX),
    }
}

/// A pid file that another living master holds stays its own: two that differ in `-d` alone both run, as with einhorn.
fn write_pid_file(path: &Path) -> Result<Option<PidFile>, String> {
    let own_pid = Pid(std::process::id().try_into().unwrap_or(i32::MAX));
    match PidFile::write(path, own_pid) {
        Ok(file) => Ok(Some(file)),
        Err(error) if matches!(error.cause, PidFileCause::InUse { .. }) => {
            log::warn!("{error}; going on without a pid file (-e gives this master its own)");
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}
