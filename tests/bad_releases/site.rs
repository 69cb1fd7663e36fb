//! A master as a deploy finds it: a configuration file, releases in directories of their own, and a link `current` that leads to one
//! of them.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::kind::{Following, Host, Server, Style, WORKERS, script};
use crate::samples::go_server;
use crate::support::{Manager, Master, Setup, example, free_address, holds_within};

/// The release that all sites begin with.
pub const GOOD: &str = "good";
/// The one that is deployed then.
pub const BAD: &str = "bad";

/// How long the client may wait for the end of an upgrade.
const UPGRADE_MAX: Duration = Duration::from_secs(60);

/// How long the last word to the service manager may take.
const TOLD_MAX: Duration = Duration::from_secs(10);

/// Asks often enough that a worker which answers otherwise than it should is met. What a worker tears, it writes down.
const CHECK: &str = "#!/usr/bin/env python3
import os, urllib.request
os.chdir(os.path.dirname(__file__))
for _ in range(12):
    try:
        urllib.request.urlopen('http://ADDRESS/check', timeout=1).read()
    except TimeoutError:
        raise
    except Exception as error:
        if not isinstance(getattr(error, 'reason', None), TimeoutError):
            open('check.torn', 'a').write('.')
        raise
";

const UNIT: &str = include_str!("../../packaging/systemd/einhyrningsins@.service");

/// Of an ELF file's header: the offset of the kind of machine, and a machine that no test runs on.
const MACHINE: (usize, [u8; 2]) = (18, [0xfe, 0xca]);

pub struct Site {
    pub master: Master,
    manager: Option<Mutex<Manager>>,
    address: SocketAddr,
    ack_timeout: Duration,
    early_life: Duration,
}

impl Site {
    /// Starts a master with the good release, and waits until it serves.
    #[track_caller]
    pub fn start(style: Style, host: Host, good: Server, early_life: Duration) -> Self {
        let (setup, address, ack_timeout) = (Setup::new("--config web.toml"), free_address(), good.ack_timeout());
        let directory = setup.directory().to_owned();
        put(&directory, GOOD, good);
        lead_to(&directory, GOOD);
        setup.write("web.toml", &configuration(&directory, address, [ack_timeout, early_life], style));
        install(CHECK.replace("ADDRESS", &address.to_string()).as_bytes(), &directory.join("check"));
        // In a session of its own, as a service is.
        let setup = setup.bound_by_file(address).through(&["setsid"]);
        let (setup, manager) = match host {
            Host::Alone => (setup, None),
            Host::Manager => {
                let manager = Manager::at(&directory.join("notify"));
                (setup.env("NOTIFY_SOCKET", manager.name()), Some(Mutex::new(manager)))
            }
        };
        let site = Self { master: setup.start(), manager, address, ack_timeout, early_life };
        site.master.wait_for_log(&format!("Up to {WORKERS} / {WORKERS} manual ACKs"), 1);
        site
    }

    /// Puts a release in place, to be brought in like this, and moves the link. It waits for no worker: each has become its program
    /// before its ack.
    pub fn deploy(&self, style: Style, name: &str, server: Server) {
        let directory = self.master.directory();
        put(directory, name, server);
        lead_to(directory, name);
        let more = if let Server::Configured(lines) = server { lines } else { "" };
        let limits = [self.ack_timeout, self.early_life];
        self.master.replace("web.toml", &(configuration(directory, self.address, limits, style) + more));
    }

    /// Gives the upgrade as a deploy does, and waits for its end: by the client, or where there is a service manager, by the command of
    /// the packaged unit.
    pub fn bring_in(&self, style: Style) -> Output {
        if self.manager.is_none() {
            return self.upgrade(style, Following::Upgrade);
        }
        let line = UNIT.lines().find_map(|line| line.strip_prefix("ExecReload=")).expect("the unit has one");
        let words = line.split(' ').skip(1).skip_while(|word| *word != "upgrade");
        self.client(words.chain(style.words().iter().copied().skip(1)))
    }

    /// Gives the upgrade by the client, and waits for its end.
    pub fn upgrade(&self, style: Style, following: Following) -> Output {
        self.client(style.words().iter().chain(following.words()).copied())
    }

    fn client<'a>(&self, words: impl Iterator<Item = &'a str>) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_einhyrningsinsctl"));
        command.arg("-d").arg(self.master.socket()).args(words);
        command.args(["--timeout", &UPGRADE_MAX.as_secs().to_string()]).env_clear();
        command.stdin(Stdio::null()).output().expect("the client can be run")
    }

    /// What a service manager knows of the master: whether it is ready, in the state that came last, and its status, once that says that
    /// all serve and nothing is under way, or does not come to say so. Nothing where there is none.
    pub fn standing(&self) -> Option<(bool, String)> {
        let mut manager = self.manager.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        // It has not read meanwhile; what found its queue full is said again.
        holds_within(TOLD_MAX, || manager.values("STATUS").pop().is_some_and(|status| is_full(&status)));
        let is_ready = manager.states().last().is_some_and(|state| state == "READY=1");
        Some((is_ready, manager.values("STATUS").pop().unwrap_or_default()))
    }

    /// What the workers of this release accepted and did not answer.
    pub fn in_hand(&self, release: &str) -> u64 {
        let count = |name: &str| {
            let path = home(self.master.directory(), release).join(name);
            fs::metadata(path).map_or(0, |metadata| metadata.len())
        };
        // In this order: what is answered meanwhile must not make it less than none.
        let answered = count("answered");
        count("taken").saturating_sub(answered)
    }

    /// How many of its own requests the check has lost by a worker that had them in hand.
    pub fn torn_from_check(&self) -> u64 {
        fs::metadata(self.master.file("check.torn")).map_or(0, |metadata| metadata.len())
    }
}

/// Whether a status for the service manager says that all is well.
pub fn is_full(status: &str) -> bool {
    status.starts_with(&format!("{WORKERS}/{WORKERS} serving")) && !status.contains("upgrading")
}

/// What the master is configured with; more lines for `[worker]` may follow.
fn configuration(
    directory: &Path,
    address: SocketAddr,
    [ack_timeout, early_life]: [Duration; 2],
    style: Style,
) -> String {
    format!(
        "command = ['{}/current/server']\nnumber = {WORKERS}\nbind = ['{address},r,n']\nack-mode = 'manual'\n\
         ack-timeout = {}\nsignal-timeout = 2\nseconds = 0.05\nearly-life = {}\n{}[worker]\n\
         graceful-signal = 'TERM'\n",
        directory.display(),
        ack_timeout.as_secs(),
        early_life.as_secs(),
        style.configuration(),
    )
}

fn home(directory: &Path, release: &str) -> PathBuf {
    directory.join("releases").join(release)
}

/// Writes the release's directory.
fn put(directory: &Path, name: &str, server: Server) {
    let home = home(directory, name);
    fs::create_dir_all(&home).expect("a directory can be made");
    let worker = example("http_worker");
    let script = |lines: &str| script(name, &home, &worker, lines).into_bytes();
    let content = match server {
        Server::Script(lines) => script(lines),
        Server::Raw(text) => text.as_bytes().to_vec(),
        Server::Foreign => foreign(&fs::read(&worker).expect("the worker can be read")),
        Server::Configured(_) => script("serve"),
        Server::Made(lines) => return make(lines, &home),
        Server::Sample(sample, fault) => script(&sample.put(&home, fault)),
        Server::Go(fault) => script(&format!("FAULT='{fault}' exec '{}'", go_server().display())),
    };
    install(&content, &home.join("server"));
}

/// The head of this program, for another machine.
fn foreign(program: &[u8]) -> Vec<u8> {
    let (offset, machine) = MACHINE;
    let mut head = program[..4096].to_vec();
    head[offset..offset + 2].copy_from_slice(&machine);
    head
}

/// By another process: a child that another thread has just forked could hold our descriptor for writing, and what is open so cannot
/// be run.
fn install(content: &[u8], path: &Path) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "cat >\"$1\" && chmod 755 \"$1\"", "sh"]).arg(path);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("a shell can be run");
    child.stdin.take().expect("it is piped").write_all(content).expect("the shell reads");
    assert!(child.wait().expect("it is our child").success(), "cannot write {}", path.display());
}

fn make(lines: &str, home: &Path) {
    let status = Command::new("/bin/sh").args(["-ec", lines]).current_dir(home).status();
    assert!(status.expect("a shell can be run").success(), "cannot do {lines}");
}

/// Moves the link `current` in one step.
pub fn lead_to(directory: &Path, name: &str) {
    let new = directory.join("current.new");
    symlink(home(directory, name), &new).expect("a link can be made");
    fs::rename(new, directory.join("current")).expect("it can be renamed");
}
