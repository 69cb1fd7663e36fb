//! The relay: a process beside the master that holds every pipe of a worker's output open for reading, and reads nothing. When the master
//! is killed, or has become a program that knows nothing of the pipes, no worker meets a pipe without a reader, which would end most
//! programs at their next line; the relay reads then, and writes the lines to standard error, until no process can write any more. It
//! has no socket and no descriptor but those, and no signal ends it but KILL: its time is up when the workers are gone.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use crate::base::exit_code;
use crate::capture::source::{Source, Writer};
use crate::capture::sources::{PIPES_MAX, Pipe, READ_BYTES, REST, Sources};
use crate::logging;
use crate::logging::plan::LogPlan;
use crate::sys::birth::Birth;
use crate::sys::errno::words;
use crate::sys::fd_passing::{Received, receive};
use crate::sys::{clock, fd, title, wakeup};
use crate::threads::crew::Crew;

/// Where it finds the connection over which it is given the pipes.
pub(crate) const CONNECTION_FD: i32 = 3;

/// Its name in ps(1) and pgrep(1), which shall not be the master's.
const NAME: &str = "einhyr-relay";

/// Its name in its own log lines.
const SPEAKER: &str = "relay";

type Held = Vec<(Writer, OwnedFd)>;

/// The whole life of a relay.
pub(crate) fn main() -> ExitCode {
    title::set_process_name(OsStr::new(NAME));
    let Ok(connection) = fd::adopt(CONNECTION_FD) else { return ExitCode::from(exit_code::CANNOT_START) };
    let strays: Vec<_> = fd::open_numbers().unwrap_or_default().into_iter().filter(|fd| *fd != CONNECTION_FD).collect();
    fd::close_strays(&strays);
    logging::speak_as(SPEAKER);
    let Ok(logging) = logging::start(&LogPlan::default(), &mut Crew::required()) else {
        return ExitCode::from(exit_code::CANNOT_START);
    };
    // There is a descriptor for each worker.
    if let Err(errno) = Birth::record().and_then(|birth| birth.raise_nofile()) {
        log::debug!("cannot raise the limit of open files: {}", words(errno));
    }
    let held = hold(connection);
    copy(held);
    logging.finish();
    ExitCode::SUCCESS
}

/// Holds what it is given, until the other side is gone.
fn hold(connection: OwnedFd) -> Held {
    let mut held = Held::new();
    loop {
        let given = PollFd::new(connection.as_fd(), PollFlags::POLLIN);
        // Nothing is asked for, and told is an end alone.
        let ends = held.iter().map(|(_, pipe)| PollFd::new(pipe.as_fd(), PollFlags::empty()));
        let mut all: Vec<PollFd<'_>> = [given].into_iter().chain(ends).collect();
        match wakeup::poll(&mut all, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => wakeup::rest(REST),
        }
        let has_ended: Vec<bool> = all.iter().skip(1).map(|pipe| pipe.any() == Some(true)).collect();
        let mut has_ended = has_ended.into_iter();
        held.retain(|_| !has_ended.next().unwrap_or(false));
        if take(&connection, &mut held).is_none() {
            return held;
        }
    }
}

/// Takes all that was given. None: the other side is gone.
fn take(connection: &OwnedFd, held: &mut Held) -> Option<()> {
    loop {
        match receive(connection.as_fd()) {
            Received::Passed(record, pipe) if held.len() < PIPES_MAX => held.push((Writer::from_record(record), pipe)),
            Received::Passed(..) | Received::Lost => {}
            Received::Nothing => return Some(()),
            Received::Failed => {
                wakeup::rest(REST);
                return Some(());
            }
            Received::End => return None,
        }
    }
}

/// Reads until no process can write any more.
fn copy(held: Held) {
    let sources = held.into_iter().map(|(writer, pipe)| Source::new(writer, Pipe::new(pipe)));
    let mut sources = Sources::new(sources.collect(), None);
    let mut buffer = vec![0; READ_BYTES];
    sources.read_each(&mut buffer);
    if sources.open_pipes().next().is_some() {
        log::warn!("The master is gone, or another program: what its workers write goes to standard error from here");
    }
    while sources.open_pipes().next().is_some() {
        sources.awaited().wait();
        sources.read_each(&mut buffer);
        sources.tend(clock::now());
    }
    sources.finish(&mut buffer);
}
