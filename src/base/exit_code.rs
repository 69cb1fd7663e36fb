//! What the exit code says; the same table stands in the help text and the man page.

/// A clean end: told to stop, and every worker is gone.
pub(crate) const STOPPED: u8 = 0;
/// No program was given (einhorn's), or the stop was by QUIT (einhorn's).
pub(crate) const NO_PROGRAM: u8 = 1;
pub(crate) const QUIT: u8 = 1;
/// An option or its value is wrong, or the system refuses what it says until a human changes that. A service manager need not try again.
pub(crate) const BAD_OPTION: u8 = 100;
/// Something that the start needs is not to be had, and may be later.
pub(crate) const CANNOT_START: u8 = 111;
/// No worker ever served, and `--retries` is used up; or one has ended with a code that no restart mends.
pub(crate) const GAVE_UP: u8 = 112;
/// Memory was refused, and the reserve is used up.
pub(crate) const NO_MEMORY: u8 = 113;
/// The program is there and cannot be run.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The program is not there.
pub(crate) const NOT_FOUND: u8 = 127;

/// What a worker ends with whose configuration is wrong (sysexits.h); none of a master's.
pub const EX_CONFIG: u8 = 78;

/// Every one of them.
pub const EXIT_CODES: [u8; 8] =
    [STOPPED, NO_PROGRAM, BAD_OPTION, CANNOT_START, GAVE_UP, NO_MEMORY, NOT_EXECUTABLE, NOT_FOUND];

/// Something that is wrong, and the exit code that says so where it keeps a master from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: u8,
    /// One line.
    pub(crate) message: String,
}

impl From<String> for Problem {
    /// What a start needs and does not get.
    fn from(message: String) -> Self {
        Self { code: CANNOT_START, message }
    }
}

impl Problem {
    /// What the configuration says cannot be done.
    pub(crate) fn of_option(message: String) -> Self {
        Self { code: BAD_OPTION, message }
    }
}
