//! The packages that have been built, and the sources that they were built from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{Machine, told};

/// A service that is as small as one can be: the file of an instance.
pub const SERVICE: &str = "command = [\"sleep\", \"600\"]\nnumber = 2\n";

/// `einhyrningsins_0.3.0-1_amd64.deb`.
#[track_caller]
pub fn deb() -> PathBuf {
    built(|name| name.starts_with("einhyrningsins_") && name.ends_with(".deb"))
}

/// `einhyrningsins-einhorn_0.3.0-1_all.deb`: einhorn's names.
#[track_caller]
pub fn einhorn_deb() -> PathBuf {
    built(|name| name.starts_with("einhyrningsins-einhorn_") && name.ends_with(".deb"))
}

/// `einhyrningsins-0.3.0-1.x86_64.rpm`.
#[track_caller]
pub fn rpm() -> PathBuf {
    built(|name| name.starts_with("einhyrningsins-") && !name.contains("-einhorn") && name.ends_with(".rpm"))
}

/// `einhyrningsins-einhorn-0.3.0-1.noarch.rpm`.
#[track_caller]
pub fn einhorn_rpm() -> PathBuf {
    built(|name| name.starts_with("einhyrningsins-einhorn-") && name.ends_with(".rpm"))
}

/// Installs it as `dpkg -i` does, and panics with what that said if it fails. Says what it has said.
#[track_caller]
pub fn install_deb(machine: &Machine, package: &Path) -> String {
    let inside = machine.copy_in(package);
    machine.sh(&format!("dpkg -i {inside} 2>&1"))
}

/// The same Debian package with a version that is higher and another content, made in this directory.
#[track_caller]
pub fn newer(deb: &Path, directory: &Path, change: impl FnOnce(&Path)) -> PathBuf {
    let (tree, newer) = (directory.join("tree"), directory.join("newer.deb"));
    output(Command::new("dpkg-deb").arg("--raw-extract").args([deb, &tree]));
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    let higher = |line: &str| match line.strip_prefix("Version: ") {
        Some(version) => format!("Version: {version}.1\n"),
        None => format!("{line}\n"),
    };
    fs::write(&control, text.lines().map(higher).collect::<String>()).unwrap();
    change(&tree);
    output(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).args([&tree, &newer]));
    newer
}

/// The root of the sources.
pub fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a command of this system's prints; panics with all that it said if it fails.
#[track_caller]
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", told(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Panics if there is not exactly one.
#[track_caller]
fn built(is_it: impl Fn(&str) -> bool) -> PathBuf {
    let directory = sources().join("target/packages");
    let entries = fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let found: Vec<_> = entries.filter(|path| is_it(&path.file_name().unwrap().to_string_lossy())).collect();
    let [only] = found.as_slice() else { panic!("not one package but {found:?}: run make deb rpm") };
    only.clone()
}
