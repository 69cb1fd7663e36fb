//! The terminal of a master with `--foreground`: its one worker has it, so that it can read (a debugger's prompt). In an upgrade the old worker
//! keeps it until it has ended. What is typed there reaches the worker alone, so that its end by Ctrl-C is the master's, too.

use std::ops::ControlFlow;

use crate::base::exit_code::{self, Problem};
use crate::base::{Ending, Pid, Signal};
use crate::config::Config;
use crate::pool::{Command, Event, Worker};
use crate::supervisor::master::{Supervisor, Turn};
use crate::supervisor::process::own_pid;
use crate::supervisor::undelivered::Addressee;
use crate::sys::errno::words;
use crate::sys::{procfs, terminal};

/// By these a terminal stops what runs there, or keeps it from running there.
const STOPS: [Signal; 3] = [Signal::TSTP, Signal::TTIN, Signal::TTOU];

/// What a terminal ends programs by: Ctrl-C, Ctrl-\, and when it is closed.
const ENDS: [Signal; 3] = [Signal::INT, Signal::QUIT, Signal::HUP];

/// What a shell, and some programs, make of an end by INT.
const EXIT_INTERRUPTED: i32 = 128 + libc::SIGINT;

/// # Errors
/// This process cannot give a terminal away, since it has none.
pub(crate) fn check(config: &Config) -> Result<(), Problem> {
    if !config.foreground {
        return Ok(());
    }
    let code = match terminal::foreground() {
        Ok(group) if Some(group) == procfs::group(own_pid()) => return Ok(()),
        Ok(_) => exit_code::CANNOT_START,
        Err(_) => exit_code::BAD_OPTION,
    };
    let message = "cannot give the worker the terminal (--foreground): standard input is none, or another has it";
    Err(Problem { code, message: message.to_owned() })
}

impl Supervisor {
    /// Gives it to the worker, to the next one when that has ended, and takes it back while there is none.
    pub(crate) fn hand_over_terminal(&mut self) {
        let worker = self.pool.workers().first().filter(|_| self.config().foreground).map(|worker| worker.pid);
        if self.children.terminal_of == worker {
            return;
        }
        match worker {
            Some(pid) => {
                give_to(pid);
                // It may have been faster.
                self.let_go_on(pid);
            }
            None => self.take_terminal_back(),
        }
        self.children.terminal_of = worker;
    }

    pub(crate) fn take_terminal_back(&self) {
        if let (Some(_), Some(group)) = (self.children.terminal_of, procfs::group(own_pid())) {
            give_to(group);
        }
    }

    /// Whether this was a stop that means nothing to the one worker of a terminal: no shell would ever let it go on.
    pub(crate) fn is_stop_in_foreground(&self, pid: Pid, signal: Signal) -> bool {
        self.children.terminal_of == Some(pid) && STOPS.contains(&signal)
    }

    pub(crate) fn let_go_on(&mut self, pid: Pid) {
        if self.pool.workers().iter().any(|worker| worker.pid == pid && worker.stopped) {
            self.children.send(Addressee::Group(pid), Signal::CONT);
            self.children.send(Addressee::Worker(pid), Signal::CONT);
        }
    }

    /// A worker has ended. The pool still lists it.
    pub(crate) fn end_with_foreground(&mut self, pid: Pid, ending: Ending) -> Turn {
        let is_over = match ending {
            Ending::Code(code) => code == 0 || code == EXIT_INTERRUPTED,
            Ending::Signal(signal) => ENDS.contains(&signal),
        };
        let is_told = |worker: &Worker| worker.pid == pid && worker.is_told();
        let is_wanted = self.pool.is_stopping() || self.pool.workers().iter().any(is_told);
        if self.children.terminal_of != Some(pid) || !is_over || is_wanted {
            return ControlFlow::Continue(());
        }
        log::info!("Worker {pid} had the terminal and has ended, and so does the master");
        self.dispatch(Event::CommandGiven(Command::StopGracefully))
    }
}

fn give_to(group: Pid) {
    // The terminal may be gone, or the worker.
    if let Err(errno) = terminal::give_to(group) {
        log::debug!("cannot give the terminal to process group {group}: {}", words(errno));
    }
}
