//! The output of all workers: whose lines go into the log, how many of them found no room there, and which pipes the relay has still to
//! be given. Waits for nothing; when to look is the business of the thread.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use crate::base::{Mono, Pid};
use crate::capture::source::{Source, Writer};
use crate::logging;
use crate::logging::rate_limiter::LogRateLimiter;
use crate::sys::errno::words;
use crate::sys::fd_passing;
use crate::sys::output_pipe::Found;
use crate::sys::wakeup;

/// How many pipes are read at a time. The output of a worker beyond them goes where the master's goes.
pub(crate) const PIPES_MAX: usize = 4096;

/// How many workers that have ended are remembered with their last lines.
pub(crate) const ENDED_MAX: usize = 64;

/// How much of a dead worker's output is read when its end is known: what its pipe may hold, and what processes that it has left behind
/// write meanwhile is no reason to go on.
const LAST_BYTES_MAX: usize = 128 * 1024;

/// How many bytes of unfinished lines go to the next image. If there are more, they come out in parts before.
const CARRIED_BYTES_MAX: usize = 1 << 20;

/// How much is read from one pipe before it is the next one's turn.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// How soon it is looked again whether lost lines can be told of.
const UNTOLD_RECHECK: Duration = Duration::from_secs(1);

/// How long to rest where the system refuses to wait for the pipes.
pub(crate) const REST: Duration = Duration::from_millis(50);

/// An open pipe. The thread that waits for it shares it.
pub(crate) type Pipe = Arc<OwnedFd>;

pub(crate) struct Sources {
    all: Vec<Source<Pipe>>,
    relay: Option<Relay>,
    lost: Lost,
    /// While the state is being handed on, nothing is read.
    pub(crate) is_paused: bool,
    /// The thread is to end.
    pub(crate) is_over: bool,
}

/// Our end of the connection to the relay. It stays open until the relay has ended: its end is what sets a relay going.
struct Relay {
    connection: Pipe,
    /// Nothing can be sent any more.
    is_broken: bool,
}

/// What is waited for, held open until then.
pub(crate) struct Awaited {
    pipes: Vec<Pipe>,
    relay: Option<Pipe>,
    patience: Option<Duration>,
}

/// Lines that the log had no room for.
#[derive(Default)]
struct Lost {
    /// Since it was told of them.
    lines: u64,
    limiter: LogRateLimiter,
}

impl Sources {
    pub(crate) fn new(all: Vec<Source<Pipe>>, relay: Option<OwnedFd>) -> Self {
        Self { all, relay: relay.map(Relay::new), lost: Lost::default(), is_paused: false, is_over: false }
    }

    /// Whether another pipe can be read.
    pub(crate) fn has_room(&self) -> bool {
        self.open_pipes().count() < PIPES_MAX
    }

    pub(crate) fn add(&mut self, writer: Writer, pipe: OwnedFd) {
        self.all.push(Source::new(writer, Arc::new(pipe)));
        self.pass_to_relay();
    }

    /// Those that can still be written to.
    pub(crate) fn open_pipes(&self) -> impl Iterator<Item = &Pipe> {
        self.all.iter().filter_map(|source| source.pipe.as_ref())
    }

    /// As the next image is told of them, with their pipes in another form.
    pub(crate) fn described<G>(&self, form: impl Fn(&Pipe) -> G) -> Vec<Source<G>> {
        self.all.iter().map(|source| source.clone().with_pipe(|pipe| Some(form(&pipe)))).collect()
    }

    pub(crate) fn relay(&self) -> Option<&Pipe> {
        self.relay.as_ref().map(|relay| &relay.connection)
    }

    /// The oldest first. Of a pid that came up twice, those of the later worker.
    pub(crate) fn last_lines(&self, pid: Pid) -> Vec<String> {
        let found = self.all.iter().rev().find(|source| source.writer.pid == pid);
        found.map(Source::last_lines).unwrap_or_default()
    }

    /// Reads once from the pipe at this place. None: there are no more.
    pub(crate) fn read(&mut self, place: usize, buffer: &mut [u8]) -> Option<()> {
        let Self { all, lost, is_paused, .. } = self;
        let source = all.get_mut(place).filter(|_| !*is_paused)?;
        source.read(buffer, &mut |writer, line| lost.say(writer, line));
        Some(())
    }

    /// Reads once from each.
    pub(crate) fn read_each(&mut self, buffer: &mut [u8]) {
        (0..self.all.len()).for_each(|place| _ = self.read(place, buffer));
    }

    /// Reads what a worker has written that has ended.
    pub(crate) fn on_ended(&mut self, pid: Pid, buffer: &mut [u8]) {
        let Self { all, lost, .. } = self;
        let Some(source) = all.iter_mut().rev().find(|source| source.writer.pid == pid) else { return };
        read_to_end(source, buffer, lost);
        source.is_ended = true;
        self.forget_the_oldest();
    }

    fn forget_the_oldest(&mut self) {
        let is_over = |source: &Source<Pipe>| source.is_ended && source.pipe.is_none();
        let mut surplus = self.all.iter().filter(|source| is_over(source)).count().saturating_sub(ENDED_MAX);
        self.all.retain(|source| {
            let goes = surplus > 0 && is_over(source);
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// Reads what is there, and gives out all of it, unfinished lines too: no line will be completed here.
    pub(crate) fn finish(&mut self, buffer: &mut [u8]) {
        let Self { all, lost, .. } = self;
        for source in all {
            read_to_end(source, buffer, lost);
            source.cut(&mut |writer, line| lost.say(writer, line));
        }
        self.lost.tell();
    }

    /// To be called before it is described.
    pub(crate) fn pause(&mut self) {
        self.is_paused = true;
        let mut bytes: usize = self.all.iter().map(Source::unfinished_bytes).sum();
        let Self { all, lost, .. } = self;
        for source in all {
            if bytes <= CARRIED_BYTES_MAX {
                break;
            }
            bytes -= source.unfinished_bytes();
            source.cut(&mut |writer, line| lost.say(writer, line));
        }
        self.lost.tell();
    }

    /// After each look at the pipes.
    pub(crate) fn tend(&mut self, now: Mono) {
        self.lost.tell_if_due(now);
        self.pass_to_relay();
    }

    /// What to wait for before the next look.
    pub(crate) fn awaited(&self) -> Awaited {
        let pipes = if self.is_paused { Vec::new() } else { self.open_pipes().cloned().collect() };
        let relay = self.waits_for_relay().cloned();
        Awaited { pipes, relay, patience: (self.lost.lines > 0).then_some(UNTOLD_RECHECK) }
    }

    /// A relay has taken the place of none, or of another.
    pub(crate) fn set_relay(&mut self, relay: Option<OwnedFd>) {
        self.relay = relay.map(Relay::new);
        self.all.iter_mut().for_each(|source| source.is_relayed = false);
        self.pass_to_relay();
    }

    /// The relay has no room for a pipe for the moment.
    fn waits_for_relay(&self) -> Option<&Pipe> {
        let is_left = self.all.iter().any(|source| source.pipe.is_some() && !source.is_relayed);
        self.relay
            .as_ref()
            .filter(|relay| is_left && !relay.is_broken && !self.is_paused)
            .map(|relay| &relay.connection)
    }

    fn pass_to_relay(&mut self) {
        let Self { all, relay, is_paused, .. } = self;
        let Some(relay) = relay.as_mut().filter(|relay| !relay.is_broken && !*is_paused) else { return };
        for source in all.iter_mut().filter(|source| !source.is_relayed) {
            let Some(pipe) = &source.pipe else { continue };
            match fd_passing::pass(relay.connection.as_fd(), &source.writer.to_record(), pipe.as_fd()) {
                Ok(()) => source.is_relayed = true,
                Err(Errno::EAGAIN | Errno::ETOOMANYREFS | Errno::ENOMEM | Errno::ENOBUFS) => return,
                Err(errno) => {
                    // It has ended; the main thread hears of that.
                    log::debug!("cannot pass a pipe to the relay: {}", words(errno));
                    relay.is_broken = true;
                    return;
                }
            }
        }
    }
}

impl Relay {
    fn new(connection: OwnedFd) -> Self {
        Self { connection: Arc::new(connection), is_broken: false }
    }
}

impl Awaited {
    /// Until there is something, or the thread is woken.
    pub(crate) fn wait(&self) {
        let pipes = self.pipes.iter().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
        let relay = self.relay.iter().map(|relay| PollFd::new(relay.as_fd(), PollFlags::POLLOUT));
        let mut all: Vec<PollFd<'_>> = pipes.chain(relay).collect();
        match wakeup::poll(&mut all, self.patience) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => wakeup::rest(REST),
        }
    }
}

fn read_to_end(source: &mut Source<Pipe>, buffer: &mut [u8], lost: &mut Lost) {
    let mut bytes = 0;
    while bytes < LAST_BYTES_MAX {
        match source.read(buffer, &mut |writer, line| lost.say(writer, line)) {
            Found::Bytes(length) => bytes += length,
            Found::Nothing | Found::End => return,
        }
    }
}

impl Lost {
    fn say(&mut self, writer: Writer, line: &str) {
        if logging::log_output(writer.speaker(), line) == logging::Room::Full {
            self.lines = self.lines.saturating_add(1);
        }
    }

    fn tell_if_due(&mut self, now: Mono) {
        if self.lines > 0 && logging::room_for_output() == logging::Room::Free && self.limiter.admit(now).is_some() {
            self.tell();
        }
    }

    fn tell(&mut self) {
        match std::mem::take(&mut self.lines) {
            0 => {}
            lines => log::warn!("dropped {lines} lines of workers, for which the log had no room"),
        }
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
