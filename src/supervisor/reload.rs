//! Does what the machine of a reload asks for (`machines::reload`): starts its jobs, opens what they have found, and goes by the
//! configuration that is in force. The machine decides; nothing is decided here.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::base::Version;
use crate::config::{Difference, Effect};
use crate::control::Hearing;
use crate::logging;
use crate::machines::reload::{Hearers, Input, JOB_NOTE, Output, Start, TOO_MUCH};
use crate::output::{sentences, title};
use crate::pool::Event;
use crate::protocol::{Asking, Format};
use crate::release::exec_spec::Release;
use crate::release::listeners::{Listener, owner_at};
use crate::release::prepare::{self, AppliedConfig, Found, InForce, Prepared};
use crate::supervisor::master::Supervisor;
use crate::supervisor::settings;
use crate::sys::errno::{errno_of, words};
use crate::sys::{account, clock};

/// What came of an input, but for what was done at once.
#[derive(Default)]
pub(crate) struct Driven {
    pub(crate) event: Option<Event>,
    /// Those to whom the end of an upgrade is to be told.
    pub(crate) hearers: Option<Hearers>,
}

/// Of a job that ended without a result.
const FAILED: &str = "it failed because of a mistake in this program";

impl Supervisor {
    /// The answer to `PrepareRelease`, if it can be given at once: that it cannot be done. Everything is looked up anew: a
    /// link may lead elsewhere since the last deploy, and the configuration may say something else.
    pub(crate) fn prepare_release(&mut self, version: Version) -> Option<Event> {
        self.forget_unneeded_releases();
        let (call, in_force) = (self.facts.call.clone(), self.in_force());
        let asker = self.facts.history.nameless();
        let start = self.start_job(move || Found::Version {
            // A name server may take its time.
            asker: asker.and_then(|uid| Some((uid, account::user_name(uid)?))),
            prepared: prepare::prepare(&call, &in_force).map(Box::new),
        });
        self.drive_reload(Input::Prepare { version, start }).event
    }

    /// Has the configuration read; the client hears what is different when that is done.
    pub(crate) fn compare(&mut self, asker: Asking) {
        let call = self.facts.call.clone();
        let start = self.start_job(move || Found::Configuration(prepare::reread(&call)));
        self.drive_reload(Input::Compare { asker, start });
    }

    fn start_job(&self, job: impl FnOnce() -> Found + Send + 'static) -> Start {
        match self.threads.jobs.run(job) {
            Ok(()) => Start::Done,
            Err(_) => Start::Impossible,
        }
    }

    /// Tells the machine, and does all that it asks for.
    pub(crate) fn drive_reload(&mut self, input: Input<AppliedConfig, Asking>) -> Driven {
        let mut driven = Driven::default();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut outputs = Vec::new();
            self.facts.reload.handle(clock::now(), input, &mut outputs);
            for output in outputs {
                inputs.extend(self.perform_reload(output, &mut driven));
            }
        }
        driven
    }

    fn perform_reload(
        &mut self,
        output: Output<AppliedConfig, Asking>,
        driven: &mut Driven,
    ) -> Option<Input<AppliedConfig, Asking>> {
        match output {
            Output::Open(version) => return Some(Input::Opened { version, result: self.open_version(version) }),
            Output::Ready { version, settings } => {
                driven.event = Some(Event::ReleaseReady { version, settings: *settings })
            }
            Output::Refuse { version, reason } => driven.event = Some(Event::ReleaseRefused { version, reason }),
            Output::TellDifferences(asking) => {
                let read = match self.threads.jobs.result() {
                    Some(Found::Configuration(read)) => read,
                    Some(Found::Version { .. }) | None => Err(vec![FAILED.to_owned()]),
                };
                let differences = read.map(|loaded| self.facts.reload.in_force().followed_by(&loaded).1);
                self.tell_differences(asking, differences);
            }
            Output::RefuseComparison(asking) => self.tell_differences(asking, Err(vec![TOO_MUCH.to_owned()])),
            Output::Begin { before } => {
                self.service_manager.note_upgrade_begun();
                before.followed_by(&self.facts.reload.in_force().loaded).1.iter().for_each(say);
                self.adapt(&before);
            }
            Output::GoBack { before } => {
                if let Err(error) = self.reopen(self.modern_listeners()) {
                    log::error!("{error}");
                }
                self.adapt(&before);
            }
            Output::Conclude(hearers) => driven.hearers = Some(hearers),
            Output::NoteSlow => {
                let text = format!(
                    "Still reading the configuration or looking up what it names, for {}s and more; upgrades wait for it",
                    JOB_NOTE.as_secs()
                );
                log::warn!("{text}");
                self.threads.control.publish(text, Hearing::Only(Format::Json));
            }
        }
        None
    }

    /// Takes what the oldest job has found.
    ///
    /// # Errors
    /// Why the version cannot be started.
    fn open_version(&mut self, version: Version) -> Result<AppliedConfig, String> {
        let Some(Found::Version { asker, prepared }) = self.threads.jobs.result() else {
            return Err(FAILED.to_owned());
        };
        if let Some((uid, name)) = asker {
            self.facts.history.name(uid, name);
        }
        let Prepared { loaded, exec_spec, listeners, access_control } = *prepared.map_err(|lines| lines.join("; "))?;
        self.reopen(&listeners)?;
        self.keep_open(&listeners);
        self.sockets.releases.insert(version, Release { exec_spec, listeners });
        // They are kept, and written down, before a worker has them.
        self.tell_service_manager();
        self.tend_holder();
        self.journal.keep(&self.pool, &self.sockets, self.holder_process());
        Ok(AppliedConfig::new(*loaded, access_control))
    }

    fn keep_open(&mut self, listeners: &[Arc<Listener>]) {
        let mut known: BTreeSet<*const Listener> = self.sockets.listeners.iter().map(Arc::as_ptr).collect();
        self.sockets.listeners.extend(listeners.iter().filter(|listener| known.insert(Arc::as_ptr(listener))).cloned());
    }

    /// Goes by what is in force now, and was not before.
    fn adapt(&mut self, before: &AppliedConfig) {
        self.adapt_listeners(before.effective.backlog);
        if let Some(title) = &mut self.title {
            title.set(&title::of(self.facts.config()));
        }
        if let Err(error) = logging::apply(&settings::log_plan(&self.facts.config().log), &mut self.threads.crew) {
            log::error!("cannot send the log where the configuration says: {}", words(errno_of(&error)));
        }
        self.reopen_log();
        let trace = self.facts.config().trace.as_deref();
        if let Err(error) = self.trace.follow(trace, 0, &mut self.threads.crew) {
            log::error!("cannot start a trace: {}", words(errno_of(&error)));
        }
        let access_control = &self.facts.reload.in_force().access_control;
        if *access_control != before.access_control {
            self.threads.control.set_access(access_control.policy(), access_control.access);
        }
    }

    fn in_force(&self) -> InForce {
        InForce {
            settled: self.facts.reload.in_force().clone(),
            listeners: self.sockets.listeners.clone(),
            bound_files: self.sockets.bound_files.clone(),
            birth: self.facts.birth,
        }
    }

    /// Sockets stay when what is said of their address changes, and change with it. By now the version that is modern is the
    /// one whose configuration counts.
    fn adapt_listeners(&self, backlog_before: u32) {
        let owners = &self.facts.reload.in_force().access_control.bind_owners;
        for (at, (listener, bind)) in self.modern_listeners().iter().zip(&self.config().binds).enumerate() {
            if let Err(error) = listener.adapt(bind, owner_at(owners, at), &self.facts.birth) {
                log::error!("{error}");
            }
        }
        if backlog_before != self.config().backlog {
            // To listen(2) is also what reopens one that was shut down.
            let served = self.sockets.listeners.iter().filter(|listener| self.is_served(listener));
            served.for_each(|listener| listener.set_backlog(self.config().backlog));
        }
    }

    /// Keeps what the pool can still launch, and what has a worker: its sockets stay open as long.
    pub(crate) fn forget_unneeded_releases(&mut self) {
        let pool = &self.pool;
        let has_worker = |version: Version| pool.workers().iter().any(|worker| worker.version == version);
        let wanted = [pool.modern(), pool.good()];
        let is_needed = |version: Version| wanted.contains(&version) || has_worker(version);
        let releases = &self.sockets.releases;
        let open = releases.iter().filter(|(version, _)| is_needed(**version));
        let open: BTreeSet<_> = open.flat_map(|(_, release)| release.listeners.iter().map(Arc::as_ptr)).collect();
        // One that can be gone back to keeps no socket open.
        let known = pool.known_versions();
        self.sockets.releases.retain(|&version, release| {
            let has_all = || release.listeners.iter().all(|listener| open.contains(&Arc::as_ptr(listener)));
            is_needed(version) || known.contains(&version) && has_all()
        });
        if !pool.workers().iter().any(|worker| self.children.adopted.contains(worker.pid)) {
            self.sockets.left.clear();
        }
        self.close_unneeded_listeners();
    }
}

fn say(difference: &Difference) {
    let text = sentences::difference(difference);
    match difference.effect {
        Effect::AtOnce | Effect::NewWorkers => log::info!("Configuration: {text}"),
        Effect::Restart => log::warn!("Configuration: {text}"),
    }
}
