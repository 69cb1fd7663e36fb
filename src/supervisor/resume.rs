//! The beginning of an image that another one has become: reads the handoff, and goes on where it stopped. Until all of it is
//! understood no descriptor is touched, so that the image before can be gone back to. From then on nothing may fail any more.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use crate::base::Pid;
use crate::config::{self, Config, Directory};
use crate::files::control_socket::Access;
use crate::files::directory::Demand;
use crate::files::lockfile::Lock;
use crate::files::pidfile::PidFile;
use crate::files::spot::Spot;
use crate::handoff::{Document, Fd};
use crate::machines::reexec::Origin;
use crate::pool::State;
use crate::supervisor::begin::{Beginning, Inherited};
use crate::supervisor::bound_files::{BoundFile, BoundFiles};
use crate::supervisor::files::{Files, directory_of};
use crate::supervisor::held::{Facts, Held, Open, OpenControl, OpenFile, OpenListener, OpenRelease};
use crate::supervisor::listeners::Listener;
use crate::supervisor::plan::{Plan, Unreadable};
use crate::supervisor::prepare::Call;
use crate::supervisor::reexec::{REFUSED_VARIABLE, RETURN_VARIABLE, Reexec};
use crate::supervisor::release::{Release, Sockets};
use crate::supervisor::{Supervisor, exit_code, logging, salvage, settings, startup, title};
use crate::sys::birth::Birth;
use crate::sys::errno::{may_pass, words};
use crate::sys::exec_pipe::ExecPipe;
use crate::sys::fd::{
    Blocking, adopt, close_on_exec, close_strays, is_open, look_at, open_numbers, set_blocking,
    set_cloexec_on_inherited,
};
use crate::sys::reexec::{self, Image, Program, ReexecError};
use crate::sys::socket::is_accepting;
use crate::sys::title::Title;
use crate::sys::wait;
use crate::threads::control_handover::Clients;
use crate::threads::crew::Crew;
use crate::threads::socket_file::SocketFile;

/// How long to wait before a call is made again that failed.
const PAUSE: Duration = Duration::from_millis(50);

/// How often the document is tried to be read: for five seconds, if what it failed for may pass.
const READS_MAX: u32 = 100;

/// How often otherwise.
const READS_MIN: u32 = 2;

/// How often it is tried to go back: for five minutes, if what it failed for may pass.
const RETURNS_MAX: u32 = 6000;

/// How often otherwise: for ten seconds. Without the image before there is nobody for the workers.
const RETURNS_MIN: u32 = 200;

/// What this image finds beside the document.
pub(in crate::supervisor) struct Arrival {
    /// The document's descriptor.
    pub(in crate::supervisor) state_fd: RawFd,
    /// What came over the exec. None: /proc cannot be read.
    pub(in crate::supervisor) inherited: Option<Vec<RawFd>>,
    /// The image to go back to, and the document for it.
    way_back: Option<(RawFd, RawFd)>,
    /// Why another image came back to this one.
    refused: Option<String>,
}

impl Arrival {
    /// To be called before anything is opened.
    pub(in crate::supervisor) fn look(state_fd: RawFd) -> Self {
        let text = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            state_fd,
            inherited: open_numbers(),
            way_back: text(RETURN_VARIABLE).and_then(|numbers| way_back(&numbers, state_fd)),
            refused: text(REFUSED_VARIABLE),
        }
    }

    /// What came over the exec, as far as can be told: without /proc, what this program was told the numbers of.
    fn numbers(&self) -> Vec<RawFd> {
        let told = || [Some(self.state_fd), self.way_back.map(|(_, spare)| spare)].into_iter().flatten().collect();
        self.inherited.clone().unwrap_or_else(told)
    }

    /// Whether one of us has written the document, as far as can be told of one that cannot be read.
    fn is_of_ours(&self) -> bool {
        let names_us = || Plan::read_text(self.state_fd).is_ok_and(|text| Document::is_of_ours(&text));
        self.way_back.is_some() || self.refused.is_some() || names_us()
    }
}

fn way_back(numbers: &str, state_fd: RawFd) -> Option<(RawFd, RawFd)> {
    let numbers: Vec<RawFd> = numbers.split(',').filter_map(|number| number.parse().ok()).collect();
    let [image, state, spare] = numbers[..] else { return None };
    (state == state_fd).then_some((image, spare))
}

/// Goes on; or back, if the handoff is of no use to this version.
pub(in crate::supervisor) fn run(config: &Config, call: Call, arrival: Arrival) -> ExitCode {
    // There is one thread still, and the arguments have been read.
    let mut title = Title::prepare();
    if let Some(title) = &mut title {
        title.set(&title::of(config));
    }
    let read = catch_unwind(AssertUnwindSafe(|| understand(&arrival)));
    let read = read.unwrap_or_else(|_| Err("this version fails at the handoff, by a mistake of its own".to_owned()));
    let plan = match read.or_else(|reason| go_back(&reason, config, &call, &arrival)) {
        Ok(plan) => plan,
        Err(reason) => return startup::complain(&reason, exit_code::CANNOT_START),
    };
    // There are workers to be looked after, by this thread alone if there is no other.
    let mut crew = Crew::as_far_as_possible();
    let logging = match logging::start(&settings::log_plan(&plan.held.facts.settled.effective.log), &mut crew) {
        Ok(logging) => logging,
        Err(error) => {
            let reason = format!("cannot log: {error}");
            let reason = go_back(&reason, config, &call, &arrival).err().unwrap_or(reason);
            return startup::complain(&reason, exit_code::CANNOT_START);
        }
    };
    if let Some(title) = &mut title {
        title.set(&title::of(&plan.held.facts.settled.effective));
    }
    let reaped: Vec<Pid> =
        plan.held.pool.workers.iter().map(|worker| worker.pid).filter(|&pid| !wait::is_child(pid)).collect();
    for pid in &reaped {
        log::warn!("Worker {pid} was reaped by another program, how it ended nobody knows");
    }
    let adopted = take_over(plan, call, arrival, title);
    match adopted.and_then(|adopted| Supervisor::begin(adopted, crew)) {
        Ok(supervisor) => startup::supervise(supervisor, &logging, |supervisor| supervisor.go_on(&reaped)),
        Err(reason) => {
            logging.finish();
            startup::complain(&reason, exit_code::CANNOT_START)
        }
    }
}

/// Changes nothing.
fn understand(arrival: &Arrival) -> Result<Plan, String> {
    let reads_max = |error: &Unreadable| if error.may_pass { READS_MAX } else { READS_MIN };
    let text = again(|| Plan::read_text(arrival.state_fd), reads_max).map_err(|error| error.message)?;
    let document = Document::from_yaml(&text).map_err(|error| error.to_string())?;
    let plan = Plan::of(&document)?;
    let open = &plan.held.open;
    if open.control.is_none() {
        return Err("the handoff has no control socket".to_owned());
    }
    if let Some((Fd(other), _)) = open.sockets().find(|(fd, _)| is_open(fd.0) && !is_socket(*fd)) {
        return Err(format!("descriptor {other} of the handoff is no socket, it was exchanged on the way"));
    }
    let closed = open.descriptors().find(|(fd, _)| !is_open(fd.0));
    match closed {
        Some((Fd(closed), _)) => {
            Err(format!("descriptor {closed} of the handoff is not open, something on the way has closed it"))
        }
        None => Ok(plan),
    }
}

/// One that a worker has shut down can be mended.
fn is_socket(fd: Fd) -> bool {
    look_at(fd.0, is_accepting).is_ok_and(|found| found != Err(Errno::ENOTSOCK))
}

/// Becomes the image before, under the same pid, with all that it had left open and the same document. Where there is none, as
/// after Ruby's einhorn, it goes on with what there is to see.
///
/// Errors: there is nothing.
fn go_back(reason: &str, config: &Config, call: &Call, arrival: &Arrival) -> Result<Plan, String> {
    let reason = match arrival.way_back {
        Some((image, spare)) => {
            format!("{reason}; {}", become_the_one_before((image, spare), arrival.state_fd, reason, config, call))
        }
        None => reason.to_owned(),
    };
    if arrival.is_of_ours() {
        // It says as whom its workers run, which nobody can see otherwise.
        return Err(reason);
    }
    let inherited = arrival.inherited.as_deref().unwrap_or_default();
    let Some(document) = salvage::document(config, inherited) else { return Err(reason) };
    let mut plan = Plan::of(&document)?;
    plan.notes.insert(
        0,
        format!(
            "{reason}; going on with {} workers and {} sockets that are there, and with default options",
            plan.held.pool.workers.len(),
            plan.held.open.listeners.len()
        ),
    );
    Ok(plan)
}

/// Comes back with the reason why it could not. What the system lacks for the moment is waited for: the end of this process would
/// be the end of all that looks after the workers.
fn become_the_one_before(
    (image, spare): (RawFd, RawFd),
    state_fd: RawFd,
    reason: &str,
    config: &Config,
    call: &Call,
) -> String {
    let image = match adopt(image) {
        Ok(image) => Image::adopt(PathBuf::from("the program before"), image),
        Err(errno) => return words(errno),
    };
    // That image reads the other descriptor, and knows this one's number no more. If the flag cannot be set, it finds the number
    // in /proc.
    let _stays_open = look_at(state_fd, close_on_exec);
    let name = title::of(config);
    let number = spare.to_string();
    let words = [name, "--with-state-fd".into(), number.into(), "--".into()];
    let argv: Vec<_> = words.into_iter().chain(config.program.iter().cloned()).collect();
    let mut env = call.environ.clone();
    env.push((REFUSED_VARIABLE.into(), reason.replace('\0', " ").into()));
    // It expects the descriptor that the document names as its way back.
    let go = || Err::<Infallible, _>(reexec::exec(Program::Image(&image), &argv, &env, &[image.as_fd()]));
    let returns_max = |failure: &ReexecError| if may_pass(failure.errno) { RETURNS_MAX } else { RETURNS_MIN };
    match again(go, returns_max) {
        Err(failure) => failure.to_string(),
    }
}

/// Makes the attempt until it succeeds, or as often as its error allows, with a pause in between.
///
/// Errors: the last one.
fn again<T, E>(mut attempt: impl FnMut() -> Result<T, E>, attempts_max: impl Fn(&E) -> u32) -> Result<T, E> {
    let mut attempts = 1;
    loop {
        match attempt() {
            Err(error) if attempts < attempts_max(&error) => attempts += 1,
            result => return result,
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "there is no loop yet, and no descriptor that tells")]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// Owns everything that came by its number.
///
/// Errors: the control socket is gone, though it was there a moment ago.
fn take_over(plan: Plan, call: Call, arrival: Arrival, title: Option<Title>) -> Result<Beginning, String> {
    let inherited = arrival.numbers();
    let Plan { held, notes } = plan;
    let Held { pool, mut facts, service, image, generation, lost_lines, open } = held;
    facts.call = call.resumed(facts.call);
    let reexec = Reexec::new(image, generation, origin(arrival.refused, &pool));
    log::info!("Using loaded state: generation {generation}, {} workers", pool.workers.len());
    logging::count_lost(lost_lines);
    for note in &notes {
        log::warn!("{note}");
    }
    let spoken_of: BTreeSet<RawFd> = open.descriptors().map(|(Fd(number), _)| number).collect();
    // What came along and nobody speaks of, the document among it.
    let strays: Vec<RawFd> = inherited.into_iter().filter(|number| !spoken_of.contains(number)).collect();
    close_strays(&strays);
    let Open { listeners, releases, exec_pipes, control, lock, pid_file, old_image } = open;
    drop(old_image.and_then(owned));
    let sockets = sockets(listeners, releases, &facts.birth);
    let exec_pipes = exec_pipes.into_iter();
    let exec_pipes = exec_pipes.filter_map(|(pid, fd)| Some((pid, ExecPipe::resume(owned(fd)?)))).collect();
    let control = control.ok_or("the handoff has no control socket")?;
    let files = files(lock, pid_file, &facts, BoundFile::from(control.file.clone()));
    let (socket, clients) = control_socket(control, facts.settled.admittance.access)?;
    // Everything closes with the next exec that it is not meant for.
    if let Err(errno) = set_cloexec_on_inherited(&[]) {
        log::warn!("cannot keep descriptors from workers: {}", words(errno));
    }
    startup::settle_in(&facts.birth);
    let inherited = Inherited { clients, exec_pipes, service };
    Ok(Beginning { pool, facts, title, reexec, files, socket, sockets, inherited })
}

/// Every socket, and the versions with theirs.
fn sockets(listeners: Vec<OpenListener>, releases: Vec<OpenRelease>, birth: &Birth) -> Sockets {
    let bound_files = BoundFiles::default();
    let listeners: Vec<Option<_>> = listeners.into_iter().map(|open| listener(open, birth, &bound_files)).collect();
    let release = |open: OpenRelease| {
        let sockets = open.listeners.iter().filter_map(|place| listeners.get(*place).cloned().flatten());
        (open.version, Release { recipe: open.recipe, listeners: sockets.collect() })
    };
    let releases = releases.into_iter().map(release).collect();
    Sockets { listeners: listeners.into_iter().flatten().collect(), releases, bound_files }
}

/// Errors: it is gone, though it was there a moment ago.
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
    let OpenListener { fd, bind, file, manner } = open;
    let file = file.map(BoundFile::from);
    if let Some((path, _)) = file.as_ref().filter(|_| !bind.flags().shared_directory()) {
        let _it_is_open = mention_doubt(path, &format!("the socket of {bind} goes on"));
    }
    let file = file.map(|file| (file, bound_files.clone()));
    Some(Arc::new(Listener::adopt(owned(fd)?, bind, file, manner, birth)))
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
    let config = &facts.settled.effective;
    let directory = directory_of(config, &facts.call.environ).unwrap_or_else(|_| Directory::Shared(PathBuf::new()));
    let lock = match lock {
        Some(held) => owned(held.fd).map(|fd| Lock::adopt(held.path, fd)),
        None => Lock::acquire(&config::lock_path(config, &directory))
            .inspect_err(|error| log::warn!("{error}; going on without a lock"))
            .ok(),
    };
    let pid_file = match pid_file {
        Some(held) => owned(held.fd).map(|fd| PidFile::adopt(held.path, fd)),
        None => PidFile::find(&config::pid_path(config, &directory), startup::own_pid()),
    };
    Files::adopt(socket, lock, pid_file)
}
