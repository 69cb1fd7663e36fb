//! What a process can do with files and with other processes, tried by one of that user.

use std::ffi::OsString;

use crate::access::actor::Actor;
use crate::access::stage::{Admittance, Side, Stage};
use crate::support::Process;

/// One try: an operation of [`TRY`], and what it is tried on.
#[derive(Clone, Copy)]
pub(in crate::access) enum Deed {
    /// Connect to the control socket of a master that lets these in.
    Enter(Admittance),
    /// An operation on a file in the master's directory.
    File(&'static str, &'static str),
    /// An operation on a process.
    Process(&'static str, Whose),
    /// An operation on a file of a process's in `/proc`.
    Proc(&'static str, Whose, &'static str),
}

#[derive(Clone, Copy)]
pub(in crate::access) enum Whose {
    Masters,
    Workers,
}

impl Whose {
    fn of(self, stage: &Stage) -> Process {
        match self {
            Self::Masters => stage.master(),
            Self::Workers => stage.worker(),
        }
    }
}

/// The rows of the table.
pub(in crate::access) const ALL: [(&str, Deed); 23] = [
    ("connect to the control socket, where the configuration allows no user", Deed::Enter(Admittance::NoUser)),
    ("connect to the control socket, with `--socket-group`", Deed::Enter(Admittance::SocketGroup)),
    (
        "connect to the control socket, with `control.allow-users` or `control.allow-groups`",
        Deed::Enter(Admittance::AllUsers),
    ),
    ("read the pid file", Deed::File("read", "einhorn.pid")),
    ("write to the pid file", Deed::File("write", "einhorn.pid")),
    ("replace the pid file", Deed::File("replace", "einhorn.pid")),
    ("read the lock file", Deed::File("read", "einhorn.lock")),
    ("write to the lock file", Deed::File("write", "einhorn.lock")),
    ("replace the lock file", Deed::File("replace", "einhorn.lock")),
    ("read the journal beside the lock file", Deed::File("read", "einhorn.lock.journal")),
    ("write to the journal", Deed::File("write", "einhorn.lock.journal")),
    ("replace the journal", Deed::File("replace", "einhorn.lock.journal")),
    ("connect to a unix socket that is bound for the workers", Deed::File("connect", "served")),
    ("connect to a unix socket that is bound with `mode=0666`", Deed::File("connect", "open")),
    (
        "connect to a unix socket that is bound with `mode=0660` and `group=` of the socket group",
        Deed::File("connect", "grouped"),
    ),
    ("replace a unix socket that is bound", Deed::File("replace", "served")),
    ("send a signal to the master", Deed::Process("signal", Whose::Masters)),
    ("send a signal to a worker", Deed::Process("signal", Whose::Workers)),
    ("read the environment of the master", Deed::Proc("read", Whose::Masters, "environ")),
    ("read the environment of a worker", Deed::Proc("read", Whose::Workers, "environ")),
    (
        "open the descriptors of the master (log, lock, the document of a handoff)",
        Deed::Proc("list", Whose::Masters, "fd"),
    ),
    ("read and write the memory of the master", Deed::Proc("both", Whose::Masters, "mem")),
    // Last, for the master makes one anew at once.
    ("replace the control socket", Deed::File("replace", "einhorn.sock")),
];

/// Tries operations, each on the path or the process that is named behind it, and says `yes` or `no` for each in a line. A refusal
/// for another reason than want of permission is an error.
const TRY: &str = r#"
import os, signal, socket, sys

def connect(path):
    socket.socket(socket.AF_UNIX).connect(path)

def read(path):
    with open(path, "rb") as file:
        file.read()

def write(path):
    os.close(os.open(path, os.O_WRONLY))

def both(path):
    os.close(os.open(path, os.O_RDWR))

def replace(path):
    os.rename(path, path + ".moved")
    os.rename(path + ".moved", path)

def list(path):
    for name in os.listdir(path):
        os.stat(os.path.join(path, name))

def signal_(pid):
    # A process that does not wait for it notices nothing.
    os.kill(int(pid), signal.SIGURG)

OPERATIONS = {"connect": connect, "read": read, "write": write, "both": both, "replace": replace, "list": list,
              "signal": signal_}
for operation, on in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        OPERATIONS[operation](on)
        print("yes")
    except PermissionError:
        print("no")
"#;

/// What each row comes to for this process.
pub(in crate::access) fn of(side: Side, actor: &Actor) -> Vec<(String, String)> {
    let stage = Stage::start(side, Admittance::AllUsers);
    let closed = Stage::start(side, Admittance::NoUser);
    let grouped = Stage::start(side, Admittance::SocketGroup);
    let socket = |admittance| match admittance {
        Admittance::NoUser => closed.socket().to_owned(),
        Admittance::SocketGroup => grouped.socket().to_owned(),
        Admittance::AllUsers => stage.socket().to_owned(),
    };
    let mut words = Vec::new();
    for (_, deed) in ALL {
        let (operation, on) = match deed {
            Deed::Enter(admittance) => ("connect", socket(admittance)),
            Deed::File(operation, name) => (operation, stage.directory().join(name)),
            Deed::Process(operation, whose) => (operation, whose.of(&stage).to_string().into()),
            Deed::Proc(operation, whose, name) => (operation, format!("/proc/{}/{name}", whose.of(&stage)).into()),
        };
        words.extend([OsString::from(operation), on.into_os_string()]);
    }
    let words: Vec<_> = words.iter().map(OsString::as_os_str).collect();
    let said = actor.process().run(TRY, &words);
    let cells: Vec<_> = said.lines().map(str::to_owned).collect();
    assert_eq!(cells.len(), ALL.len(), "{actor:?}: {said}");
    ALL.iter().map(|(row, _)| (*row).to_owned()).zip(cells).collect()
}
