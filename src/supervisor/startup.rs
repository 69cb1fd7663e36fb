//! From a configuration to a running supervisor. What can be wrong is found before anything is opened; what is opened is
//! put away again when a later step fails. A start that is refused changes nothing on disk.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crossbeam_channel::bounded;

use crate::config::{self, Config, Detail, Invocation};
use crate::pool::{Pid, Pool, Version};
use crate::supervisor::admittance::Admittance;
use crate::supervisor::environment::Environment;
use crate::supervisor::exit_code::Problem;
use crate::supervisor::prepare::Call;
use crate::supervisor::recheck::Recheck;
use crate::supervisor::release::{Recipe, Release};
use crate::supervisor::reload::Purposes;
use crate::supervisor::reply::Denials;
use crate::supervisor::status::Counters;
use crate::supervisor::{Supervisor, exit_code, listeners, logging, prepare, settings, signals, title};
use crate::sys::birth::Birth;
use crate::sys::control_socket::Access;
use crate::sys::errno::words;
use crate::sys::lockfile::Lock;
use crate::sys::pidfile::{PidFile, PidFileCause};
use crate::sys::place::FileId;
use crate::sys::title::Title;
use crate::sys::tmpdir::temporary_directory;
use crate::sys::{control_socket, fd, limits, signal, wait};
use crate::threads::socket_file::SocketFile;
use crate::threads::{self, INBOX_MAX, control, errand, reaper};

/// What `--version` says to a script that takes us for Ruby's einhorn.
pub(in crate::supervisor) const EINHORN_VERSION: &str = "1.1.1";

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
pub(in crate::supervisor) fn answer(invocation: Invocation, call: &Call) -> ExitCode {
    let as_einhorn = Path::new(&call.argv0).file_name() == Some(OsStr::new("einhorn"));
    let (text, code) = match invocation {
        Invocation::Version if as_einhorn => (format!("{EINHORN_VERSION}\n"), 0),
        Invocation::Version => (format!("einhyrningsins {}\n", env!("CARGO_PKG_VERSION")), 0),
        // einhorn's help ends with 1, and some script may have come to rely on it.
        Invocation::Help => (config::usage(Detail::Long), u8::from(as_einhorn)),
        Invocation::Usage => (config::usage(Detail::Short), exit_code::NO_PROGRAM),
        Invocation::ConfigSchema => (config::schema(), 0),
        Invocation::PrintConfig(config) => match config::print(&config) {
            Ok(text) => (text, 0),
            Err(error) => return complain(&error, exit_code::BAD_OPTION),
        },
        Invocation::CheckConfig(config) => match check_alone(&config, call) {
            Ok(()) => ("The configuration can be used\n".to_owned(), 0),
            Err(problems) => return complain_of_all(&messages(&problems), exit_code::BAD_OPTION),
        },
        Invocation::UpgradeCheck => return ExitCode::SUCCESS,
        Invocation::Run(_) => return ExitCode::from(exit_code::CANNOT_START),
    };
    let _nobody_listens = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

/// One line on standard error.
pub(in crate::supervisor) fn complain(error: &dyn Display, code: u8) -> ExitCode {
    complain_of_all(&[error], code)
}

/// A line on standard error for each.
pub(in crate::supervisor) fn complain_of_all(errors: &[impl Display], code: u8) -> ExitCode {
    let lines: Vec<String> = errors.iter().map(|error| format!("einhyrningsins: {error}\n")).collect();
    let _nobody_listens = std::io::stderr().write_all(lines.concat().as_bytes());
    ExitCode::from(code)
}

fn messages(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.message.as_str()).collect()
}

/// Starts, supervises, ends.
pub(in crate::supervisor) fn run(config: Config, call: Call, birth: Birth) -> ExitCode {
    let (recipe, admittance) = match check(&config, &call) {
        Ok(found) => found,
        Err(problems) => {
            let code = problems.first().map_or(exit_code::BAD_OPTION, |problem| problem.code);
            return complain_of_all(&messages(&problems), code);
        }
    };
    // There is one thread still, and the arguments have been read.
    let mut title = Title::prepare();
    if let Some(title) = &mut title {
        title.set(&title::of(&config));
    }
    // A thread keeps the level that it was started at, so this comes before the first.
    let nice = config.nice.master.map_or(Ok(()), limits::set_nice);
    let logging = match logging::start(&settings::log_plan(&config.log)) {
        Ok(logging) => logging,
        Err(error) => return complain(&error, exit_code::CANNOT_START),
    };
    if let Err(errno) = nice {
        log::error!("cannot set the nice level of the master, going on without: {}", words(errno));
    }
    let started = start(config, call, birth, recipe, admittance);
    let started = started.map(|supervisor| Supervisor { title, ..supervisor });
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

/// What can be found wrong without touching anything: all of it, in the order in which it would be met.
fn check(config: &Config, call: &Call) -> Result<(Recipe, Admittance), Vec<Problem>> {
    if config.with_state_fd.is_some() {
        let message = "--with-state-fd: taking over from a running master is not possible with this version".to_owned();
        return Err(vec![Problem::of_option(message)]);
    }
    // einhorn's first workers still see the variables that are to be dropped.
    prepare::work_out(config, call, &[])
}

/// The same for who wants to know nothing else, with what a start would find out on its way. That the program is still to be
/// named is a problem then, too.
fn check_alone(config: &Config, call: &Call) -> Result<(), Vec<Problem>> {
    let mut problems = check(config, call).err().unwrap_or_default();
    if config.program.is_empty() {
        problems.retain(|problem| problem.code != exit_code::NOT_FOUND);
        let message = "there is no program, neither as the command of a file nor behind the options".to_owned();
        problems.push(Problem { code: exit_code::NO_PROGRAM, message });
    }
    problems.extend(listeners::check(config));
    let directory = directory_of(&call.environ).and_then(|directory| tell_apart(config, &directory));
    problems.extend(directory.err().map(Problem::of_option));
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Where the files go that were given no path.
fn directory_of(environ: &Environment) -> Result<PathBuf, String> {
    let born_with = |name: &str| environ.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    temporary_directory(born_with).map_err(|error| error.to_string())
}

/// Opens what is to be opened, in the order in which others could be disturbed: nobody, until the lock is held.
fn start(
    config: Config,
    call: Call,
    birth: Birth,
    recipe: Recipe,
    admittance: Admittance,
) -> Result<Supervisor, String> {
    settle_in(&config, &birth);
    let directory = directory_of(&call.environ)?;
    let pid_path = config::pid_path(&config, &directory);
    tell_apart(&config, &directory)?;
    log::info!("Writing PID to {}", pid_path.display());
    let (mut files, socket) = claim_files(&config, &directory, admittance.access)?;
    let listeners = listeners::open_all(&config, &birth, &[])?;
    files.pid_file = write_pid_file(&pid_path)?;

    let (sender, inbox) = bounded(INBOX_MAX);
    let said = |error: std::io::Error| format!("cannot start a thread: {error}");
    threads::signals::start(signals::HEARD, sender.clone()).map_err(said)?;
    let reaper = reaper::start(sender.clone()).map_err(said)?;
    let control = control::start(socket, admittance.policy(), sender.clone()).map_err(said)?;
    let errands = errand::start(sender).map_err(said)?;
    Ok(Supervisor {
        pool: Pool::new(settings::of(&config)),
        loaded: config.clone(),
        config,
        admittance,
        fallback: None,
        coming: None,
        call,
        title: None,
        birth,
        releases: BTreeMap::from([(Version(0), Release { recipe, listeners: listeners.clone() })]),
        listeners,
        exec_pipes: Vec::new(),
        recheck: Recheck::default(),
        inbox,
        reaper,
        control,
        errands,
        purposes: Purposes::new(),
        errand_note_due: None,
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
