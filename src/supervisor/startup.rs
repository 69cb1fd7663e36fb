//! From a configuration to a running supervisor. What can be wrong is found before anything is opened; what is opened is
//! put away again when a later step fails. A start that is refused changes nothing on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use crate::base::exit_code;
use crate::base::exit_code::Problem;
use crate::capture::relay;
use crate::config::{self, Config, ConfigError, Detail, Invocation};
use crate::files;
use crate::handover::arrival::HandoffEnv;
use crate::handover::held::Facts;
use crate::handover::held::Holder;
use crate::handover::holder;
use crate::handover::preflight;
use crate::logging;
use crate::machines::reexec::Origin;
use crate::output::history::{History, Place};
use crate::output::sentences::EINHORN_VERSION;
use crate::output::systemd::Remembered;
use crate::output::title;
use crate::release::access_control::AccessControl;
use crate::release::bound_files::BoundFiles;
use crate::release::call::{CHECK_VARIABLE, Call};
use crate::release::directory::directory_of;
use crate::release::exec_spec::{ExecSpec, Release, Sockets};
use crate::release::listeners::Listener;
use crate::release::prepare::AppliedConfig;
use crate::release::{listeners, prepare};
use crate::supervisor::adopt::{Before, Found, LeftAlone};
use crate::supervisor::begin::{Beginning, Inherited};
use crate::supervisor::check_as::{self, Guise};
use crate::supervisor::check_places::{Findings, check_as_workers, check_own_files};
use crate::supervisor::files::{Files, check_paths};
use crate::supervisor::given::Given;
use crate::supervisor::master::Supervisor;
use crate::supervisor::next_image::Reexec;
use crate::supervisor::process::{configure_process, report_error, report_errors, report_warnings};
use crate::supervisor::{adopt, end, foreground, given, log_file, refused, resume, settings, surroundings};
use crate::sys::birth::Birth;
use crate::sys::errno::words;
use crate::sys::title::Title;
use crate::sys::{allocator, clock, fd, limits, signal};
use crate::threads::crew::Crew;
use crate::trace;

/// Before anything else, while there is one thread: no descriptor 0 to 2 may be missing, and no signal may come before
/// the signal thread runs.
///
/// # Errors
/// There is no room for a descriptor.
pub(crate) fn early_init() -> std::io::Result<()> {
    limits::keep_no_freed_memory();
    allocator::keep_reserve(exit_code::NO_MEMORY);
    signal::block_all();
    signal::prepare_dispositions();
    fd::fill_stdio_holes()
}

/// What needs no supervisor.
pub(crate) fn answer(invocation: Invocation, call: &Call, guise: &Guise) -> ExitCode {
    let as_einhorn = config::is_called_einhorn(&call.argv0);
    let (text, code) = match invocation {
        Invocation::Version if as_einhorn => (format!("{EINHORN_VERSION}\n"), 0),
        Invocation::Version => (format!("einhyrningsins {}\n", env!("CARGO_PKG_VERSION")), 0),
        // einhorn's help ends with 1, and some script may have come to rely on it.
        Invocation::Help => (config::usage(Detail::Long), u8::from(as_einhorn)),
        Invocation::Usage => (config::usage(Detail::Short), exit_code::NO_PROGRAM),
        Invocation::ConfigSchema => (config::schema(), 0),
        Invocation::PrintConfig(config) => match config::print(&config) {
            Ok(text) => (text, 0),
            Err(error) => return report_error(&error, exit_code::BAD_OPTION),
        },
        Invocation::CheckConfig(config) => match check_alone(&config, call) {
            Ok(warnings) => {
                report_warnings(&warnings);
                let by = guise.as_ref().map_or(String::new(), |user| format!(" by {user}"));
                (format!("The configuration can be used{by}\n"), 0)
            }
            Err(problems) => return refuse_check(&messages(&problems), guise, exit_code::BAD_OPTION),
        },
        Invocation::UpgradeCheck => {
            return preflight::answer(std::env::var(CHECK_VARIABLE).ok().as_deref());
        }
        Invocation::Relay => return relay::main(),
        Invocation::Holder => return holder::main(),
        Invocation::Run(_) => return ExitCode::from(exit_code::CANNOT_START),
    };
    let _may_be_closed = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

/// What is wrong, and for whom, if that is another user than the one who asked.
fn refuse_check(problems: &[impl Display], guise: &Guise, code: u8) -> ExitCode {
    let code = report_errors(problems, code);
    if let Some(user) = guise {
        report_warnings(&[format!("this was checked as {user}; --as root checks as root")]);
    }
    code
}

fn messages(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.message.as_str()).collect()
}

/// Starts, supervises, ends.
pub(crate) fn run(config: Config, call: Call) -> ExitCode {
    if let Some(fd) = config.with_state_fd {
        return resume::run(&config, call, HandoffEnv::look(fd));
    }
    let given = given::take(&call.environ);
    let birth = match Birth::record() {
        Ok(birth) => birth,
        Err(errno) => return report_error(&words(errno), exit_code::CANNOT_START),
    };
    if let Err(errno) = fd::set_cloexec_on_inherited(&[]) {
        return report_error(&words(errno), exit_code::CANNOT_START);
    }
    let (exec_spec, access_control) = match check(&config, &call) {
        Ok(found) => found,
        Err(problems) => {
            let code = problems.first().map_or(exit_code::BAD_OPTION, |problem| problem.code);
            let code = refused::exit_code(code, &config, &call);
            return report_errors(&messages(&problems), code);
        }
    };
    // There is one thread still, and the arguments have been read.
    let mut title = Title::prepare();
    if let Some(title) = &mut title {
        title.set(&title::of(&config));
    }
    // A thread keeps the level that it was started at, so this comes before the first.
    let nice = config.nice.master.map_or(Ok(()), limits::set_nice);
    let before = match log_file::redirect(&config.log) {
        Ok(before) => before,
        Err(problem) => return report_error(&problem.message, problem.code),
    };
    let mut crew = Crew::required();
    let logging = match logging::start(&settings::log_plan(&config.log), &mut crew) {
        Ok(logging) => logging,
        Err(error) => return report_error(&format!("cannot start a thread: {error}"), exit_code::CANNOT_START),
    };
    if let Err(errno) = nice {
        log::error!("cannot set the nice level of the master, going on without: {}", words(errno));
    }
    let (again, asked) = (config.clone(), call.clone());
    let started = open(config, call, birth, exec_spec, access_control, given);
    let started = started.and_then(|opened| Ok(Supervisor::begin(Beginning { title, ..opened }, crew)?));
    match started {
        Ok(supervisor) => end::supervise(supervisor, &logging, Supervisor::begin_or_go_on),
        Err(problem) => {
            logging.finish();
            before.restore();
            report_error(&problem.message, refused::exit_code(problem.code, &again, &asked))
        }
    }
}

/// What can be found wrong without touching anything: all of it, in the order in which it would be met.
fn check(config: &Config, call: &Call) -> Result<(ExecSpec, AccessControl), Vec<Problem>> {
    // einhorn's first workers still see the variables that are to be dropped.
    prepare::work_out(config, call, &[])
}

/// The same for `--check-config`, with what a start would find out on its way. That the program is still to be
/// named is a problem then, too. What a start would put up with is returned, a sentence for each.
fn check_alone(config: &Config, call: &Call) -> Result<Vec<String>, Vec<Problem>> {
    let (exec_spec, mut problems) = match check(config, call) {
        Ok((exec_spec, _)) => (Some(exec_spec), Vec::new()),
        Err(problems) => (None, problems),
    };
    let mut warnings = config::taken(&call.argv0, call.args.clone());
    if let Some(exec_spec) = &exec_spec {
        warnings.extend([exec_spec.unpinned.clone(), listeners::remarks(config, call)].concat());
    }
    if config.program.is_empty() {
        problems.retain(|problem| problem.code != exit_code::NOT_FOUND);
        let message = ConfigError::no_program().to_string();
        problems.push(Problem { code: exit_code::NO_PROGRAM, message });
    }
    problems.extend(listeners::check(config, call));
    let log = config.log.file.as_deref().map_or(Ok(()), files::log_file::check);
    problems.extend(log.err().map(|error| Problem::of_option(error.to_string())));
    problems.extend(config.trace.as_deref().and_then(|path| trace::check(path).err()));
    let mut socket = None;
    match directory_of(config, &call.environ) {
        Ok(directory) => {
            socket = Some(config::socket_path(config, &directory));
            let Findings { problems: found, remarks } = check_own_files(config, &directory);
            problems.extend(check_paths(config, &directory).map_or_else(|problem| vec![problem], |()| found));
            warnings.extend(remarks);
        }
        Err(problem) => problems.push(problem),
    }
    // The last, since this process is the workers' user afterwards.
    problems.extend(exec_spec.iter().flat_map(|exec_spec| check_as_workers(config, exec_spec, socket.as_deref())));
    if problems.is_empty() { Ok(warnings) } else { Err(problems) }
}

/// Opens what is to be opened, in the order in which others could be disturbed: no other is, until the lock is held.
fn open(
    config: Config,
    call: Call,
    birth: Birth,
    exec_spec: ExecSpec,
    access_control: AccessControl,
    mut given: Given,
) -> Result<Beginning, Problem> {
    foreground::check(&config)?;
    configure_process(&birth);
    say_what_is_not_done(&config, &call);
    let directory = directory_of(&config, &call.environ)?;
    surroundings::warn_of_unused_sockets(given.other_count);
    surroundings::warn_of_hidden_files(&config, &directory);
    let pid_path = config::pid_path(&config, &directory);
    check_paths(&config, &directory)?;
    log::info!("Writing PID to {}", pid_path.display());
    let (mut files, socket) = Files::claim(&config, &directory, access_control.access)?;
    if let Some(path) = &config.trace {
        trace::open(path)?;
    }
    let bound_files = BoundFiles::default();
    let mut stored: BTreeSet<u64> = given.sockets.keys().copied().collect();
    let before = files
        .lock()
        .map_or(Before::Nothing, |lock| adopt::look(&config, lock.path(), &birth, &bound_files, &mut given.sockets));
    stored.retain(|inode| !given.sockets.contains_key(inode));
    // Before another is bound to an address of theirs.
    given.give_back(&call.environ);
    let (Found { pool, workers: adopted, listeners: open, holder }, left_alone) = before.divided(&config);
    let listeners = listeners::open_all(&config, &access_control.bind_owners, &call, &birth, &open, &bound_files)
        .map_err(|problem| {
            let advice = left_alone.as_ref().map_or(String::new(), LeftAlone::advice);
            Problem { message: format!("{}{advice}", problem.message), ..problem }
        })?;
    left_alone.iter().for_each(LeftAlone::say);
    let is_left = |old: &Arc<Listener>| !listeners.iter().any(|listener| Arc::ptr_eq(listener, old));
    let left: Vec<Arc<Listener>> = open.into_iter().filter(is_left).collect();
    files.write_pid_file(&pid_path, &config)?;
    let place = Some(Place::of(&exec_spec)).filter(|_| pool.adopted.is_none());
    let history = History::of_start(pool.modern, place, clock::wall().0);
    let holder = holder.map(|process| Holder { process: Some(process), inodes: Vec::new() });
    Ok(Beginning {
        facts: Facts {
            history,
            adopted,
            holder,
            ..Facts::new(AppliedConfig::new(config, access_control), call, birth)
        },
        title: None,
        reexec: Reexec::new(None, 0, if pool.preparing.is_some() { Origin::Upgrade } else { Origin::Elsewhere }),
        files,
        socket,
        sockets: Sockets {
            listeners: listeners.iter().chain(&left).cloned().collect(),
            releases: BTreeMap::from([(pool.modern, Release { exec_spec, listeners })]),
            left,
            bound_files,
        },
        pool,
        inherited: Inherited { service: Remembered { stored, ..Remembered::default() }, ..Inherited::default() },
    })
}

fn say_what_is_not_done(config: &Config, call: &Call) {
    config::taken(&call.argv0, call.args.clone()).iter().for_each(|sentence| log::warn!("{sentence}"));
    for word in config.srv_words() {
        log::warn!(
            "{} is bound, and workers find the number of its descriptor in its place; -b and EINHORN_FD_0 do that since einhorn 1.0",
            word.to_string_lossy()
        );
    }
    if config.nice.renice_cmd.is_some() {
        log::warn!("The renice command of --nice is not run, nice levels are set directly");
    }
}

/// The program `einhyrningsins` (or `einhorn`), from its arguments to its exit code.
pub fn main() -> ExitCode {
    if let Err(error) = early_init() {
        return report_error(&error, exit_code::CANNOT_START);
    }
    let call = Call::of_this_process();
    let guise = match config::asked_check(call.args.clone())
        .map_or(Ok(None), |asked| check_as::take_on(&asked, &call.environ))
    {
        Ok(guise) => guise,
        Err(message) => return report_error(&message, exit_code::BAD_OPTION),
    };
    match crate::config::parse(&call.argv0, call.args.clone(), &prepare::read_file, &|name| call.variable(name)) {
        Ok(Invocation::Run(config)) => run(*config, call),
        Ok(invocation) => answer(invocation, &call, &guise),
        Err(problems) => refuse_check(&problems.0, &guise, refused::exit_code_of_unread(&call)),
    }
}
