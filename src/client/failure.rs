//! What can go wrong for a client: in one line, with what to try next, and as an exit code. Prints nothing and ends nothing.

use std::fmt;
use std::time::Duration;

use crate::base::Pid;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done,
    /// Refused by the master, or tried and failed.
    Failed,
    Usage,
    NoMaster,
    TimedOut,
    /// An upgrade was paused, and is not waited for.
    Paused,
    /// Ctrl-C, numbered as a shell numbers it.
    Interrupted,
}

impl Exit {
    pub(super) const ALL: [Self; 7] =
        [Self::Done, Self::Failed, Self::Usage, Self::NoMaster, Self::TimedOut, Self::Paused, Self::Interrupted];

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoMaster => 3,
            Self::TimedOut => 4,
            Self::Paused => 5,
            Self::Interrupted => 130,
        }
    }

    /// Ruby's shell knows two codes, and Ctrl-C is a way to leave it like any other.
    pub(super) fn shell_code(self) -> u8 {
        match self {
            Self::Done | Self::Interrupted => 0,
            Self::Failed | Self::Usage | Self::NoMaster | Self::TimedOut | Self::Paused => 1,
        }
    }
}

/// What went wrong. Shown on one line, unless the master's own words are more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// In the master's words.
    pub(super) fn refused(message: &str) -> Self {
        Self::new(Exit::Failed, message.trim_end())
    }

    /// The connection ended before the answer did.
    pub(super) fn master_gone(asked: &str, pid: Pid) -> Self {
        Self::new(Exit::Failed, format!("cannot finish {asked}: master {pid} closed the connection")).with_hint(
            "It may have died, or it does not answer your user: its log says which, and `ps` whether it lives.",
        )
    }

    pub(super) fn timed_out(asked: &str, after: Duration) -> Self {
        let after = humantime::format_duration(after);
        let hint = if asked.starts_with("upgrade") {
            "It may still go on: `einhyrningsinsctl status` shows it. A Ruby einhorn says nothing when it refuses an \
             upgrade; its log does."
        } else {
            "The master may be stopped: look at its process and at its log."
        };
        Self::new(Exit::TimedOut, format!("cannot wait longer for {asked}: no end after {after}")).with_hint(hint)
    }

    pub(super) fn interrupted(asked: &str) -> Self {
        Self::new(Exit::Interrupted, format!("stopped waiting for {asked}"))
            .with_hint("What was asked for goes on in the master: `einhyrningsinsctl status` shows it.")
    }

    /// What came is no answer.
    pub(super) fn unreadable(cause: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, format!("cannot read the answer: {cause}"))
            .with_hint("Is it an einhorn master that listens there? See -c NAME and -d PATH.")
    }

    /// The system does not do what it always does.
    pub(super) fn system(what: &str, cause: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, format!("cannot {what}: {cause}"))
    }

    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// What to try next, in sentences.
    pub(super) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_has_rubys_two_codes() {
        assert_eq!(Exit::ALL.map(Exit::code), [0, 1, 2, 3, 4, 5, 130]);
        assert_eq!(Exit::ALL.map(Exit::shell_code), [0, 1, 1, 1, 1, 1, 0]);
    }
}
