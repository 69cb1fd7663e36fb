//! What a master becomes: a link in its directory that it is started by and that can lead elsewhere, or a script for
//! `--reexec-as`. It waits until the next image has said that it is there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::EINHYRNINGSINS;
use crate::support::control::decoded;
use crate::support::master::Master;
use crate::support::setup::Setup;
use crate::support::wait::LIMIT;

/// Where the link stands.
const LINK: &str = "master";

impl Setup {
    /// Starts the master by a link `master` in its directory.
    pub fn by_link(self) -> Self {
        symlink(EINHYRNINGSINS, self.directory().join(LINK)).unwrap();
        self.through(&["/bin/sh", "-c", "shift; exec ./master \"$@\"", "sh"])
    }

    /// Has the next image started by this shell script, in which `$OURS` is the program under test. The shell opens it, see
    /// [`Setup::script`].
    pub fn reexec_as(self, script: &str) -> Self {
        let path = self.write("wrapper.sh", &format!("OURS={EINHYRNINGSINS}\n{script}"));
        self.word("--reexec-as").word(format!("/bin/sh {}", path.display()))
    }

    /// The same in Python, where `ours` is the program under test.
    pub fn reexec_as_python(self, script: &str) -> Self {
        let path = self.write("wrapper.py", &format!("import os, sys\nours = {EINHYRNINGSINS:?}\n{script}"));
        self.word("--reexec-as").word(format!("python3 {}", path.display()))
    }
}

/// A line of shell: what passes for Ruby's einhorn when a master asks it what it is.
pub const AS_EINHORN: &str = "case $1 in --upgrade-check) exit 0;; --version) echo 1.1.1; exit 0;; esac";

impl Master {
    /// Lets the link that the master was started by lead there.
    pub fn relink(&self, to: &Path) {
        let fresh = self.file("fresh");
        symlink(to, &fresh).unwrap();
        fs::rename(fresh, self.file(LINK)).unwrap();
    }

    /// How often it has replaced its program, as its state says.
    #[track_caller]
    pub fn generation(&self) -> u64 {
        let state = decoded(&self.control("{command: state}"));
        let number = state.split(":generation: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
        number.unwrap_or_else(|| panic!("there is no generation in {state}"))
    }

    /// Has it replace its program, and waits until it has.
    #[track_caller]
    pub fn reload(&self) {
        let before = self.generation();
        self.control("{command: reload}");
        self.wait_for_generation(before + 1);
    }

    #[track_caller]
    pub fn wait_for_generation(&self, generation: u64) {
        self.wait_until(&format!("it is of generation {generation}"), LIMIT, || self.generation() >= generation);
    }
}
