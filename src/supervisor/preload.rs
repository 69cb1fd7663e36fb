//! Starts the loaders, processes that load a version's program and fork its workers (`release::preload`), asks them and hears them. A launch of such a version waits
//! until the loader is ready. What cannot be forked is executed instead, as einhorn does. A loader is a child that is no worker: the
//! pool does not know of it; its workers become children of the master.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use crate::base::{Ending, Pid, Signal, Slot, Version, WorkerIndex};
use crate::capture::source::Writer;
use crate::handover::held::LoaderStage;
use crate::logging;
use crate::pool::Event;
use crate::release::environment::SLOT_PID;
use crate::release::exec_spec::Release;
use crate::release::listeners::{WORKER_FD_FIRST, worker_fds_end};
use crate::release::preload::{LOADER_FD, Preload, Word, assignment, loader_command, message};
use crate::supervisor::children::not_executed;
use crate::supervisor::launch::{STDERR, STDOUT};
use crate::supervisor::loaders::{Asked, Loader, Source};
use crate::supervisor::master::{Supervisor, Turn};
use crate::supervisor::process::own_pid;
use crate::sys::errno::{errno_of, words};
use crate::sys::exec_pipe::{ExecPipe, ExecState};
use crate::sys::output_pipe::OutputPipe;
use crate::sys::packet_socket::{self, Received};
use crate::sys::prepared_exec::SpawnRequest;
use crate::sys::process::Spawned;
use crate::sys::{clock, fd, limits, memfd, process, processors, socket, wait};

/// How long a loader may take to fork one worker.
const FORK_LIMIT: Duration = Duration::from_secs(10);

/// So many loaders of a version may end in a row, none of which has forked a worker.
const STARTS_MAX: u32 = 3;

/// How many lines of a reason are told.
const REASON_LINES_MAX: usize = 100;

/// A loader that was just started.
struct Begun {
    spawned: Spawned,
    program: PathBuf,
    worker_argv: Vec<OsString>,
    socket: OwnedFd,
    /// Our end of the pipe that it writes to.
    output: Option<OwnedFd>,
}

impl Supervisor {
    /// The answer to `SpawnWorker`, where it can be given at once.
    pub(crate) fn fork_or_launch(&mut self, index: WorkerIndex, slot: Slot, version: Version) -> Option<Event> {
        let preload = self.sockets.releases.get(&version).and_then(|release| release.exec_spec.preload.clone());
        let Some(preload) = preload else { return Some(self.launch(index, slot, version)) };
        if self.pool.is_stopping() {
            return Some(Event::SpawnFailed { index, version });
        }
        match self.children.loaders.sources.get(&version) {
            Some(Source::Executed) => return Some(self.launch(index, slot, version)),
            Some(Source::Refused(_)) => return Some(Event::SpawnFailed { index, version }),
            Some(Source::Loader(_)) => {}
            None => {
                if let Err(reason) = self.start_loader(version, &preload, 0) {
                    self.do_without_loader(version, &preload, not_loaded(&preload, &reason));
                    return self.fork_or_launch(index, slot, version);
                }
            }
        }
        match self.children.loaders.is_loaded(version) {
            true => self.ask_for_worker(index, slot, version),
            // It is asked for when the loader is ready.
            false => None,
        }
    }

    fn start_loader(&mut self, version: Version, preload: &Preload, failures: u32) -> Result<(), String> {
        let Begun { spawned, program, worker_argv, socket, output } = self.spawn_loader(version, preload)?;
        let pid = spawned.pid;
        self.read_output(Writer::loader(pid, version), output);
        let shown: Vec<_> = worker_argv.iter().map(|word| word.to_string_lossy()).collect();
        log::info!("Set ARGV = {shown:?}");
        let directory = self.sockets.releases.get(&version).and_then(|release| release.exec_spec.directory.as_deref());
        let verb = if preload.is_library(directory) { "Requiring" } else { "Loading" };
        let path = preload.path.display();
        log::info!("{verb} {path} (if this hangs, make sure your code can be properly loaded as a library)");
        log::debug!("Process {pid} loads {path}");
        let stage = LoaderStage::Loading { until: clock::now().after(preload.timeout) };
        let exec = Some((program, spawned.exec));
        let loader = Loader { pid, socket, worker_argv, stage, exec, failures, asked: Vec::new() };
        self.children.loaders.sources.insert(version, Source::Loader(loader));
        self.children.loaders.look_again(clock::now());
        self.threads.reaper.resume();
        Ok(())
    }

    fn spawn_loader(&self, version: Version, preload: &Preload) -> Result<Begun, String> {
        let said = |errno: Errno| words(errno);
        let Some(release) = self.sockets.releases.get(&version) else { return Err(words(Errno::ENOENT)) };
        let control_fd = worker_fds_end(release.listeners.len());
        let script_fd = control_fd + 1;
        let spec = &release.exec_spec;
        let directory = spec.directory.as_deref();
        let command = loader_command(preload, &spec.argv, &spec.file(), &spec.environment, directory, script_fd)?;
        let (ours, theirs) = packet_socket::pair().map_err(said)?;
        let lift = |fd: OwnedFd| fd::lift(fd, script_fd + 1).map_err(|error| words(errno_of(&error)));
        let (ours, theirs) = (lift(ours)?, lift(theirs)?);
        let script = command.script.map(|script| {
            let file = memfd::sealed("einhyrningsins loader", script.as_bytes()).map_err(|error| error.to_string())?;
            lift(file)
        });
        let script = script.transpose()?;
        let lifted = lift_listeners(release, script_fd + 1).map_err(said)?;
        let sockets = lifted.iter().zip(WORKER_FD_FIRST..).map(|(listener, number)| (listener.as_fd(), number));
        let mut descriptors: Vec<(BorrowedFd<'_>, RawFd)> = sockets.collect();
        descriptors.push((theirs.as_fd(), control_fd));
        descriptors.extend(script.as_ref().map(|script| (script.as_fd(), script_fd)));
        let output = self.output_pipe(release);
        let output = output.map(|OutputPipe { reader, writer }| lift(writer).map(|writer| (reader, writer)));
        let output = output.transpose()?;
        let of_output = output.iter().flat_map(|(_, writer)| [(writer.as_fd(), STDOUT), (writer.as_fd(), STDERR)]);
        descriptors.extend(of_output);
        let mut env = spec.environment.clone();
        env.push((LOADER_FD.into(), control_fd.to_string().into()));
        let spawned = process::spawn(&SpawnRequest {
            path: &command.path,
            file: None,
            argv: &command.argv,
            env: &env,
            own_pid_variable: None,
            directory,
            descriptors: &descriptors,
            birth: &self.facts.birth,
            nice: spec.nice,
            cpus: None,
            parent_death: Some(Signal::KILL),
            umask: spec.umask,
            limits: &spec.limits,
            identity: spec.identity.as_ref(),
        });
        let program = directory.map_or_else(|| command.path.clone(), |directory| directory.join(&command.path));
        let (spawned, worker_argv) = (spawned.map_err(said)?, command.worker_argv);
        Ok(Begun { spawned, program, worker_argv, socket: ours, output: output.map(|(reader, _)| reader) })
    }

    fn ask_for_worker(&mut self, index: WorkerIndex, slot: Slot, version: Version) -> Option<Event> {
        match self.request_worker(index, slot, version) {
            Ok(asked) => {
                let loaders = &mut self.children.loaders;
                loaders.loader(version)?.asked.push(asked);
                loaders.look_again(clock::now());
                None
            }
            // No later try can do better.
            Err(Errno::EMSGSIZE) => {
                let preload = self.preload_of(version)?;
                let path = preload.path.display();
                let what = format!("the arguments and variables of a worker of {path} are too long for a loader");
                self.do_without_loader(version, &preload, what);
                // Workers that were asked for are launched otherwise, too.
                self.children.loaders.look_at = Some(clock::now());
                self.fork_or_launch(index, slot, version)
            }
            Err(errno) => {
                log::error!("cannot ask the loader for a worker, trying again later: {}", words(errno));
                Some(Event::SpawnFailed { index, version })
            }
        }
    }

    fn request_worker(&mut self, index: WorkerIndex, slot: Slot, version: Version) -> Result<Asked, Errno> {
        self.relisten();
        self.children.loaders.last_launch += 1;
        let launch = self.children.loaders.last_launch;
        let release = self.sockets.releases.get(&version).ok_or(Errno::ENOENT)?;
        let spec = &release.exec_spec;
        let preload = spec.preload.as_ref().ok_or(Errno::ENOENT)?;
        let Some(Source::Loader(loader)) = self.children.loaders.sources.get(&version) else {
            return Err(Errno::ESRCH);
        };
        let equipment = self.equip(release)?;
        let (ours, theirs) = socket::socket_pair()?;
        fd::set_blocking(ours.as_fd(), fd::Blocking::NonBlocking)?;
        let mut fields = vec![("launch", launch.to_string().into()), ("parent", own_pid().to_string().into())];
        fields.push(("pid", SLOT_PID.into()));
        let mut descriptors = vec![theirs.as_fd()];
        if let Some(output) = &equipment.output {
            fields.push(("output", OsString::new()));
            descriptors.push(output.writer.as_fd());
        }
        if let Some((_, theirs)) = &equipment.connection {
            fields.push(("connection", "EINHORN_SOCK_FD".into()));
            descriptors.push(theirs.as_fd());
        }
        let shown: Vec<_> = loader.worker_argv.iter().map(|word| word.to_string_lossy()).collect();
        let title_line = format!("Set $0 = {:?},  ARGV = {shown:?}", preload.title.to_string_lossy());
        fields.extend(loader.worker_argv.iter().map(|word| ("arg", word.clone())));
        fields.push(("title", preload.title.clone()));
        fields.extend(spec.parent_death.map(|signal| ("signal", signal.number().to_string().into())));
        let known: BTreeSet<&(OsString, OsString)> = spec.environment.iter().collect();
        let own = self.environment(release, index, slot);
        let own = own.iter().filter(|variable| !known.contains(variable) && variable.0 != "EINHORN_SOCK_FD");
        fields.extend(own.map(|variable| ("env", assignment(variable))));
        packet_socket::send(loader.socket.as_fd(), &message(&fields), &descriptors)?;
        let until = clock::now().after(FORK_LIMIT);
        Ok(Asked { launch, index, slot, until, line: ours, ends: equipment.ours(), title_line })
    }

    /// Hears what loaders say, and ends those that take too long.
    pub(crate) fn poll_loaders(&mut self) -> Turn {
        if self.children.loaders.look_at.is_none_or(|due| due > clock::now()) {
            return Turn::Continue(());
        }
        let launched = self.pool.state().launches.iter().map(|launch| launch.version);
        let versions: BTreeSet<Version> = self.children.loaders.sources.keys().copied().chain(launched).collect();
        for version in versions {
            self.hear_loader(version)?;
            self.end_late_loader(version)?;
            // The image before may have asked, and heard no answer.
            self.answer_waiting(version)?;
            self.refuse_unloaded(version)?;
        }
        self.children.loaders.look_again(clock::now());
        Turn::Continue(())
    }

    fn hear_loader(&mut self, version: Version) -> Turn {
        while let Some(loader) = self.children.loaders.loader(version) {
            match packet_socket::receive(loader.socket.as_fd()) {
                Received::Nothing => break,
                // It has ended, or will be ended.
                Received::End => return self.lose_loader(version, "it has closed its socket"),
                Received::Message(message) => match Word::read(&message) {
                    Ok(word) => self.obey_loader(version, word)?,
                    Err(reason) => return self.lose_loader(version, &reason),
                },
            }
        }
        Turn::Continue(())
    }

    fn obey_loader(&mut self, version: Version, word: Word) -> Turn {
        match word {
            Word::Loaded { threads, sockets } => self.on_loaded(version, threads, sockets),
            Word::Failed(reason) => self.on_load_failed(version, |preload| not_loaded(preload, &reason)),
            Word::Without(main) => self.on_load_failed(version, |preload| {
                format!("loaded {}, but no {main} method was defined", preload.path.display())
            }),
            Word::Forked { launch, pid } => self.on_forked(version, launch, Pid(pid)),
            Word::ForkFailed { launch, errno } => {
                let Some(asked) = self.take_asked(version, launch) else { return Turn::Continue(()) };
                log::error!("cannot fork a worker, trying again later: {}", words(Errno::from_raw(errno)));
                self.dispatch(Event::SpawnFailed { index: asked.index, version })
            }
        }
    }

    fn refuse_unloaded(&mut self, version: Version) -> Turn {
        let Some(Source::Refused(reason)) = self.children.loaders.sources.get_mut(&version) else {
            return Turn::Continue(());
        };
        let Some(reason) = reason.take() else { return Turn::Continue(()) };
        self.dispatch(Event::VersionUnfit { version, reason })
    }

    fn on_loaded(&mut self, version: Version, threads: u64, sockets: u64) -> Turn {
        let Some(preload) = self.preload_of(version) else { return Turn::Continue(()) };
        let path = preload.path.display();
        log::info!("Successfully loaded {path}");
        if threads > 0 {
            log::warn!("{path} has started {threads} threads while it was loaded; no worker has them");
        }
        if sockets > 0 {
            log::warn!("{path} has opened {sockets} connections while it was loaded; all workers have the same ones");
        }
        if let Some(loader) = self.children.loaders.loader(version) {
            loader.stage = LoaderStage::Ready;
        }
        self.answer_waiting(version)
    }

    /// Launches that have waited for the loader, unless it loads still.
    fn answer_waiting(&mut self, version: Version) -> Turn {
        let asked: Vec<WorkerIndex> = match self.children.loaders.loader(version) {
            Some(Loader { stage: LoaderStage::Loading { .. }, .. }) => return Turn::Continue(()),
            Some(loader) => loader.asked.iter().map(|asked| asked.index).collect(),
            None => Vec::new(),
        };
        let launches = self.pool.state().launches.clone();
        let waiting = launches.into_iter().filter(|launch| launch.version == version && !asked.contains(&launch.index));
        for launch in waiting {
            let answer = self.fork_or_launch(launch.index, launch.slot, version);
            self.dispatch_all(answer)?;
        }
        Turn::Continue(())
    }

    fn on_load_failed(&mut self, version: Version, what: impl FnOnce(&Preload) -> String) -> Turn {
        if let Some(preload) = self.preload_of(version) {
            self.do_without_loader(version, &preload, what(&preload));
        }
        self.answer_waiting(version)
    }

    /// Its workers are executed; or it is given up, where that is configured, and there is a version to go back to.
    fn do_without_loader(&mut self, version: Version, preload: &Preload, what: String) {
        if preload.is_required && version == self.pool.modern() && self.pool.can_be_given_up() {
            self.replace_source(version, Some(Source::Refused(Some(what))));
            self.children.loaders.look_at = Some(clock::now());
            return;
        }
        format!("Proceeding with postload -- {what}").lines().for_each(|line| log::warn!("{line}"));
        self.replace_source(version, Some(Source::Executed));
    }

    fn replace_source(&mut self, version: Version, source: Option<Source>) {
        let sources = &mut self.children.loaders.sources;
        let before = match source {
            Some(source) => sources.insert(version, source),
            None => sources.remove(&version),
        };
        if let Some(Source::Loader(loader)) = before {
            self.end_loader(&loader);
        }
    }

    /// How it has ended, unless it was killed here.
    fn end_loader(&self, loader: &Loader) -> Option<Ending> {
        let ending = loader.end();
        self.threads.output.on_ended(loader.pid);
        ending
    }

    /// At the end.
    pub(crate) fn end_loaders(&mut self) {
        for source in std::mem::take(&mut self.children.loaders.sources).into_values() {
            if let Source::Loader(loader) = source {
                self.end_loader(&loader);
            }
        }
    }

    fn on_forked(&mut self, version: Version, launch: u64, pid: Pid) -> Turn {
        let Some(asked) = self.take_asked(version, launch) else { return Turn::Continue(()) };
        let Asked { index, slot, line, ends, title_line, .. } = asked;
        // It has the rights of the workers' user, and may name any process.
        let is_known = self.pool.workers().iter().any(|worker| worker.pid == pid) || self.is_helper(pid);
        if is_known || !wait::is_child(pid) {
            log::error!("cannot find the worker {pid} that was forked, trying again later");
            return self.dispatch(Event::SpawnFailed { index, version });
        }
        if let Some(loader) = self.children.loaders.loader(version) {
            loader.failures = 0;
        }
        self.adjust_forked(version, slot, pid);
        logging::log_for_worker(pid, "About to tear down Einhorn state and run einhorn_main");
        logging::log_for_worker(pid, &title_line);
        // It has not begun, and cannot before this byte.
        let _gone_already = nix::unistd::write(&line, b"g");
        self.keep(pid, slot, version, ExecPipe::resume(line), ends);
        self.dispatch(Event::WorkerSpawned { pid, index, version })
    }

    /// What only the master may set.
    fn adjust_forked(&self, version: Version, slot: Slot, pid: Pid) {
        let Some(release) = self.sockets.releases.get(&version) else { return };
        let slots = &release.exec_spec.slots;
        let nice = slots.nice(slot).map_or(Ok(()), |level| limits::set_nice_of(pid, level));
        let cpus = slots.cpus(slot).map_or(Ok(()), |cpus| processors::set_affinity_of(pid, cpus));
        for (what, result) in [("nice level", nice), ("processors", cpus)] {
            if let Err(errno) = result {
                log::error!("Worker {pid}: cannot set the {what}: {}", words(errno));
            }
        }
    }

    fn take_asked(&mut self, version: Version, launch: u64) -> Option<Asked> {
        let loader = self.children.loaders.loader(version)?;
        let at = loader.asked.iter().position(|asked| asked.launch == launch)?;
        Some(loader.asked.remove(at))
    }

    fn preload_of(&self, version: Version) -> Option<Preload> {
        self.sockets.releases.get(&version)?.exec_spec.preload.clone()
    }

    pub(crate) fn is_loader(&self, pid: Pid) -> bool {
        self.children.loaders.version_of(pid).is_some()
    }

    /// It has ended, which it should not have. What it has said before counts.
    pub(crate) fn on_loader_ended(&mut self, pid: Pid) -> Turn {
        if let Some(version) = self.children.loaders.version_of(pid) {
            self.hear_loader(version)?;
        }
        match self.children.loaders.version_of(pid) {
            Some(version) => self.lose_loader(version, "it has ended"),
            None => Turn::Continue(()),
        }
    }

    fn lose_loader(&mut self, version: Version, reason: &str) -> Turn {
        let Some(Source::Loader(loader)) = self.children.loaders.sources.remove(&version) else {
            return Turn::Continue(());
        };
        let ending = self.end_loader(&loader);
        let Loader { pid, stage, failures, exec, asked, .. } = loader;
        let not_executed = exec.and_then(|(program, mut pipe)| match pipe.poll() {
            ExecState::Failed { stage, errno } => Some(not_executed(&program, stage, errno)),
            ExecState::Pending | ExecState::Execed => None,
        });
        let reason = not_executed.or(ending.map(ended)).unwrap_or_else(|| reason.to_owned());
        let Some(preload) = self.preload_of(version) else { return Turn::Continue(()) };
        log::warn!("The loader {pid} of version {version} is gone: {reason}");
        let start = match stage {
            _ if self.pool.is_stopping() => Ok(()),
            LoaderStage::Loading { .. } => Err(with_last_lines(&reason, &self.last_lines(pid))),
            LoaderStage::Ready if failures + 1 >= STARTS_MAX => Err("its loaders end again and again".to_owned()),
            LoaderStage::Ready => self.start_loader(version, &preload, failures + 1),
        };
        if let Err(reason) = start {
            self.do_without_loader(version, &preload, not_loaded(&preload, &reason));
        }
        let failed = asked.into_iter().map(|asked| Event::SpawnFailed { index: asked.index, version });
        self.dispatch_all(failed)?;
        self.answer_waiting(version)
    }

    fn end_late_loader(&mut self, version: Version) -> Turn {
        let now = clock::now();
        let Some(loader) = self.children.loaders.loader(version) else { return Turn::Continue(()) };
        let is_late = match loader.stage {
            LoaderStage::Loading { until } => until <= now,
            LoaderStage::Ready => loader.asked.iter().any(|asked| asked.until <= now),
        };
        match is_late {
            true => self.lose_loader(version, "it takes too long"),
            false => Turn::Continue(()),
        }
    }

    /// Of versions that nothing is launched of any more, unless they are gone back to; and all of them at a stop.
    pub(crate) fn end_unneeded_loaders(&mut self) -> Turn {
        let pool = &self.pool;
        let (is_stopping, launches) = (pool.is_stopping(), &pool.state().launches);
        let is_launched = |version: Version| launches.iter().any(|launch| launch.version == version);
        let is_needed = |version: Version| version == pool.modern() || version == pool.good() || is_launched(version);
        let versions = self.children.loaders.sources.keys().copied();
        let unneeded: Vec<Version> = versions.filter(|version| is_stopping || !is_needed(*version)).collect();
        for version in unneeded {
            self.hear_loader(version)?;
            self.replace_source(version, None);
        }
        let unmade = if is_stopping { self.pool.state().launches.clone() } else { Vec::new() };
        let failed = unmade.into_iter().map(|launch| (launch.index, launch.version));
        self.dispatch_all(failed.map(|(index, version)| Event::SpawnFailed { index, version }))
    }
}

/// The first line tells the reason, as far as it is one line; its others stand below.
fn not_loaded(preload: &Preload, reason: &str) -> String {
    let lines: Vec<&str> = reason.lines().filter(|line| !line.trim().is_empty()).take(REASON_LINES_MAX).collect();
    format!("could not load {}: {}", preload.path.display(), lines.join("\n"))
}

fn with_last_lines(reason: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return reason.to_owned();
    }
    format!("{reason}\nThe last that it wrote:\n  {}", lines.join("\n  "))
}

fn ended(ending: Ending) -> String {
    match ending {
        Ending::Code(code) => format!("it has ended with exit status {code}"),
        Ending::Signal(signal) => format!("it was killed by {signal}"),
    }
}

/// Copies that stand above every number of the child's.
fn lift_listeners(release: &Release, above: RawFd) -> Result<Vec<OwnedFd>, Errno> {
    release.listeners.iter().map(|listener| fd::duplicate_above(listener.fd.as_fd(), above)).collect()
}
