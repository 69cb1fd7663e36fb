//! The two masters that everything is tried on: root's with workers of another user, and an ordinary user's.

use std::path::Path;

use nix::unistd::{Gid, Uid, chown};
use serde_json::Value;

use crate::access::actor::{ALLOWED_GROUP, ALLOWED_UID, Actor, MASTER_UID, SOCKET_GROUP, WORKER_GID, WORKER_UID};
use crate::support::{EINHYRNINGSINS, LIMIT, Master, Process, Setup, copy_program};

/// Whose master it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::access) enum Side {
    Root,
    Ordinary,
}

impl Side {
    pub(in crate::access) const ALL: [Self; 2] = [Self::Root, Self::Ordinary];
}

/// The users that the configuration lets in beside root and the master's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::access) enum Admittance {
    NoUser,
    SocketGroup,
    /// The socket's group and all that is allowed: then all users may connect.
    AllUsers,
}

impl Admittance {
    fn settings(self) -> String {
        let group = format!("socket-group = {SOCKET_GROUP}\n");
        match self {
            Self::NoUser => String::new(),
            Self::SocketGroup => group,
            Self::AllUsers => {
                format!("{group}[control]\nallow-users = [{ALLOWED_UID}]\nallow-groups = [{ALLOWED_GROUP}]\n")
            }
        }
    }
}

/// What the workers run: the first one acks itself, and the others say nothing.
const WORKER: &str = "import json, os, signal, socket\n\
    if os.environ['EINHORN_CHILD_INDEX'] == '0':\n\
    \x20   connection = socket.socket(socket.AF_UNIX)\n\
    \x20   connection.connect(os.environ['EINHORN_SOCK_PATH'])\n\
    \x20   connection.sendall((json.dumps({'command': 'worker:ack', 'pid': os.getpid()}) + '\\n').encode())\n\
    signal.pause()\n";

const WORKERS: usize = 2;

pub(in crate::access) struct Stage {
    master: Master,
    /// The worker that says nothing.
    silent: Process,
}

impl Stage {
    #[track_caller]
    pub(in crate::access) fn start(side: Side, admittance: Admittance) -> Self {
        let setup = Setup::new("--config web.toml")
            .options("-b unix:served -b unix:open,mode=0666 -e einhorn.pid")
            .options(&format!("-b unix:grouped,mode=0660,group={SOCKET_GROUP}"));
        let workers = match side {
            Side::Root => format!("[worker]\nuser = {WORKER_UID}\ngroup = {WORKER_GID}\n"),
            Side::Ordinary => String::new(),
        };
        let file = format!("number = {WORKERS}\nack-mode = 'manual'\n{}{workers}", admittance.settings());
        setup.write("web.toml", &file);
        setup.write("worker.py", WORKER);
        let setup = match side {
            Side::Root => setup,
            Side::Ordinary => as_ordinary_user(setup),
        };
        let program = setup.directory().join("worker.py");
        let program = ["/usr/bin/env".into(), "python3".into(), program.into_os_string()];
        let master = setup.open_to_all().program(program).start();
        master.wait_for_socket();
        let workers = master.wait_for_workers(WORKERS);
        let index = |worker: &Process| worker.environ().get("EINHORN_CHILD_INDEX").cloned();
        let silent = workers.into_iter().find(|worker| index(worker).as_deref() == Some("1")).unwrap();
        Self { master, silent }
    }

    pub(in crate::access) fn socket(&self) -> &Path {
        self.master.socket()
    }

    pub(in crate::access) fn directory(&self) -> &Path {
        self.master.directory()
    }

    pub(in crate::access) fn master(&self) -> Process {
        self.master.process()
    }

    pub(in crate::access) fn worker(&self) -> Process {
        self.silent
    }

    /// Whose acks or pings are taken from this process, by what comes of one for a worker that is not its own. The worker that acks
    /// itself is one of the worker's user.
    #[track_caller]
    pub(in crate::access) fn speaks_for(&self, actor: &Actor, command: &str) -> String {
        let of_itself = || self.state_of(0, "state") == "acked";
        self.master.wait_until("a worker has acked itself", LIMIT, of_itself);
        let mark = format!("{actor:?}");
        let request = serde_json::json!({ "command": command, "pid": self.silent.0, "request_id": mark });
        // Both close the connection without an answer, and a request that comes later is answered later.
        assert_eq!(actor.process().ask(self.socket(), &[&request.to_string()]), "");
        let heard = match command {
            "worker:ack" => self.state_of(1, "state") == "acked",
            _ => self.state_of(1, "ping_id") == mark,
        };
        let own = actor.column == crate::access::actor::Column::Worker;
        if heard {
            "any"
        } else if own {
            "own"
        } else {
            "none"
        }
        .to_owned()
    }

    /// A field of the worker with this index, as a text.
    fn state_of(&self, index: u32, field: &str) -> String {
        let status = self.status();
        let workers = status["workers"].as_array().unwrap();
        let worker = workers.iter().find(|worker| worker["index"] == index).unwrap();
        worker[field].as_str().unwrap_or_default().to_owned()
    }

    fn status(&self) -> Value {
        let answer: Value = serde_json::from_str(&self.master.control("{command: status, format: json}")).unwrap();
        answer["status"].clone()
    }

    /// What commands change.
    pub(in crate::access) fn figures(&self) -> Vec<String> {
        let status = self.status();
        let pids = status["workers"].as_array().unwrap().iter().map(|worker| worker["pid"].to_string());
        ["target", "version", "upgrade", "stopping"].iter().map(|field| status[field].to_string()).chain(pids).collect()
    }

    #[track_caller]
    pub(in crate::access) fn assert_ends_if(self, told: bool) {
        if told {
            assert!(self.master.wait_exit().success());
        } else {
            assert!(self.master.is_running());
        }
    }
}

/// From a copy of the program, for that user may not be able to reach where it was built; in the socket's group, which only a
/// member can give to a file.
pub(crate) fn as_ordinary_user(setup: Setup) -> Setup {
    copy_program(EINHYRNINGSINS, setup.directory().join("master"));
    chown(setup.directory(), Some(Uid::from_raw(MASTER_UID)), Some(Gid::from_raw(MASTER_UID))).unwrap();
    let become_user = format!("setpriv --reuid={MASTER_UID} --regid={MASTER_UID} --groups={SOCKET_GROUP}");
    setup.through(&["/bin/sh", "-c", &format!("shift; exec {become_user} ./master \"$@\""), "sh"])
}
