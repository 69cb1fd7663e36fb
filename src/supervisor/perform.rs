//! What each action of the pool's means in the world. Every arm is short; nothing is decided here.

use crate::pool::{Action, Event, ExitReason, Group, Notice, Pid, Signal, Version};
use crate::supervisor::report::Audience;
use crate::supervisor::{Supervisor, release, report, settings};
use crate::sys::errno::words;
use crate::sys::{clock, signal, wait};

impl Supervisor {
    /// Does it, and says what came of it if the pool wants to know. An end is no error, but nothing follows it.
    pub(in crate::supervisor) fn perform(&mut self, action: Action) -> Result<Option<Event>, ExitReason> {
        match action {
            Action::PrepareRelease { version } => return Ok(Some(self.prepare_release(version))),
            Action::KeepReleases { modern, good } => {
                self.releases.retain(|version, _| [modern, good].contains(version));
            }
            Action::SpawnWorker { index, version } => return Ok(Some(self.launch(index, version))),
            Action::SignalWorker { pid, signal } => self.signal_worker(pid, signal),
            Action::SignalGroup { pid, signal } => self.signal_group(pid, signal),
            Action::ReapWorker { pid } => return Ok(Some(self.reap(pid))),
            Action::Tell(notice) => self.tell(&notice),
            Action::Exit(reason) => return Err(reason),
        }
        Ok(None)
    }

    /// A worker that was stopped (by job control, or in a debugger) would hear it only when somebody continues it.
    fn signal_worker(&self, pid: Pid, signal: Signal) {
        send(pid, signal);
        if self.pool.workers().iter().any(|worker| worker.pid == pid && worker.stopped && worker.is_told()) {
            send(pid, Signal::CONT);
        }
    }

    /// A worker's group, and the worker, which may have left it. A pid that the pool lists is not reaped, and thus ours.
    fn signal_group(&self, pid: Pid, signal: Signal) {
        if let Err(errno) = signal::send_group(pid, signal) {
            log::debug!("cannot send {signal} to the group of worker {pid}: {}", words(errno));
        }
        if self.pool.workers().iter().any(|worker| worker.pid == pid) {
            send(pid, signal);
        }
    }

    /// To the log, and to those who wait for an upgrade. einhorn's `-q` does not keep it from them either.
    fn tell(&mut self, notice: &Notice) {
        self.counters.count(notice);
        let line = report::line(notice, &self.config);
        log::log!(line.level, "{}", line.text);
        if let Some(cause) = report::cause_of_death(notice) {
            log::warn!("{cause}");
        }
        match line.audience {
            Audience::Watchers => self.control.publish(line.text),
            Audience::Nobody => {}
        }
        // Whose upgrade begins waits for its end, with all who wait for one.
        if let Notice::UpgradeStarted { .. } | Notice::UpgradeStartedOver { .. } = notice {
            self.upgrade_askers.clear();
        }
        let Some(verdict) = report::verdict(notice) else { return };
        match notice {
            // It concerns those who asked for it, not those who wait for one that is under way.
            Notice::UpgradeRefused { .. } | Notice::NotUpgradingWhileStopping => {
                for client in self.upgrade_askers.drain(..) {
                    self.control.conclude_for(client, verdict.clone());
                }
            }
            _ => self.control.conclude(verdict),
        }
    }

    /// Finds the program anew: a link may lead elsewhere since the last deploy. From now on the variables to be dropped
    /// are (as in einhorn, whose first workers still see them).
    fn prepare_release(&mut self, version: Version) -> Event {
        // What an upgrade that never ended had prepared is wanted by nobody.
        let wanted = [self.pool.modern(), self.pool.good()];
        self.releases.retain(|version, _| wanted.contains(version));
        match release::resolve(&self.config.program, &self.environ, &self.config.drop_env_vars) {
            Ok(release) => {
                self.releases.insert(version, release);
                Event::ReleaseReady { version, settings: settings::of(&self.config) }
            }
            Err(error) => Event::ReleaseRefused { version, reason: error.to_string() },
        }
    }

    fn reap(&mut self, pid: Pid) -> Event {
        if let Err(errno) = wait::reap(pid) {
            log::error!("cannot reap worker {pid}: {errno}");
        }
        let group = if wait::group_lives(pid) { Group::Outlived } else { Group::Empty };
        if group == Group::Outlived {
            self.expect_news(clock::now());
        }
        Event::WorkerReaped { pid, group }
    }
}

/// A worker that has just died is no error: its exit is about to be noticed.
fn send(pid: Pid, signal: Signal) {
    if let Err(errno) = signal::send(pid, signal) {
        log::debug!("cannot send {signal} to worker {pid}: {}", words(errno));
    }
}
