//! Feeds the record of releases (`output::history`): with what the pool tells, with who asked for an upgrade, with how workers died.
//! It decides nothing.

use crate::base::{Ending, Pid, Signal};
use crate::logging;
use crate::output::death::{Death, Proof};
use crate::output::history::{Asker, Known, Place, Request};
use crate::output::last_words::LastWords;
use crate::output::sentences;
use crate::pool::{Command, Notice, UpgradeFailure};
use crate::protocol::{Peer, UpgradeAsked};
use crate::supervisor::master::Supervisor;
use crate::supervisor::settings;
use crate::sys::clock;

impl Supervisor {
    /// Writes down what a notice means for a release, and says how the upgrade ended, if it did.
    pub(crate) fn record(&mut self, notice: &Notice) -> Option<LastWords> {
        if let Notice::AckMissed { pid, after } = notice {
            self.note_death(*pid, Proof::AckMissed { after: *after });
        }
        let last_words = sentences::verdict(notice).map(|headline| self.last_words(notice, headline));
        let why = last_words.as_ref().map(LastWords::why);
        let why = why.as_deref().map(|why| why.strip_prefix(sentences::FAILED).unwrap_or(why));
        let known = Known { why, ..self.known() };
        self.facts.history.hear(notice, known);
        last_words
    }

    fn last_words(&self, notice: &Notice, headline: String) -> LastWords {
        let Notice::UpgradeFailed { reason, .. } = notice else { return LastWords::short(headline) };
        let death = match reason {
            UpgradeFailure::Failures(_)
            | UpgradeFailure::TooMany(_)
            | UpgradeFailure::NothingServes
            | UpgradeFailure::Final(_)
            | UpgradeFailure::DeadlinePassed(_) => self.facts.history.failure.clone(),
            // The reason says it all; a worker that died before was another matter.
            UpgradeFailure::CheckFailed(_) | UpgradeFailure::Unfit(_) => None,
            UpgradeFailure::Aborted | UpgradeFailure::RolledBack | UpgradeFailure::Stopping => {
                return LastWords::short(headline);
            }
        };
        LastWords::of_failure(headline, death, logging::place(&settings::log_plan(&self.config().log)))
    }

    /// What runs is known, if nothing else is.
    pub(crate) fn begin_record_late(&mut self) {
        let known = self.known();
        self.facts.history.begin_late(known);
    }

    pub(crate) fn record_signal(&mut self, signal: Signal, command: &Command) {
        if let Command::Upgrade { .. } = command {
            self.facts.history.ask(Request::from(Asker::Signal(signal)));
        }
    }

    pub(crate) fn record_request(&mut self, peer: &Peer, asked: &UpgradeAsked) {
        let asker = Asker::Client { uid: peer.uid, user: None, pid: peer.pid };
        self.facts.history.ask(Request { asker, reason: asked.reason.clone() });
    }

    /// A worker has ended that was not told to. The pool still lists it.
    pub(crate) fn record_end(&mut self, pid: Pid, ending: Ending) {
        let Some(worker) = self.pool.workers().iter().find(|worker| worker.pid == pid) else { return };
        let never_executed = &mut self.facts.history.never_executed;
        let proof = match never_executed.iter().position(|(child, _)| *child == pid) {
            Some(at) => Proof::NotExecuted(never_executed.swap_remove(at).1),
            None => Proof::of_end(worker, ending, clock::now()),
        };
        if !worker.is_told() {
            self.note_death(pid, proof);
        }
    }

    /// A worker was stopped by a signal. For one on trial this is a failure; it may be the last that is told of its version.
    pub(crate) fn record_stop(&mut self, pid: Pid, signal: Signal) {
        let Some(worker) = self.pool.workers().iter().find(|worker| worker.pid == pid) else { return };
        let is_counted = worker.version == self.pool.modern() && !worker.is_told();
        match of_terminal(signal) {
            Some(deed) => log::warn!("Worker {pid} was stopped by SIG{signal}: {deed}; CONT lets it go on"),
            None if is_counted => log::warn!("Worker {pid} was stopped by SIG{signal}"),
            None => {}
        }
        if !is_counted {
            return;
        }
        if self.pool.is_on_trial() {
            self.note_death(pid, Proof::Stopped { signal });
        }
    }

    fn note_death(&mut self, pid: Pid, proof: Proof) {
        let Some(worker) = self.pool.workers().iter().find(|worker| worker.pid == pid) else { return };
        let death = Death::of(worker, proof, clock::wall().0, self.last_lines(pid));
        self.facts.history.note_death(death);
    }

    fn known(&self) -> Known<'static> {
        let modern = self.pool.modern();
        let release = self.sockets.releases.get(&modern).filter(|_| self.pool.adopted() != Some(modern));
        let place = release.map(|release| Place::of(&release.exec_spec));
        Known { modern, good: self.pool.good(), place, why: None, now: clock::wall().0 }
    }
}

/// What a worker has done that the kernel stops by this signal: it is in the background of the terminal, for it has a process group of
/// its own.
fn of_terminal(signal: Signal) -> Option<&'static str> {
    match signal {
        Signal::TTIN => Some("reads from the terminal"),
        Signal::TTOU => Some("writes to the terminal (stty tostop), or changes its settings"),
        _ => None,
    }
}
