//! The output thread: waits until a worker writes, and has it logged; and the main thread's end of it. What both work on is behind a
//! lock, which the thread holds for one read at a time, and gives way for when the main thread wants it: the last lines of a worker
//! shall be complete when its end is told.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::base::Pid;
use crate::capture::source::{Source, Writer};
use crate::capture::sources::{Awaited, READ_BYTES, Sources};
use crate::sys::clock;
use crate::sys::wakeup::Wakeup;
use crate::threads::Input;
use crate::threads::crew::Crew;
use crate::threads::handle::{Pauses, ThreadHandle, Work};

/// The main thread's end. There is no thread until there is something to read.
pub(crate) struct Output {
    shared: Arc<Shared>,
    thread: Option<Arc<ThreadHandle<Watch>>>,
}

/// What the next image gets. `F` is a descriptor: a number while it is described, an open one when it has arrived.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "F: Deserialize<'de>"))]
pub(crate) struct Carried<F> {
    pub(crate) sources: Vec<Source<F>>,
    pub(crate) relay: Option<CarriedRelay<F>>,
}

/// The relay's pid, and the connection to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CarriedRelay<F> {
    pub(crate) pid: Pid,
    pub(crate) connection: F,
}

/// While it lives, nothing is read.
pub(crate) struct OutputPaused(Arc<Shared>);

struct Shared {
    sources: Mutex<Sources>,
    /// The main thread waits for the lock.
    is_wanted: AtomicBool,
    wakeup: Arc<Wakeup>,
}

impl<F> Default for Carried<F> {
    fn default() -> Self {
        Self { sources: Vec::new(), relay: None }
    }
}

impl<F> Carried<F> {
    /// Every descriptor.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &F> {
        let relay = self.relay.iter().map(|relay| &relay.connection);
        self.sources.iter().filter_map(|source| source.pipe.as_ref()).chain(relay)
    }

    /// The same with its descriptors in another form. A source without one is at its end, a relay without a connection is none.
    pub(crate) fn with_descriptors<G>(self, mut form: impl FnMut(F) -> Option<G>) -> Carried<G> {
        let sources = self.sources.into_iter().map(|source| source.with_pipe(&mut form)).collect();
        let relay =
            self.relay.and_then(|relay| Some(CarriedRelay { pid: relay.pid, connection: form(relay.connection)? }));
        Carried { sources, relay }
    }
}

impl Output {
    /// # Errors
    /// There is something to be read, and no thread for it.
    pub(crate) fn start(carried: Carried<OwnedFd>, crew: &mut Crew) -> io::Result<Self> {
        let sources = carried.sources.into_iter().map(|source| source.with_pipe(|pipe| Some(Arc::new(pipe)))).collect();
        let relay = carried.relay.map(|relay| relay.connection);
        let mut output = Self::of(Sources::new(sources, relay));
        if output.shared.lock().open_pipes().next().is_some() {
            output.start_thread(crew)?;
        }
        Ok(output)
    }

    fn of(sources: Sources) -> Self {
        let shared = Shared { sources: Mutex::new(sources), is_wanted: AtomicBool::new(false), wakeup: Arc::default() };
        Self { shared: Arc::new(shared), thread: None }
    }

    fn start_thread(&mut self, crew: &mut Crew) -> io::Result<()> {
        let watch = Watch { shared: Arc::clone(&self.shared), buffer: vec![0; READ_BYTES] };
        self.thread = Some(crew.start(watch, Arc::clone(&self.shared.wakeup))?);
        Ok(())
    }

    /// Whether the output of another worker can be read.
    pub(crate) fn has_room(&self) -> bool {
        self.shared.wanted().has_room()
    }

    /// Reads from now on what this worker writes.
    pub(crate) fn add(&mut self, writer: Writer, pipe: OwnedFd, crew: &mut Crew) {
        self.shared.wanted().add(writer, pipe);
        match &self.thread {
            Some(thread) => thread.wake(),
            // Once the start is over, the main thread stands in where no thread can be started.
            None => {
                self.start_thread(crew).unwrap_or_else(|error| log::error!("cannot read what workers write: {error}"))
            }
        }
    }

    /// To be called when a worker has ended, before that is told: its last lines are complete then.
    pub(crate) fn on_ended(&self, pid: Pid) {
        if self.thread.is_some() {
            self.shared.wanted().on_ended(pid, &mut vec![0; READ_BYTES]);
        }
    }

    /// The last lines that this worker wrote, the oldest first.
    pub(crate) fn last_lines(&self, pid: Pid) -> Vec<String> {
        self.shared.wanted().last_lines(pid)
    }

    /// Whether a process can still write to one of the pipes.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.wanted().open_pipes().next().is_some()
    }

    /// The connection to a relay that was started, or None when it has ended. It is given every pipe.
    pub(crate) fn set_relay(&self, connection: Option<OwnedFd>) {
        self.shared.wanted().set_relay(connection);
        self.wake();
    }

    pub(crate) fn pause(&self) -> OutputPaused {
        self.shared.wanted().pause();
        OutputPaused(Arc::clone(&self.shared))
    }

    /// Gives out all that there is, for a program that knows nothing of it or for none.
    pub(crate) fn finish(&self) {
        if self.thread.is_some() {
            self.shared.wanted().finish(&mut vec![0; READ_BYTES]);
        }
    }

    /// Reads no more, and lets the relay go on. The last call.
    pub(crate) fn end(&self) {
        let mut sources = self.shared.wanted();
        sources.is_over = true;
        sources.set_relay(None);
        drop(sources);
        self.wake();
    }

    /// As the next image gets it.
    pub(crate) fn described<G>(&self, relay: Option<Pid>, form: impl Fn(&OwnedFd) -> G) -> Carried<G> {
        let sources = self.shared.wanted();
        let connection = sources.relay().map(|connection| form(connection));
        let relay = relay.zip(connection).map(|(pid, connection)| CarriedRelay { pid, connection });
        Carried { sources: sources.described(|pipe| form(pipe)), relay }
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.wake();
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for OutputPaused {
    fn drop(&mut self) {
        self.0.wanted().is_paused = false;
        self.0.wakeup.wake();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the main thread, which goes first.
    fn wanted(&self) -> MutexGuard<'_, Sources> {
        self.is_wanted.store(true, Ordering::SeqCst);
        let sources = self.lock();
        self.is_wanted.store(false, Ordering::SeqCst);
        sources
    }

    /// Reads once from each pipe.
    fn read_each(&self, buffer: &mut [u8]) {
        for place in 0.. {
            while self.is_wanted.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            if self.lock().read(place, buffer).is_none() {
                break;
            }
        }
        self.lock().tend(clock::now());
    }
}

/// What the thread has.
struct Watch {
    shared: Arc<Shared>,
    buffer: Vec<u8>,
}

impl Work for Watch {
    const NAME: &'static str = "output";

    fn serve(&mut self, _never_paused: &Pauses) {
        while let Some(awaited) = self.awaited() {
            awaited.wait();
            self.shared.read_each(&mut self.buffer);
        }
    }

    fn turn(&mut self) -> Vec<Input> {
        self.shared.read_each(&mut self.buffer);
        Vec::new()
    }
}

impl Watch {
    /// None: the thread is to end.
    fn awaited(&self) -> Option<Awaited> {
        let sources = self.shared.lock();
        (!sources.is_over).then(|| sources.awaited())
    }
}
