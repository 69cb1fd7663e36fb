//! The kinds of bad release: what stands in their directory, and what is to be expected of their upgrade. A kind is a row in `KINDS`.

use std::path::Path;
use std::time::Duration;

use crate::samples::{Edit, Sample};

/// How many workers each master runs.
pub const WORKERS: usize = 3;

/// For how long a worker of a new version is on trial.
pub const EARLY_LIFE: Duration = Duration::from_secs(6);

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

/// For how long the client that gives the upgrade looks on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Following {
    /// To the end of the upgrade.
    Upgrade,
    /// To the end of its trial.
    Trial,
    /// A second longer than the upgrade.
    Second,
}

impl Following {
    /// More words for the client.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Upgrade => &[],
            Self::Trial => &["--watch"],
            Self::Second => &["--watch=1s"],
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
    /// What these lines of a shell script make in the release's directory.
    Made(&'static str),
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
            Self::Script(_) | Self::Raw(_) | Self::Foreign | Self::Made(_) | Self::Configured(_) => {
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
/// For a reason that it must tell.
const fn fails(words: &'static str) -> Expected {
    Certain { code: 1, end: End::Back, words }
}

const fn kind(name: &'static str, server: Server, expected: Expected) -> Kind {
    Kind { name, length: Length::Short, server, expected }
}

const fn long(name: &'static str, server: Server, expected: Expected) -> Kind {
    Kind { name, length: Length::Long, server, expected }
}

/// No bad one.
pub const GOOD_ONE: Kind = kind("a good one", Script("serve"), TAKEN);

use Server::{Configured, Foreign, Made, Raw, Script};

pub const KINDS: &[Kind] = &[
    // That are never up.
    kind("syntax error", Raw("#!/usr/bin/env python3\nimport os\n\ndef serve(:\n    pass\n"), fails("SyntaxError")),
    kind(
        "missing module",
        Raw("#!/usr/bin/env python3\nimport there_is_no_such_module\n"),
        fails("No module named 'there_is_no_such_module'"),
    ),
    kind("missing variable", Script(": \"${DATABASE_URL:?is not set}\"; serve"), fails("DATABASE_URL: is not set")),
    kind(
        "missing interpreter",
        Raw("#!/opt/there/is/no/such/interpreter\n"),
        fails("its interpreter /opt/there/is/no/such/interpreter is missing"),
    ),
    kind("missing program", Made(":"), fails("cannot run")),
    kind("a link that leads nowhere", Made("ln -s nowhere server"), fails("cannot run")),
    long("a link that leads to itself", Made("ln -s server server"), fails("cannot run")),
    kind("a directory for a program", Made("mkdir server"), fails("cannot run")),
    long("a program that may not be run", Made("echo '#!/bin/sh' >server"), fails("cannot run")),
    kind("an empty program", Made(": >server; chmod 755 server"), fails("the file is empty")),
    kind("line ends of another system", Raw("#!/bin/sh\r\nexit 0\r\n"), fails("its interpreter /bin/sh\\r is missing")),
    kind("program for another kind of machine", Foreign, fails("it is built for another kind of machine")),
    kind("no such user", Configured("user = 'no-such-user'\n"), fails("there is no user")),
    kind("missing file of variables", Configured("[env]\nenv-file = ['missing.env']\n"), fails("missing.env")),
    long("missing file of settings", Script(". \"$home/settings\"; serve"), fails("settings")),
    kind("binds the address itself", Raw(BINDS), fails("Address already in use")),
    kind("removes its own directory", Script("rm -r \"$home\"; serve"), fails("cannot")),
    kind(
        "a full disk below its log",
        Script("exec >/dev/full 2>&1; echo starting || exit 1; serve"),
        fails("exit status 1"),
    ),
    kind("a thousand lines of traceback", Script(TRACEBACK), fails("RecursionError: too deep")),
    long("a line of a megabyte, then exit 1", Script("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1"), GIVEN_UP),
    kind("writes random bytes, then exit 1", Script("head -c 60000 /dev/urandom >&2; exit 1"), fails("exit status 1")),
    kind("a backslash is the last that it writes", Script(r"printf 'C:\\srv\\' >&2; exit 1"), fails(r"C:\srv")),
    kind("exit 0 at once", Script("exit 0"), fails("exit status 0")),
    kind("exit 3 at once", Script("exit 3"), fails("exit status 3")),
    kind("segmentation fault at once", Script("kill -SEGV $$"), fails("killed by SIGSEGV")),
    kind("fills standard error, then exit 1", Script(FLOOD), GIVEN_UP),
    kind("never acks", Script("serve --ack none"), fails("sent no ack within 2")),
    kind("never acks, ignores every signal", Script("serve --ack none --fault ignore"), fails("sent no ack within 2")),
    kind("starts too slowly", Script("serve --ack-after 3000"), fails("sent no ack within 2")),
    kind("starts slowly, but in time", Script("serve --ack-after 900"), TAKEN),
    kind("writes random bytes, and serves", Script("head -c 20000 /dev/urandom | tee /dev/stderr; serve"), TAKEN),
    kind("closes its standard streams", Script("exec <&- >&- 2>&-; serve"), TAKEN),
    kind("removes the control socket", Script("{ sleep 0.2; rm -f $EINHORN_SOCK_PATH; } & serve"), TAKEN),
    kind("daemonizes", Script("setsid $worker --tally $home & exit 0"), fails("exit status 0")),
    // That ack, and die.
    kind("acks, then exit 0", Script("serve --fault exit-0"), OnTrial),
    kind("acks, and a child goes on in its place", Script("serve --fault leave"), OnTrial),
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
    kind("acks, then hangs", Script("serve --fault hang"), OnTrial),
    kind("acks, then runs another program", Script("serve --fault exec"), OnTrial),
    kind("opens files until it may open no more", Script("ulimit -n 64; serve --fault hoard"), OnTrial),
    kind("takes requests, and never answers", Script("serve --fault hold"), Checked),
    kind("stops itself", Script("serve --fault stop"), OnTrial),
    kind("wrong port", Script("serve --fault elsewhere"), OnTrial),
    kind("closes the socket", Script("serve --fault close"), OnTrial),
    kind("answers 500", Script("serve --fault error"), Checked),
    // That do harm to others.
    kind("shuts the shared socket down", Script("serve --fault shutdown"), Unnoticed),
    kind("ends its parent's process group", Script("kill -TERM -$PPID; serve"), fails("sent SIGTERM to the master")),
];

/// Some megabytes, as fast as they are taken.
const FLOOD: &str = "head -c 4000000 /dev/zero | tr '\\0' x | fold -w 200 >&2; exit 1";

/// The last ten lines are not all that there is.
const TRACEBACK: &str =
    "seq 1000 | sed 's/.*/  File \"app.py\", line &, in handle/' >&2; echo 'RecursionError: too deep' >&2; exit 1";

/// What servers do that are not told of the socket that they were born with.
const BINDS: &str = "#!/usr/bin/env python3
import os, socket
address = socket.socket(fileno=int(os.environ['EINHORN_FD_0'])).getsockname()
socket.create_server(address, reuse_port=False)
";

/// Masters without slots number their workers on; then it is one in three.
const IN_SLOT_1: &str = "[ ${EINHYRNINGSINS_SLOT:-$((EINHORN_CHILD_INDEX % 3))} = 1 ] && serve --die-after 500; serve";
