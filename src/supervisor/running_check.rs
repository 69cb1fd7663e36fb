//! The check of an upgrade that runs: a child, and what it has written.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::base::{Ending, Mono, Pid, Signal, Version, printable};
use crate::output::sentences;
use crate::sys::errno::words;
use crate::sys::exec_failure::explain_exec_failure;
use crate::sys::exec_pipe::{ExecPipe, ExecState};
use crate::sys::{memfd, signal};

pub(crate) const OUTPUT_NAME: &str = "einhyrningsins output of a check";
pub(crate) const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// One that runs.
pub(crate) struct RunningCheck {
    pub(crate) pid: Pid,
    pub(crate) version: Version,
    /// As it was asked for: what is in force when it ends may have another check, or none.
    pub(crate) program: OsString,
    /// How long it may take (`upgrade.check-timeout`), and when that is over.
    pub(crate) limit: Duration,
    pub(crate) ends_at: Mono,
    pub(crate) killed: Option<Killed>,
    pub(crate) exec: ExecPipe,
    pub(crate) output: OwnedFd,
}

/// Why it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Killed {
    Late,
    /// Its upgrade is over, or has another check.
    Unwanted,
}

impl RunningCheck {
    /// With its process group, once.
    pub(crate) fn kill(&mut self, why: Killed) {
        if self.killed.replace(why).is_some() {
            return;
        }
        if let Err(errno) = signal::send_group(self.pid, Signal::KILL) {
            log::debug!("cannot kill the check {}: {}", self.pid, words(errno));
        }
    }

    /// # Errors
    /// Why it has not passed, with the last line that it wrote.
    pub(crate) fn conclude(mut self, ending: Ending) -> Result<(), String> {
        if let ExecState::Failed { stage: _, errno } = self.exec.poll() {
            return Err(explain_exec_failure(self.program.as_ref(), errno));
        }
        let how = match (self.killed, ending) {
            (Some(Killed::Unwanted), _) => return Err("was ended, its upgrade is over".to_owned()),
            (Some(Killed::Late), _) => format!("it did not end within {}", sentences::seconds(self.limit)),
            (None, Ending::Code(0)) => return Ok(()),
            (None, Ending::Code(code)) => format!("exit status {code}"),
            (None, Ending::Signal(signal)) => format!("SIG{signal}"),
        };
        let written = memfd::read_scratch(&self.output, OUTPUT_BYTES_MAX).unwrap_or_default();
        let last = written.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).rfind(|line| !line.is_empty());
        Err(last.map_or_else(|| how.clone(), |line| format!("{how}: {}", printable::bytes(line))))
    }
}
