//! What each action of the pool's means in the world. Every arm is short; nothing is decided here.

use nix::errno::Errno;

use crate::base::{Pid, Signal};
use crate::control::Hearing;
use crate::machines::reload::{Hearers, Input};
use crate::output::last_words::LastWords;
use crate::output::sentences;
use crate::output::sentences::Audience;
use crate::pool::{Action, Event, ExitReason, Group, Notice};
use crate::protocol::Format;
use crate::supervisor::master::Supervisor;
use crate::supervisor::undelivered::Addressee;
use crate::sys::{clock, procfs, wait};

impl Supervisor {
    /// Does it, and says what came of it if the pool wants to know. An end is no error, but nothing follows it.
    pub(crate) fn perform(&mut self, action: Action) -> Result<Option<Event>, ExitReason> {
        match action {
            Action::PrepareRelease { version } => return Ok(self.begin_upgrade(version)),
            // A version stays as long as a worker of it lives, too.
            Action::KeepReleases { good, earlier, .. } => {
                self.drive_reload(Input::Keep(std::iter::once(good).chain(earlier).collect()));
                self.forget_unneeded_releases();
            }
            Action::SpawnWorker { index, slot, version } => return Ok(self.fork_or_launch(index, slot, version)),
            Action::RunCheck { version, slots } => return Ok(self.run_check(version, slots)),
            Action::SignalWorker { pid, signal } => self.signal_worker(pid, signal),
            Action::SignalGroup { pid, signal } => self.signal_group(pid, signal),
            Action::ReapWorker { pid } => return Ok(Some(self.reap(pid))),
            Action::Tell(notice) => self.tell(&notice),
            Action::Exit(reason) => return Err(reason),
        }
        Ok(None)
    }

    /// A worker that was stopped (by job control, or in a debugger) would hear it only when it is continued.
    fn signal_worker(&mut self, pid: Pid, signal: Signal) {
        self.children.send(Addressee::Worker(pid), signal);
        let Some(worker) = self.pool.workers().iter().find(|worker| worker.pid == pid) else { return };
        let Some(told) = &worker.told else { return };
        // What is no child does not say when it is stopped.
        if worker.stopped || self.children.adopted.contains(pid) && procfs::is_stopped(pid) {
            self.children.send(Addressee::Worker(pid), Signal::CONT);
        }
        if told.signals.contains(&signal) {
            self.see_whether_it_hears(clock::now(), pid, signal);
        }
    }

    /// A worker's group, and the worker, which may have left it. A pid that the pool lists is not reaped, and thus ours.
    fn signal_group(&mut self, pid: Pid, signal: Signal) {
        self.children.send(Addressee::Group(pid), signal);
        if self.pool.workers().iter().any(|worker| worker.pid == pid) {
            self.children.send(Addressee::Worker(pid), signal);
        }
    }

    /// To the log, and to those who wait for an upgrade. einhorn's `-q` does not keep it from them either.
    fn tell(&mut self, notice: &Notice) {
        self.facts.counters.count(notice);
        self.note_descendants(notice);
        if matches!(notice, Notice::Sending { .. }) {
            self.journal.keep_ahead(&self.pool, &self.sockets, self.holder_process());
        }
        if matches!(notice, Notice::UpTo { .. }) {
            // The worker that has acked may have called listen(2) itself.
            self.relisten();
        }
        let verdict = self.record(notice);
        let hearers = self.follow_upgrade(notice);
        let connections = match notice {
            Notice::UpgradeWaits { wait, .. } => self.connections_of(wait),
            _ => None,
        };
        let line = sentences::line(notice, self.config(), connections);
        line.text.lines().for_each(|text| log::log!(line.level, "{text}"));
        if let Some(cause) = sentences::cause_of_death(notice) {
            log::warn!("{cause}");
        }
        match line.audience {
            Audience::Subscribers => self.threads.control.publish(line.text, Hearing::All),
            Audience::OwnSubscribers => self.threads.control.publish(line.text, Hearing::Only(Format::Json)),
            Audience::LogOnly => {}
        }
        if let (Some(verdict), Some(hearers)) = (verdict, hearers) {
            self.tell_verdict(notice, &verdict, hearers);
        }
    }

    /// To the service manager first: the client that waits for the end of an upgrade may be its own `ExecReload=`.
    fn tell_verdict(&mut self, notice: &Notice, verdict: &LastWords, hearers: Hearers) {
        if !matches!(notice, Notice::Upgraded { .. }) {
            self.service_manager.note_failed_upgrade(&verdict.brief());
        }
        self.tell_service_manager();
        let verdict = verdict.whole();
        match hearers {
            Hearers::Only(clients) => {
                clients.into_iter().for_each(|client| self.threads.control.conclude_for(client, verdict.clone()));
            }
            Hearers::AllBut(clients) => self.threads.control.conclude(verdict, clients),
        }
    }

    /// The configuration goes with its upgrade.
    fn follow_upgrade(&mut self, notice: &Notice) -> Option<Hearers> {
        let input = match notice {
            Notice::UpgradeStarted { from, .. } => Input::UpgradeBegun { after: Some(*from) },
            Notice::UpgradeStartedOver { .. } => Input::UpgradeBegun { after: None },
            Notice::Upgraded { .. } => Input::UpgradeDone,
            Notice::UpgradeFailed { back_to, .. } => Input::UpgradeGivenUp { to: *back_to },
            Notice::UpgradeRefused { .. } | Notice::NotUpgradingWhileStopping => Input::UpgradeRefused,
            _ => return None,
        };
        self.drive_reload(input).hearers
    }

    fn reap(&mut self, pid: Pid) -> Event {
        if self.children.adopted.knows(pid) {
            return self.let_go_of_adopted(pid);
        }
        match wait::reap(pid) {
            // Another program has, in the middle of a re-exec; it was said then.
            Ok(_) | Err(Errno::ECHILD) => {}
            Err(errno) => log::error!("cannot reap worker {pid}: {errno}"),
        }
        let group = self.group_of(pid);
        if group == Group::HasSurvivors {
            self.poll_soon(clock::now());
        }
        // It may have been the last of its version.
        self.forget_unneeded_releases();
        Event::WorkerReaped { pid, group }
    }
}
