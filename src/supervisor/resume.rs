//! The beginning of an image that another one has become: reads the handoff, and goes on where it stopped. Until all of it is
//! understood no descriptor is touched, so that the image before can be gone back to. From then on nothing may fail any more.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use crate::base::{Pid, Signal, exit_code};
use crate::config::{self, Config, Directory};
use crate::control::handover::Clients;
use crate::control::socket_file::SocketFile;
use crate::files::control_socket::Access;
use crate::files::directory::Demand;
use crate::files::lockfile::Lock;
use crate::files::pidfile::PidFile;
use crate::files::spot::Spot;
use crate::handoff::Fd;
use crate::handover::arrival::{HandoffEnv, fall_back, validate};
use crate::handover::held::{Facts, Held, Open, OpenControl, OpenFile, OpenListener, OpenRelease};
use crate::handover::plan::Plan;
use crate::logging;
use crate::machines::reexec::Origin;
use crate::output::title;
use crate::pool::State;
use crate::release::bound_files::{BoundFile, BoundFiles};
use crate::release::call::Call;
use crate::release::directory::directory_of;
use crate::release::exec_spec::{Release, Sockets};
use crate::release::listeners::Listener;
use crate::supervisor::begin::{Beginning, Inherited};
use crate::supervisor::files::Files;
use crate::supervisor::loaders::Loaders;
use crate::supervisor::master::Supervisor;
use crate::supervisor::next_image::Reexec;
use crate::supervisor::{end, log_file, process, settings};
use crate::sys::birth::Birth;
use crate::sys::errno::words;
use crate::sys::exec_pipe::ExecPipe;
use crate::sys::fd::{Blocking, adopt, close_strays, set_blocking, set_cloexec_on_inherited};
use crate::sys::signal;
use crate::sys::title::Title;
use crate::sys::wait;
use crate::threads::crew::Crew;

/// Goes on; or back, if the handoff is of no use to this version.
pub(crate) fn run(config: &Config, call: Call, env: HandoffEnv) -> ExitCode {
    // There is one thread still, and the arguments have been read.
    let mut title = Title::prepare();
    if let Some(title) = &mut title {
        title.set(&title::of(config));
    }
    let read = catch_unwind(AssertUnwindSafe(|| validate(&env)));
    let read = read.unwrap_or_else(|_| Err("this version fails at the handoff, by a mistake of its own".to_owned()));
    let plan = match read.or_else(|reason| fall_back(&reason, config, &call, &env)) {
        Ok(plan) => plan,
        Err(reason) => return process::report_error(&reason, exit_code::CANNOT_START),
    };
    // There are workers to be looked after, by this thread alone if there is no other.
    let mut crew = Crew::optional();
    let log = &plan.held.facts.config().log;
    let redirected = log_file::redirect(log);
    let logging = match logging::start(&settings::log_plan(log), &mut crew) {
        Ok(logging) => logging,
        Err(error) => {
            let reason = format!("cannot log: {error}");
            let reason = fall_back(&reason, config, &call, &env).err().unwrap_or(reason);
            return process::report_error(&reason, exit_code::CANNOT_START);
        }
    };
    if let Err(problem) = redirected {
        log::error!("{}; going on with the file that was open", problem.message);
    }
    if let Some(title) = &mut title {
        title.set(&title::of(plan.held.facts.config()));
    }
    let is_adopted = |pid: Pid| plan.held.facts.adopted.iter().any(|process| process.pid == pid);
    let pids = plan.held.pool.workers.iter().map(|worker| worker.pid);
    let reaped: Vec<Pid> = pids.filter(|&pid| !wait::is_child(pid) && !is_adopted(pid)).collect();
    for pid in &reaped {
        log::warn!("Worker {pid} was reaped by another program, its exit status is unknown");
    }
    let adopted = take_over(plan, call, env, title);
    match adopted.and_then(|adopted| Supervisor::begin(adopted, crew)) {
        Ok(supervisor) => end::supervise(supervisor, &logging, |supervisor| supervisor.go_on(&reaped)),
        Err(reason) => {
            logging.finish();
            process::report_error(&reason, exit_code::CANNOT_START)
        }
    }
}

/// Owns everything that came by its number.
///
/// # Errors
/// The control socket is gone, though it was there a moment ago.
fn take_over(plan: Plan, call: Call, env: HandoffEnv, title: Option<Title>) -> Result<Beginning, String> {
    let inherited = env.numbers();
    let Plan { held, notes } = plan;
    let Held { pool, mut facts, service, image, generation, lost_lines, open, check } = held;
    facts.call = call.resumed(facts.call);
    let reexec = Reexec::new(image, generation, origin(env.refused, &pool));
    log::info!("Using loaded state: generation {generation}, {} workers", pool.workers.len());
    logging::count_lost(lost_lines);
    for note in &notes {
        log::warn!("{note}");
    }
    check.into_iter().for_each(end_check);
    let spoken_of: BTreeSet<RawFd> = open.descriptors().map(|(Fd(number), _)| number).collect();
    // What came along and the document does not name, the document itself among it.
    let strays: Vec<RawFd> = inherited.into_iter().filter(|number| !spoken_of.contains(number)).collect();
    close_strays(&strays);
    let Open { listeners, releases, left, exec_pipes, loaders, control, lock, pid_file, output, old_image } = open;
    drop(old_image.and_then(owned));
    let sockets = sockets(listeners, releases, &left, &facts.birth);
    let exec_pipes = exec_pipes.into_iter();
    let exec_pipes = exec_pipes.filter_map(|(pid, fd)| Some((pid, ExecPipe::resume(owned(fd)?)))).collect();
    let loaders = Loaders::resume(loaders, owned);
    let output = output.with_descriptors(owned);
    let control = control.ok_or("the handoff has no control socket")?;
    let files = files(lock, pid_file, &facts, BoundFile::from(control.file.clone()));
    let (socket, clients) = control_socket(control, facts.reload.in_force().access_control.access)?;
    // Everything closes with the next exec that it is not meant for.
    if let Err(errno) = set_cloexec_on_inherited(&[]) {
        log::warn!("cannot keep descriptors from workers: {}", words(errno));
    }
    process::configure_process(&facts.birth);
    let inherited = Inherited { clients, exec_pipes, loaders, output, service };
    Ok(Beginning { pool, facts, title, reexec, files, socket, sockets, inherited })
}

/// Of the image before, with its process group. Where no child of ours is in that, its number may be a stranger's.
fn end_check(pid: Pid) {
    if !wait::group_lives(pid) {
        return;
    }
    if let Err(errno) = signal::send_group(pid, Signal::KILL) {
        log::debug!("cannot kill the check {pid}: {}", words(errno));
    }
}

/// Every socket, and the versions with theirs.
fn sockets(listeners: Vec<OpenListener>, releases: Vec<OpenRelease>, left: &[usize], birth: &Birth) -> Sockets {
    let bound_files = BoundFiles::default();
    let listeners: Vec<Option<_>> = listeners.into_iter().map(|open| listener(open, birth, &bound_files)).collect();
    let at = |places: &[usize]| -> Vec<Arc<Listener>> {
        places.iter().filter_map(|place| listeners.get(*place).cloned().flatten()).collect()
    };
    let release =
        |open: OpenRelease| (open.version, Release { exec_spec: open.exec_spec, listeners: at(&open.listeners) });
    let releases = releases.into_iter().map(release).collect();
    let left = at(left);
    Sockets { listeners: listeners.into_iter().flatten().collect(), releases, left, bound_files }
}

/// # Errors
/// It is gone, though it was there a moment ago.
fn control_socket(control: OpenControl, access: Access) -> Result<(SocketFile, Clients<OwnedFd>), String> {
    let server = owned(control.listener).ok_or("the control socket is gone")?;
    if let Err(errno) = set_blocking(server.as_fd(), Blocking::NonBlocking) {
        // One of us has made it so already.
        log::warn!("the control socket may keep the control thread waiting: {}", words(errno));
    }
    let (path, id) = BoundFile::from(control.file);
    let demand = mention_doubt(&path, "the control socket goes on");
    let socket = SocketFile::new(path, access, demand, server, id);
    let Clients { connections, next_client } = control.clients;
    let connections = connections.into_iter().filter_map(|carried| carried.with_fd(owned)).collect();
    Ok((socket, Clients { connections, next_client }))
}

fn origin(refused: Option<String>, pool: &State) -> Origin {
    if let Some(reason) = &refused {
        log::error!("Could not reload! Attempting to continue. Error was: {reason}");
    }
    match (refused, pool.preparing) {
        (_, None) => Origin::Elsewhere,
        (None, Some(_)) => Origin::Upgrade,
        (Some(reason), Some(_)) => Origin::Return(reason),
    }
}

/// It was open when the document was read.
fn owned(fd: Fd) -> Option<OwnedFd> {
    adopt(fd.0).inspect_err(|errno| log::error!("descriptor {} is lost: {}", fd.0, words(*errno))).ok()
}

fn listener(open: OpenListener, birth: &Birth, bound_files: &BoundFiles) -> Option<Arc<Listener>> {
    let OpenListener { fd, bind, file, options, closed } = open;
    let file = file.map(BoundFile::from);
    if let Some((path, _)) = file.as_ref().filter(|_| !bind.flags().shared_directory()) {
        let _it_is_open = mention_doubt(path, &format!("the socket of {bind} goes on"));
    }
    let file = file.map(|file| (file, bound_files.clone()));
    let listener = Listener::adopt(owned(fd)?, bind, file, options, birth);
    Some(Arc::new(match closed {
        Some(inode) => listener.closed_before(inode),
        None => listener,
    }))
}

/// What is open stays open, whatever is thought of its directory: what the next start would say is said now.
fn mention_doubt(path: &Path, stays: &str) -> Demand {
    let found = Spot::find(path, Demand::Any).ok();
    match found.as_ref().and_then(Spot::doubt) {
        Some(doubt) => {
            log::warn!("{doubt}; {stays}, but a start would be refused");
            Demand::Any
        }
        None => Demand::Trusted,
    }
}

/// Ruby's einhorn lets go of its lock once it has started, and holds no pid file: those are looked for at their paths.
fn files(lock: Option<OpenFile>, pid_file: Option<OpenFile>, facts: &Facts, socket: BoundFile) -> Files {
    let config = facts.config();
    let directory = directory_of(config, &facts.call.environ).unwrap_or_else(|_| Directory::Shared(PathBuf::new()));
    let lock = match lock {
        Some(held) => owned(held.fd).map(|fd| Lock::adopt(held.path, fd)),
        None => Lock::acquire(&config::lock_path(config, &directory))
            .inspect_err(|error| log::warn!("{error}; going on without a lock"))
            .ok(),
    };
    let pid_file = match pid_file {
        Some(held) => owned(held.fd).map(|fd| PidFile::adopt(held.path, fd)),
        None => PidFile::find(&config::pid_path(config, &directory), process::own_pid()),
    };
    Files::adopt(socket, lock, pid_file)
}
