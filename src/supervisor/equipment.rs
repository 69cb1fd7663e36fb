//! What a worker is given beside its sockets, however it is launched.

use std::os::fd::OwnedFd;

use crate::sys::output_pipe::OutputPipe;

/// What a worker is given beside its sockets: its own connection to the control socket (`-g`), of which one end is ours, and the pipe of
/// its output.
#[derive(Debug)]
pub(crate) struct Equipment {
    pub(crate) connection: Option<(OwnedFd, OwnedFd)>,
    pub(crate) output: Option<OutputPipe>,
}

/// Our ends of it.
#[derive(Debug)]
pub(crate) struct OurEnds {
    pub(crate) connection: Option<OwnedFd>,
    pub(crate) output: Option<OwnedFd>,
}

impl Equipment {
    /// Closes the worker's.
    pub(crate) fn ours(self) -> OurEnds {
        OurEnds { connection: self.connection.map(|(ours, _)| ours), output: self.output.map(|output| output.reader) }
    }
}
