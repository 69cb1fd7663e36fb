//! What becomes of children: whether they became their programs, how they ended, whether their groups are empty.

use nix::errno::Errno;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::base::{Ending, Pid};
use crate::pool::{Event, Group};
use crate::supervisor::master::{Supervisor, Turn};
use crate::sys::clock;
use crate::sys::errno::words;
use crate::sys::exec_failure::explain_exec_failure;
use crate::sys::exec_pipe::{ExecState, Stage};
use crate::sys::wait::{self, Child, ChildChange};

/// Of a child that was reaped by another program, which has taken its ending with it.
pub(crate) const UNKNOWN_ENDING: Ending = Ending::Code(0);

impl Supervisor {
    /// Looks at every child that changed. The reaper thread has been waiting for it.
    pub(crate) fn handle_children(&mut self) -> Turn {
        while let Ok(Some(child)) = wait::peek() {
            let is_worker = || self.pool.workers().iter().any(|worker| worker.pid == child.pid);
            match child.change {
                ChildChange::Exited(_) if is_worker() => self.end_workers()?,
                ChildChange::Exited(_) | ChildChange::Stopped(_) | ChildChange::Continued => self.look_at(&child)?,
            }
        }
        self.threads.reaper.resume();
        self.end_adopted()?;
        ControlFlow::Continue(())
    }

    /// All that have ended by now, so that the children are listed once for a thousand that end together.
    fn end_workers(&mut self) -> Turn {
        let workers = self.pool.workers().iter();
        let ended: Vec<(Pid, Ending)> =
            workers.filter_map(|worker| Some((worker.pid, wait::ending(worker.pid)?))).collect();
        let strangers = self.strangers();
        for &(pid, ending) in &ended {
            self.note_unheard(pid);
            self.drain_exec_pipe(pid);
            self.threads.output.on_ended(pid);
            self.relisten();
            self.threads.control.forget(pid);
            self.record_end(pid, ending);
            self.end_with_foreground(pid, ending)?;
            let left = self.find_leftovers(&strangers, Some(pid));
            self.dispatch_all(left)?;
            self.dispatch(Event::WorkerExited { pid, ending })?;
        }
        // A child that it had just forked may have left its group since the first look.
        let strangers = self.strangers();
        for (pid, _) in ended {
            let left = self.find_leftovers(&strangers, Some(pid));
            self.dispatch_all(left)?;
        }
        ControlFlow::Continue(())
    }

    fn look_at(&mut self, child: &Child) -> Turn {
        let pid = child.pid;
        if matches!(child.change, ChildChange::Exited(_)) {
            self.note_unheard(pid);
        }
        match child.change {
            ChildChange::Exited(_) if self.is_check(pid) => self.reap_check(pid),
            ChildChange::Exited(_) if self.is_relay(pid) => {
                self.on_relay_ended(pid);
                ControlFlow::Continue(())
            }
            ChildChange::Exited(_) if self.is_loader(pid) => self.on_loader_ended(pid),
            ChildChange::Exited(_) if self.is_holder(pid) => {
                self.on_holder_ended(pid);
                ControlFlow::Continue(())
            }
            ChildChange::Exited(_) if self.is_version_check(pid) => {
                let ending = wait::reap(pid).ok().flatten().unwrap_or(UNKNOWN_ENDING);
                let event = self.on_version_check_ended(ending);
                self.dispatch_all(event)
            }
            ChildChange::Exited(_) => self.reap_orphan(pid),
            ChildChange::Stopped(signal) if self.is_stop_in_foreground(pid, signal) => {
                self.note_job_change(pid, Event::WorkerStopped { pid })?;
                self.let_go_on(pid);
                ControlFlow::Continue(())
            }
            ChildChange::Stopped(signal) => {
                self.record_stop(pid, signal);
                self.note_job_change(pid, Event::WorkerStopped { pid })
            }
            ChildChange::Continued => self.note_job_change(pid, Event::WorkerContinued { pid }),
        }
    }

    /// Workers that are no children: their exit status is unknown.
    pub(crate) fn end_adopted(&mut self) -> Turn {
        for pid in self.children.adopted.take_ended() {
            self.relisten();
            self.threads.control.forget(pid);
            self.name_what_adopted_left(pid);
            if self.pool.workers().iter().any(|worker| worker.pid == pid) {
                self.record_end(pid, UNKNOWN_ENDING);
                self.dispatch(Event::WorkerExited { pid, ending: UNKNOWN_ENDING })?;
            }
        }
        ControlFlow::Continue(())
    }

    /// One that has ended is reaped by its parent, whichever that is.
    pub(crate) fn let_go_of_adopted(&mut self, pid: Pid) -> Event {
        let group = self.group_of(pid);
        match group {
            Group::HasSurvivors => self.poll_soon(clock::now()),
            Group::Empty => self.forget_adopted(pid),
        }
        self.forget_unneeded_releases();
        Event::WorkerReaped { pid, group }
    }

    fn forget_adopted(&mut self, pid: Pid) {
        self.children.adopted.forget(pid);
        self.facts.adopted.retain(|process| process.pid != pid);
    }

    pub(crate) fn group_of(&self, pid: Pid) -> Group {
        let lives = self.children.adopted.group_lives(pid).unwrap_or_else(|| wait::group_lives(pid));
        if lives { Group::HasSurvivors } else { Group::Empty }
    }

    fn note_job_change(&mut self, pid: Pid, event: Event) -> Turn {
        if let Err(errno) = wait::consume_job_change(pid) {
            log::debug!("cannot read how child {pid} changed: {errno}");
        }
        self.dispatch(event)
    }

    fn reap_check(&mut self, pid: Pid) -> Turn {
        let ending = wait::reap(pid).ok().flatten().unwrap_or(UNKNOWN_ENDING);
        let event = self.on_check_ended(ending);
        self.dispatch_all(event)
    }

    /// Reaps a child that is no worker: an orphan that a worker left to us, or any orphan where we are pid 1.
    fn reap_orphan(&mut self, pid: Pid) -> Turn {
        let origin = wait::process_group(pid).and_then(|group| self.origin_of_group(group));
        let left = self.find_leftovers(&self.strangers(), origin);
        let orphans = &mut self.facts.counters.orphans;
        *orphans = orphans.saturating_add(1);
        match wait::reap(pid) {
            Ok(_) => log::debug!("reaped process {pid}, which is no worker ({orphans} so far)"),
            Err(errno) => log::debug!("cannot reap process {pid}: {errno}"),
        }
        self.dispatch_all(left)?;
        self.poll_groups()
    }

    pub(crate) fn poll_exec_pipes(&mut self) -> Turn {
        let execed = self.look_at_exec_pipes();
        self.dispatch_all(execed)
    }

    /// Those workers of which the pool knows that have become their programs. Why others cannot, is said.
    pub(crate) fn look_at_exec_pipes(&mut self) -> Vec<Event> {
        if self.children.exec_pipes.is_empty() {
            return Vec::new();
        }
        let (mut execed, mut failed) = (Vec::new(), Vec::new());
        let killed: BTreeMap<Pid, bool> =
            self.pool.workers().iter().map(|worker| (worker.pid, worker.killed)).collect();
        self.children.exec_pipes.retain_mut(|(pid, pipe)| {
            let Some(is_killed) = killed.get(pid) else { return true };
            match pipe.poll() {
                ExecState::Pending => return true,
                // One that we have killed has closed its pipe by dying: it never came to its program.
                ExecState::Execed => execed.extend((!is_killed).then_some(Event::WorkerExeced { pid: *pid })),
                ExecState::Failed { stage, errno } => failed.push((*pid, stage, errno)),
            }
            false
        });
        failed.into_iter().for_each(|(pid, stage, errno)| self.tell_exec_failure(pid, stage, errno));
        execed
    }

    /// Takes the pipe of a dead child away. If the child did not become its program, it has said why, and the loop may not have
    /// come round to hear it. Nothing else matters any more: the pool is told of its end.
    pub(crate) fn drain_exec_pipe(&mut self, pid: Pid) {
        let Some(at) = self.children.exec_pipes.iter().position(|(owner, _)| *owner == pid) else { return };
        let (_, mut pipe) = self.children.exec_pipes.remove(at);
        if let ExecState::Failed { stage, errno } = pipe.poll() {
            self.tell_exec_failure(pid, stage, errno);
        }
    }

    fn tell_exec_failure(&mut self, pid: Pid, stage: Stage, errno: Errno) {
        let cause = not_executed(&self.program_of(pid).unwrap_or_default(), stage, errno);
        log::error!("Worker {pid}: {cause}");
        self.facts.history.never_executed.push((pid, cause));
    }

    fn program_of(&self, pid: Pid) -> Option<PathBuf> {
        let version = self.pool.workers().iter().find(|worker| worker.pid == pid)?.version;
        Some(self.sockets.releases.get(&version)?.exec_spec.file())
    }

    /// The last lines that this worker wrote, the oldest first; none where its output is not captured. Complete once its end is known.
    pub(crate) fn last_lines(&self, pid: Pid) -> Vec<String> {
        self.threads.output.last_lines(pid)
    }

    /// A group may have emptied with the last death in it, or by its last member's leaving for a group of its own.
    pub(crate) fn poll_groups(&mut self) -> Turn {
        let left = self.pool.leftovers().iter().filter(|leftover| leftover.reaped).map(|leftover| leftover.pid);
        let emptied: Vec<Pid> = left.filter(|&pid| self.group_of(pid) == Group::Empty).collect();
        for &group in &emptied {
            self.forget_adopted(group);
            let origin = self.origin_of_group(group);
            let left = self.find_leftovers(&self.strangers(), origin);
            self.dispatch_all(left)?;
        }
        self.dispatch_all(emptied.into_iter().map(|pid| Event::GroupEmptied { pid }))
    }
}

/// Why a child did not become this program.
pub(crate) fn not_executed(program: &Path, stage: Stage, errno: Errno) -> String {
    if stage == Stage::Exec {
        explain_exec_failure(program, errno)
    } else if stage == Stage::Processors && errno == Errno::EINVAL {
        format!("{stage}: none of those in worker.slots.cpus can be used any more")
    } else {
        format!("{stage}: {}", words(errno))
    }
}
