//! The kinds of bad release: what stands in their directory, and what is to be expected of their upgrade. A kind is a row in `KINDS`.

use std::time::Duration;

/// How many workers each master runs.
pub const WORKERS: usize = 3;
/// How long a worker may take to its ack.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(1);

/// How the new release is brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Smooth,
}

impl Style {
    /// The words behind `einhyrningsinsctl`.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Smooth => &["upgrade"],
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Smooth => "smooth",
        }
    }
}

/// In which runs a kind takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Length {
    /// In `make test`, too.
    Short,
}

/// What stands at `current/server`.
#[derive(Clone, Copy, Debug)]
pub enum Server {
    /// Lines of a shell script, in which `serve` becomes the worker that acks and serves, with these options.
    Script(&'static str),
    /// A Python script.
    Python(&'static str),
    /// A program for another kind of processor.
    Foreign,
}

/// What comes of an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The release before serves at full strength, and no worker of the new one is left.
    Back,
    /// The new release serves at full strength: it was not bad.
    Taken,
    /// Neither: the new release stays, and is never at full strength for long.
    Stays,
}

/// What may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Losses {
    /// What the new release's own workers had accepted, and the number of serving workers never falls.
    ItsOwn,
    /// Anything: what the release does is not noticed.
    Any,
}

#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// The exit code of `einhyrningsinsctl upgrade`.
    pub code: i32,
    pub end: End,
    pub losses: Losses,
    /// In what it printed.
    pub words: &'static str,
}

pub struct Kind {
    pub name: &'static str,
    pub length: Length,
    pub server: Server,
    pub expected: Expected,
}

const GIVEN_UP: Expected =
    Expected { code: 1, end: End::Back, losses: Losses::ItsOwn, words: "new workers in a row died or did not ACK" };
const TAKEN: Expected = Expected { code: 0, end: End::Taken, losses: Losses::ItsOwn, words: "Upgrade done" };
// Until a version on trial is watched, a worker that has acked is taken for a good one.
/// Its workers die and are launched anew, for ever.
const DIES_ON: Expected = Expected { code: 0, end: End::Stays, losses: Losses::Any, words: "Upgrade done" };
/// The same, but so early that they are never all there.
const NEVER_ENDS: Expected = Expected { code: 4, words: "It may still go on", ..DIES_ON };
/// Its workers live, and do not serve.
const LIVES_ON: Expected = Expected { end: End::Taken, ..DIES_ON };

const fn kind(name: &'static str, server: Server, expected: Expected) -> Kind {
    Kind { name, length: Length::Short, server, expected }
}

use Server::{Foreign, Python, Script};

pub const KINDS: &[Kind] = &[
    kind("syntax error", Python("import os\n\ndef serve(:\n    pass\n"), GIVEN_UP),
    kind("missing module", Python("import there_is_no_such_module\n"), GIVEN_UP),
    kind("missing variable", Script(": \"${DATABASE_URL:?is not set}\"; serve"), GIVEN_UP),
    kind("program for another kind of machine", Foreign, GIVEN_UP),
    kind("exit 0 at once", Script("exit 0"), GIVEN_UP),
    kind("segmentation fault at once", Script("kill -SEGV $$"), GIVEN_UP),
    kind("never acks", Script("serve --ack none"), GIVEN_UP),
    kind("starts slowly, but in time", Script("serve --ack-after 600"), TAKEN),
    kind("exit 1 after a second and a half", Script("serve --die-after 1500"), DIES_ON),
    kind("crash at the first request", Script("serve --fault crash-at=1"), NEVER_ENDS),
    kind("acks, then hangs", Script("serve --fault hang"), LIVES_ON),
    kind("wrong port", Script("serve --fault elsewhere"), LIVES_ON),
];
