//! The way to syslog: which lines take it, and what is left for standard error then. Nothing here writes or waits.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use log::{Level, LevelFilter};

use crate::base::LogTarget;
use crate::logging::plan::LogPlan;
use crate::logging::syslog_message::{Header, Message};
use crate::logging::syslog_writer::{self, Report, SyslogQueue};
use crate::threads::crew::Crew;

/// How many messages may wait before what workers write no longer goes to syslog: the rest of the room is the master's.
const OUTPUT_MESSAGES_MAX: u64 = 128;

/// There is one while lines go to syslog.
pub(crate) struct Route {
    queue: SyslogQueue,
    header: Arc<Header>,
    level: LevelFilter,
    standard_error: StandardError,
}

/// What standard error gets beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StandardError {
    Everything,
    Undelivered,
}

impl Route {
    /// The route of this plan, if it has one. The thread of the route before it goes on; one is started where there is none.
    ///
    /// Errors: no thread can be started.
    pub(crate) fn of(
        plan: &LogPlan,
        before: Option<&Self>,
        paths: Vec<PathBuf>,
        report: impl Fn(Report) + Send + 'static,
        crew: &mut Crew,
    ) -> io::Result<Option<Self>> {
        let standard_error = match plan.target {
            LogTarget::Stderr => return Ok(None),
            LogTarget::Syslog => StandardError::Undelivered,
            LogTarget::Both => StandardError::Everything,
        };
        let header = Arc::new(plan.header());
        let queue = match before {
            Some(route) => route.queue.clone(),
            None => syslog_writer::start(paths, Arc::clone(&header), report, crew)?,
        };
        Ok(Some(Self { queue, header, level: plan.syslog_level, standard_error }))
    }

    /// Puts a text of this level on its way to syslog, if it is for syslog. `line` is the same for standard error, and comes
    /// back if it is to go there.
    pub(crate) fn pass(&self, level: Level, text: String, line: String) -> Option<String> {
        let is_for_syslog = level <= self.level;
        let message = |otherwise| Message { header: Arc::clone(&self.header), level, text, otherwise };
        match self.standard_error {
            StandardError::Everything if is_for_syslog => {
                // What finds no room is counted, and has its line already.
                let _none = self.queue.push(message(None));
                Some(line)
            }
            StandardError::Everything => Some(line),
            StandardError::Undelivered if is_for_syslog => self.queue.push(message(Some(line))),
            StandardError::Undelivered => None,
        }
    }

    /// The same for a line that a worker has written: what is not for syslog, or finds no room there, is left for standard error.
    pub(crate) fn pass_output(&self, text: String, line: String) -> Option<String> {
        let is_for_syslog = Level::Info <= self.level && self.queue.waiting_messages() < OUTPUT_MESSAGES_MAX;
        if is_for_syslog { self.pass(Level::Info, text, line) } else { Some(line) }
    }

    pub(crate) fn queue(&self) -> SyslogQueue {
        self.queue.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};

    use tempfile::TempDir;

    use super::*;
    use crate::logging::syslog_message::Facility;
    use crate::sys::testing::LIMIT;

    const LEVELS: [Level; 4] = [Level::Error, Level::Warn, Level::Info, Level::Debug];

    fn plan(target: LogTarget, syslog_level: LevelFilter) -> LogPlan {
        LogPlan { target, syslog_level, ..LogPlan::default() }
    }

    /// The route of a plan to a syslog at this path, and what its thread reports.
    fn route(plan: &LogPlan, path: &Path) -> (Route, Receiver<Report>) {
        let (sender, reports) = channel();
        let report = move |report| sender.send(report).unwrap();
        (Route::of(plan, None, vec![path.to_owned()], report, &mut Crew::required()).unwrap().unwrap(), reports)
    }

    fn listen() -> (TempDir, PathBuf, UnixDatagram) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("log");
        let syslog = UnixDatagram::bind(&path).unwrap();
        syslog.set_read_timeout(Some(LIMIT)).unwrap();
        (dir, path, syslog)
    }

    fn received(syslog: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = syslog.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Passes a line of each level; says which of them are left for standard error, and which came to syslog.
    fn divided(target: LogTarget, syslog_level: LevelFilter) -> (Vec<Level>, Vec<Level>) {
        let (_dir, path, syslog) = listen();
        let (route, _reports) = route(&plan(target, syslog_level), &path);
        let left = LEVELS.into_iter().filter(|level| {
            let line = format!("[MASTER 1] {level}: x\n");
            route.pass(*level, format!("x {level}"), line.clone()).is_some_and(|left| left == line)
        });
        let left = left.collect();
        route.queue().flush();
        syslog.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let got = std::iter::from_fn(|| syslog.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()));
        let got: Vec<_> = got.map(|message| String::from_utf8(message).unwrap()).collect();
        let levels = got.iter().map(|message| message.rsplit(' ').next().unwrap().parse().unwrap());
        (left, levels.collect())
    }

    #[test]
    fn target_both_writes_all_to_stderr_and_its_level_to_syslog() {
        assert_eq!(divided(LogTarget::Both, LevelFilter::Warn), (LEVELS.to_vec(), LEVELS[..2].to_vec()));
        assert_eq!(divided(LogTarget::Both, LevelFilter::Debug), (LEVELS.to_vec(), LEVELS.to_vec()));
        assert_eq!(divided(LogTarget::Both, LevelFilter::Error), (LEVELS.to_vec(), LEVELS[..1].to_vec()));
    }

    #[test]
    fn target_syslog_writes_no_line_to_stderr_and_drops_lower_levels() {
        assert_eq!(divided(LogTarget::Syslog, LevelFilter::Warn), (vec![], LEVELS[..2].to_vec()));
        assert_eq!(divided(LogTarget::Syslog, LevelFilter::Debug), (vec![], LEVELS.to_vec()));
    }

    #[test]
    fn what_a_worker_writes_is_never_dropped_for_its_level() {
        for (target, level, is_left, is_sent) in [
            (LogTarget::Syslog, LevelFilter::Warn, true, false),
            (LogTarget::Syslog, LevelFilter::Info, false, true),
            (LogTarget::Both, LevelFilter::Warn, true, false),
            (LogTarget::Both, LevelFilter::Info, true, true),
        ] {
            let (_dir, path, syslog) = listen();
            let (route, _reports) = route(&plan(target, level), &path);
            let left = route.pass_output("[worker] text".to_owned(), "line".to_owned());
            assert_eq!(left.is_some(), is_left, "{target:?} {level}");
            route.queue().flush();
            syslog.set_nonblocking(true).unwrap();
            assert_eq!(syslog.recv(&mut [0; 100]).is_ok(), is_sent, "{target:?} {level}");
        }
    }

    #[test]
    fn syslog_unreachable_lines_fall_back_to_stderr_once() {
        let dir = TempDir::new().unwrap();
        for (target, lines) in [(LogTarget::Syslog, &["line"][..]), (LogTarget::Both, &[])] {
            let (route, reports) = route(&plan(target, LevelFilter::Warn), &dir.path().join("log"));
            let _left = route.pass(Level::Warn, "text".to_owned(), "line".to_owned());
            let _left = route.pass(Level::Info, "text".to_owned(), "not for syslog".to_owned());
            route.queue().flush();
            let undelivered = reports.try_iter().filter_map(|report| match report {
                Report::Undelivered(line) => Some(line),
                Report::Away(_) | Report::Back { .. } => None,
            });
            assert_eq!(undelivered.collect::<Vec<_>>(), lines, "{target:?}");
        }
    }

    #[test]
    fn a_new_plan_holds_from_the_next_line_on() {
        let (_dir, path, syslog) = listen();
        let first = plan(LogTarget::Both, LevelFilter::Warn);
        let (before, _reports) = route(&first, &path);
        let _left = before.pass(Level::Warn, "one".to_owned(), "one".to_owned());
        let facility = Facility::named("local0").unwrap();
        let plan = LogPlan { target: LogTarget::Syslog, facility, ident: "web".to_owned(), ..first };
        let unheard = |_| unreachable!("the thread that there is goes on");
        let after = Route::of(&plan, Some(&before), vec![], unheard, &mut Crew::required()).unwrap().unwrap();
        drop(before);
        assert_eq!(after.pass(Level::Warn, "two".to_owned(), "two".to_owned()), None);
        assert!(received(&syslog).starts_with("<28>"));
        let (message, name) = (received(&syslog), format!("web[{}]: two", std::process::id()));
        assert!(message.starts_with("<132>") && message.ends_with(&name), "{message}");
        let stderr = LogPlan { target: LogTarget::Stderr, ..plan };
        assert!(Route::of(&stderr, Some(&after), vec![], unheard, &mut Crew::required()).unwrap().is_none());
    }
}
