//! How log lines look and where they go: `[MASTER 123] INFO: …` on standard error through the log thread, to syslog through
//! its own, or both, as the plan says. Nothing here blocks.

use std::io::{self, Write};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use env_logger::{Builder, WriteStyle};
use log::{Level, LevelFilter, Record};

use crate::base::{Pid, printable};
use crate::logging::line::{Layout, Speaker, bare, line, set_layout};
use crate::logging::plan::{LogPlan, level_of};
use crate::logging::route::Route;
use crate::logging::stderr_writer::{self, LogQueue, Room};
use crate::logging::syslog_writer::{Report, SyslogQueue, usual_paths};
use crate::sys::errno::words;
use crate::sys::stderr;
use crate::threads::crew::Crew;

/// The target that marks a line as being about a worker's own doing; the pid follows it.
const WORKER_TARGET: &str = "worker ";

/// The target that marks a line as being about syslog, which therefore stays away from it.
const ABOUT_SYSLOG: &str = "about syslog";

/// How long the end of the master may wait for its last lines, which are lost if they are not read.
const LAST_LINES_MAX: Duration = Duration::from_secs(2);

/// How long the end of an image may wait for a standard error that is being read, and for syslog: meanwhile the master does nothing
/// else, and its control socket is silent.
const FLUSH_MAX: Duration = Duration::from_millis(500);
const SYSLOG_FLUSH_MAX: Duration = Duration::from_millis(50);

/// For what is no log line and yet goes the same way.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// Where lines go beside standard error, or instead. Locked for as long as it takes to put a message into a queue that
/// keeps no thread waiting, or to put another in its place.
static ROUTE: RwLock<Option<Route>> = RwLock::new(None);

/// Who speaks in the lines that are not a worker's: the master, unless this is another process of ours.
static OWN_NAME: OnceLock<&'static str> = OnceLock::new();

/// Where lines go; dropped at the very end.
pub(crate) struct Logging {
    queue: LogQueue,
}

/// Has the lines of this process begin with another word than MASTER, in capitals. To be called before the log is started.
pub(crate) fn speak_as(speaker: &'static str) {
    let _first = OWN_NAME.set(speaker);
}

fn own() -> Speaker {
    Speaker::Own { name: OWN_NAME.get().copied().unwrap_or("master"), pid: std::process::id() }
}

/// A line about the log itself.
fn warning(message: &str) -> String {
    line(Level::Warn, own(), message)
}

/// Sends everything that is logged where the plan says from now on.
///
/// Errors: a thread cannot be started.
pub(crate) fn start(plan: &LogPlan, crew: &mut Crew) -> io::Result<Logging> {
    let queue = stderr_writer::start(warning, crew)?;
    let _first = QUEUE.set(queue.clone());
    let sink = env_logger::Target::Pipe(Box::new(queue.clone()));
    let builder = &mut Builder::new();
    builder.filter_level(LevelFilter::Trace).write_style(WriteStyle::Never).target(sink);
    // Nothing written is no line: the pipe is not even called.
    builder.format(|out, record| match line_for_standard_error(record) {
        Some(line) => out.write_all(line.as_bytes()),
        None => Ok(()),
    });
    builder.try_init().map_err(io::Error::other)?;
    apply(plan, crew)?;
    Ok(Logging { queue })
}

/// Follows another plan from the next line on. The syslog thread is started when it is first needed, and ends when nothing
/// goes to syslog any more. What was queued before is written as the old plan had it.
///
/// Errors: the syslog thread cannot be started; the new level holds, and lines go where they went.
pub(crate) fn apply(plan: &LogPlan, crew: &mut Crew) -> io::Result<()> {
    // First, since the thread may have something to say at once.
    log::set_max_level(plan.level);
    set_layout(Layout::of(plan.format, plan.has_time));
    // Only the main thread puts another route there, so that this one is still the last when it is replaced.
    let route = Route::of(plan, read_route().as_ref(), usual_paths(), hear_of_syslog, crew)?;
    let last = std::mem::replace(&mut *ROUTE.write().unwrap_or_else(PoisonError::into_inner), route);
    // Not under the lock.
    drop(last);
    Ok(())
}

/// einhorn's three grades, and the one of ours, as [`level_of`] has them.
pub(crate) fn set_verbosity(verbosity: u8) {
    log::set_max_level(level_of(verbosity));
}

/// Writes a bare line to standard error, whatever the verbosity and wherever log lines go: it is no log line, but what
/// einhorn shows at its terminal.
pub(crate) fn print(text: &str) {
    if let Some(queue) = QUEUE.get() {
        queue.push(bare(own(), text).into_bytes());
    }
}

/// How many lines were not read in time, since the start.
pub(crate) fn dropped_lines() -> u64 {
    QUEUE.get().map_or(0, LogQueue::dropped_lines)
}

/// Those, and what is lost with this image if it is not read now.
pub(crate) fn lost_lines() -> u64 {
    dropped_lines() + waiting_lines()
}

/// How many lines are on their way; one that goes to two places counts twice.
pub(crate) fn waiting_lines() -> u64 {
    let syslog = read_route().as_ref().map(Route::queue);
    QUEUE.get().map_or(0, LogQueue::waiting_lines) + syslog.map_or(0, |queue| queue.waiting_messages())
}

/// Counts what the image before has lost.
pub(crate) fn count_lost(lines: u64) {
    if let Some(queue) = QUEUE.get() {
        queue.count_dropped(lines);
    }
}

/// Says what a worker is about to do, in the worker's name, as einhorn's workers say it themselves: between fork and exec
/// a child of ours may not log.
pub(crate) fn log_for_worker(pid: Pid, message: &str) {
    log::info!(target: &format!("{WORKER_TARGET}{pid}"), "{message}");
}

/// Logs a line that a worker has written, which is fit to be shown. It has no level of the master's, and no verbosity keeps it back. Syslog
/// gets it as information; where that is not for syslog, standard error has it, so that it is somewhere.
pub(crate) fn log_output(writer: Speaker, text: &str) -> Room {
    let Some(queue) = QUEUE.get() else { return Room::Full };
    let line = line(Level::Info, writer, text);
    let left = match &*read_route() {
        Some(route) => route.pass_output(format!("[{}] {text}", writer.named()), line),
        None => Some(line),
    };
    left.map_or(Room::Free, |line| queue.push_output(line.into_bytes()))
}

/// Whether the next such line would find room.
pub(crate) fn room_for_output() -> Room {
    QUEUE.get().map_or(Room::Full, LogQueue::room_for_output)
}

impl Logging {
    /// Waits until the last lines are written, but not for ever.
    pub(crate) fn finish(&self) {
        flush_syslog(SyslogQueue::flush);
        self.queue.flush(LAST_LINES_MAX);
    }
}

/// The same before another program takes this one's place: what cannot be written soon stays in [`lost_lines`].
pub(crate) fn flush() {
    flush_syslog(|queue| queue.flush_within(SYSLOG_FLUSH_MAX));
    if let Some(queue) = QUEUE.get() {
        queue.flush_while_read(FLUSH_MAX, stderr::has_room);
    }
}

/// It comes first, for standard error may have to stand in.
fn flush_syslog(flush: impl FnOnce(&SyslogQueue)) {
    let syslog = read_route().as_ref().map(Route::queue);
    if let Some(syslog) = syslog {
        flush(&syslog);
    }
}

fn read_route() -> RwLockReadGuard<'static, Option<Route>> {
    ROUTE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a line to syslog if it is for syslog; what is left for standard error comes back.
fn line_for_standard_error(record: &Record<'_>) -> Option<String> {
    let message = record.args().to_string();
    let child = record.target().strip_prefix(WORKER_TARGET).and_then(|pid| pid.parse().ok()).map(Pid);
    let speaker = child.map_or_else(own, Speaker::Child);
    let line = line(record.level(), speaker, &message);
    match &*read_route() {
        Some(route) if record.target() != ABOUT_SYSLOG => {
            let message = printable::line(&message);
            // The master's name and pid are in every message anyway.
            let text = match child {
                Some(_) => format!("[{}] {message}", speaker.named()),
                None => message.into_owned(),
            };
            route.pass(record.level(), text, line)
        }
        Some(_) | None => Some(line),
    }
}

/// Called by the syslog thread.
fn hear_of_syslog(report: Report) {
    match report {
        Report::Undelivered(line) => {
            if let Some(queue) = QUEUE.get() {
                queue.push(line.into_bytes());
            }
        }
        Report::Away(errno) => log::warn!(
            target: ABOUT_SYSLOG,
            "cannot reach syslog: {}, its lines go to standard error until it is there",
            words(errno)
        ),
        Report::Back { missed: 0 } => log::warn!(target: ABOUT_SYSLOG, "syslog is there"),
        Report::Back { missed } => {
            log::warn!(target: ABOUT_SYSLOG, "syslog is there, {missed} lines went to standard error alone");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::base::LogTarget;
    use crate::sys::testing::{LIMIT, in_own_process, wait_until};

    fn syslog_threads() -> usize {
        let names = fs::read_dir("/proc/self/task").unwrap().flatten().map(|task| task.path().join("comm"));
        names.filter(|name| fs::read_to_string(name).is_ok_and(|name| name.trim() == "syslog")).count()
    }

    #[test]
    fn the_syslog_thread_is_there_while_something_goes_to_syslog() {
        let test = "the_syslog_thread_is_there_while_something_goes_to_syslog";
        in_own_process(module_path!(), test, || {
            let plan = |target, level| LogPlan { target, level, ..LogPlan::default() };
            let crew = &mut Crew::required();
            let logging = start(&plan(LogTarget::Stderr, LevelFilter::Error), crew).unwrap();
            let plans = [
                (LogTarget::Stderr, LevelFilter::Error, 0),
                (LogTarget::Both, LevelFilter::Info, 1),
                (LogTarget::Syslog, LevelFilter::Debug, 1),
                (LogTarget::Stderr, LevelFilter::Warn, 0),
                (LogTarget::Syslog, LevelFilter::Warn, 1),
            ];
            for (target, level, threads) in plans {
                apply(&plan(target, level), crew).unwrap();
                assert_eq!(log::max_level(), level);
                // One that has just been started has no name yet, and one that is no longer needed ends soon.
                assert!(wait_until(LIMIT, || syslog_threads() == threads), "{target:?}");
                logging.finish();
            }
        });
    }
}
