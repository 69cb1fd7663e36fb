//! The loop: takes in one input at a time, tells the pool, does what the pool asks for. It decides nothing.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use crate::base::{Mono, Pid};
use crate::machines::reload::Input as Reload;
use crate::output::systemd_status::Replacing;
use crate::pool::{Action, Event, ExitReason};
use crate::supervisor::children::UNKNOWN_ENDING;
use crate::supervisor::master::Supervisor;
use crate::supervisor::master::Turn;
use crate::supervisor::memory::Remedy;
use crate::sys::clock;
use crate::threads::Input;

/// How often children are looked at while the results of many actions are taken in.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Supervises from the beginning until the pool says that it is over.
    pub(crate) fn run(&mut self) -> ExitReason {
        self.trace.keep_state(&self.pool, &self.reexec.machine);
        self.journal.keep(&self.pool, &self.sockets, None);
        // Before there is a worker, the service manager keeps the sockets.
        self.tell_service_manager();
        self.supervise(|supervisor| {
            supervisor.forget_unneeded_releases();
            supervisor.dispatch(Event::Started)
        })
    }

    /// The first, or what a killed master has begun.
    pub(crate) fn begin_or_go_on(&mut self) -> ExitReason {
        if self.facts.adopted.is_empty() { self.run() } else { self.go_on(&[]) }
    }

    /// The same, from where another image has stopped. These are the workers that another program has reaped.
    pub(crate) fn go_on(&mut self, reaped: &[Pid]) -> ExitReason {
        self.supervise(|supervisor| supervisor.take_up(reaped))
    }

    fn take_up(&mut self, reaped: &[Pid]) -> Turn {
        self.trace.keep_state(&self.pool, &self.reexec.machine);
        // First what can no longer be told anything: its pid may be a stranger's.
        for pid in reaped {
            self.drain_exec_pipe(*pid);
            self.threads.output.on_ended(*pid);
            self.threads.control.forget(*pid);
        }
        let ended = reaped.iter().map(|&pid| Event::WorkerExited { pid, ending: UNKNOWN_ENDING });
        let turn = self.dispatch_all(ended.chain([Event::Resumed]));
        self.begin_record_late();
        self.forget_unneeded_releases();
        self.renew_relay();
        self.poll_soon(clock::now());
        turn
    }

    /// Tells systemd what has changed.
    pub(crate) fn tell_service_manager(&mut self) {
        let is_upgrading = self.pool.is_preparing() || self.pool.upgrading().is_some();
        let exchange = match (is_upgrading, self.reexec.is_under_way()) {
            (true, _) => Replacing::Workers,
            (false, true) => Replacing::Master,
            (false, false) => Replacing::Nothing,
        };
        // At a stop no new client shall wait at a socket that the manager holds.
        let is_kept = self.config().adopts() && self.pool.is_accepting();
        let kept = if is_kept { self.sockets.listeners.as_slice() } else { &[] };
        self.service_manager.update(&self.pool, exchange, kept);
    }

    fn supervise(&mut self, first: impl FnOnce(&mut Self) -> Turn) -> ExitReason {
        let mut turn = self.guarded(first);
        loop {
            if let ControlFlow::Break(reason) = turn {
                return reason;
            }
            turn = self.guarded(Self::turn);
        }
    }

    /// Takes in one input, or what is due, with all that follows from it.
    fn turn(&mut self) -> Turn {
        self.trace.keep_state(&self.pool, &self.reexec.machine);
        self.tell_service_manager();
        self.watch_files();
        self.tend_holder();
        self.journal.keep_later(&self.pool, &self.sockets, self.holder_process(), self.threads.inbox.len());
        let input = self.receive();
        self.stand_in()?;
        self.poll_untracked()?;
        match input {
            Ok(input) => self.handle_input(input)?,
            Err(RecvTimeoutError::Timeout) => self.dispatch(Event::DeadlinePassed)?,
            Err(RecvTimeoutError::Disconnected) => {
                log::error!("internal error: all input threads have ended");
                return ControlFlow::Break(ExitReason::Quit);
            }
        }
        self.look_at_hardly_told(clock::now());
        self.shut_removed_binds();
        self.end_unneeded_loaders()?;
        self.close_when_stopping();
        self.hand_over_terminal();
        match self.memory.tend(clock::now()) {
            Remedy::FreshImage => self.reload(),
            Remedy::None => {}
        }
        self.go_on_with_reexec()
    }

    /// Acts on all that was said until now. The threads that could say more have been stopped.
    pub(crate) fn drain_inbox(&mut self) -> Turn {
        while let Ok(input) = self.threads.inbox.try_recv() {
            self.handle_input(input)?;
        }
        ControlFlow::Continue(())
    }

    /// Waits for the next input or the next deadline, and not at all otherwise: an idle master makes no system call.
    fn receive(&self) -> Result<Input, RecvTimeoutError> {
        let due = [
            self.pool.deadline(),
            self.children.recheck.deadline(),
            self.facts.reload.deadline(),
            self.reexec.deadline(),
            self.threads.crew.deadline(),
            self.memory.deadline(),
            self.service_manager.deadline(),
            self.children.undelivered.deadline(),
            self.hearing_deadline(),
            self.removed_binds_deadline(),
            self.check_deadline(),
            self.queue_watch_deadline(),
            self.holder_deadline(),
            self.children.loaders.deadline(),
        ];
        let due = due.into_iter().flatten().min();
        match due {
            Some(moment) => self.threads.inbox.recv_timeout(moment.since(clock::now())),
            None => self.threads.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Does what threads would do that cannot be started.
    fn stand_in(&mut self) -> Turn {
        self.threads.crew.turn(clock::now()).into_iter().try_for_each(|input| self.handle_input(input))
    }

    pub(crate) fn handle_input(&mut self, input: Input) -> Turn {
        match input {
            Input::Signaled(received, lineage) => {
                #[cfg(debug_assertions)]
                self.fail_if_asked(received.signal);
                let event = self.hear(received, &lineage);
                self.dispatch_all(event)
            }
            Input::ChildrenChanged => self.handle_children(),
            Input::Requested { client, peer, request, ticket } => {
                let events = self.answer(client, &peer, request);
                let turn = self.dispatch_all(events);
                // The next of its kind may come.
                drop(ticket);
                turn
            }
            // What is to be done comes at the end of the turn.
            Input::MemoryRefused => ControlFlow::Continue(()),
            Input::SocketMoved(file) => {
                self.files.socket_moved(file);
                ControlFlow::Continue(())
            }
            Input::FilesChanged => {
                self.look_at_files();
                ControlFlow::Continue(())
            }
            Input::JobDone => {
                let event = self.drive_reload(Reload::JobEnded).event;
                let turn = self.dispatch_all(event);
                // What was prepared may not be wanted any more.
                self.forget_unneeded_releases();
                turn
            }
        }
    }

    /// Hands an event to the pool and performs what it asks for; the results of that come before anything else.
    pub(crate) fn dispatch(&mut self, event: Event) -> Turn {
        let mut actions = std::mem::take(&mut self.actions);
        self.trace.tell(&mut self.pool, clock::now(), event, &mut actions);
        self.perform_all(actions)
    }

    fn perform_all(&mut self, mut actions: Vec<Action>) -> Turn {
        let mut events = VecDeque::new();
        let mut turn = ControlFlow::Continue(());
        let mut looked_at = clock::now();
        loop {
            for action in actions.drain(..) {
                match self.perform(action) {
                    Ok(result) => events.extend(result),
                    Err(reason) => turn = ControlFlow::Break(reason),
                }
            }
            // A launch of thousands takes its time, and those that are their programs by now are not late.
            if clock::now().since(looked_at) >= LOOK_EVERY {
                looked_at = clock::now();
                self.look_at_exec_pipes().into_iter().for_each(|event| events.push_front(event));
            }
            let Some(event) = events.pop_front() else { break };
            self.trace.tell(&mut self.pool, clock::now(), event, &mut actions);
        }
        self.actions = actions;
        turn
    }

    /// Finds out what sends no event: whether children became their programs, and whether groups are empty.
    fn poll_untracked(&mut self) -> Turn {
        self.drive_reload(Reload::TimePassed);
        self.children.undelivered.send_again(clock::now(), &self.children.adopted, &self.pool);
        self.end_overdue_check();
        self.watch_queues()?;
        self.poll_loaders()?;
        self.poll_exec_pipes()?;
        self.poll_groups()?;
        let has_unwatched = self.children.adopted.is_unwatched();
        if has_unwatched {
            self.end_adopted()?;
        }
        if self.children.exec_pipes.is_empty() && self.pool.leftovers().is_empty() && !has_unwatched {
            self.children.recheck.rest();
        } else {
            self.children.recheck.again(clock::now());
        }
        ControlFlow::Continue(())
    }

    pub(crate) fn dispatch_all(&mut self, events: impl IntoIterator<Item = Event>) -> Turn {
        events.into_iter().try_for_each(|event| self.dispatch(event))
    }

    pub(crate) fn poll_soon(&mut self, now: Mono) {
        self.children.recheck.soon(now);
    }
}
