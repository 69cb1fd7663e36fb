//! The re-exec, step by step: the next program is tried in a child that nobody waits for; then the threads are stopped, what they
//! have said is acted on, everything is written down, and this process becomes that program. What fails on the way leaves this
//! master as it was, and whoever asked is told.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::config;
use crate::handoff::Document;
use crate::pool::{Ending, Event, Mono, Pid, Version};
use crate::supervisor::candidate::Candidate;
use crate::supervisor::event_loop::Turn;
use crate::supervisor::held::Held;
use crate::supervisor::next_program::NextProgram;
use crate::supervisor::preflight::{Check, Finding, Successor};
use crate::supervisor::{Supervisor, logging, startup};
use crate::sys::errno::{errno_of, words};
use crate::sys::reexec::{self, Image, Program, ReexecError};
use crate::sys::{clock, memfd};
use crate::threads::control_handover::Frozen;

/// In the environment of the next image: the descriptors of the program to go back to, of the document that it is meant with
/// (Ruby's einhorn may pass the variable on), and of the same document once more, whatever a wrapper does to the first.
pub(in crate::supervisor) const RETURN_VARIABLE: &str = "EINHYRNINGSINS_RETURN";
/// In the environment of an image that was gone back to: why.
pub(in crate::supervisor) const REFUSED_VARIABLE: &str = "EINHYRNINGSINS_REFUSED";

/// How long to wait before the threads are asked to stop once more, and how often they are.
const PAUSE: Duration = Duration::from_millis(50);
const TRIES_MAX: u32 = 40;

/// How long to wait for an errand before it is looked again; that it takes long, the log says.
const ERRAND_PAUSE: Duration = Duration::from_millis(250);

/// How long log lines that nobody reads put a re-exec off, and how often it is looked whether they were read. All goes on meanwhile;
/// what is left then is counted as lost.
const LOG_PATIENCE: Duration = Duration::from_millis(500);
const LOG_PAUSE: Duration = Duration::from_millis(10);

/// How often a program is checked that is replaced again and again.
const CHECKS_MAX: u32 = 5;

/// What there is to know of it between one event and the next.
pub(in crate::supervisor) struct Reexec {
    /// None: it cannot be found, for want of a /proc or, for a moment, of a descriptor. Then only `--reexec-as` can be run.
    image: Option<Image>,
    /// The name that an earlier image knew: who was run by descriptor has none.
    name: Option<PathBuf>,
    /// How often the master has replaced its program.
    generation: u64,
    origin: Origin,
    stage: Stage,
    /// The upgrade that waits for it.
    version: Option<Version>,
    /// Since the last success or refusal.
    checks: u32,
}

/// How this image came to be, as far as the next upgrade goes.
pub(in crate::supervisor) enum Origin {
    /// It is not of that upgrade's making.
    Elsewhere,
    /// It is the new image that the upgrade asked for.
    Upgrade,
    /// That one could not go on, for this reason, and went back to this.
    Return(String),
}

enum Stage {
    Idle,
    /// It begins at the end of the turn: in the middle of one, a launch may still be without its answer.
    Wanted,
    Checking(Box<Check>),
    /// At the next turn, or somewhat later if a thread was too busy to stop.
    Ready(Box<Ready>),
}

/// A program that was checked.
struct Ready {
    successor: Successor,
    candidate: Candidate,
    checked_at: Mono,
    due: Mono,
    tries: u32,
}

/// How an attempt ended that left us here.
enum Attempt {
    /// The master ends instead, or something has to be done first.
    Turn(Turn),
    /// A thread was busy.
    Later,
    /// An errand is under way, of which the next image would know nothing.
    AfterErrands,
    /// Log lines are still to be written, and it is too early to give them up.
    AfterLog,
    /// The program was replaced since it was checked.
    Changed,
    Failed(String),
}

impl Reexec {
    pub(in crate::supervisor) fn new(name: Option<PathBuf>, generation: u64, origin: Origin) -> Self {
        let mut reexec = Self { image: None, name, generation, origin, stage: Stage::Idle, version: None, checks: 0 };
        reexec.find_image();
        reexec
    }

    /// What could not be found may be found now.
    fn find_image(&mut self) {
        if self.image.is_some() {
            return;
        }
        let found = Image::remember().inspect_err(|error| log::warn!("{error}; upgrades replace the workers alone"));
        let Ok(image) = found else { return };
        let image = match &self.name {
            Some(name) => image.named(name.clone()),
            None => image,
        };
        image.show_name();
        self.image = Some(image);
    }

    pub(in crate::supervisor) fn image(&self) -> Option<&Image> {
        self.image.as_ref()
    }

    pub(in crate::supervisor) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether this program is about to be replaced, or at least to be tried to.
    pub(in crate::supervisor) fn is_under_way(&self) -> bool {
        !matches!(self.stage, Stage::Idle)
    }

    pub(in crate::supervisor) fn deadline(&self) -> Option<Mono> {
        match &self.stage {
            Stage::Idle => None,
            Stage::Wanted => Some(Mono::from_nanos(0)),
            Stage::Checking(check) => check.deadline(),
            Stage::Ready(ready) => Some(ready.due),
        }
    }

    /// Ends a check under way. Says whether there was one: its child is about to go.
    pub(in crate::supervisor) fn abandon(&mut self) -> bool {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Checking(check) => {
                check.kill();
                true
            }
            Stage::Idle | Stage::Wanted | Stage::Ready(_) => false,
        }
    }
}

impl Supervisor {
    /// The answer to `PrepareRelease`, if it can be given at once. The master replaces itself first, as einhorn does; the new
    /// image prepares the version.
    pub(in crate::supervisor) fn begin_upgrade(&mut self, version: Version) -> Option<Event> {
        match std::mem::replace(&mut self.reexec.origin, Origin::Elsewhere) {
            Origin::Upgrade => return self.prepare_release(version),
            Origin::Return(reason) => return Some(Event::ReleaseRefused { version, reason }),
            Origin::Elsewhere => {}
        }
        self.reexec.find_image();
        if self.reexec.image.is_none() && self.config().reexec_as.is_none() {
            return self.prepare_release(version);
        }
        self.reexec.version = Some(version);
        self.want_reexec();
        None
    }

    /// The command `reload`: the program is replaced, and the workers stay.
    pub(in crate::supervisor) fn reload(&mut self) {
        if self.pool.is_stopping() {
            log::info!("Not reloading einhorn because we're exiting");
        } else {
            self.want_reexec();
        }
    }

    /// One that is under way already is as good.
    fn want_reexec(&mut self) {
        if let Stage::Idle = self.reexec.stage {
            self.reexec.find_image();
            log::info!("Reloading einhorn master ({})...", self.next_name());
            self.reexec.stage = Stage::Wanted;
        }
    }

    fn next_name(&self) -> String {
        match (&self.config().reexec_as, &self.reexec.image) {
            (Some(words), _) => words.join(" "),
            (None, Some(image)) => image.path().display().to_string(),
            (None, None) => "nobody knows where".to_owned(),
        }
    }

    fn next_program(&self) -> Result<NextProgram, String> {
        NextProgram::of(self.config(), self.reexec.image.as_ref().map(Image::path), &self.facts.call.environ)
    }

    fn check_next(&mut self) -> Option<Event> {
        self.reexec.checks += 1;
        if self.reexec.checks > CHECKS_MAX {
            return self.give_up_reexec(&format!("{} is replaced again and again", self.next_name()));
        }
        let started = self.next_program().and_then(Candidate::open).and_then(|candidate| {
            let state = self.document(None, Successor::Ours)?.to_yaml();
            Check::start(candidate, &state, &self.facts.birth)
        });
        self.follow(started)
    }

    fn follow(&mut self, started: Result<Check, String>) -> Option<Event> {
        match started {
            Ok(check) => {
                self.reexec.stage = Stage::Checking(Box::new(check));
                self.threads.reaper.resume();
                None
            }
            Err(reason) => self.give_up_reexec(&reason),
        }
    }

    /// All goes on here. The upgrade that waits for it is refused.
    fn give_up_reexec(&mut self, reason: &str) -> Option<Event> {
        log::error!("Can not initiate einhorn master reload safely, aborting: {reason}");
        self.reexec.stage = Stage::Idle;
        self.reexec.checks = 0;
        let version = self.reexec.version.take()?;
        Some(Event::ReleaseRefused { version, reason: reason.to_owned() })
    }

    /// Whether this child is the one that checks.
    pub(in crate::supervisor) fn is_check(&self, pid: Pid) -> bool {
        matches!(&self.reexec.stage, Stage::Checking(check) if check.pid == pid)
    }

    /// It has ended, and was reaped.
    pub(in crate::supervisor) fn on_check_ended(&mut self, ending: Ending) -> Option<Event> {
        let Stage::Checking(check) = std::mem::replace(&mut self.reexec.stage, Stage::Idle) else { return None };
        match check.conclude(ending) {
            Ok(Finding::Is(successor, candidate)) => {
                let now = clock::now();
                let ready = Ready { successor, candidate, checked_at: now, due: now, tries: 0 };
                self.reexec.stage = Stage::Ready(Box::new(ready));
                None
            }
            Ok(Finding::Silent(candidate)) => {
                let started = Check::ask_version(candidate, &self.facts.birth);
                self.follow(started)
            }
            Err(reason) => self.give_up_reexec(&reason),
        }
    }

    /// Does what is due of it: at the end of a turn, when no input is in anybody's hands.
    pub(in crate::supervisor) fn go_on_with_reexec(&mut self) -> Turn {
        let now = clock::now();
        let stopping = self.pool.is_stopping();
        if stopping && self.reexec.abandon() {
            self.reexec.version = None;
            log::info!("Not reloading einhorn because we're exiting");
        }
        match &mut self.reexec.stage {
            Stage::Idle => Turn::GoOn,
            Stage::Wanted if stopping => {
                self.reexec.stage = Stage::Idle;
                Turn::GoOn
            }
            Stage::Wanted => {
                let event = self.check_next();
                self.dispatch_all(event.into_iter())
            }
            Stage::Checking(check) => {
                check.look(now);
                Turn::GoOn
            }
            Stage::Ready(ready) if ready.due > now => Turn::GoOn,
            Stage::Ready(_) => self.try_to_replace(),
        }
    }

    fn try_to_replace(&mut self) -> Turn {
        // Meanwhile it still counts as under way.
        let Stage::Ready(mut ready) = std::mem::replace(&mut self.reexec.stage, Stage::Wanted) else {
            return Turn::GoOn;
        };
        let event = match self.replace(&ready) {
            Attempt::Turn(turn) => {
                self.reexec.stage = Stage::Idle;
                self.reexec.version = None;
                self.reexec.checks = 0;
                return turn;
            }
            Attempt::Later if ready.tries < TRIES_MAX => {
                ready.due = clock::now().after(PAUSE);
                ready.tries += 1;
                self.reexec.stage = Stage::Ready(ready);
                None
            }
            Attempt::Later => self.give_up_reexec("the threads of this master are too busy to be stopped"),
            Attempt::AfterErrands => {
                ready.due = clock::now().after(ERRAND_PAUSE);
                self.reexec.stage = Stage::Ready(ready);
                None
            }
            Attempt::AfterLog => {
                ready.due = clock::now().after(LOG_PAUSE);
                self.reexec.stage = Stage::Ready(ready);
                None
            }
            Attempt::Changed => self.check_next(),
            Attempt::Failed(reason) => self.give_up_reexec(&reason),
        };
        self.dispatch_all(event.into_iter())
    }

    /// Comes back only if there is no next image. Everything that was stopped goes on then.
    fn replace(&mut self, ready: &Ready) -> Attempt {
        if !self.preparation.purposes.is_empty() {
            return Attempt::AfterErrands;
        }
        let next = match self.next_program() {
            Ok(next) => next,
            Err(reason) => return Attempt::Failed(reason),
        };
        if !ready.candidate.is_still(&next) {
            return Attempt::Changed;
        }
        // Here, while all goes on: once the threads stand still there is no time for a log that is not read.
        if logging::waiting_lines() > 0 && clock::now().since(ready.checked_at) < LOG_PATIENCE {
            return Attempt::AfterLog;
        }
        let Some(deafness) = self.threads.signals.freeze() else { return Attempt::Later };
        let Some(mut frozen) = self.threads.control.freeze() else { return Attempt::Later };
        // Whoever stops the master now shall not find it upgraded instead.
        if let Turn::End(reason) = self.take_in_everything() {
            return Attempt::Turn(Turn::End(reason));
        }
        if self.pool.is_stopping() {
            log::info!("Not reloading einhorn because we're exiting");
            return Attempt::Turn(Turn::GoOn);
        }
        if !self.preparation.purposes.is_empty() {
            return Attempt::AfterErrands;
        }
        if ready.successor == Successor::Einhorn {
            if let Some(problem) = self.what_einhorn_must_not_lose() {
                return Attempt::Failed(problem);
            }
            self.end_reloading();
        }
        let attempt = self.become_next(ready, &mut frozen);
        // In this order: whoever hears a signal now shall find somebody to answer.
        drop(frozen);
        drop(deafness);
        attempt
    }

    /// einhorn would launch the workers with our own rights, and knows no watchdog. What else it does not know is said.
    fn what_einhorn_must_not_lose(&self) -> Option<String> {
        if self.sockets.releases.values().any(|release| release.recipe.identity.is_some()) {
            let name = self.next_name();
            return Some(format!("{name} is einhorn, and knows no users of workers"));
        }
        if self.service_manager.has_watchdog() {
            let name = self.next_name();
            return Some(format!("{name} is einhorn, and the service's watchdog would kill it"));
        }
        let lost = config::unknown_to_einhorn(self.config());
        if !lost.is_empty() {
            log::warn!("{} does not know these settings, they are lost: {}", self.next_name(), lost.join(", "));
        }
        None
    }

    /// Comes back only if this is still the program that it was.
    fn become_next(&mut self, ready: &Ready, frozen: &mut Frozen) -> Attempt {
        // What is not written now is lost, and counted in the document.
        logging::flush();
        let state = match self.written_down(ready.successor, frozen) {
            Ok(state) => state,
            Err(reason) => return Attempt::Failed(reason),
        };
        log::info!("About to re-exec einhorn master as {}", ready.candidate.program.shown(state.as_raw_fd()));
        logging::flush();
        let failure = match state.try_clone() {
            Ok(spare) => self.exec(ready, [&state, &spare], frozen),
            Err(error) => return Attempt::Failed(words(errno_of(&error))),
        };
        if failure.is_out_of_date() { Attempt::Changed } else { Attempt::Failed(failure.to_string()) }
    }

    /// The state, in a sealed file in memory.
    fn written_down(&self, successor: Successor, frozen: &mut Frozen) -> Result<OwnedFd, String> {
        let stand = frozen.describe().ok_or("the control thread is gone")?;
        let text = self.document(Some(&stand), successor)?.to_yaml();
        if text.len() > Document::BYTES_MAX {
            return Err(format!(
                "the state has {} bytes, since clients do not read; the most is {}",
                text.len(),
                Document::BYTES_MAX
            ));
        }
        // The way back leads to this very image.
        let document = Document::from_yaml(&text).map_err(|error| error.to_string())?;
        document.ours.as_ref().map(Held::read).transpose()?;
        memfd::sealed("einhyrningsins state", text.as_bytes()).map_err(|error| error.to_string())
    }

    fn exec(&self, ready: &Ready, state: [&OwnedFd; 2], frozen: &Frozen) -> ReexecError {
        let Ready { successor, candidate, .. } = ready;
        let [state, spare] = state;
        let mut env = candidate.program.environment.clone();
        let mut keep: Vec<BorrowedFd<'_>> = self.kept_descriptors(frozen, *successor);
        keep.push(state.as_fd());
        if let (Successor::Ours, Some(image)) = (successor, &self.reexec.image) {
            let numbers = [image.as_fd(), state.as_fd(), spare.as_fd()].map(|fd| fd.as_raw_fd().to_string());
            env.push((RETURN_VARIABLE.into(), numbers.join(",").into()));
            keep.push(spare.as_fd());
        }
        if *successor == Successor::Einhorn {
            startup::move_out(&self.facts.birth);
        }
        let argv: Vec<OsString> = candidate.program.argv_with_state(state.as_raw_fd());
        let error = reexec::exec(Program::Checked(&candidate.executable), &argv, &env, &keep);
        startup::settle_in(&self.facts.birth);
        error
    }
}
