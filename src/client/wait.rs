//! Waits for what a command leads to after its answer: that the old workers are gone, that the master is. Each may have a limit. It
//! commands nothing.

use std::os::fd::AsFd;
use std::time::Duration;

use crate::base::{Mono, printable};
use crate::client::connection::{Connection, Deadline};
use crate::client::failure::{Exit, Failure};
use crate::client::question::Question;
use crate::client::screen::Screen;
use crate::client::status::Status;
use crate::client::text::{Colour, Text};
use crate::sys::clock;
use crate::sys::errno::words;
use crate::sys::process_watch::ProcessWatch;
use crate::sys::unix_client::wait_readable;

/// Time between two looks at the workers.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// After which an answer is asked for again: Ruby's master may lose a request while it re-executes itself.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// Between the end of the connection and that of the process.
const ENDING: Duration = Duration::from_secs(1);

const OLD_WORKERS: &str = "the end of the old workers";
const TRIAL: &str = "the end of the trial";
const END: &str = "the end of the master";

/// Until no worker is left that is older than the version that is launched now.
pub(super) fn for_old_workers(
    connection: &mut Connection,
    deadline: Deadline,
    screen: &mut Screen<'_>,
) -> Result<Exit, Failure> {
    let mut question = Question::new();
    let (mut current, mut named) = (None, None);
    loop {
        let status = look(connection, &mut question, deadline)?;
        let is_first = current.is_none();
        let current = *current.get_or_insert(status.version);
        match status.workers.iter().filter(|worker| worker.version < current).count() {
            0 => break,
            1 if is_first => screen.say("Waiting for the last old worker"),
            left if is_first => screen.say(format!("Waiting for {left} old workers").as_str()),
            _ => {}
        }
        let waits_for = status.waits_for.filter(|waits_for| waits_for.pid.is_some() && waits_for.pid != named);
        if let Some(waits_for) = waits_for {
            screen.say(&*printable::line(&waits_for.text));
            named = waits_for.pid;
        }
        pause(connection, deadline)?;
    }
    screen.say("The old workers are gone");
    Ok(Exit::Done)
}

/// Until the version that was just launched has come through its trial. The end of the watch says no more than that it serves; the
/// end of the whole time is a failure.
pub(super) fn for_trial(
    connection: &mut Connection,
    watch: Deadline,
    whole: Deadline,
    screen: &mut Screen<'_>,
) -> Result<Exit, Failure> {
    let deadline = watch.or_earlier(whole);
    let mut question = Question::new();
    let mut watched = None;
    loop {
        let status = look(connection, &mut question, deadline)?;
        let version = *watched.get_or_insert(status.version);
        let failure = status.last_failure.as_ref().filter(|failure| failure.version > Some(status.version));
        if failure.is_some() || status.version < version {
            let why = failure.and_then(|failure| failure.why.clone()).unwrap_or_default();
            screen.say(Text::painted(format!("Upgrade failed after it was done: {why}").trim_end(), Colour::Red));
            return Ok(Exit::Failed);
        }
        if status.trial.is_none() {
            screen.say(format!("Version {version} has come through its early life").as_str());
            return Ok(Exit::Done);
        }
        match pause(connection, deadline) {
            Err(failure) if failure.exit() == Exit::TimedOut => {
                let hint = "The trial goes on: `einhyrningsinsctl status` shows it.";
                whole.check(clock::now(), TRIAL).map_err(|failure| failure.with_hint(hint))?;
                screen.say(format!("Version {version} serves, and is still on trial").as_str());
                return Ok(Exit::Done);
            }
            paused => paused?,
        }
    }
}

fn look(connection: &mut Connection, question: &mut Question, deadline: Deadline) -> Result<Status, Failure> {
    loop {
        question.ask(connection)?;
        let again = clock::now().after(LOOK_TIMEOUT);
        while let Some(reply) = connection.receive_until(Some(earlier(again, deadline)), OLD_WORKERS)? {
            if let Some(answer) = question.take(connection, reply)? {
                return Ok(answer.status);
            }
        }
        check(deadline, OLD_WORKERS)?;
    }
}

fn pause(connection: &mut Connection, deadline: Deadline) -> Result<(), Failure> {
    let next = earlier(clock::now().after(LOOK_EVERY), deadline);
    // What comes now was not asked for; an end of the connection is seen at once.
    while connection.receive_until(Some(next), OLD_WORKERS)?.is_some() {}
    check(deadline, OLD_WORKERS)
}

/// A master that is about to be told to end. None where the system cannot show its end.
pub(super) fn watch(connection: &Connection) -> Option<ProcessWatch> {
    ProcessWatch::of(connection.master()).ok()
}

/// Whether it ends now: its connections close a moment before.
pub(super) fn is_ending(master: &ProcessWatch) -> bool {
    wait_readable(&[master.as_fd()], Some(clock::now().after(ENDING))) == Ok(Some(0))
}

/// Until the master is gone. Where its process cannot be watched, the end of the connection is the best sign there is.
pub(super) fn for_end(
    connection: &mut Connection,
    master: Option<ProcessWatch>,
    deadline: Deadline,
    screen: &mut Screen<'_>,
) -> Result<Exit, Failure> {
    match master {
        Some(master) => until_ended(connection, &master, deadline)?,
        None => until_closed(connection, deadline)?,
    }
    screen.say("The master is gone");
    Ok(Exit::Done)
}

fn until_ended(connection: &Connection, master: &ProcessWatch, deadline: Deadline) -> Result<(), Failure> {
    let mut fds = vec![master.as_fd()];
    fds.extend(connection.interrupts().map(AsFd::as_fd));
    match wait_readable(&fds, deadline.moment()) {
        Ok(Some(0)) => Ok(()),
        Ok(Some(_)) => Err(Failure::interrupted(END)),
        Ok(None) => check(deadline, END),
        Err(errno) => Err(Failure::system(&format!("wait for {END}"), words(errno))),
    }
}

fn until_closed(connection: &mut Connection, deadline: Deadline) -> Result<(), Failure> {
    loop {
        match connection.receive_until(deadline.moment(), END) {
            Ok(Some(_)) => {}
            Ok(None) => check(deadline, END)?,
            Err(failure) if failure.exit() == Exit::Interrupted => return Err(failure),
            Err(_) => return Ok(()),
        }
    }
}

fn earlier(moment: Mono, deadline: Deadline) -> Mono {
    deadline.moment().map_or(moment, |limit| limit.min(moment))
}

/// # Errors
/// The deadline has passed.
fn check(deadline: Deadline, what: &str) -> Result<(), Failure> {
    let hint = "It is waited for by the master all the same: `einhyrningsinsctl status` shows which workers are left.";
    deadline.check(clock::now(), what).map_err(|failure| failure.with_hint(hint))
}
