//! A master as a deploy finds it: a configuration file, releases in directories of their own, and a link `current` that leads to one
//! of them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::kind::{ACK_TIMEOUT, Server, Style, WORKERS};
use crate::support::{Master, Setup, example, free_address};

/// The release that all sites begin with.
pub const GOOD: &str = "good";
/// The one that is deployed then.
pub const BAD: &str = "bad";

/// How long the client may wait for the end of an upgrade.
const UPGRADE_MAX: Duration = Duration::from_secs(8);

/// Of an ELF file's header: the offset of the kind of machine, and a machine that no test runs on.
const MACHINE: (usize, [u8; 2]) = (18, [0xfe, 0xca]);

pub struct Site(pub Master);

impl Site {
    /// Starts a master with the good release, and waits until it serves.
    #[track_caller]
    pub fn start() -> Self {
        let (setup, address) = (Setup::new("--config web.toml"), free_address());
        let directory = setup.directory().to_owned();
        put(&directory, GOOD, Server::Script("serve"));
        lead_to(&directory, GOOD);
        let text = format!(
            "command = ['{}/current/server']\nnumber = {WORKERS}\nbind = ['{address},r,n']\nack-mode = 'manual'\n\
             ack-timeout = {}\nsignal-timeout = 2\nseconds = 0.05\nretries = 3\n",
            directory.display(),
            ACK_TIMEOUT.as_secs_f64(),
        );
        setup.write("web.toml", &text);
        let site = Self(setup.bound_by_file(address).start());
        site.0.wait_for_log(&format!("Up to {WORKERS} / {WORKERS} manual ACKs"), 1);
        site
    }

    /// Puts a release in place and moves the link. It waits for no worker: each has become its program before its ack.
    pub fn deploy(&self, name: &str, server: Server) {
        put(self.0.directory(), name, server);
        lead_to(self.0.directory(), name);
    }

    /// Gives the upgrade by the client, and waits for its end.
    pub fn upgrade(&self, style: Style) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_einhyrningsinsctl"));
        command.arg("-d").arg(self.0.socket()).args(style.words());
        command.args(["--timeout", &UPGRADE_MAX.as_secs().to_string()]).env_clear();
        command.stdin(Stdio::null()).output().expect("the client can be run")
    }

    /// What the workers of this release accepted and did not answer.
    pub fn in_hand(&self, release: &str) -> u64 {
        let count = |name: &str| {
            let path = home(self.0.directory(), release).join(name);
            fs::metadata(path).map_or(0, |metadata| metadata.len())
        };
        // In this order: what is answered meanwhile must not make it less than none.
        let answered = count("answered");
        count("taken").saturating_sub(answered)
    }
}

fn home(directory: &Path, release: &str) -> PathBuf {
    directory.join("releases").join(release)
}

/// Writes the release's directory.
fn put(directory: &Path, name: &str, server: Server) {
    let home = home(directory, name);
    fs::create_dir_all(&home).expect("a directory can be made");
    let worker = example("http_worker");
    let content = match server {
        Server::Script(lines) => {
            let serve = format!("exec '{}' --ack manual --tally '{}' \"$@\"", worker.display(), home.display());
            format!("#!/bin/sh\nexport WORKER_VERSION={name}\nserve() {{ {serve}; }}\n{lines}\n").into_bytes()
        }
        Server::Python(lines) => format!("#!/usr/bin/env python3\n{lines}").into_bytes(),
        Server::Foreign => foreign(&fs::read(worker).expect("the worker can be read")),
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

/// Moves the link `current` in one step.
fn lead_to(directory: &Path, name: &str) {
    let new = directory.join("current.new");
    symlink(home(directory, name), &new).expect("a link can be made");
    fs::rename(new, directory.join("current")).expect("it can be renamed");
}
