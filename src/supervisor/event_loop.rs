//! The loop: takes in one input at a time, tells the pool, does what the pool asks for. It decides nothing.

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, select};
use nix::errno::Errno;

use crate::base::{Ending, Mono, Pid};
use crate::output::systemd_status::Exchange;
use crate::pool::{Action, Event, ExitReason};
use crate::supervisor::master::Supervisor;
use crate::supervisor::recheck::Recheck;
use crate::supervisor::signals;
use crate::supervisor::undelivered::Undelivered;
use crate::sys::clock;
use crate::sys::errno::words;
use crate::sys::exec_failure::explain_exec_failure;
use crate::sys::exec_pipe::{ExecPipe, ExecState, Stage};
use crate::sys::wait::{self, Child, ChildChange};
use crate::threads::Input;

/// Of a child that was reaped by another program, which has taken its ending with it.
const UNKNOWN_ENDING: Ending = Ending::Code(0);

/// How long the end of the master may wait for the last words to its clients. The control thread waits for none of them, so that
/// only a machine which has no time for it takes any of this.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

/// What is left to do after an input.
pub(crate) enum Turn {
    GoOn,
    End(ExitReason),
}

/// What the main thread looks after of its children, beside what the pool decides.
pub(crate) struct Children {
    /// Those of which it is not known yet whether they became their program.
    pub(crate) exec_pipes: Vec<(Pid, ExecPipe)>,
    /// Signals that could not be sent, and are sent again.
    pub(crate) undelivered: Vec<Undelivered>,
    /// When to look again at what sends no event: the exec pipes, and groups that outlived their leader.
    pub(crate) recheck: Recheck,
}

impl Supervisor {
    /// Supervises from the beginning until the pool says that it is over.
    pub(crate) fn run(&mut self) -> ExitReason {
        let turn = self.dispatch(Event::Started);
        self.supervise(turn)
    }

    /// The same, from where another image has stopped. These are the workers that somebody else has reaped.
    pub(crate) fn go_on(&mut self, reaped: &[Pid]) -> ExitReason {
        // First what can no longer be told anything: its pid may be a stranger's.
        for pid in reaped {
            self.hear_last_of_exec(*pid);
            self.threads.control.forget(*pid);
        }
        let mut turn = self.dispatch_all(reaped.iter().map(|&pid| Event::WorkerExited { pid, ending: UNKNOWN_ENDING }));
        if let Turn::GoOn = turn {
            turn = self.dispatch(Event::Resumed);
        }
        self.forget_unneeded_releases();
        self.expect_news(clock::now());
        self.supervise(turn)
    }

    /// Tells systemd what has changed.
    pub(crate) fn tell_service_manager(&mut self) {
        let is_upgrading = self.pool.is_preparing() || self.pool.upgrading().is_some();
        let exchange = match (is_upgrading, self.reexec.is_under_way()) {
            (true, _) => Exchange::Workers,
            (false, true) => Exchange::Master,
            (false, false) => Exchange::Nothing,
        };
        self.service_manager.update(&self.pool, exchange);
    }

    fn supervise(&mut self, first: Turn) -> ExitReason {
        let mut turn = first;
        loop {
            if let Turn::End(reason) = turn {
                return reason;
            }
            self.tell_service_manager();
            let input = self.receive();
            turn = self.stand_in();
            if let Turn::GoOn = turn {
                turn = self.look_around();
            }
            if let Turn::GoOn = turn {
                turn = match input {
                    Ok(input) => self.take_in(input),
                    Err(RecvTimeoutError::Timeout) => self.dispatch(Event::DeadlinePassed),
                    Err(RecvTimeoutError::Disconnected) => {
                        log::error!("every thread has ended, so nothing can be heard any more");
                        Turn::End(ExitReason::Quit)
                    }
                };
            }
            self.shut_removed_binds();
            self.look_after_memory();
            if let Turn::GoOn = turn {
                turn = self.go_on_with_reexec();
            }
        }
    }

    /// Acts on all that was said until now. The threads that could say more have been stopped.
    pub(crate) fn take_in_everything(&mut self) -> Turn {
        let mut turn = Turn::GoOn;
        while let (Turn::GoOn, Ok(input)) = (&turn, self.threads.inbox.try_recv()) {
            turn = self.take_in(input);
        }
        turn
    }

    /// Waits for the next input or the next deadline, and not at all otherwise: an idle master makes no system call.
    fn receive(&self) -> Result<Input, RecvTimeoutError> {
        let due = [
            self.pool.deadline(),
            self.children.recheck.deadline(),
            self.preparation.note_due,
            self.reexec.deadline(),
            self.threads.crew.deadline(),
            self.memory.deadline(),
            self.service_manager.deadline(),
            self.undelivered_deadline(),
            self.removed_binds_deadline(),
        ];
        let due = due.into_iter().flatten().min();
        match due {
            Some(moment) => self.threads.inbox.recv_timeout(moment.since(clock::now())),
            None => self.threads.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Does what threads would do that cannot be started.
    fn stand_in(&mut self) -> Turn {
        let mut turn = Turn::GoOn;
        for input in self.threads.crew.turn(clock::now()) {
            if let Turn::GoOn = turn {
                turn = self.take_in(input);
            }
        }
        turn
    }

    fn take_in(&mut self, input: Input) -> Turn {
        match input {
            Input::Signaled(signal) => match signals::command(signal) {
                Some(command) => self.dispatch(Event::CommandGiven(command)),
                None => Turn::GoOn,
            },
            Input::ChildrenChanged => self.look_at_children(),
            Input::Requested { client, peer, request, ticket } => {
                let events = self.answer(client, &peer, request);
                let turn = self.dispatch_all(events.into_iter());
                // The next of its kind may come.
                drop(ticket);
                turn
            }
            // What is to be done comes at the end of the turn.
            Input::MemoryRefused => Turn::GoOn,
            Input::SocketMoved(file) => {
                self.files.socket_moved(file);
                Turn::GoOn
            }
            Input::ErrandDone => {
                let event = self.on_errand_done();
                let turn = self.dispatch_all(event.into_iter());
                // What was prepared may be wanted by nobody any more.
                self.forget_unneeded_releases();
                turn
            }
        }
    }

    /// Hands an event to the pool and performs what it asks for; the results of that come before anything else.
    fn dispatch(&mut self, event: Event) -> Turn {
        let mut actions = std::mem::take(&mut self.actions);
        self.pool.handle(clock::now(), event, &mut actions);
        self.perform_all(actions)
    }

    fn perform_all(&mut self, mut actions: Vec<Action>) -> Turn {
        let mut events = VecDeque::new();
        let mut turn = Turn::GoOn;
        loop {
            for action in actions.drain(..) {
                match self.perform(action) {
                    Ok(result) => events.extend(result),
                    Err(reason) => turn = Turn::End(reason),
                }
            }
            let Some(event) = events.pop_front() else { break };
            self.pool.handle(clock::now(), event, &mut actions);
        }
        self.actions = actions;
        turn
    }

    /// Looks at every child that changed. The reaper thread has been waiting for it.
    fn look_at_children(&mut self) -> Turn {
        let mut turn = Turn::GoOn;
        while let (Turn::GoOn, Ok(Some(child))) = (&turn, wait::peek()) {
            turn = self.look_at(&child);
        }
        self.threads.reaper.resume();
        turn
    }

    fn look_at(&mut self, child: &Child) -> Turn {
        let pid = child.pid;
        let known = self.pool.workers().iter().any(|worker| worker.pid == pid);
        match child.change {
            ChildChange::Exited(ending) if known => {
                self.hear_last_of_exec(pid);
                self.mend_listeners();
                self.threads.control.forget(pid);
                self.dispatch(Event::WorkerExited { pid, ending })
            }
            ChildChange::Exited(_) if self.is_check(pid) => self.bury_check(pid),
            ChildChange::Exited(_) => self.bury_stranger(pid),
            ChildChange::Stopped(_) => self.note_job_change(pid, Event::WorkerStopped { pid }),
            ChildChange::Continued => self.note_job_change(pid, Event::WorkerContinued { pid }),
        }
    }

    fn note_job_change(&mut self, pid: Pid, event: Event) -> Turn {
        if let Err(errno) = wait::consume_job_change(pid) {
            log::debug!("cannot read how child {pid} changed: {errno}");
        }
        self.dispatch(event)
    }

    fn bury_check(&mut self, pid: Pid) -> Turn {
        let ending = wait::reap(pid).ok().flatten().unwrap_or(UNKNOWN_ENDING);
        let event = self.on_check_ended(ending);
        self.dispatch_all(event.into_iter())
    }

    /// Reaps a child that is no worker: an orphan that a worker left to us, or somebody's whom we adopted as pid 1.
    fn bury_stranger(&mut self, pid: Pid) -> Turn {
        let strangers = &mut self.facts.counters.strangers;
        *strangers = strangers.saturating_add(1);
        match wait::reap(pid) {
            Ok(_) => log::debug!("reaped process {pid}, which is no worker ({strangers} so far)"),
            Err(errno) => log::debug!("cannot reap process {pid}: {errno}"),
        }
        self.look_at_groups()
    }

    /// Finds out what sends no event: whether children became their programs, and whether groups are empty.
    fn look_around(&mut self) -> Turn {
        self.note_slow_errand();
        self.send_again(clock::now());
        let mut turn = self.poll_exec_pipes();
        if let Turn::GoOn = turn {
            turn = self.look_at_groups();
        }
        let now = clock::now();
        if self.children.exec_pipes.is_empty() && self.pool.remnants().is_empty() {
            self.children.recheck.rest();
        } else {
            self.children.recheck.again(now);
        }
        turn
    }

    fn poll_exec_pipes(&mut self) -> Turn {
        let (mut execed, mut failed) = (Vec::new(), Vec::new());
        let pool = &self.pool;
        self.children.exec_pipes.retain_mut(|(pid, pipe)| match pipe.poll() {
            ExecState::Pending => true,
            ExecState::Execed => {
                // One that we have killed has closed its pipe by dying: it never came to its program.
                let killed = pool.workers().iter().any(|worker| worker.pid == *pid && worker.killed);
                execed.extend((!killed).then_some(*pid));
                false
            }
            ExecState::Failed { stage, errno } => {
                failed.push((*pid, stage, errno));
                false
            }
        });
        failed.into_iter().for_each(|(pid, stage, errno)| self.tell_exec_failure(pid, stage, errno));
        self.dispatch_all(execed.into_iter().map(|pid| Event::WorkerExeced { pid }))
    }

    /// Takes the pipe of a dead child away. If the child did not become its program, it has said why, and the loop may not have
    /// come round to hear it. Nothing else matters any more: the pool is told of its end.
    fn hear_last_of_exec(&mut self, pid: Pid) {
        let Some(at) = self.children.exec_pipes.iter().position(|(owner, _)| *owner == pid) else { return };
        let (_, mut pipe) = self.children.exec_pipes.remove(at);
        if let ExecState::Failed { stage, errno } = pipe.poll() {
            self.tell_exec_failure(pid, stage, errno);
        }
    }

    fn tell_exec_failure(&self, pid: Pid, stage: Stage, errno: Errno) {
        if stage != Stage::Exec {
            log::error!("Worker {pid}: {stage}: {}", words(errno));
            return;
        }
        let version = self.pool.workers().iter().find(|worker| worker.pid == pid).map(|worker| worker.version);
        let path = version.and_then(|version| self.sockets.releases.get(&version)).map(|release| release.recipe.file());
        log::error!("Worker {pid}: {}", explain_exec_failure(&path.unwrap_or_default(), errno));
    }

    /// A group may have emptied with the last death in it, or by its last member's leaving for a group of its own.
    fn look_at_groups(&mut self) -> Turn {
        let left = self.pool.remnants().iter().filter(|remnant| remnant.reaped).map(|remnant| remnant.pid);
        let emptied: Vec<Pid> = left.filter(|&pid| !wait::group_lives(pid)).collect();
        self.dispatch_all(emptied.into_iter().map(|pid| Event::GroupEmptied { pid }))
    }

    pub(crate) fn dispatch_all(&mut self, events: impl Iterator<Item = Event>) -> Turn {
        let mut turn = Turn::GoOn;
        for event in events {
            if let Turn::GoOn = turn {
                turn = self.dispatch(event);
            }
        }
        turn
    }

    /// At the very end: waits until the control thread has written its last words. It may have something to say itself until
    /// then: that the control socket was made anew, so that it is this file that has to go.
    pub(crate) fn see_last_words_written(&mut self) {
        let written = self.threads.control.finish();
        let end = clock::now().after(LAST_WORDS_MAX);
        // It is not kept waiting for room in the inbox.
        while clock::now() < end {
            // It may be this thread that has to write them.
            let said = self.threads.crew.turn(clock::now());
            said.into_iter().for_each(|input| self.hear_at_the_end(input));
            let pause = self.threads.crew.deadline().map_or(end, |due| due.min(end)).since(clock::now());
            select! {
                recv(written) -> _ => break,
                recv(self.threads.inbox) -> input => match input {
                    Ok(input) => self.hear_at_the_end(input),
                    Err(_) => break,
                },
                default(pause) => {}
            }
        }
        // What is there by now, and no more: clients may go on for ever.
        let waiting: Vec<_> = self.threads.inbox.try_iter().take(self.threads.inbox.len()).collect();
        waiting.into_iter().for_each(|input| self.hear_at_the_end(input));
    }

    fn hear_at_the_end(&mut self, input: Input) {
        if let Input::SocketMoved(file) = input {
            self.files.socket_moved(file);
        }
    }

    pub(crate) fn expect_news(&mut self, now: Mono) {
        self.children.recheck.soon(now);
    }
}
