//! The rpm packages: in a root of their own, and with their scriptlets in a machine. Debian's rpm does it, so nothing is known of
//! the distribution's own rules.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::machine::{Machine, told};
use crate::packages::{SERVICE, einhorn_rpm, output, rpm};

const WEB: &str = "einhyrningsins@web.service";
/// Dependencies are other rpms, which Debian does not have; and Debian's rpm warns of being used.
const ON_DEBIAN: [&str; 2] = ["--nodeps", "--force-debian"];

#[test]
fn rpm_installs_verifies_and_erases_in_its_own_root() {
    let root = Root::new();
    root.rpm(&["--noscripts", "--install"], &[&rpm(), &einhorn_rpm()]);
    assert_eq!(root.query("--verify"), "");
    let program = root.path("usr/bin/einhyrningsins");
    assert_eq!(program.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    assert!(output(Command::new(&program).arg("--version")).contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(fs::read_link(root.path("usr/bin/einhorn")).unwrap(), Path::new("einhyrningsins"));
    assert_eq!(fs::read_link(root.path("usr/bin/einhornsh")).unwrap(), Path::new("einhyrningsinsctl"));
    for page in [
        "1/einhyrningsins.1",
        "1/einhyrningsinsctl.1",
        "1/einhorn.1",
        "1/einhornsh.1",
        "5/einhyrningsins.toml.5",
        "7/einhyrningsins-control.7",
    ] {
        assert!(root.path(&format!("usr/share/man/man{page}.gz")).exists(), "{page}");
    }

    let unit = root.path("usr/lib/systemd/system/einhyrningsins@.service");
    fs::write(&unit, "[Service]\n").unwrap();
    let changed = root.query("--verify");
    assert!(
        changed.lines().count() == 1 && changed.contains("5") && changed.contains("einhyrningsins@.service"),
        "{changed}"
    );
    fs::create_dir_all(root.path("etc/einhyrningsins")).unwrap();
    fs::write(root.path("etc/einhyrningsins/web.toml"), SERVICE).unwrap();

    root.rpm(&["--noscripts", "--erase", "einhyrningsins", "einhyrningsins-einhorn"], &[]);
    // What it shares with other packages (/usr/share/man/man1) is no package's here, so rpm leaves it.
    let left = output(Command::new("find").arg(root.path("usr")).args(["-not", "-type", "d"]));
    assert_eq!(left, "");
    assert_eq!(fs::read_to_string(root.path("etc/einhyrningsins/web.toml")).unwrap(), SERVICE);
}

#[test]
fn rpm_metadata_says_what_it_is_and_needs() {
    let ask =
        |package: &Path, what: &str| output(Command::new("rpm").args(["--query", what, "--package"]).arg(package));
    let info = ask(&rpm(), "--info");
    for line in ["License     : GPL-3.0-or-later AND MIT", "Build Date", "Summary     : "] {
        assert!(info.contains(line), "no {line} in {info}");
    }
    let requires = ask(&rpm(), "--requires");
    assert!(requires.lines().any(|line| line == "systemd") && requires.contains("libc.so.6(GLIBC_"), "{requires}");
    let documents = ask(&rpm(), "--docfiles");
    for file in ["/usr/share/licenses/einhyrningsins/LICENSE", "/usr/share/doc/einhyrningsins/CHANGELOG.md"] {
        assert!(documents.lines().any(|line| line == file), "no {file} in {documents}");
    }
    assert!(ask(&einhorn_rpm(), "--requires").contains("einhyrningsins >= "));
    assert!(ask(&einhorn_rpm(), "--provides").lines().any(|line| line == "einhorn"));
    assert!(ask(&einhorn_rpm(), "--conflicts").lines().any(|line| line == "einhorn"));
}

#[test]
fn its_services_live_through_an_upgrade_and_end_with_it() {
    let machine = Machine::boot();
    let package = machine.copy_in(&rpm());
    let rpm = |words: &str| machine.sh(&format!("rpm {} {words} 2>&1", ON_DEBIAN.join(" ")));
    let said = rpm(&format!("--install {package}"));
    assert_eq!(machine.sh("stat -c '%a %U:%G' /etc/einhyrningsins"), "750 root:einhyrningsins", "{said}");
    assert_eq!(machine.sh("systemctl list-units --all --no-legend 'einhyrningsins@*'"), "");
    machine.write("/etc/einhyrningsins/web.toml", SERVICE);
    machine.sh(&format!("systemctl enable --quiet --now {WEB}"));
    let (master, workers) = (machine.property(WEB, "MainPID"), machine.sh("pgrep --exact sleep"));

    // The scriptlets run as they do with a higher version.
    let said = rpm(&format!("--upgrade --replacepkgs --replacefiles {package}"));
    assert!(!said.contains("goes on with"), "{said}");
    let program = || machine.sh(&format!("readlink /proc/{master}/exe"));
    machine.wait_until("the master is the new program", || program() == "/usr/bin/einhyrningsins");
    assert_eq!((machine.property(WEB, "MainPID"), machine.sh("pgrep --exact sleep")), (master.clone(), workers));
    assert_eq!(machine.read("/etc/einhyrningsins/web.toml"), SERVICE);
    assert_eq!(machine.sh(&format!("systemctl is-enabled {WEB}")), "enabled");

    let said = rpm("--erase einhyrningsins");
    assert_eq!(machine.run(&["pgrep", "--exact", "sleep"]).status.code(), Some(1), "{said}");
    assert_eq!(machine.sh("systemctl list-units --all --no-legend 'einhyrningsins@*'"), "");
    assert_eq!(machine.sh("find /etc/systemd/system -name 'einhyrningsins@*'"), "");
    assert_eq!(machine.read("/etc/einhyrningsins/web.toml"), SERVICE);
    assert!(!machine.has("/usr/bin/einhyrningsins") && !machine.has("/run/einhyrningsins"));
}

#[test]
fn erasure_leaves_no_directory_and_works_without_systemd() {
    let machine = Machine::boot();
    let package = machine.copy_in(&rpm());
    machine.sh("mount --bind /mnt /run/systemd");
    let script = format!("rpm {0} --install {package}; rpm {0} --erase einhyrningsins", ON_DEBIAN.join(" "));
    let output = machine.try_sh(&script);
    assert!(output.status.success() && !told(&output).contains("scriptlet failed"), "{}", told(&output));
    assert!(!machine.has("/etc/einhyrningsins"));
    let left = machine.changes("/usr");
    assert!(!left.keys().any(|path| path.to_string_lossy().contains("einhyrningsins")), "{left:?}");
    assert!(machine.sh("getent passwd einhyrningsins").ends_with("/nologin"));
}

/// A directory with a database of packages of its own.
struct Root(TempDir);

impl Root {
    fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        output(Command::new("rpm").arg("--root").arg(root.0.path()).arg("--initdb"));
        root
    }

    #[track_caller]
    fn rpm(&self, words: &[&str], packages: &[&Path]) {
        output(Command::new("rpm").arg("--root").arg(self.0.path()).args(ON_DEBIAN).args(words).args(packages));
    }

    /// What rpm says of both packages; with `--verify` of files alone, and then exits with 1 if there is anything to say.
    fn query(&self, what: &str) -> String {
        let mut rpm = Command::new("rpm");
        rpm.arg("--root").arg(self.0.path()).args([what, "--nodeps", "einhyrningsins", "einhyrningsins-einhorn"]);
        String::from_utf8_lossy(&rpm.output().unwrap().stdout).into_owned()
    }

    fn path(&self, inside: &str) -> std::path::PathBuf {
        self.0.path().join(inside)
    }
}
