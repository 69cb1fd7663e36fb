//! The end: every worker is told, patience is limited, and the last one to go lets the master go.

use crate::pool::state::Stopping;
use std::time::Duration;

use crate::base::{Mono, Pid, Signal};
use crate::base::{due, earlier};
use crate::pool::action::{Action, ExitReason};
use crate::pool::machine::Pool;
use crate::pool::notice::Notice;
use crate::pool::settings::{QUIT_GRACE, TERM_GRACE};
use crate::pool::worker::StopSignal;

/// The least time between a graceful end and TERM, so that its deadline lies ahead.
const TERM_AFTER_MIN: Duration = Duration::from_millis(1);

impl Pool {
    /// Stops for good. A second stop sends its signal too; patience may only get shorter.
    pub(in crate::pool) fn stop(&mut self, now: Mono, stop_signal: StopSignal, actions: &mut Vec<Action>) {
        let before = self.state.stopping.map(|stopping| stopping.stop_signal);
        let stop_signal = match (before, stop_signal) {
            // A graceful end that is asked for once more does not put TERM off.
            (Some(StopSignal::GracefulThenTerm), StopSignal::Graceful | StopSignal::GracefulThenTerm) => {
                let is_time = due(self.term_deadline(), now);
                if is_time { StopSignal::Signal(Signal::TERM) } else { StopSignal::GracefulThenTerm }
            }
            (_, wanted) => wanted,
        };
        let reason = match self.state.stopping {
            Some(stopping) if stopping.reason != ExitReason::Stopped => stopping.reason,
            Some(_) | None if stop_signal == StopSignal::Signal(Signal::QUIT) => ExitReason::Quit,
            Some(_) | None => ExitReason::Stopped,
        };
        let delay = self.stop_delay(stop_signal);
        self.begin_stop(stop_signal, reason, delay.map(|delay| now.after(delay)), actions);
        match delay {
            Some(delay) => actions.push(Action::Tell(Notice::StopDelayed { delay })),
            None => self.tell_all(now, stop_signal, actions),
        }
    }

    /// None: the workers are told at once, since QUIT is urgent, a second stop ends the delay of the first, or none serves.
    fn stop_delay(&self, stop_signal: StopSignal) -> Option<Duration> {
        let delay = self.state.settings.stop_delay;
        let is_urgent = self.is_stopping() || stop_signal == StopSignal::Signal(Signal::QUIT);
        (!is_urgent && !delay.is_zero() && self.serving_count() > 0).then_some(delay)
    }

    /// When the delay of a stop is over.
    pub(in crate::pool) fn stop_deadline(&self) -> Option<Mono> {
        self.state.stopping?.tell_at
    }

    /// Tells the workers when the delay of a stop is over.
    pub(in crate::pool) fn end_stop_delay(&mut self, now: Mono, actions: &mut Vec<Action>) {
        if !due(self.stop_deadline(), now) {
            return;
        }
        if let Some(stopping) = &mut self.state.stopping {
            stopping.tell_at = None;
            let stop_signal = stopping.stop_signal;
            self.tell_all(now, stop_signal, actions);
        }
    }

    /// When a graceful end becomes one by TERM.
    pub(in crate::pool) fn term_deadline(&self) -> Option<Mono> {
        self.state.stopping?.term_at
    }

    pub(in crate::pool) fn end_with_term(&mut self, now: Mono, actions: &mut Vec<Action>) {
        if due(self.term_deadline(), now) {
            self.stop(now, StopSignal::Signal(Signal::TERM), actions);
        }
    }

    fn tell_all(&mut self, now: Mono, stop_signal: StopSignal, actions: &mut Vec<Action>) {
        if let (StopSignal::GracefulThenTerm, Some(stopping)) = (stop_signal, &mut self.state.stopping) {
            let patience = self.state.settings.signal_timeout.unwrap_or(TERM_GRACE).max(TERM_AFTER_MIN);
            stopping.term_at = earlier(stopping.term_at, Some(now.after(patience)));
        }
        let grace = self.grace(stop_signal);
        let pids: Vec<Pid> = self.state.workers.iter().map(|worker| worker.pid).collect();
        self.tell_to_go(now, &pids, stop_signal, grace, actions);
        for leftover in &mut self.state.leftovers {
            leftover.signal = stop_signal.signal(leftover.graceful);
            leftover.kill_at = earlier(leftover.kill_at, grace.map(|grace| now.after(grace)));
            if leftover.reaped {
                actions.push(Action::SignalGroup { pid: leftover.pid, signal: leftover.signal });
            }
        }
    }

    /// The pool stops by itself here, so workers that were told to go already are not told again.
    pub(in crate::pool) fn stop_after_giving_up(&mut self, now: Mono, actions: &mut Vec<Action>) {
        self.begin_stop(StopSignal::Graceful, ExitReason::GaveUp, None, actions);
        let untold = self.state.workers.iter().filter(|worker| !worker.is_told());
        let pids: Vec<Pid> = untold.map(|worker| worker.pid).collect();
        self.tell_to_go(now, &pids, StopSignal::Graceful, self.grace(StopSignal::Graceful), actions);
    }

    /// Whether `Exit` was asked for.
    pub(in crate::pool) fn is_over(&self) -> bool {
        self.state.stopping.is_some_and(|stopping| stopping.concluded)
    }

    /// Asks to end once nothing is left that could need the master.
    pub(in crate::pool) fn conclude_stop(&mut self, actions: &mut Vec<Action>) {
        let empty = self.state.workers.is_empty() && self.state.leftovers.is_empty() && self.state.launches.is_empty();
        if let Some(stopping) = &mut self.state.stopping {
            if empty && !stopping.concluded {
                (stopping.concluded, stopping.tell_at, stopping.term_at) = (true, None, None);
                actions.push(Action::Exit(stopping.reason));
            }
        }
    }

    fn begin_stop(
        &mut self,
        stop_signal: StopSignal,
        reason: ExitReason,
        tell_at: Option<Mono>,
        actions: &mut Vec<Action>,
    ) {
        let concluded = self.is_over();
        self.abandon_upgrade(actions);
        let term_at = self.term_deadline().filter(|_| stop_signal == StopSignal::GracefulThenTerm);
        let grace = self.grace(stop_signal);
        self.state.stopping = Some(Stopping { stop_signal, grace, reason, tell_at, term_at, concluded });
    }

    /// How long workers may take to end. A graceful end may take for ever unless a signal timeout is set, as with einhorn:
    /// some drain for hours. After TERM and QUIT the caller is waiting; not so where TERM is the signal at which the program drains.
    fn grace(&self, stop_signal: StopSignal) -> Option<Duration> {
        let timeout = self.state.settings.signal_timeout;
        match stop_signal {
            StopSignal::Signal(Signal::TERM) => Some(timeout.unwrap_or(TERM_GRACE)),
            StopSignal::Signal(Signal::QUIT) => Some(timeout.map_or(QUIT_GRACE, |timeout| timeout.min(QUIT_GRACE))),
            StopSignal::Signal(_) | StopSignal::Graceful => timeout,
            StopSignal::GracefulThenTerm => None,
        }
    }
}
