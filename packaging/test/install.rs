//! `make install`: for systems without packages, and for those who make packages.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::machine::Machine;
use crate::packages::{output, sources};

const PREFIX: &str = "/opt/einhyrningsins";

#[test]
fn everything_lands_below_destdir_and_prefix() {
    let place = install(PREFIX);
    let prefix = |path: &str| place.path().join(&PREFIX[1..]).join(path);
    let modes = [
        ("bin/einhyrningsins", 0o755),
        ("bin/einhyrningsinsctl", 0o755),
        ("lib/systemd/system/einhyrningsins@.service", 0o644),
        ("libexec/einhyrningsins/after-master", 0o755),
        ("lib/sysusers.d/einhyrningsins.conf", 0o644),
        ("share/man/man1/einhyrningsins.1", 0o644),
        ("share/man/man1/einhyrningsinsctl.1", 0o644),
        ("share/man/man5/einhyrningsins.toml.5", 0o644),
        ("share/man/man7/einhyrningsins-control.7", 0o644),
        ("share/bash-completion/completions/einhyrningsins", 0o644),
        ("share/bash-completion/completions/einhyrningsinsctl", 0o644),
        ("share/zsh/site-functions/_einhyrningsins", 0o644),
        ("share/fish/vendor_completions.d/einhyrningsins.fish", 0o644),
        ("share/doc/einhyrningsins/LICENSE", 0o644),
        ("share/doc/einhyrningsins/CHANGELOG.md", 0o644),
        ("share/doc/einhyrningsins/examples/web.toml", 0o644),
        ("share/doc/einhyrningsins/examples/systemd/own-user.conf", 0o644),
    ];
    for (path, mode) in modes {
        assert_eq!(mode_of(&prefix(path)), mode, "{path}");
    }
    assert_eq!(mode_of(&place.path().join("etc/einhyrningsins")), 0o750);
    let mut top: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    top.sort();
    assert_eq!(top, ["etc", "opt"]);
    let version = output(Command::new(prefix("bin/einhyrningsins")).arg("--version"));
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

#[test]
fn the_unit_of_a_prefix_runs_the_program_there() {
    let place = install("/usr/local");
    let machine = Machine::boot();
    let archive = place.path().join("installed.tar");
    output(Command::new("tar").arg("-C").arg(place.path()).args(["-cf"]).arg(&archive).args(["etc", "usr"]));
    let archive = machine.copy_in(&archive);
    machine.sh(&format!("tar -C / --keep-directory-symlink -xf {archive}"));
    machine.sh("systemd-sysusers && chgrp einhyrningsins /etc/einhyrningsins && systemctl daemon-reload");
    machine.write("/etc/einhyrningsins/web.toml", "command = [\"sleep\", \"600\"]\n");
    machine.sh("systemctl start einhyrningsins@web");
    let pid = machine.property("einhyrningsins@web", "MainPID");
    assert_eq!(machine.sh(&format!("readlink /proc/{pid}/exe")), "/usr/local/bin/einhyrningsins");
    let after = machine.property("einhyrningsins@web", "ExecStopPost");
    assert!(after.contains("path=/usr/local/libexec/einhyrningsins/after-master "), "{after}");
    machine.sh("systemctl reload einhyrningsins@web && systemctl stop einhyrningsins@web");
}

#[track_caller]
fn install(prefix: &str) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let mut make = Command::new("make");
    make.current_dir(sources()).args(["install", &format!("PREFIX={prefix}")]);
    output(make.arg(format!("DESTDIR={}", place.path().display())));
    place
}

#[track_caller]
fn mode_of(path: &Path) -> u32 {
    let metadata = path.metadata().unwrap_or_else(|error| panic!("no {}: {error}", path.display()));
    metadata.permissions().mode() & 0o7777
}
