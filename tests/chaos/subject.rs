//! Supervisors that `make compare` sets side by side: how each is started with four of the same workers on one listening socket, and how
//! each is told to restart them. Each is given its own way to a graceful restart; none is given a worker that it was not made for.

use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{EINHYRNINGSINS, LIMIT, Process, example, free_address, holds_within};

pub const WORKERS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    Ours,
    /// Ruby's, by its command in `COMPARE_EINHORN`.
    Einhorn,
    /// By the directory of its programs in `COMPARE_SUPERVISORD`.
    Supervisord,
    /// The same, but told to restart one process after the other, so that its socket is never without any.
    SupervisordOneByOne,
    /// By the directory of its programs in `COMPARE_CIRCUS`.
    Circus,
}

pub const ALL: [Subject; 5] =
    [Subject::Ours, Subject::Einhorn, Subject::Supervisord, Subject::SupervisordOneByOne, Subject::Circus];

/// A supervisor that runs.
pub struct Running {
    subject: Subject,
    place: String,
    child: Child,
    directory: TempDir,
    pub address: SocketAddr,
}

impl Subject {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "einhyrningsins",
            Self::Einhorn => "Ruby einhorn",
            Self::Supervisord | Self::SupervisordOneByOne => "supervisord, `fcgi-program`",
            Self::Circus => "circus, `use_sockets`",
        }
    }

    /// What its graceful restart is called.
    pub fn restart_name(self) -> &'static str {
        match self {
            Self::Ours | Self::Einhorn => "HUP",
            Self::Supervisord => "supervisorctl restart of the group",
            Self::SupervisordOneByOne => "supervisorctl restart, one by one",
            Self::Circus => "circusctl reload",
        }
    }

    /// Where it is installed; none where no variable says it.
    pub fn place(self) -> Option<String> {
        let variable = match self {
            Self::Ours => return Some(EINHYRNINGSINS.to_owned()),
            Self::Einhorn => "COMPARE_EINHORN",
            Self::Supervisord | Self::SupervisordOneByOne => "COMPARE_SUPERVISORD",
            Self::Circus => "COMPARE_CIRCUS",
        };
        env::var(variable).ok().filter(|place| !place.is_empty())
    }

    /// Starts it, and waits until all workers are there.
    pub fn start(self, place: String) -> Running {
        let directory = tempfile::Builder::new().prefix("compare-").tempdir().expect("a directory can be made");
        let address = free_address();
        let words = self.words(&place, address, &directory);
        let log = File::create(directory.path().join("log")).expect("a file can be made");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(directory.path()).env("TMPDIR", directory.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor is free")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {words:?}: {error}"));
        let running = Running { subject: self, place, child, directory, address };
        assert!(
            running.comes_to(|workers| workers.len() == WORKERS),
            "{} does not start: {}",
            self.name(),
            running.log()
        );
        running
    }

    fn words(self, place: &str, address: SocketAddr, directory: &TempDir) -> Vec<String> {
        let worker = example("http_worker").display().to_string();
        let here = directory.path().display();
        let write = |name: &str, text: String| {
            fs::write(directory.path().join(name), text).expect("a file can be written");
            format!("{here}/{name}")
        };
        let split = |line: String| line.split_whitespace().map(str::to_owned).collect();
        match self {
            Self::Ours | Self::Einhorn => {
                split(format!("{place} -n {WORKERS} -m manual -s 0.1 -b {address},r -- {worker} --ack manual"))
            }
            Self::Supervisord | Self::SupervisordOneByOne => {
                let file = write("supervisord.conf", supervisord_file(&worker, address, &here.to_string()));
                split(format!("{place}/supervisord --nodaemon --configuration {file}"))
            }
            Self::Circus => {
                let file = write("circus.ini", circus_file(&worker, address, &here.to_string()));
                split(format!("{place}/circusd {file}"))
            }
        }
    }
}

fn supervisord_file(worker: &str, address: SocketAddr, here: &str) -> String {
    format!(
        "[unix_http_server]\nfile={here}/control\n[supervisord]\npidfile={here}/pid\nlogfile={here}/supervisord.log\n\
        [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
        [supervisorctl]\nserverurl=unix://{here}/control\n\
        [fcgi-program:web]\ncommand={worker}\nsocket=tcp://{address}\nsocket_backlog=1024\nnumprocs={WORKERS}\n\
        process_name=%(program_name)s_%(process_num)d\nstopsignal=TERM\nstopwaitsecs=60\n\
        environment=EINHORN_FD_COUNT=\"1\",EINHORN_FD_0=\"0\"\n"
    )
}

fn circus_file(worker: &str, address: SocketAddr, here: &str) -> String {
    format!(
        "[circus]\nendpoint = ipc://{here}/endpoint\npubsub_endpoint = ipc://{here}/pubsub\n\
        [watcher:web]\ncmd = /usr/bin/env EINHORN_FD_COUNT=1 EINHORN_FD_0=$(circus.sockets.web) {worker}\n\
        use_sockets = True\nnumprocesses = {WORKERS}\nstop_signal = TERM\ngraceful_timeout = 60\n\
        [socket:web]\nhost = {}\nport = {}\nbacklog = 1024\n",
        address.ip(),
        address.port()
    )
}

impl Running {
    pub fn master(&self) -> Process {
        Process(i32::try_from(self.child.id()).expect("a pid is an i32"))
    }

    pub fn is_alive(&self) -> bool {
        self.master().is_alive()
    }

    pub fn workers(&self) -> Vec<Process> {
        let is_worker = |child: &Process| {
            child.is_alive() && child.command_line().first().is_some_and(|program| program.ends_with("/http_worker"))
        };
        self.master().children_at_once().into_iter().filter(is_worker).collect()
    }

    /// Whether its workers come to be so, while it lives.
    pub fn comes_to(&self, condition: impl Fn(&[Process]) -> bool) -> bool {
        holds_within(LIMIT, || condition(&self.workers()) || !self.is_alive()) && self.is_alive()
    }

    /// Asks for a graceful restart of all workers in its own way, and returns when it has been asked.
    pub fn restart(&self) {
        let here = self.directory.path().display();
        let supervisorctl = |names: &str| {
            self.ask("supervisorctl", &format!("--configuration {here}/supervisord.conf restart {names}"));
        };
        match self.subject {
            Subject::Ours | Subject::Einhorn => {
                self.master().signal(Signal::SIGHUP);
            }
            Subject::Supervisord => supervisorctl("web:*"),
            Subject::SupervisordOneByOne => (0..WORKERS).for_each(|at| supervisorctl(&format!("web:web_{at}"))),
            Subject::Circus => self.ask("circusctl", &format!("--endpoint ipc://{here}/endpoint reload web")),
        }
    }

    /// Runs the client that is installed beside it, to its end.
    fn ask(&self, client: &str, words: &str) {
        let program = format!("{}/{client}", self.place);
        let output = Command::new(program).args(words.split_whitespace()).output().expect("its client is beside it");
        if !output.status.success() {
            eprintln!("{}: {client} says {output:?}", self.subject.name());
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // First it, so that it starts no others; then the workers, also those that it has left behind.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        for process in Process::all_of_directory(self.directory.path()) {
            process.signal(Signal::SIGKILL);
        }
    }
}
