//! A panic of the main thread: a mistake of this program, and no reason to leave the workers alone. A fresh image of the same program goes
//! on under the same pid, with all that this one knows. One that fails again soon begins anew with the workers and the sockets that are
//! there; and the next one ends, as if it had been killed, and leaves them to a next master.

use std::any::Any;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::base::Pid;
#[cfg(debug_assertions)]
use crate::base::Signal;
use crate::control::ControlPaused;
use crate::handover::held::Crash;
use crate::handover::next_program::NextProgram;
use crate::handover::preflight::ImageKind;
use crate::logging;
use crate::machines::reexec::{FREEZE_PAUSE, FREEZE_TRIES_MAX, Freeze};
use crate::pool::{ExitReason, Pool};
use crate::supervisor::master::{Supervisor, Turn};
use crate::supervisor::{adopt, settings};
use crate::sys::reexec::{self, Program};
use crate::sys::{clock, procfs, wait};

/// How often a fresh image goes on when each fails soon after the one before.
const IN_A_ROW_MAX: u32 = 2;

impl Supervisor {
    /// A part of the loop. If it panics, a fresh image goes on, or this process ends.
    pub(crate) fn guarded(&mut self, part: impl FnOnce(&mut Self) -> Turn) -> Turn {
        catch_unwind(AssertUnwindSafe(|| part(self))).unwrap_or_else(|panic| self.recover(&words_of(panic.as_ref())))
    }

    /// Comes back only if the master was about to end.
    fn recover(&mut self, cause: &str) -> Turn {
        log::error!("internal error, please report it: the main thread failed: {cause}");
        let crash = Crash::after(self.facts.last_crash, clock::now());
        self.facts.last_crash = Some(crash);
        let going_on = catch_unwind(AssertUnwindSafe(|| self.become_fresh(crash)));
        let reason = match going_on {
            Ok(Ok(end)) => return ControlFlow::Break(end),
            Ok(Err(reason)) => reason,
            Err(panic) => words_of(panic.as_ref()),
        };
        log::error!("Cannot start a fresh image of the master: {reason}. This master ends, and its workers serve on");
        logging::flush();
        std::process::abort()
    }

    /// Comes back with the end, if what was said meanwhile brings it.
    ///
    /// # Errors
    /// Why there is no fresh image.
    fn become_fresh(&mut self, crash: Crash) -> Result<ExitReason, String> {
        if crash.in_a_row > IN_A_ROW_MAX {
            return Err(format!("it failed {} times in a row", crash.in_a_row));
        }
        self.reexec.abandon();
        self.stop_threads_at_last()?;
        while let Ok(input) = self.threads.inbox.try_recv() {
            // One of these may be what cannot be handled.
            let turn = catch_unwind(AssertUnwindSafe(|| self.handle_input(input)));
            if let Ok(ControlFlow::Break(end)) = turn {
                return Ok(end);
            }
        }
        let mut stopped = self.reexec.stopped_threads.take().ok_or("the threads go on")?;
        let mut written = match crash.in_a_row {
            1 => self.written_down_whole(&mut stopped.control),
            _ => Err("it failed again".to_owned()),
        };
        if written.is_err() && !self.pool.is_stopping() {
            log::warn!("Beginning anew with the workers that are there");
            self.begin_anew();
            written = self.written_down_whole(&mut stopped.control);
        }
        let (state, keep) = written?;
        Err(self.exec_itself(&state, keep))
    }

    fn stop_threads_at_last(&mut self) -> Result<(), String> {
        // It may have happened while they were stopped.
        self.reexec.stopped_threads = None;
        for _ in 0..FREEZE_TRIES_MAX {
            if self.stop_threads() == Freeze::Done {
                return Ok(());
            }
            pause();
        }
        Err("the threads are too busy to be stopped".to_owned())
    }

    fn written_down_whole(&self, control: &mut ControlPaused) -> Result<(OwnedFd, Vec<RawFd>), String> {
        catch_unwind(AssertUnwindSafe(|| self.written_down(ImageKind::Ours, control)))
            .unwrap_or_else(|panic| Err(words_of(panic.as_ref())))
    }

    /// Nothing of what the pool was about to do can be trusted.
    fn begin_anew(&mut self) {
        let is_there = |pid: Pid| self.children.adopted.contains(pid) || wait::is_child(pid) && procfs::is_living(pid);
        let version = self.pool.modern();
        let mut pool = self.pool.state().clone().after_death(settings::of(self.config()), is_there);
        let inodes: Vec<u64> = self.sockets.listeners.iter().filter_map(|listener| listener.inode()).collect();
        adopt::add_unlisted(&mut pool, version, &inodes);
        self.pool = Pool::restore(pool);
    }

    /// The very file that runs, whatever stands in its place by now. Comes back with the reason why it could not.
    fn exec_itself(&self, state: &OwnedFd, mut keep: Vec<RawFd>) -> String {
        let Some(image) = self.reexec.image() else { return "the file of this program is not known".to_owned() };
        let program = NextProgram::of_image(self.config(), image.path(), &self.facts.call.environ);
        keep.push(state.as_raw_fd());
        log::warn!("Going on with a fresh image of the master");
        logging::flush();
        let argv = program.argv_with_state(state.as_raw_fd());
        reexec::exec(Program::Image(image), &argv, &program.environment, &keep).to_string()
    }

    /// A mistake for a test of this file.
    #[cfg(debug_assertions)]
    pub(crate) fn fail_if_asked(&self, signal: Signal) {
        let mut variables = self.facts.call.environ.iter();
        let asked =
            variables.any(|(name, value)| name == "einhyrningsins_fails_at" && *value == *format!("SIG{signal}"));
        assert!(!asked, "SIG{signal} came");
    }
}

#[expect(clippy::disallowed_methods, reason = "the loop has failed")]
fn pause() {
    std::thread::sleep(FREEZE_PAUSE);
}

/// What was passed to the macro, or most often passed.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it does not say why".to_owned())
}
