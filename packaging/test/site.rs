//! A machine with the package and services on it, in the words of their administrator.

use std::net::SocketAddr;
use std::path::Path;

use crate::machine::{Machine, told};
use crate::packages;
use crate::support::{LIMIT, Load, example, holds_within};

/// Where the instance `web` listens; each machine has a network of its own.
pub const WEB: &str = "127.0.0.1:8080";

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A machine with the package, and the program of the services in /srv.
pub struct Site(pub Machine);

impl Site {
    pub fn new() -> Self {
        Self::on(Machine::boot())
    }

    pub fn on(machine: Machine) -> Self {
        let site = Self(machine);
        site.install(&packages::deb());
        let server = site.0.copy_in(&example("http_worker"));
        site.ok(&format!("install -D {server} /srv/web/server && install -D {server} /srv/api/server"));
        site.release("one");
        site
    }

    /// One with an instance `web` that serves; `options` are its worker's, and `more` goes into its file.
    pub fn serving(options: &str, more: &str) -> Self {
        let site = Self::new();
        site.configure("web", WEB, options, more);
        site.ok("systemctl enable --now einhyrningsins@web");
        site
    }

    pub fn install(&self, package: &Path) {
        let package = self.0.copy_in(package);
        self.ok(&format!("dpkg -i {package} 2>&1"));
    }

    pub fn configure(&self, name: &str, address: &str, options: &str, more: &str) {
        let text = format!(
            "command = '/srv/{name}/server --ack manual {options}'\nnumber = 4\nbind = ['{address},r']\n\
             ack-mode = 'manual'\nseconds = 0.05\n{more}\n[worker]\ndirectory = '/srv/{name}'\n"
        );
        self.0.write(&format!("/etc/einhyrningsins/{name}.toml"), &text);
    }

    pub fn drop_in(&self, text: &str) {
        self.0.write("/etc/systemd/system/einhyrningsins@.service.d/test.conf", &format!("[Service]\n{text}\n"));
        self.ok("systemctl daemon-reload");
    }

    /// What new workers say that they are.
    pub fn release(&self, release: &str) {
        self.ok(&format!("cd /srv/web && echo -n {release} >new && mv new WORKER_VERSION && cp WORKER_VERSION ../api"));
    }

    /// What the commands printed.
    #[track_caller]
    pub fn ok(&self, script: &str) -> String {
        let output = self.0.try_sh(script);
        assert!(output.status.success(), "{script}\n{}\nin the journal:\n{}", told(&output), self.all_journals());
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    #[track_caller]
    pub fn fails(&self, script: &str) {
        let output = self.0.try_sh(script);
        assert!(!output.status.success(), "{script}\n{}\nin the journal:\n{}", told(&output), self.all_journals());
    }

    pub fn all_journals(&self) -> String {
        self.0.journal("'einhyrningsins@*'")
    }

    #[track_caller]
    pub fn assert_journal_has(&self, text: &str) {
        // The master's log has a thread of its own, which may be slower than what it tells of.
        self.wait_for(&format!("{text} is in the journal"), || self.all_journals().contains(text));
    }

    pub fn of(&self, name: &str, property: &str) -> String {
        self.0.property(&format!("einhyrningsins@{name}"), property)
    }

    pub fn main_pid(&self) -> String {
        self.of("web", "MainPID")
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(holds_within(LIMIT, condition), "waited in vain: {what}\n{}", self.all_journals());
    }

    #[track_caller]
    pub fn wait_for_property(&self, property: &str, value: &str) {
        self.wait_for(&format!("{property} is {value}"), || self.of("web", property) == value);
    }

    /// The pids of the workers, as the machine counts them. A check of the next program is none.
    pub fn workers(&self, name: &str) -> Vec<String> {
        let pid = self.of(name, "MainPID");
        self.ok(&format!("pgrep -P {pid} server || [ $? -eq 1 ]")).lines().map(str::to_owned).collect()
    }

    pub fn load(&self, target: &str) -> Load {
        let target = address(target);
        self.0.in_network(move || Load::start(target, 4))
    }

    #[track_caller]
    pub fn assert_serves(&self, target: &str) {
        let load = self.load(target);
        load.wait_for(20);
        load.stop().assert_nothing_lost();
    }
}
