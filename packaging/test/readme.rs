//! The README, taken at its word: every command in it is run, in its order, on a machine that has just booted. A command has to end
//! well; a master that stays in the foreground is left running until its section ends.

use std::fs;

use crate::machine::{Machine, told};
use crate::packages::sources;
use crate::page::{Step, sections};
use crate::support::{LIMIT, example, holds_within};

/// Whether a command stays in the foreground: a master does, unless it is asked for something.
fn stays(command: &str) -> bool {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    ["einhyrningsins", "einhorn"].contains(&program) && !words.any(|word| word == "--check-config")
}

/// Whether a line of the log says that as many workers serve as are wanted: `Up to 4 / 4 manual ACKs`.
fn is_full(line: &str) -> bool {
    let words: Vec<&str> = line.split_once("Up to ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    matches!(words[..], [count, "/", target, ..] if count == target)
}

/// A machine as a reader's: a user who may use sudo, this system's Rust, and a program `./server`. What is built (`make`) is built by
/// root, since Rust is root's here; everything else is typed by the user.
struct Reader(Machine);

impl Reader {
    fn new() -> Self {
        let reader = Self(Machine::boot());
        reader.0.sh("useradd --create-home --shell /bin/bash reader");
        reader.0.write("/etc/sudoers.d/reader", "reader ALL=(ALL) NOPASSWD: ALL\n");
        let server = reader.0.copy_in(&example("http_worker"));
        let script = format!("#!/bin/sh\nexec {server} --ack manual\n");
        let place = sources().join("server").display().to_string();
        reader.0.write(&place, &script);
        reader.0.sh(&format!("chmod 755 {place}"));
        reader
    }

    /// In the directory of the sources, by the user that has the tools. Root's home is the user's, too: what is installed there is for him.
    fn here(&self, command: &str) -> String {
        let place = sources().display();
        if !command.starts_with("make ") {
            return format!("cd {place}; runuser --user reader -- env HOME=/home/reader bash -c '{command}'");
        }
        let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        let home = variable("HOME", "/root");
        let cargo = variable("CARGO_HOME", &format!("{home}/.cargo"));
        let rustup = variable("RUSTUP_HOME", &format!("{home}/.rustup"));
        // Where `.ci/need` has put the tools: a machine has no way to crates.io.
        let cache = variable("XDG_CACHE_HOME", &format!("{home}/.cache"));
        let tools = format!("CARGO_HOME={cargo} RUSTUP_HOME={rustup} XDG_CACHE_HOME={cache}");
        format!("cd {place}; export PATH=$PATH:{cargo}/bin {tools} HOME=/home/reader; {command}")
    }

    #[track_caller]
    fn run(&self, command: &str) -> String {
        let output = self.0.try_sh(&self.here(command));
        assert!(output.status.success(), "$ {command}\n{}\nthe log:\n{}", told(&output), self.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts it, and waits until as many workers serve as it was told to run.
    #[track_caller]
    fn leave_running(&self, command: &str) {
        self.0.sh(&self.here(&format!("(setsid {command} </dev/null >/tmp/log 2>&1 &)")));
        let serves = holds_within(LIMIT, || self.log().lines().any(is_full));
        assert!(serves, "$ {command}\nthe log:\n{}", self.log());
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&self.0.try_sh("cat /tmp/log").stdout).into_owned()
    }

    /// Ctrl-C for what the section has left running.
    fn end_section(&self) {
        self.0.sh("systemctl stop 'einhyrningsins@*'; pkill -INT -f '^einhorn:' || true; rm -f /tmp/log");
        self.0.wait_until("every master has ended", || !self.0.try_sh("pgrep -f '^einhorn:'").status.success());
    }
}

#[test]
fn every_command_of_the_readme_does_what_it_says() {
    let reader = Reader::new();
    let text = fs::read_to_string(sources().join("README.md")).unwrap();
    let mut upgrades = 0;
    for (heading, steps) in sections(&text) {
        for step in steps {
            match step {
                Step::Write(path, content) => reader.0.write(&path, &content),
                Step::Run(command) if stays(&command) => reader.leave_running(&command),
                Step::Run(command) => {
                    let said = reader.run(&command);
                    if command.ends_with("upgrade") {
                        assert!(
                            said.contains("Upgraded successfully") || said.contains("Upgrade done"),
                            "{command}\n{said}"
                        );
                        upgrades += 1;
                    }
                    if command.contains("curl") {
                        assert!(!said.trim().is_empty(), "{heading}: {command}");
                    }
                    if command.contains("systemctl reload") {
                        let status = reader.0.property("einhyrningsins@web", "StatusText");
                        assert!(status.starts_with("4/4 serving, version 1"), "{status}");
                        upgrades += 1;
                    }
                }
            }
        }
        reader.end_section();
    }
    assert!(upgrades >= 3, "only {upgrades} upgrades");
}

#[test]
fn commands_that_stay_are_told_from_those_that_end() {
    assert!(stays("~/.local/bin/einhyrningsins -n 4") && stays("einhorn -n 8 -- ./server"));
    assert!(is_full("[MASTER 1] INFO: Up to 4 / 4 manual ACKs") && !is_full("Up to 3 / 4 manual ACKs"));
    assert!(!stays("einhyrningsins --config x --check-config") && !stays("einhyrningsinsctl upgrade"));
}
