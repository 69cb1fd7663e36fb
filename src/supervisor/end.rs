//! The end of a master that has nothing left to supervise: says good-bye, and puts everything away.

use std::process::ExitCode;
use std::time::Duration;

use crossbeam_channel::select;

use crate::base::exit_code;
use crate::logging::Logging;
use crate::pool::ExitReason;
use crate::supervisor::master::Supervisor;
use crate::supervisor::running_check::Killed;
use crate::sys::{clock, wait};
use crate::threads::Input;

/// How long the end of the master may wait for the last words to its clients. The control thread waits for none of them, so that
/// only a machine which has no time for it takes any of this.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Does so until there is nothing left to supervise, and puts everything away.
pub(crate) fn supervise(
    mut supervisor: Supervisor,
    logging: &Logging,
    to_the_end: impl FnOnce(&mut Supervisor) -> ExitReason,
) -> ExitCode {
    let reason = to_the_end(&mut supervisor);
    supervisor.take_terminal_back();
    supervisor.service_manager.notify_stopping();
    supervisor.threads.control.retire();
    supervisor.end_loaders();
    supervisor.end_output();
    supervisor.end_holder();
    supervisor.children.check.iter_mut().for_each(|check| check.kill(Killed::Unwanted));
    let was_checking = supervisor.reexec.abandon();
    if !was_checking && wait::any_child() {
        log::warn!("Workers left processes behind in sessions or groups of their own; they live on");
    }
    supervisor.flush_clients();
    supervisor.trace.flush();
    supervisor.sockets.bound_files.remove_all();
    // A process that a worker has left may hold one still; its clients would wait for ever.
    supervisor.sockets.listeners.iter().for_each(|listener| listener.shut());
    supervisor.journal.remove();
    let bound_files = supervisor.sockets.bound_files.clone();
    drop(supervisor);
    bound_files.remove_the_rest();
    logging.finish();
    ExitCode::from(exit_code_of(reason))
}

impl Supervisor {
    /// At the very end: waits until the control thread has written its last words. Until then it may still report a control socket
    /// that was made anew, whose file must be removed instead.
    fn flush_clients(&mut self) {
        let written = self.threads.control.finish();
        let end = clock::now().after(FLUSH_LIMIT);
        // It is not kept waiting for room in the inbox.
        while clock::now() < end {
            // It may be this thread that has to write them.
            let said = self.threads.crew.turn(clock::now());
            said.into_iter().for_each(|input| self.handle_input_at_end(input));
            let pause = self.threads.crew.deadline().map_or(end, |due| due.min(end)).since(clock::now());
            select! {
                recv(written) -> _ => break,
                recv(self.threads.inbox) -> input => match input {
                    Ok(input) => self.handle_input_at_end(input),
                    Err(_) => break,
                },
                default(pause) => {}
            }
        }
        // What is there by now, and no more: clients may go on for ever.
        let waiting: Vec<_> = self.threads.inbox.try_iter().take(self.threads.inbox.len()).collect();
        waiting.into_iter().for_each(|input| self.handle_input_at_end(input));
    }

    fn handle_input_at_end(&mut self, input: Input) {
        if let Input::SocketMoved(file) = input {
            self.files.socket_moved(file);
        }
    }
}

fn exit_code_of(reason: ExitReason) -> u8 {
    match reason {
        ExitReason::Stopped => exit_code::STOPPED,
        ExitReason::Quit => exit_code::QUIT,
        ExitReason::GaveUp => exit_code::GAVE_UP,
    }
}
