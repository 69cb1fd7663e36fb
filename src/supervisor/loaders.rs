//! What is known of the loaders: which version has one, how far it is, and which workers it was asked for. What is done with them is in
//! `preload`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::{Ending, Mono, Pid, Signal, Slot, Version, WorkerIndex};
use crate::handoff::Fd;
use crate::handover::held::{LoaderStage, OpenLoader, OpenProcess, number};
use crate::output::status::{Preloading, Stage};
use crate::supervisor::equipment::OurEnds;
use crate::sys::exec_pipe::ExecPipe;
use crate::sys::{procfs, signal, wait};

/// How often the master looks at what a loader says: soon after a request, and more rarely while it loads.
const LOOK_PAUSE: Duration = Duration::from_millis(2);
const LOAD_LOOK_PAUSE: Duration = Duration::from_millis(20);

/// How the workers of a version are made that is to be preloaded.
#[derive(Debug)]
pub(crate) enum Source {
    Loader(Loader),
    /// Its program could not be loaded.
    Executed,
    /// The same, and the version is given up for it; why, until the pool is told.
    Refused(Option<String>),
}

#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) pid: Pid,
    pub(crate) socket: OwnedFd,
    /// What its workers find as their arguments.
    pub(crate) worker_argv: Vec<OsString>,
    pub(crate) stage: LoaderStage,
    /// The program that it is to become, and how that went. None: it did under an image before.
    pub(crate) exec: Option<(PathBuf, ExecPipe)>,
    /// How many loaders of this version have ended before, since the last that has forked a worker.
    pub(crate) failures: u32,
    /// Requests that are not answered yet.
    pub(crate) asked: Vec<Asked>,
}

/// One worker, on its way.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) launch: u64,
    pub(crate) index: WorkerIndex,
    pub(crate) slot: Slot,
    pub(crate) until: Mono,
    /// Our end of what the worker waits at, and closes when its program begins.
    pub(crate) line: OwnedFd,
    pub(crate) ends: OurEnds,
    pub(crate) title_line: String,
}

#[derive(Debug, Default)]
pub(crate) struct Loaders {
    pub(crate) sources: BTreeMap<Version, Source>,
    pub(crate) last_launch: u64,
    pub(crate) look_at: Option<Mono>,
}

impl Loaders {
    /// Those of the image before; `owned` makes a descriptor of a number.
    pub(crate) fn resume(carried: Vec<OpenLoader>, owned: impl Fn(Fd) -> Option<OwnedFd>) -> Self {
        let resumed = |open: OpenLoader| {
            let Some(OpenProcess { pid, fd, stage, failures, worker_argv }) = open.process else {
                return Some((open.version, Source::Executed));
            };
            let socket = owned(fd)?;
            let loader = Loader { pid, socket, worker_argv, stage, exec: None, failures, asked: Vec::new() };
            Some((open.version, Source::Loader(loader)))
        };
        let sources = carried.into_iter().filter_map(resumed).collect();
        Self { sources, last_launch: 0, look_at: Some(Mono::from_nanos(0)) }
    }

    fn loaders(&self) -> impl Iterator<Item = &Loader> {
        self.sources.values().filter_map(|source| match source {
            Source::Loader(loader) => Some(loader),
            Source::Executed | Source::Refused(_) => None,
        })
    }

    pub(crate) fn loader(&mut self, version: Version) -> Option<&mut Loader> {
        match self.sources.get_mut(&version)? {
            Source::Loader(loader) => Some(loader),
            Source::Executed | Source::Refused(_) => None,
        }
    }

    /// As the next image is told. Requests that are not answered are not handed on.
    pub(crate) fn described(&self) -> Vec<OpenLoader> {
        let described = |(version, source): (&Version, &Source)| OpenLoader {
            version: *version,
            process: match source {
                Source::Loader(loader) => Some(OpenProcess {
                    pid: loader.pid,
                    fd: number(&loader.socket),
                    stage: loader.stage,
                    failures: loader.failures,
                    worker_argv: loader.worker_argv.clone(),
                }),
                Source::Executed | Source::Refused(_) => None,
            },
        };
        self.sources.iter().map(described).collect()
    }

    /// As `status` shows them.
    pub(crate) fn shown(&self) -> Vec<Preloading> {
        let stage = |source: &Source| match source {
            Source::Loader(Loader { pid, stage: LoaderStage::Loading { .. }, .. }) => Stage::Loading(*pid),
            Source::Loader(Loader { pid, stage: LoaderStage::Ready, .. }) => Stage::Loaded(*pid),
            Source::Executed | Source::Refused(_) => Stage::Executed,
        };
        self.sources.iter().map(|(version, source)| Preloading { version: *version, stage: stage(source) }).collect()
    }

    /// Whether launches of this version wait for a loader.
    pub(crate) fn is_awaited(&self, version: Version) -> bool {
        matches!(self.sources.get(&version), Some(Source::Loader(_)))
    }

    /// Whether a worker is being forked, of which nothing is known yet.
    pub(crate) fn are_forking(&self) -> bool {
        self.loaders().any(|loader| !loader.asked.is_empty())
    }

    /// Whether workers of this version are forked from what was loaded.
    pub(crate) fn is_loaded(&self, version: Version) -> bool {
        matches!(self.sources.get(&version), Some(Source::Loader(Loader { stage: LoaderStage::Ready, .. })))
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.look_at
    }

    pub(crate) fn version_of(&self, pid: Pid) -> Option<Version> {
        let is_it = |source: &Source| matches!(source, Source::Loader(loader) if loader.pid == pid);
        self.sources.iter().find_map(|(version, source)| is_it(source).then_some(*version))
    }

    pub(crate) fn look_again(&mut self, now: Mono) {
        let is_loading = self.loaders().any(|loader| matches!(loader.stage, LoaderStage::Loading { .. }));
        let pause = match (self.are_forking(), is_loading) {
            (true, _) => Some(LOOK_PAUSE),
            (false, true) => Some(LOAD_LOOK_PAUSE),
            (false, false) => None,
        };
        self.look_at = pause.map(|pause| now.after(pause));
    }
}

impl Loader {
    /// How it has ended, unless it was killed here. Workers that it was asked for and that are not known cannot begin any more.
    pub(crate) fn end(&self) -> Option<Ending> {
        if let Ok(Some(ending)) = wait::reap(self.pid) {
            return Some(ending);
        }
        // It closes its socket before there is an exit status.
        let ends_by_itself = procfs::is_ending(self.pid);
        if !wait::is_child(self.pid) || signal::send(self.pid, Signal::KILL).is_err() {
            return None;
        }
        let ending = wait::reap_killed(self.pid).ok().flatten();
        ending.filter(|ending| ends_by_itself || *ending != Ending::Signal(Signal::KILL))
    }
}
