//! The kinds of bad release: what stands in their directory, and what is to be expected of their upgrade. A kind is a row in `KINDS`.

use std::path::Path;
use std::time::Duration;

use crate::samples::{Edit, Sample};

/// How many workers each master runs.
pub const WORKERS: usize = 3;

/// For how long a worker of a new version is on trial.
pub const EARLY_LIFE: Duration = Duration::from_secs(4);

/// How the new release is brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Smooth,
    Fleet,
    /// One worker first, which is watched for a second, with a check.
    Canary,
}

impl Style {
    /// The words behind `einhyrningsinsctl`.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Smooth | Self::Canary => &["upgrade"],
            Self::Fleet => &["upgrade", "--fleet"],
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Smooth => "smooth",
            Self::Fleet => "fleet",
            Self::Canary => "canary",
        }
    }

    /// Lines of the configuration.
    pub fn configuration(self) -> &'static str {
        match self {
            Self::Smooth | Self::Fleet => "",
            Self::Canary => "[upgrade]\ncanary = 1\nbake = '1s'\ncheck = ['./check']\n",
        }
    }
}

/// What the master runs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Nothing that listens to it.
    Alone,
    /// A stand-in for systemd, as far as sd_notify(3) goes. `packaging/test` has the real one.
    Manager,
}

impl Host {
    pub fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Manager => "with a service manager",
        }
    }
}

/// In which runs a kind takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Length {
    /// In `make test`, too.
    Short,
    Long,
}

/// What stands at `current/server`.
#[derive(Clone, Copy)]
pub enum Server {
    /// Lines of a shell script, in which `serve` becomes the worker that acks and serves, with these options; `$worker` is the
    /// worker's program.
    Script(&'static str),
    /// A whole script, with its first line.
    Raw(&'static str),
    /// A program for another kind of processor.
    Foreign,
    /// Nothing.
    Missing,
    /// The good program, and a configuration with these lines more below `[worker]`.
    Configured(&'static str),
    /// A sample of `examples/servers` with these faults.
    Sample(&'static Sample, &'static [Edit]),
    /// The sample in Go with this fault.
    Go(&'static str),
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
    /// The master has ended.
    Gone,
}

#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// The exit code of `einhyrningsinsctl upgrade`, what comes of it, and what it prints.
    Certain { code: i32, end: End, words: &'static str },
    /// It acks, and dies on trial: the release before has its strength again, whether the client still waits by then or not. Meanwhile
    /// so many serve as the release leaves alive.
    OnTrial,
    /// It acks and lives, and what it does wrong only a check sees. In canary upgrades there is one.
    Checked,
    /// That it is not dealt with. A row that says so fails once it is.
    Unnoticed,
}

use Expected::{Certain, Checked, OnTrial, Unnoticed};

impl Server {
    /// How long a worker may take to its ack: those that people run have an interpreter to start.
    pub fn ack_timeout(self) -> Duration {
        match self {
            Self::Sample(..) | Self::Go(_) => Duration::from_secs(20),
            Self::Script(_) | Self::Raw(_) | Self::Foreign | Self::Missing | Self::Configured(_) => {
                Duration::from_secs(2)
            }
        }
    }
}

/// The script of a release: what its lines may name is at its head.
pub fn script(release: &str, home: &Path, worker: &Path, lines: &str) -> String {
    let variables = format!("home='{}' worker='{}'", home.display(), worker.display());
    let serve = "serve() { exec \"$worker\" --ack manual --tally \"$home\" \"$@\"; }";
    format!("#!/bin/sh\nexport WORKER_VERSION={release}\n{variables}\n{serve}\n{lines}\n")
}

pub struct Kind {
    pub name: &'static str,
    pub length: Length,
    pub server: Server,
    pub expected: Expected,
}

const GIVEN_UP: Expected = Certain { code: 1, end: End::Back, words: "new workers in a row died or did not ACK" };
const TAKEN: Expected = Certain { code: 0, end: End::Taken, words: "Upgrade done" };
/// Before anything was started.
const fn refused(words: &'static str) -> Expected {
    Certain { code: 1, end: End::Back, words }
}

/// A worker may end a master of its own user, and this one does.
const ENDED: Expected = Certain { code: 1, end: End::Gone, words: "einhorn is going down" };

const fn kind(name: &'static str, server: Server, expected: Expected) -> Kind {
    Kind { name, length: Length::Short, server, expected }
}

const fn long(name: &'static str, server: Server, expected: Expected) -> Kind {
    Kind { name, length: Length::Long, server, expected }
}

use Server::{Configured, Foreign, Missing, Raw, Script};

pub const KINDS: &[Kind] = &[
    // That are never up.
    kind("syntax error", Raw("#!/usr/bin/env python3\nimport os\n\ndef serve(:\n    pass\n"), GIVEN_UP),
    kind("missing module", Raw("#!/usr/bin/env python3\nimport there_is_no_such_module\n"), GIVEN_UP),
    kind("missing variable", Script(": \"${DATABASE_URL:?is not set}\"; serve"), GIVEN_UP),
    kind("missing interpreter", Raw("#!/opt/there/is/no/such/interpreter\n"), GIVEN_UP),
    kind("missing program", Missing, refused("cannot run")),
    kind("program for another kind of machine", Foreign, GIVEN_UP),
    kind("no such user", Configured("user = 'no-such-user'\n"), refused("there is no user")),
    kind("exit 0 at once", Script("exit 0"), GIVEN_UP),
    kind("exit 3 at once", Script("exit 3"), GIVEN_UP),
    kind("segmentation fault at once", Script("kill -SEGV $$"), GIVEN_UP),
    kind("fills standard error, then exit 1", Script(FLOOD), GIVEN_UP),
    kind("never acks", Script("serve --ack none"), GIVEN_UP),
    kind("never acks, ignores every signal", Script("serve --ack none --fault ignore"), GIVEN_UP),
    kind("starts too slowly", Script("serve --ack-after 3000"), GIVEN_UP),
    kind("starts slowly, but in time", Script("serve --ack-after 900"), TAKEN),
    kind("daemonizes", Script("setsid $worker --tally $home & exit 0"), GIVEN_UP),
    // That ack, and die.
    kind("acks, exit 1 after half a second", Script("serve --die-after 500"), OnTrial),
    kind("acks, exit 1 after 3 s", Script("serve --die-after 3000"), OnTrial),
    long("acks, exit 1 after 20 s", Script("serve --die-after 20000"), Unnoticed),
    kind("crash at the first request", Script("serve --fault crash-at=1"), OnTrial),
    kind("crash at the hundredth request", Script("serve --fault crash-at=100"), OnTrial),
    kind("leaks memory up to its limit", Script("ulimit -v 4000000; serve --fault leak"), OnTrial),
    kind("exit 1, and leaves children", Script("sleep 1000 & serve --die-after 700"), OnTrial),
    kind("dies in slot 1 only", Script(IN_SLOT_1), OnTrial),
    kind("dies when all slots run it", Script("serve --fault die-with-all=3"), OnTrial),
    // That ack, and do not serve.
    kind("acks, then hangs", Script("serve --fault hang"), Checked),
    kind("takes requests, and never answers", Script("serve --fault hold"), Checked),
    kind("stops itself", Script("serve --fault stop"), Unnoticed),
    kind("wrong port", Script("serve --fault elsewhere"), Checked),
    kind("closes the socket", Script("serve --fault close"), Checked),
    kind("answers 500", Script("serve --fault error"), Checked),
    // That do harm to others.
    kind("shuts the shared socket down", Script("serve --fault shutdown"), Unnoticed),
    kind("ends its parent's process group", Script("kill -TERM -$PPID; serve"), ENDED),
];

/// Some megabytes, as fast as they are taken.
const FLOOD: &str = "head -c 4000000 /dev/zero | tr '\\0' x | fold -w 200 >&2; exit 1";

/// Masters without slots number their workers on; then it is one in three.
const IN_SLOT_1: &str = "[ ${EINHYRNINGSINS_SLOT:-$((EINHORN_CHILD_INDEX % 3))} = 1 ] && serve --die-after 500; serve";
