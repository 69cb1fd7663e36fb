//! How a child that could not become its program says so: one record over a pipe that closes on exec. Never waits for it.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::base::Resource;
use crate::sys::errno::retry;

/// What the child was doing between fork and exec when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    ProcessGroup,
    Descriptors,
    Nice,
    /// Of this resource.
    Limit(Resource),
    Groups,
    Group,
    User,
    Directory,
    ParentDeath,
    Exec,
    Processors,
}

/// All but those of a resource, each with the beginning of a message. Another image may read its place: a new one goes to the end.
const STAGES: [(Stage, &str); 10] = [
    (Stage::ProcessGroup, "cannot make a process group"),
    (Stage::Descriptors, "cannot pass the descriptors"),
    (Stage::Nice, "cannot set the nice level"),
    (Stage::Groups, "cannot set the supplementary groups"),
    (Stage::Group, "cannot change the group"),
    (Stage::User, "cannot change the user"),
    (Stage::Directory, "cannot enter the directory"),
    (Stage::ParentDeath, "cannot set the parent-death signal"),
    (Stage::Exec, "cannot run the program"),
    (Stage::Processors, "cannot choose the processors"),
];

/// The byte of the first resource.
const FIRST_LIMIT: u8 = 128;

impl Stage {
    /// Allocates nothing: the child of a fork calls it.
    fn to_byte(self) -> u8 {
        let byte = match self {
            Self::Limit(resource) => resource.index().map(|index| FIRST_LIMIT + index),
            plain => STAGES.iter().position(|(stage, _)| *stage == plain).and_then(|index| u8::try_from(index).ok()),
        };
        byte.unwrap_or(u8::MAX)
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte.checked_sub(FIRST_LIMIT) {
            Some(index) => Resource::from_index(index).map(Self::Limit),
            None => STAGES.get(usize::from(byte)).map(|(stage, _)| *stage),
        }
    }
}

impl fmt::Display for Stage {
    /// The beginning of a message: `cannot enter the directory`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(resource) => write!(f, "cannot set the limit of {resource}"),
            plain => f.write_str(STAGES.iter().find(|(stage, _)| stage == plain).map_or("", |(_, words)| words)),
        }
    }
}

/// How far a child has come. `Execed` also stands for one that was killed before: its ending will tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecState {
    Pending,
    Execed,
    Failed { stage: Stage, errno: Errno },
}

/// Stage and errno. Below PIPE_BUF, so that the write is never split.
pub(super) type Record = [u8; 5];

/// Allocates nothing: the child of a fork calls it.
pub(super) fn encode(stage: Stage, errno: i32) -> Record {
    let [a, b, c, d] = errno.to_ne_bytes();
    [stage.to_byte(), a, b, c, d]
}

/// The reading end of a child's pipe; non-blocking.
#[derive(Debug)]
pub struct ExecPipe {
    reader: OwnedFd,
    outcome: Option<ExecState>,
}

impl ExecPipe {
    pub(super) fn new(reader: OwnedFd) -> Self {
        Self { reader, outcome: None }
    }

    /// One that came over an exec, with nothing read from it.
    pub fn resume(reader: OwnedFd) -> Self {
        Self::new(reader)
    }

    /// Looks without waiting. An outcome stays, however often one looks.
    pub fn poll(&mut self) -> ExecState {
        if let Some(outcome) = self.outcome {
            return outcome;
        }
        let mut record: Record = [0; 5];
        let state = match retry(|| nix::unistd::read(&self.reader, &mut record)) {
            Ok(0) => ExecState::Execed,
            Ok(length) => decode(record, length),
            Err(Errno::EAGAIN) => return ExecState::Pending,
            Err(errno) => ExecState::Failed { stage: Stage::Exec, errno },
        };
        self.outcome = Some(state);
        state
    }
}

impl AsFd for ExecPipe {
    /// Readable once there is an outcome.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// The writer may have become anything: what is no record of ours is a failure without a reason.
fn decode([stage, a, b, c, d]: Record, length: usize) -> ExecState {
    match Stage::from_byte(stage) {
        Some(stage) if length == size_of::<Record>() => {
            ExecState::Failed { stage, errno: Errno::from_raw(i32::from_ne_bytes([a, b, c, d])) }
        }
        Some(_) | None => ExecState::Failed { stage: Stage::Exec, errno: Errno::EPROTO },
    }
}

#[cfg(test)]
mod tests {
    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    use super::*;

    fn pipe() -> (ExecPipe, OwnedFd) {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        (ExecPipe::new(reader), writer)
    }

    #[test]
    fn every_stage_comes_through_the_pipe() {
        let limits = (0..).map_while(Resource::from_index).map(Stage::Limit);
        for stage in STAGES.into_iter().map(|(stage, _)| stage).chain(limits) {
            let (mut pipe, writer) = pipe();
            assert_eq!(pipe.poll(), ExecState::Pending);
            nix::unistd::write(&writer, &encode(stage, libc::ENOENT)).unwrap();
            drop(writer);
            for _ in 0..2 {
                assert_eq!(pipe.poll(), ExecState::Failed { stage, errno: Errno::ENOENT });
            }
        }
    }

    #[test]
    fn rubbish_is_a_failure_and_no_panic() {
        for rubbish in [&[200, 1, 0, 0, 0][..], &[100, 1, 0, 0, 0], &[0, 1]] {
            let (mut pipe, writer) = pipe();
            nix::unistd::write(&writer, rubbish).unwrap();
            assert_eq!(pipe.poll(), ExecState::Failed { stage: Stage::Exec, errno: Errno::EPROTO });
        }
    }
}
