//! What the service manager (systemd) is told, in the words of sd_notify(3): that all workers serve, that they are being replaced,
//! that it ends, and that this thread is alive. After every turn it compares how things stand with what was said last, and says the
//! difference; what cannot be said now is said later. It decides nothing, and nobody waits for it.

use std::ffi::OsStr;
use std::time::Duration;

use nix::errno::Errno;

use crate::pool::{Mono, Pid, Pool, Version};
use crate::supervisor::Supervisor;
use crate::supervisor::environment::Environment;
use crate::sys::clock;
use crate::sys::errno::words;
use crate::sys::notify_socket::NotifySocket;

/// Where the manager listens, see sd_notify(3); how often it wants to hear of us, and who it means by that.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// That it keeps descriptors for us. Nothing is kept there yet; it is not for workers either.
const FDSTORE: &str = "FDSTORE";

/// By how much each step forward puts off the end of the manager's patience with a start or an upgrade.
const EXTENSION: Duration = Duration::from_secs(300);

/// Between two attempts to say something. The manager may be busy, or may be replacing itself.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(60);

/// How much is shown of why an upgrade failed.
const FAILURE_CHARS_MAX: usize = 300;

/// How the service stands, as far as sd_notify(3) tells states apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Replacing,
    Stopping,
}

/// How things stand.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stand {
    phase: Phase,
    status: String,
    /// Workers of `version` that have acked: each is a step forward.
    version: Version,
    acked: u32,
}

struct Watchdog {
    every: Duration,
    due: Mono,
}

struct Retry {
    due: Mono,
    wait: Duration,
}

/// The connection to it, and what was said over it.
pub(in crate::supervisor) struct ServiceManager {
    /// None: there is nobody to talk to.
    socket: Option<NotifySocket>,
    /// As many workers as wanted have served once.
    ready: bool,
    /// Since the last upgrade that began.
    failure: Option<String>,
    told: Stand,
    watchdog: Option<Watchdog>,
    retry: Option<Retry>,
}

impl ServiceManager {
    /// The one that the environment names, if it does. `ready` is what another image of this master has seen.
    pub(in crate::supervisor) fn of(environ: &Environment, own_pid: Pid, ready: bool) -> Self {
        let find = |name: &str| environ.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str());
        let open = |name| NotifySocket::open(name).inspect_err(|error| log::warn!("{error}; going on without")).ok();
        let socket = find(NOTIFY_SOCKET).and_then(open);
        let every = watchdog(find(WATCHDOG_USEC), find(WATCHDOG_PID), own_pid).filter(|_| socket.is_some());
        let told = Stand { phase: Phase::Starting, status: String::new(), version: Version(0), acked: 0 };
        let watchdog = every.map(|every| Watchdog { every, due: Mono::from_nanos(0) });
        Self { socket, ready, failure: None, told, watchdog, retry: None }
    }

    /// To be passed on to the next image.
    pub(in crate::supervisor) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether it ends a master that is not heard of.
    pub(in crate::supervisor) fn is_watching(&self) -> bool {
        self.watchdog.is_some()
    }

    /// Until the next upgrade begins, the status has it.
    pub(in crate::supervisor) fn note_failed_upgrade(&mut self, verdict: &str) {
        // A line break would be the beginning of another message.
        let printable = verdict.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
        self.failure = Some(printable.take(FAILURE_CHARS_MAX).collect());
    }

    pub(in crate::supervisor) fn note_upgrade_begun(&mut self) {
        self.failure = None;
    }

    /// When it wants to be heard again at the latest.
    pub(in crate::supervisor) fn deadline(&self) -> Option<Mono> {
        let retry = self.retry.as_ref().map(|retry| retry.due);
        let watchdog = self.watchdog.as_ref().map(|watchdog| watchdog.due);
        // While nothing can be said, that the watchdog is due is nothing to wake up for.
        retry.or(watchdog)
    }

    fn tell(&mut self, now: Mono, stand: Stand) {
        let Some(socket) = &self.socket else { return };
        let Some(message) = self.message(now, &stand) else {
            self.retry = None;
            return;
        };
        if self.retry.as_ref().is_some_and(|retry| retry.due > now) {
            return;
        }
        match socket.send(&message) {
            Ok(()) => {
                self.retry = None;
                self.told = stand;
                if let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.due <= now) {
                    watchdog.due = now.after(watchdog.every);
                }
            }
            Err(errno) => self.try_again(now, errno),
        }
    }

    fn try_again(&mut self, now: Mono, errno: Errno) {
        let wait = match &self.retry {
            Some(retry) => (retry.wait * 2).min(RETRY_LONGEST),
            None => {
                log::warn!("cannot tell the service manager how things stand, trying again: {}", words(errno));
                RETRY_FIRST
            }
        };
        self.retry = Some(Retry { due: now.after(wait), wait });
    }

    /// What is different from what was said last.
    fn message(&self, now: Mono, stand: &Stand) -> Option<String> {
        let mut lines = Vec::new();
        let told = &self.told;
        if stand.phase != told.phase {
            match stand.phase {
                Phase::Starting => {}
                Phase::Serving => lines.push("READY=1".to_owned()),
                Phase::Replacing => {
                    lines.push(format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_nanos() / 1000));
                }
                Phase::Stopping => lines.push("STOPPING=1".to_owned()),
            }
        }
        if stand.status != told.status {
            lines.push(format!("STATUS={}", stand.status));
        }
        let steps_before = if stand.version == told.version { told.acked } else { 0 };
        if matches!(stand.phase, Phase::Starting | Phase::Replacing) && stand.acked > steps_before {
            lines.push(format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros()));
        }
        if self.watchdog.as_ref().is_some_and(|watchdog| watchdog.due <= now) {
            lines.push("WATCHDOG=1".to_owned());
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// `is_replacing` says whether an upgrade is under way or being prepared, or the master is about to replace itself.
    fn look_at(&mut self, pool: &Pool, is_replacing: bool) -> Stand {
        let (serving, target) = (pool.serving_count(), pool.settings().target);
        self.ready |= serving >= target;
        let phase = match (pool.is_stopping(), self.ready, is_replacing) {
            (true, _, _) => Phase::Stopping,
            (false, false, _) => Phase::Starting,
            (false, true, true) => Phase::Replacing,
            (false, true, false) => Phase::Serving,
        };
        let (version, acked) = (pool.modern(), pool.acked_count());
        // What was a step forward once is none when it is made again, as by workers that ack and die.
        let acked = if version == self.told.version { acked.max(self.told.acked) } else { acked };
        Stand { phase, status: self.status(pool, is_replacing), version, acked }
    }

    fn status(&self, pool: &Pool, is_replacing: bool) -> String {
        if pool.is_stopping() {
            return format!("stopping, {} workers left", pool.workers().len());
        }
        let (serving, target, version) = (pool.serving_count(), pool.settings().target, pool.modern());
        if pool.upgrading().is_some() {
            let acked = pool.acked_count();
            return format!("{serving}/{target} serving, upgrading to version {version}: {acked}/{target} acked");
        }
        let about_to = if is_replacing && self.ready { ", preparing an upgrade" } else { "" };
        let failure = self.failure.as_ref().map_or(String::new(), |failure| format!(". {failure}"));
        format!("{serving}/{target} serving, version {version}{about_to}{failure}")
    }
}

impl Supervisor {
    /// Says what has changed since it was called last.
    pub(in crate::supervisor) fn tell_service_manager(&mut self) {
        if self.service_manager.socket.is_none() {
            return;
        }
        let is_replacing = self.pool.is_preparing() || self.pool.upgrading().is_some() || self.reexec.is_under_way();
        let stand = self.service_manager.look_at(&self.pool, is_replacing);
        self.service_manager.tell(clock::now(), stand);
    }

    /// The last words, whatever the reason for the end is.
    pub(in crate::supervisor) fn take_leave_of_service_manager(&mut self) {
        let status = "ended".to_owned();
        let stand = Stand { phase: Phase::Stopping, status, ..self.service_manager.told.clone() };
        self.service_manager.tell(clock::now(), stand);
    }
}

/// Whether a variable of this name is said to the master, and to nobody else.
pub(in crate::supervisor) fn is_for_master(name: &OsStr) -> bool {
    [NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, FDSTORE].iter().any(|known| name == *known)
}

/// How often to be heard: twice in the time after which it would end us, if it is us that it means.
fn watchdog(micros: Option<&OsStr>, pid: Option<&OsStr>, own_pid: Pid) -> Option<Duration> {
    let micros = micros?.to_str().and_then(|text| text.parse::<u64>().ok()).filter(|micros| *micros > 0);
    let is_us = pid.is_none_or(|pid| pid.to_str() == Some(&own_pid.to_string()));
    let every = micros.map(|micros| Duration::from_micros(micros.div_ceil(2)));
    if every.is_none() {
        log::warn!("{WATCHDOG_USEC} is no number above 0; the watchdog is not served");
    }
    every.filter(|_| is_us)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::pool::{AckMode, Command, Event, Settings, Signal, WorkerIndex};

    fn environ(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn settings() -> Settings {
        Settings {
            target: 2,
            ack: AckMode::Manual,
            ack_timeout: None,
            spacing_s: 1.0,
            max_unacked: 2,
            max_upgrade_additional: None,
            signal_timeout: None,
            graceful: Signal::USR2,
            retries: None,
        }
    }

    /// A manager that can be listened to.
    struct Play {
        heard: UnixDatagram,
        manager: ServiceManager,
        pool: Pool,
        now: Mono,
        _dir: tempfile::TempDir,
    }

    impl Play {
        fn with(ready: bool, more: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("notify");
            let heard = UnixDatagram::bind(&path).unwrap();
            heard.set_nonblocking(true).unwrap();
            let environ = environ(&[&[(NOTIFY_SOCKET, path.to_str().unwrap())], more].concat());
            let manager = ServiceManager::of(&environ, Pid(7), ready);
            Self { heard, manager, pool: Pool::new(settings()), now: Mono::from_nanos(5_000), _dir: dir }
        }

        fn happen(&mut self, event: Event) {
            self.pool.handle(self.now, event, &mut Vec::new());
        }

        fn launch(&mut self, pid: i32, index: u32) {
            self.happen(Event::WorkerSpawned { pid: Pid(pid), index: WorkerIndex(index) });
            self.happen(Event::WorkerExeced { pid: Pid(pid) });
        }

        fn look(&mut self, is_replacing: bool) -> Vec<String> {
            let stand = self.manager.look_at(&self.pool, is_replacing);
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
    }

    #[test]
    fn the_first_full_set_of_workers_is_ready_and_each_step_to_it_is_progress() {
        let mut play = Play::with(false, &[]);
        play.happen(Event::Started);
        assert_eq!(play.look(false), ["STATUS=0/2 serving, version 0"]);
        play.launch(11, 0);
        play.launch(12, 1);
        assert_eq!(play.look(false), [""; 0]);
        play.happen(Event::WorkerAcked { pid: Pid(11) });
        assert_eq!(play.look(false), ["STATUS=1/2 serving, version 0", "EXTEND_TIMEOUT_USEC=300000000"]);
        play.happen(Event::WorkerAcked { pid: Pid(12) });
        assert_eq!(play.look(false), ["READY=1", "STATUS=2/2 serving, version 0"]);
        assert_eq!(play.look(false), [""; 0]);
        assert!(play.manager.is_ready());
    }

    #[test]
    fn what_is_replaced_is_reloading_until_it_is_over_and_never_before_it_was_ready() {
        let mut play = Play::with(false, &[]);
        play.happen(Event::Started);
        assert_eq!(play.look(true), ["STATUS=0/2 serving, version 0"]);

        let mut play = Play::with(true, &[]);
        let reloading = ["RELOADING=1", "MONOTONIC_USEC=5", "STATUS=0/2 serving, version 0, preparing an upgrade"];
        assert_eq!(play.look(true), reloading);
        play.manager.note_failed_upgrade("Upgrade failed:\nMAINPID=1");
        let over = ["READY=1", "STATUS=0/2 serving, version 0. Upgrade failed: MAINPID=1"];
        assert_eq!(play.look(false), over);
        play.manager.note_upgrade_begun();
        assert_eq!(play.look(false), ["STATUS=0/2 serving, version 0"]);
    }

    #[test]
    fn the_end_is_said() {
        let mut play = Play::with(true, &[]);
        play.happen(Event::Started);
        play.launch(11, 0);
        play.look(false);
        play.happen(Event::CommandGiven(Command::StopGracefully));
        assert_eq!(play.look(false), ["STOPPING=1", "STATUS=stopping, 1 workers left"]);
    }

    #[test]
    fn a_worker_that_acks_again_and_again_is_no_progress() {
        let mut play = Play::with(false, &[]);
        let stand = |acked| Stand { phase: Phase::Starting, status: String::new(), version: Version(0), acked };
        let extends = |message: Option<String>| message.is_some_and(|text| text.contains("EXTEND"));
        assert!(extends(play.manager.message(play.now, &stand(1))));
        play.manager.told = stand(1);
        assert!(!extends(play.manager.message(play.now, &stand(1))));
        assert!(extends(play.manager.message(play.now, &stand(2))));
        let next = Stand { version: Version(1), ..stand(1) };
        assert!(extends(play.manager.message(play.now, &next)));
        assert!(!extends(play.manager.message(play.now, &Stand { phase: Phase::Serving, ..stand(2) })));
    }

    #[test]
    fn the_watchdog_is_served_twice_in_its_time() {
        let mut play = Play::with(true, &[(WATCHDOG_USEC, "2000000"), (WATCHDOG_PID, "7")]);
        let first = play.look(false);
        assert_eq!(first.last().map(String::as_str), Some("WATCHDOG=1"));
        assert_eq!(play.manager.deadline(), Some(play.now.after(Duration::from_secs(1))));
        assert_eq!(play.look(false), [""; 0]);
        play.wait(1000);
        assert_eq!(play.look(false), ["WATCHDOG=1"]);
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours_and_one_without_a_pid_is() {
        let every = |pid: Option<&str>| watchdog(Some(OsStr::new("3")), pid.map(OsStr::new), Pid(7));
        assert_eq!(every(Some("8")), None);
        assert_eq!(every(None), Some(Duration::from_micros(2)));
        for wrong in ["", "0", "x", "-1"] {
            assert_eq!(watchdog(Some(OsStr::new(wrong)), None, Pid(7)), None);
        }
        assert_eq!(watchdog(None, None, Pid(7)), None);
    }

    #[test]
    fn what_could_not_be_said_is_said_later_and_not_all_the_time() {
        let mut play = Play::with(true, &[]);
        let full = (0..100_000).find_map(|_| play.manager.socket.as_ref()?.send("STATUS=x").err());
        assert_eq!(full, Some(Errno::EAGAIN));
        assert_eq!(play.look(false), ["STATUS=x"]);
        assert_eq!(play.manager.deadline(), Some(play.now.after(RETRY_FIRST)));
        while !play.hear().is_empty() {}
        assert_eq!(play.look(false), [""; 0], "the time has not come");
        play.wait(100);
        assert_eq!(play.look(false), ["READY=1", "STATUS=0/2 serving, version 0"]);
        assert_eq!(play.manager.deadline(), None);
    }

    #[test]
    fn without_a_manager_nothing_is_said_and_nothing_is_due() {
        let mut manager = ServiceManager::of(&environ(&[(WATCHDOG_USEC, "5")]), Pid(7), false);
        let stand = manager.look_at(&Pool::new(settings()), false);
        manager.tell(Mono::from_nanos(1), stand);
        assert_eq!((manager.deadline(), manager.is_watching()), (None, false));
        assert!(ServiceManager::of(&environ(&[(NOTIFY_SOCKET, "relative")]), Pid(7), false).socket.is_none());
    }
}
