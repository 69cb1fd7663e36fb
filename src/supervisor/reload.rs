//! From one configuration to the next while the master runs: has the next one prepared as an errand, takes it over when its
//! upgrade starts, and goes back to the last one when that upgrade is given up.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Mono, Version};
use crate::config::{Difference, Effect};
use crate::logging;
use crate::output::title;
use crate::pool::Event;
use crate::release::listeners::Listener;
use crate::release::prepare::{self, Configuration, InForce, Prepared, Settled};
use crate::release::recipe::Release;
use crate::supervisor::master::Supervisor;
use crate::supervisor::reply::Asking;
use crate::supervisor::settings;
use crate::sys::clock;
use crate::sys::errno::{errno_of, words};
use crate::threads::errand::{Errand, Errands};

type Lines = Vec<String>;

/// What is done with the result of an errand, the oldest first.
pub(crate) enum Purpose {
    Upgrade(Version, Errand<Result<Prepared, Lines>>),
    /// A client wants to know what an upgrade would change.
    Diff(Asking, Errand<Result<Configuration, Lines>>),
}

pub(crate) type Purposes = VecDeque<Purpose>;

/// What counts as soon as its upgrade starts.
pub(crate) struct Coming {
    settled: Settled,
    differences: Vec<Difference>,
}

/// What is found out and opened for a version to come, beside the loop.
pub(crate) struct Preparation {
    errands: Errands,
    /// What the errands under way are for.
    pub(crate) purposes: Purposes,
    /// When it is said that the oldest of them takes long.
    pub(crate) note_due: Option<Mono>,
    /// What counts when the upgrade that was prepared starts.
    coming: Option<Coming>,
}

impl Preparation {
    /// None is under way.
    pub(crate) fn by(errands: Errands) -> Self {
        Self { errands, purposes: Purposes::new(), note_due: None, coming: None }
    }
}

/// How long an errand may take before it is said that it does, and how often then.
const ERRAND_NOTE: Duration = Duration::from_secs(30);

/// No errand can be run.
const TOO_MUCH: &str = "too much is being prepared already, try again";

impl Supervisor {
    /// The answer to `PrepareRelease`, if it can be given at once: that it cannot be done. Everything is looked up anew: a
    /// link may lead elsewhere since the last deploy, and the configuration may say something else.
    pub(crate) fn prepare_release(&mut self, version: Version) -> Option<Event> {
        self.forget_unneeded_releases();
        let (call, in_force) = (self.facts.call.clone(), self.in_force());
        match self.preparation.errands.run(move || prepare::prepare(&call, &in_force)) {
            Some(errand) => {
                self.await_errand(Purpose::Upgrade(version, errand));
                None
            }
            None => Some(Event::ReleaseRefused { version, reason: TOO_MUCH.to_owned() }),
        }
    }

    /// Has the configuration read; the client hears what is different when that is done.
    pub(crate) fn tell_differences(&mut self, asking: Asking) {
        let (call, in_force) = (self.facts.call.clone(), self.in_force());
        match self.preparation.errands.run(move || prepare::reread(&call, &in_force)) {
            Some(errand) => self.await_errand(Purpose::Diff(asking, errand)),
            None => self.tell_difference_of(asking, Err(vec![TOO_MUCH.to_owned()])),
        }
    }

    /// Takes in the result of the oldest errand.
    pub(crate) fn on_errand_done(&mut self) -> Option<Event> {
        let purpose = self.preparation.purposes.pop_front()?;
        self.preparation.note_due = (!self.preparation.purposes.is_empty()).then(|| clock::now().after(ERRAND_NOTE));
        match purpose {
            Purpose::Upgrade(version, errand) => {
                Some(self.on_prepared(version, errand.result().unwrap_or_else(|| Err(failed()))))
            }
            Purpose::Diff(asking, errand) => {
                self.tell_difference_of(asking, errand.result().unwrap_or_else(|| Err(failed())));
                None
            }
        }
    }

    fn await_errand(&mut self, purpose: Purpose) {
        self.preparation.purposes.push_back(purpose);
        self.preparation.note_due.get_or_insert(clock::now().after(ERRAND_NOTE));
    }

    /// An errand cannot be stopped, and what keeps it (a name server, a disk) cannot be seen from here. But it can be said.
    pub(crate) fn note_slow_errand(&mut self) {
        let now = clock::now();
        if self.preparation.note_due.take_if(|due| *due <= now).is_some() {
            let seconds = ERRAND_NOTE.as_secs();
            log::warn!(
                "Still reading the configuration or looking up what it names, for {seconds}s and more; upgrades wait for it"
            );
            self.preparation.note_due = Some(now.after(ERRAND_NOTE));
        }
    }

    fn on_prepared(&mut self, version: Version, outcome: Result<Prepared, Lines>) -> Event {
        let Prepared { configuration, recipe, listeners, admittance } = match outcome {
            Ok(prepared) => prepared,
            Err(lines) => return Event::ReleaseRefused { version, reason: lines.join("; ") },
        };
        if let Err(reason) = self.reopen(&listeners) {
            return Event::ReleaseRefused { version, reason };
        }
        self.keep_open(&listeners);
        self.sockets.releases.insert(version, Release { recipe, listeners });
        // Somebody may have commanded something since the errand began.
        let Configuration { loaded, effective, differences } =
            Configuration::of(configuration.loaded, &self.facts.settled.loaded, self.config());
        let settings = settings::of(&effective);
        self.preparation.coming = Some(Coming { settled: Settled { effective, loaded, admittance }, differences });
        Event::ReleaseReady { version, settings }
    }

    fn keep_open(&mut self, listeners: &[Arc<Listener>]) {
        let mut known: BTreeSet<*const Listener> = self.sockets.listeners.iter().map(Arc::as_ptr).collect();
        self.sockets.listeners.extend(listeners.iter().filter(|listener| known.insert(Arc::as_ptr(listener))).cloned());
    }

    /// The upgrade that was prepared starts: what its configuration says counts from now on.
    pub(crate) fn on_upgrade_started(&mut self) {
        self.facts.upgrade_askers.clear();
        self.service_manager.note_upgrade_begun();
        let Some(Coming { settled, differences }) = self.preparation.coming.take() else { return };
        for difference in &differences {
            say(difference);
        }
        let before = self.facts.settled.clone();
        self.take_over(settled);
        // One that starts over leaves the last good one where it is.
        self.facts.fallback.get_or_insert(before);
    }

    /// The new configuration has proved itself.
    pub(crate) fn on_upgrade_done(&mut self) {
        self.facts.fallback = None;
    }

    /// What was in force before the upgrade is in force again.
    pub(crate) fn on_upgrade_given_up(&mut self) {
        if let Some(before) = self.facts.fallback.take() {
            self.take_over(before);
        }
    }

    fn take_over(&mut self, settled: Settled) {
        let Settled { effective, loaded, admittance } = settled;
        let backlog_before = std::mem::replace(&mut self.facts.settled.effective, effective).backlog;
        self.adapt_listeners(backlog_before);
        self.facts.settled.loaded = loaded;
        if let Some(title) = &mut self.title {
            title.set(&title::of(&self.facts.settled.effective));
        }
        if let Err(error) = logging::apply(&settings::log_plan(&self.config().log), &mut self.threads.crew) {
            log::error!("cannot send the log where the configuration says: {}", words(errno_of(&error)));
        }
        let trace = self.facts.settled.effective.trace.as_deref();
        if let Err(error) = self.trace.follow(trace, 0, &mut self.threads.crew) {
            log::error!("cannot start a trace: {}", words(errno_of(&error)));
        }
        if admittance != self.facts.settled.admittance {
            self.threads.control.admit(admittance.policy(), admittance.access);
            self.facts.settled.admittance = admittance;
        }
    }

    fn in_force(&self) -> InForce {
        InForce {
            running: self.config().clone(),
            loaded: self.facts.settled.loaded.clone(),
            listeners: self.sockets.listeners.clone(),
            bound_files: self.sockets.bound_files.clone(),
            birth: self.facts.birth,
        }
    }

    /// Sockets stay when what is said of their address changes, and change with it. By now the version that is modern is the
    /// one whose configuration counts.
    fn adapt_listeners(&self, backlog_before: u32) {
        for (listener, bind) in self.modern_listeners().iter().zip(&self.config().binds) {
            if let Err(error) = listener.adapt(bind, &self.facts.birth) {
                log::error!("{error}");
            }
        }
        if backlog_before != self.config().backlog {
            // To listen(2) is also what reopens one that was shut down.
            let served = self.sockets.listeners.iter().filter(|listener| self.is_served(listener));
            served.for_each(|listener| listener.lengthen(self.config().backlog));
        }
    }

    /// Keeps what the pool can still launch, and what has a worker: its sockets stay open as long.
    pub(crate) fn forget_unneeded_releases(&mut self) {
        let pool = &self.pool;
        let has_worker = |version: Version| pool.workers().iter().any(|worker| worker.version == version);
        let wanted = [pool.modern(), pool.good()];
        self.sockets.releases.retain(|&version, _| wanted.contains(&version) || has_worker(version));
        self.close_unneeded_listeners();
    }
}

/// An errand that ended without a result.
fn failed() -> Lines {
    vec!["it failed because of a mistake in this program".to_owned()]
}

fn say(difference: &Difference) {
    let text = sentence(difference);
    match difference.effect {
        Effect::AtOnce | Effect::NewWorkers => log::info!("Configuration: {text}"),
        Effect::Restart => log::warn!("Configuration: {text}"),
    }
}

/// `number: 4 -> 8 (web.toml:12)`
pub(crate) fn sentence(difference: &Difference) -> String {
    let Difference { key, from, to, origin, effect } = difference;
    let none = || "nothing".to_owned();
    let (from, to) = (from.clone().unwrap_or_else(none), to.clone().unwrap_or_else(none));
    match effect {
        Effect::AtOnce | Effect::NewWorkers => format!("{key}: {from} -> {to} ({origin})"),
        Effect::Restart => {
            format!("{key}: {from} -> {to} ({origin}) needs the master to be started again, it stays {from} till then")
        }
    }
}
