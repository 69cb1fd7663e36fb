//! Tells the service manager (systemd) how the service stands, by sd_notify(3), and that this thread is alive. After every turn
//! it compares how things stand with what was said last, and says the difference, and has it keep the listening sockets for the next
//! master; what cannot be said now is said later. It decides nothing, and nothing waits for it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::base::printable;
use crate::base::{Mono, Pid};
use crate::output::fd_store::{self, FdStore};
use crate::output::systemd_status::{Phase, Readiness, Replacing, Stand};
use crate::pool::Pool;
use crate::release::environment::Environment;
use crate::release::environment::{FDSTORE, NOTIFY_SOCKET, WATCHDOG_PID, WATCHDOG_USEC};
use crate::release::listeners::Listener;
use crate::sys::clock;
use crate::sys::errno::words;
use crate::sys::notify_socket::NotifySocket;

/// Between two attempts to reach a manager that is busy, and one that is not there.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_BUSY_LONGEST: Duration = Duration::from_secs(1);
const RETRY_AWAY_LONGEST: Duration = Duration::from_secs(60);

/// It is not told more often than this.
const WATCHDOG_SHORTEST: Duration = Duration::from_millis(1);

/// How much is shown of why an upgrade failed.
const FAILURE_CHARS_MAX: usize = 300;

struct Watchdog {
    every: Duration,
    due: Mono,
}

struct Retry {
    due: Mono,
    wait: Duration,
}

/// What the next image must know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) readiness: Readiness,
    /// Why the last upgrade failed, until the next begins.
    pub(crate) failure: Option<String>,
    /// The inodes of the sockets that the manager keeps for the next master.
    #[serde(default)]
    pub(crate) stored: BTreeSet<u64>,
}

/// The connection to it, and what was said over it.
pub(crate) struct ServiceManager {
    /// None: there is no service manager.
    socket: Option<NotifySocket>,
    remembered: Remembered,
    told: Stand,
    store: FdStore,
    keeps_sockets: bool,
    watchdog: Option<Watchdog>,
    retry: Option<Retry>,
}

impl ServiceManager {
    /// The one that the environment names, if it does.
    pub(crate) fn of(environ: &Environment, own_pid: Pid, remembered: Remembered) -> Self {
        let open = |name| NotifySocket::open(name).inspect_err(|error| log::warn!("{error}; going on without")).ok();
        let socket = find(environ, NOTIFY_SOCKET).and_then(open);
        let (micros, pid) = (find(environ, WATCHDOG_USEC), find(environ, WATCHDOG_PID));
        let every = socket.as_ref().and_then(|_| watchdog(micros, pid, own_pid));
        let watchdog = every.map(|every| Watchdog { every, due: Mono::from_nanos(0) });
        let keeps_sockets = socket.is_some() && find(environ, FDSTORE).is_some_and(|sockets| sockets != "0");
        let (told, store) = (Stand::unknown(), FdStore::default());
        Self { socket, remembered, told, store, keeps_sockets, watchdog, retry: None }
    }

    /// To be passed on to the next image.
    pub(crate) fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// Whether it says that it keeps the listening sockets for the next master. Before systemd 254 it says so only by our unit.
    pub(crate) fn keeps_sockets(&self) -> bool {
        self.keeps_sockets
    }

    /// Whether the manager ends a master that it does not hear of.
    pub(crate) fn has_watchdog(&self) -> bool {
        self.watchdog.is_some()
    }

    /// Until the next upgrade begins, the status has it.
    pub(crate) fn note_failed_upgrade(&mut self, verdict: &str) {
        let one_line = verdict.replace('\n', " ");
        self.remembered.failure = Some(printable::line(&one_line).chars().take(FAILURE_CHARS_MAX).collect());
    }

    pub(crate) fn note_upgrade_begun(&mut self) {
        self.remembered.failure = None;
    }

    /// When it wants to be heard again at the latest.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let retry = self.retry.as_ref().map(|retry| retry.due);
        let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.due);
        // While the manager cannot be reached, the watchdog alone is no reason to wake up.
        retry.or(watchdog)
    }

    fn tell(&mut self, now: Mono, stand: Stand) {
        let lines = self.lines(now, &stand);
        if lines.is_empty() && !self.store.has_unsaid() {
            self.retry = None;
        } else if self.retry.as_ref().is_none_or(|retry| retry.due <= now) {
            match self.send(&lines) {
                Ok(()) => self.on_told(now, stand),
                Err(errno) => self.try_again(now, errno),
            }
        }
    }

    /// First the sockets: what is said of workers is said when a kill of the master does not cost them theirs any more.
    fn send(&mut self, lines: &[String]) -> Result<(), Errno> {
        let Some(socket) = &self.socket else { return Ok(()) };
        self.store.tell(socket, &mut self.remembered.stored)?;
        if lines.is_empty() { Ok(()) } else { socket.send(&lines.join("\n")) }
    }

    /// The last words, whatever the reason for the end is. There is no second attempt.
    pub(crate) fn notify_stopping(&self) {
        let stand = Stand { phase: Phase::Stopping, ..self.told.clone() };
        let lines = stand.changes_since(&self.told, clock::now());
        if let (Some(socket), false) = (&self.socket, lines.is_empty()) {
            let _unheard = socket.send(&lines.join("\n"));
        }
    }

    fn lines(&self, now: Mono, stand: &Stand) -> Vec<String> {
        let mut lines = stand.changes_since(&self.told, now);
        // EXTEND_TIMEOUT_USEC also postpones the watchdog's deadline, unless WATCHDOG=1 is in the same message.
        let is_heard = |watchdog: &Watchdog| watchdog.due <= now || stand.is_step_from(&self.told);
        if self.watchdog.as_ref().is_some_and(is_heard) {
            lines.push("WATCHDOG=1".to_owned());
        }
        lines
    }

    fn on_told(&mut self, now: Mono, stand: Stand) {
        let is_step = stand.is_step_from(&self.told);
        self.retry = None;
        self.told = stand;
        if let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.due <= now || is_step) {
            watchdog.due = now.after(watchdog.every);
        }
    }

    fn try_again(&mut self, now: Mono, errno: Errno) {
        let longest = if errno == Errno::EAGAIN { RETRY_BUSY_LONGEST } else { RETRY_AWAY_LONGEST };
        // The watchdog has half of its time left when it is due.
        let longest = self.watchdog.as_ref().map_or(longest, |watchdog| longest.min(watchdog.every / 4));
        let wait = match &self.retry {
            Some(retry) => retry.wait * 2,
            None => {
                log::warn!("cannot tell the service manager how things stand, trying again: {}", words(errno));
                RETRY_FIRST
            }
        };
        let wait = wait.min(longest);
        self.retry = Some(Retry { due: now.after(wait), wait });
    }

    /// Says what has changed since it was called last. The manager keeps these sockets, and no others of ours.
    pub(crate) fn update(&mut self, pool: &Pool, exchange: Replacing, kept: &[Arc<Listener>]) {
        if self.socket.is_none() {
            return;
        }
        self.store.want(kept, &self.remembered.stored);
        let before = self.remembered.readiness;
        if pool.serving_count() >= pool.settings().target {
            self.remembered.readiness = Readiness::Reached;
        }
        // Adopted workers make a service ready, and are replaced then: the manager hears that in this order.
        let exchange = if before == Readiness::NotYet { Replacing::Nothing } else { exchange };
        let Remembered { readiness, failure, stored: _ } = &self.remembered;
        let stand = self.told.next(pool, *readiness, exchange, failure.as_deref());
        self.tell(clock::now(), stand);
    }

    /// Before this becomes a program that says nothing to a service manager, which would never hear that the reload is over.
    pub(crate) fn end_reloading(&mut self) {
        if self.told.phase == Phase::Replacing {
            let stand = Stand { phase: Phase::Serving, ..self.told.clone() };
            self.tell(clock::now(), stand);
        }
    }
}

/// Has the manager close these sockets, which no start of ours can use: an address stays in use as long as it has them.
pub(crate) fn forget_sockets(environ: &Environment, inodes: impl Iterator<Item = u64>) {
    let Some(manager) = find(environ, NOTIFY_SOCKET).and_then(|name| NotifySocket::open(name).ok()) else { return };
    for inode in inodes {
        if let Err(errno) = fd_store::forget(&manager, inode) {
            log::warn!("cannot have the service manager close a socket of a master before: {}", words(errno));
        }
    }
}

fn find<'a>(environ: &'a Environment, name: &str) -> Option<&'a OsStr> {
    environ.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
}

/// How often to send WATCHDOG=1: twice per interval, if the variables are meant for this process.
fn watchdog(micros: Option<&OsStr>, pid: Option<&OsStr>, own_pid: Pid) -> Option<Duration> {
    let micros = micros?;
    if pid.is_some_and(|pid| pid.to_str() != Some(&own_pid.to_string())) {
        return None;
    }
    let read = micros.to_str().and_then(|text| text.parse::<u64>().ok()).filter(|micros| *micros > 0);
    if read.is_none() {
        log::warn!("{WATCHDOG_USEC} is no number above 0; the watchdog is not served");
    }
    read.map(|micros| Duration::from_micros(micros / 2).max(WATCHDOG_SHORTEST))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn environ(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// A manager that can be listened to.
    struct Play {
        heard: UnixDatagram,
        manager: ServiceManager,
        now: Mono,
        _dir: tempfile::TempDir,
    }

    impl Play {
        fn with(more: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("notify");
            let heard = UnixDatagram::bind(&path).unwrap();
            heard.set_nonblocking(true).unwrap();
            let environ = environ(&[&[(NOTIFY_SOCKET, path.to_str().unwrap())], more].concat());
            let manager = ServiceManager::of(&environ, Pid(7), Remembered::default());
            Self { heard, manager, now: Mono::from_nanos(5_000), _dir: dir }
        }

        fn tell(&mut self, status: &str) -> Vec<String> {
            let stand = Stand { phase: Phase::Serving, status: status.to_owned(), ..Stand::unknown() };
            self.manager.tell(self.now, stand);
            self.hear()
        }

        fn hear(&self) -> Vec<String> {
            let mut buffer = [0; 1000];
            let Ok(length) = self.heard.recv(&mut buffer) else { return Vec::new() };
            String::from_utf8_lossy(&buffer[..length]).split('\n').map(str::to_owned).collect()
        }

        fn wait(&mut self, millis: u64) {
            self.now = self.now.after(Duration::from_millis(millis));
        }

        fn fill(&self) {
            let full = (0..100_000).find_map(|_| self.manager.socket.as_ref()?.send("STATUS=x").err());
            assert_eq!(full, Some(Errno::EAGAIN));
        }

        fn empty(&self) {
            while !self.hear().is_empty() {}
        }

        /// How long it waits before each of so many attempts.
        fn waits(&mut self, count: usize) -> Vec<u128> {
            let attempt = |_| {
                self.manager.tell(self.now, Stand { phase: Phase::Serving, ..Stand::unknown() });
                let due = self.manager.deadline().unwrap();
                let wait = due.since(self.now).as_millis();
                self.now = due;
                wait
            };
            (0..count).map(attempt).collect()
        }
    }

    #[test]
    fn the_watchdog_is_served_twice_in_its_time() {
        let mut play = Play::with(&[(WATCHDOG_USEC, "2000000"), (WATCHDOG_PID, "7")]);
        assert_eq!(play.tell("x"), ["READY=1", "STATUS=x", "WATCHDOG=1"]);
        assert_eq!(play.manager.deadline(), Some(play.now.after(Duration::from_secs(1))));
        assert_eq!(play.tell("x"), [""; 0]);
        play.wait(1000);
        assert_eq!(play.tell("x"), ["WATCHDOG=1"]);
    }

    /// systemd puts off the end of both with EXTEND_TIMEOUT_USEC.
    #[test]
    fn a_step_is_said_to_the_watchdog_too() {
        let mut play = Play::with(&[(WATCHDOG_USEC, "2000000")]);
        play.tell("x");
        let told = play.manager.told.clone();
        play.manager.tell(play.now, Stand { phase: Phase::Starting, acked: 1, ..told });
        let heard = play.hear();
        assert_eq!(heard[heard.len() - 2..], ["EXTEND_TIMEOUT_USEC=300000000", "WATCHDOG=1"]);
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours_and_one_without_a_pid_is() {
        let every = |pid: Option<&str>| watchdog(Some(OsStr::new("6000")), pid.map(OsStr::new), Pid(7));
        assert_eq!(every(Some("8")), None);
        assert_eq!(every(None), Some(Duration::from_millis(3)));
        for wrong in ["", "0", "x", "-1"] {
            assert_eq!(watchdog(Some(OsStr::new(wrong)), None, Pid(7)), None);
        }
        assert_eq!(watchdog(None, None, Pid(7)), None);
    }

    #[test]
    fn what_could_not_be_said_is_said_later_and_not_all_the_time() {
        let mut play = Play::with(&[]);
        play.fill();
        assert_eq!(play.tell("late"), ["STATUS=x"]);
        assert_eq!(play.manager.deadline(), Some(play.now.after(RETRY_FIRST)));
        play.empty();
        assert_eq!(play.tell("late"), [""; 0], "the time has not come");
        play.wait(100);
        assert_eq!(play.tell("late"), ["READY=1", "STATUS=late"]);
        assert_eq!(play.manager.deadline(), None);
    }

    #[test]
    fn a_busy_manager_is_tried_each_second_and_an_absent_one_each_minute() {
        let mut play = Play::with(&[]);
        play.fill();
        assert_eq!(play.waits(6), [100, 200, 400, 800, 1000, 1000]);
        let away = environ(&[(NOTIFY_SOCKET, "/nowhere/notify")]);
        play.manager = ServiceManager::of(&away, Pid(7), Remembered::default());
        assert_eq!(play.waits(12)[9..], [51_200, 60_000, 60_000]);
    }

    /// It would be killed for having waited.
    #[test]
    fn a_watched_master_tries_more_often_than_the_watchdog_bites() {
        let mut play = Play::with(&[(WATCHDOG_USEC, "800000")]);
        play.fill();
        assert_eq!(play.waits(4), [100, 100, 100, 100]);
        play.empty();
        let heard = play.tell("x");
        assert_eq!(heard.last().map(String::as_str), Some("WATCHDOG=1"));
    }

    #[test]
    fn why_an_upgrade_failed_is_one_line_and_not_endless() {
        let mut play = Play::with(&[]);
        play.manager.note_failed_upgrade(&format!("Upgrade failed:\nMAINPID=1{}", "x".repeat(1000)));
        let failure = play.manager.remembered().failure.clone().unwrap();
        assert!(failure.starts_with("Upgrade failed: MAINPID=1") && failure.chars().count() == FAILURE_CHARS_MAX);
        play.manager.note_upgrade_begun();
        assert_eq!(play.manager.remembered(), &Remembered::default());
    }

    #[test]
    fn without_a_manager_nothing_is_said_and_nothing_is_due() {
        let mut manager = ServiceManager::of(&environ(&[(WATCHDOG_USEC, "5")]), Pid(7), Remembered::default());
        manager.tell(Mono::from_nanos(1), Stand { phase: Phase::Serving, ..Stand::unknown() });
        assert_eq!((manager.deadline(), manager.has_watchdog()), (None, false));
        let relative = environ(&[(NOTIFY_SOCKET, "relative")]);
        assert!(ServiceManager::of(&relative, Pid(7), Remembered::default()).socket.is_none());
    }

    /// It is handed on to the next image, and cut only when it is escaped.
    #[test]
    fn a_failure_is_remembered_as_it_is_shown() {
        let mut play = Play::with(&[]);
        play.manager.note_failed_upgrade("a\nb\u{1b}[2J\u{9b}2J\u{202e}");
        let kept = play.manager.remembered().failure.clone();
        assert_eq!(kept.as_deref(), Some("a b\\x1b[2J\\x9b2J\\u{202e}"));
        play.manager.note_failed_upgrade(&"\u{1b}".repeat(FAILURE_CHARS_MAX));
        let length = play.manager.remembered().failure.as_ref().map(|failure| failure.chars().count());
        assert_eq!(length, Some(FAILURE_CHARS_MAX));
    }
}
