//! The targets of the Makefile, and `.ci/need`: each target asks for what it needs before it does anything, stands in `make help` and
//! in `CONTRIBUTING.md`, and what is missing is named before it is installed, or named for the user that has to install it.
//!
//! Nothing is installed here: `.ci/need` finds programs in its path that only note how they were called. So do the other scripts of
//! `make check`: what they could not check, they say.

#[path = "support/sources.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::sources::page;

fn targets(makefile: &str) -> BTreeSet<&str> {
    let phony = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    phony.split(' ').filter(|target| *target != "help").collect()
}

/// What is wrong with a Makefile: targets whose recipe does not begin with their needs, or that have no line of needs.
fn faults(makefile: &str) -> Vec<String> {
    let mut found = Vec::new();
    for target in targets(makefile) {
        let first = makefile.split_once(&format!("\n{target}:\n")).and_then(|(_, recipe)| recipe.lines().next());
        if first != Some("\t$(NEED)") {
            found.push(format!("the recipe of {target} does not begin with its needs"));
        }
        if !makefile.lines().any(|line| line.starts_with(&format!("{target}.needs ="))) {
            found.push(format!("{target} has no line of needs"));
        }
    }
    found
}

#[test]
fn every_target_asks_for_what_it_needs_before_it_begins() {
    assert_eq!(faults(&page("Makefile")), [""; 0]);
    let good = ".PHONY: help a b\na.needs = cc=gcc\nb.needs =\nhelp:\n\t@echo\na:\n\t$(NEED)\n\tcc\nb:\n\t$(NEED)\n";
    assert_eq!(faults(good), [""; 0]);
    assert_eq!(faults(&good.replace("a.needs = cc=gcc\n", "")), ["a has no line of needs"]);
    assert_eq!(faults(&good.replace("b:\n\t$(NEED)\n", "b:\n\tcc\n")).len(), 1);
}

#[test]
fn every_target_stands_in_the_help_and_in_the_table_of_contributing() {
    let (makefile, contributing) = (page("Makefile"), page("CONTRIBUTING.md"));
    for target in targets(&makefile) {
        let says = |line: &str| line.starts_with(&format!("\t@echo 'make {target} "));
        assert!(makefile.lines().any(says), "make help does not speak of {target}");
        let row = |line: &str| line.starts_with("| `make ") && line.contains(&format!("`make {target}"));
        assert!(contributing.lines().any(row), "the table in CONTRIBUTING.md does not speak of {target}");
    }
}

/// A path with what `.ci/need` calls, and no more than it is given.
struct Machine {
    directory: TempDir,
}

impl Machine {
    /// With what the script and its stand-ins call, and an id(1) that says this user.
    fn of_user(uid: u32) -> Self {
        let machine = Self { directory: tempfile::tempdir().unwrap() };
        for name in ["bash", "env", "chmod", "rm", "mkdir", "sed", "grep", "timeout"] {
            symlink(Path::new("/usr/bin").join(name), machine.path(name)).unwrap();
        }
        machine.with("id", &format!("echo {uid}"))
    }

    /// With a program of this name, a shell script.
    fn with(self, name: &str, script: &str) -> Self {
        let (text, path) = (format!("#!/bin/bash\n{script}\n"), self.path(name));
        // Written by another process, so that no child of another test holds it open when it is run.
        let write = format!("printf %s \"$1\" >'{0}' && chmod 755 '{0}'", path.display());
        assert!(Command::new("/bin/bash").args(["-c", &write, "sh", &text]).status().unwrap().success());
        self
    }

    /// With an apt-get that notes its calls, and installs the package named last as a command of that name.
    fn with_apt(self) -> Self {
        let note = format!("echo \"$*\" >>'{}'", self.path("calls").display());
        let install =
            format!("package='{}'/${{*: -1}}; : >$package; chmod 755 $package", self.directory.path().display());
        self.with("apt-get", &format!("{note}\ncase $* in *install*) {install} ;; esac"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    fn need(&self, words: &[&str]) -> Output {
        self.run("need", &[&["make test"], words].concat())
    }

    /// A script of `.ci`, in the machine's directory.
    fn run(&self, script: &str, words: &[&str]) -> Output {
        let mut command = Command::new(sources::root().join(".ci").join(script));
        command.args(words).current_dir(self.directory.path());
        command.env_clear().env("PATH", self.directory.path()).env("TOOLS", "tools").output().unwrap()
    }
}

fn said(output: &Output) -> String {
    assert_eq!(output.stdout, b"");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const BY_HAND: &str = "make test: install these by hand, as root: apt-get install --no-install-recommends ";

#[test]
fn complete_machines_get_no_message() {
    let machine = Machine::of_user(0).with_apt();
    let output = machine.need(&["bash", "env=coreutils", "/etc/passwd=base-passwd", "id="]);
    assert!(output.status.success() && said(&output).is_empty());
    assert_eq!(machine.calls(), [""; 0]);
}

#[test]
fn missing_packages_are_named_in_one_line_and_installed() {
    let machine = Machine::of_user(0).with_apt();
    let output = machine.need(&["bash", "wanted"]);
    let line = "make test needs packages of Debian's that are not installed: wanted; installing them now\n";
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), line));
    let calls = machine.calls();
    assert!(calls.len() == 2 && calls[0].ends_with("update"), "{calls:?}");
    assert!(calls[1].ends_with("install --yes --no-install-recommends wanted"), "{calls:?}");
}

#[test]
fn an_ordinary_user_installs_by_sudo() {
    let machine = Machine::of_user(1000).with_apt();
    let sudo = format!("echo sudo >>'{}'; exec \"$@\"", machine.path("calls").display());
    let machine = machine.with("sudo", &sudo);
    assert!(machine.need(&["wanted"]).status.success());
    assert_eq!(machine.calls().iter().filter(|call| *call == "sudo").count(), 2);
}

#[test]
fn missing_packages_are_named_where_they_cannot_be_installed() {
    let by_hand = format!("{BY_HAND}gcc wanted\n");
    let words = ["cc=gcc", "c++=gcc", "wanted", "bash"];
    for (machine, reason) in [
        (Machine::of_user(0), "there is no apt-get here to install them\n"),
        (Machine::of_user(1000).with_apt(), "this user is not root, and there is no sudo\n"),
        (Machine::of_user(1000).with_apt().with("sudo", "echo 'not in the sudoers file' >&2; exit 1"), "see above\n"),
        (Machine::of_user(0).with("apt-get", "echo 'no such package'; exit 100"), "see above\n"),
        (Machine::of_user(0).with("apt-get", "exit 0"), "something is not where it is looked for\n"),
    ] {
        let output = machine.need(&words);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.ends_with(&format!("{reason}{by_hand}")), "{reason}: {said}");
        assert_eq!(machine.calls(), [""; 0], "{reason}");
    }
}

#[test]
fn rust_is_not_taken_from_debian() {
    let machine = Machine::of_user(0).with_apt();
    let output = machine.need(&["cargo=", "wanted"]);
    let said = said(&output);
    assert!(said.starts_with("make test needs cargo, which Debian does not have: Rust 1.85 or newer"), "{said}");
    assert!(said.ends_with(&format!("{BY_HAND}wanted\n")), "{said}");
    assert_eq!((output.status.code(), machine.calls()), (Some(1), Vec::new()));
}

#[test]
fn a_program_of_crates_io_is_built_once_for_each_version() {
    let machine = Machine::of_user(1000);
    let note = format!("echo \"$*\" >>'{}'", machine.path("calls").display());
    let list = r#"mkdir -p tools; echo "\"${*: -1} (registry)\"" | sed 's/@/ /' >tools/.crates.toml"#;
    let machine = machine.with("cargo", &format!("{note}\n{list}"));
    let line = |version| {
        format!(
            "make test needs cargo-x@{version} of crates.io; building it now into tools, which takes some minutes\n"
        )
    };
    for (version, says) in [("1.2.30", line("1.2.30")), ("1.2.30", String::new()), ("1.2.3", line("1.2.3"))] {
        let output = machine.need(&["cargo=", &format!("cargo-x@{version}")]);
        assert_eq!((output.status.code(), said(&output)), (Some(0), says));
    }
    let install = "install --quiet --locked --root tools --target-dir target/tools cargo-x";
    assert_eq!(machine.calls(), [format!("{install}@1.2.30"), format!("{install}@1.2.3")]);

    let output = machine.with("cargo", "echo 'it needs Rust 1.99' >&2; exit 101").need(&["cargo-x@1.3.0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).ends_with("it needs Rust 1.99\nmake test: cargo has failed to build cargo-x@1.3.0, see above\n")
    );
}

#[test]
fn cargo_deny_refusals_fail_the_check_and_missing_advisories_are_named() {
    let deny = |script: &str| {
        let output = Machine::of_user(1000).with("cargo-deny", script).run("deny", &[]);
        (output.status.code(), said(&output))
    };
    assert_eq!(deny("echo all is well"), (Some(0), String::new()));
    let away = "make check: NOT checked: advisories on crates, for their database cannot be fetched: no route\n";
    assert_eq!(deny("case $* in fetch*) echo hm; echo no route; exit 1 ;; esac"), (Some(0), away.to_owned()));
    for refused in ["*licenses*", "*bans*", "*sources*", "*advisories*"] {
        assert_eq!(
            deny(&format!("case $* in {refused}) echo refused; exit 2 ;; esac")),
            (Some(1), "refused\n".to_owned())
        );
    }
}

#[test]
fn the_oldest_rust_compiles_it_or_its_absence_is_said() {
    let oldest = |release: &str, toolchains: &str| {
        let machine = Machine::of_user(1000);
        fs::write(machine.path("Cargo.toml"), "[package]\nrust-version = \"1.85\"\n").unwrap();
        let note = format!("echo \"$RUSTUP_TOOLCHAIN $*\" >>'{}'", machine.path("calls").display());
        let machine = machine.with("rustc", &format!("echo 'rustc {release} (of today)'")).with("cargo", &note);
        let machine = machine.with("rustup", &format!("printf '{toolchains}'"));
        let output = machine.run("oldest-rust", &["--test", "sim"]);
        assert!(output.status.success());
        (said(&output), machine.calls())
    };
    let (says, calls) = oldest("1.95.0", "stable-x (default)\\n1.85.1-x (installed)\\n");
    let check = "1.85.1-x check --quiet --locked";
    assert_eq!(
        (says, calls),
        (String::new(), vec![format!("{check} --workspace --all-targets"), format!("{check} --test sim")])
    );
    assert_eq!(oldest("1.85.0", "stable-x\\n"), (String::new(), Vec::new()));
    let (says, calls) = oldest("1.95.0", "stable-x\\n1.850.0-x\\n");
    assert!(says.starts_with("make check: NOT compiled with Rust 1.85,") && says.lines().count() == 1, "{says}");
    assert_eq!(calls, [""; 0]);
}
