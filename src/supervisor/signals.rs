//! What a signal to the master means. Every other catchable one stays blocked for life: the master survives it.

use crate::base::Signal;
use crate::pool::{Command, Terms, UpgradeStyle, Worker};
use crate::supervisor::master::Supervisor;
use crate::supervisor::process::own_pid;
use crate::supervisor::reply::Change;
use crate::sys::hearing::{Hearing, hearing};
use crate::sys::signal::{Received, Sender};

/// What the signal thread listens to.
pub const HEARD: &[Signal] = &[
    Signal::INT,
    Signal::USR2,
    Signal::TERM,
    Signal::QUIT,
    Signal::HUP,
    Signal::ALRM,
    Signal::USR1,
    Signal::TTIN,
    Signal::TTOU,
    Signal::CONT,
];

impl Supervisor {
    /// INT and USR2 end gracefully, TERM and QUIT less so; HUP upgrades, and ALRM as einhorn before 1.0 had it; TTIN and TTOU are one
    /// worker more and one less, as with puma and unicorn; USR1 and CONT are for the workers.
    pub(crate) fn command_of(&mut self, received: Received) -> Option<Command> {
        match received.signal {
            Signal::INT => Some(self.interrupt(received.sender)),
            Signal::USR2 => Some(Command::StopGracefully),
            Signal::TERM => Some(self.terminate()),
            Signal::QUIT => Some(Command::Stop(received.signal)),
            Signal::HUP | Signal::ALRM => {
                Some(Command::Upgrade { style: UpgradeStyle::Smooth, terms: Terms::default() })
            }
            // A process of the master's group has used the terminal from the background. No client means a number by that.
            Signal::TTIN | Signal::TTOU if received.sender == Sender::Kernel => None,
            Signal::TTIN => self.change_target_by_signal(Change::By(1)),
            Signal::TTOU => self.change_target_by_signal(Change::By(-1)),
            Signal::USR1 => {
                self.reopen_log();
                Some(self.forward_to_catchers(received.signal))
            }
            Signal::CONT => Some(Command::Forward(received.signal)),
            _ => None,
        }
    }

    /// A second one says how to force the end, and a further one of the terminal's does.
    fn interrupt(&mut self, sender: Sender) -> Command {
        if !self.pool.is_stopping() {
            return Command::StopGracefully;
        }
        self.children.late_interrupts = self.children.late_interrupts.saturating_add(1);
        let is_typed = sender == Sender::Kernel;
        if is_typed && self.children.late_interrupts > 1 {
            return Command::Stop(Signal::TERM);
        }
        // A script that sends a second one may read the log as einhorn writes it.
        if !is_typed && self.config().stands_in_for_einhorn() {
            return Command::StopGracefully;
        }
        let workers = self.pool.workers().iter().map(|worker| worker.pid);
        let pids: Vec<String> =
            workers.chain(self.pool.leftovers().iter().map(|left| left.pid)).map(|pid| pid.to_string()).collect();
        let or_typed = if is_typed { ", or press Ctrl-C once more" } else { "" };
        log::warn!("Still waiting for [{}]: to send TERM, run kill -TERM {}{or_typed}", pids.join(", "), own_pid());
        Command::StopGracefully
    }

    /// docker stop and Kubernetes send TERM, and mean a graceful end. The first one is that, where it is configured by which signal workers
    /// end gracefully.
    fn terminate(&self) -> Command {
        match self.config().drains_by_another_signal_than_term() && !self.pool.is_stopping() {
            true => Command::StopGracefullyThenTerm,
            false => Command::Stop(Signal::TERM),
        }
    }

    fn change_target_by_signal(&mut self, change: Change) -> Option<Command> {
        let (new, output) = self.target_after(change);
        log::info!("{output}");
        self.set_target(new)
    }

    /// USR1 asks a worker to reopen its logs. One that has no handler for it would end.
    fn forward_to_catchers(&self, signal: Signal) -> Command {
        let execed = self.pool.workers().iter().filter(|worker| worker.execed);
        let (catching, others): (Vec<&Worker>, Vec<&Worker>) =
            execed.partition(|worker| hearing(worker.pid, signal) == Hearing::Handled);
        if !others.is_empty() {
            let pids: Vec<String> = others.iter().map(|worker| worker.pid.to_string()).collect();
            log::info!("Not sending {signal} to [{}]: no handler for it", pids.join(", "));
        }
        Command::ForwardTo { signal, pids: catching.iter().map(|worker| worker.pid).collect() }
    }
}
