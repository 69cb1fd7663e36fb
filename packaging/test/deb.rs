//! The Debian packages, from installation to purge, with services that run meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::machine::{Machine, told};
use crate::packages::{SERVICE, deb, einhorn_deb, install_deb, newer};

const WEB: &str = "einhyrningsins@web.service";
const WANTS: &str = "/etc/systemd/system/multi-user.target.wants";
const CONFFILE: &str = "/etc/needrestart/conf.d/einhyrningsins.conf";
/// What is in these is looked at before and after.
const LOOKED_AT: [&str; 4] = ["/etc", "/usr", "/var/lib", "/opt"];
/// The user and group stay when all else is gone, and those who make them leave copies of the files before.
const MAY_CHANGE: [&str; 11] = [
    "/etc/passwd",
    "/etc/passwd-",
    "/etc/group",
    "/etc/group-",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/.pwd.lock",
    // dpkg's own.
    "/var/lib/dpkg",
    // Where systemd keeps its timers' times, and a seed for random numbers.
    "/var/lib/systemd",
];

#[test]
fn installation_starts_nothing() {
    let machine = Machine::boot();
    install_deb(&machine, &deb());
    assert_eq!(
        machine.sh("stat -c '%a %U:%G' /etc/einhyrningsins; ls -A /etc/einhyrningsins"),
        "750 root:einhyrningsins"
    );
    assert_eq!(machine.sh("dpkg -S /etc/einhyrningsins"), "einhyrningsins: /etc/einhyrningsins");
    assert_eq!(machine.sh("dpkg --verify einhyrningsins"), "");
    assert_eq!(
        machine.sh("stat -c '%a %U:%G' /usr/bin/einhyrningsins /usr/bin/einhyrningsinsctl"),
        "755 root:root\n755 root:root"
    );
    let user = machine.sh("getent passwd einhyrningsins");
    assert!(user.ends_with("/nologin"), "{user}");
    assert!(machine.sh("einhyrningsins --version").contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(machine.sh("systemctl list-units --all --no-legend 'einhyrningsins@*'"), "");
    for example in ["web.toml", "systemd/hardening-strict.conf"] {
        assert!(machine.has(&format!("/usr/share/doc/einhyrningsins/examples/{example}")), "{example}");
    }
    let packaged =
        machine.sh("zcat /usr/share/doc/einhyrningsins/changelog.Debian.gz | dpkg-parsechangelog -l- -S Version");
    assert_eq!(packaged, machine.sh("dpkg-query -W -f '${Version}' einhyrningsins"));
}

#[test]
fn another_owner_of_the_configuration_is_respected() {
    let machine = Machine::boot();
    machine.sh("dpkg-statoverride --add daemon root 0700 /etc/einhyrningsins");
    install_deb(&machine, &deb());
    assert_eq!(machine.sh("stat -c '%a %U:%G' /etc/einhyrningsins"), "700 daemon:root");
}

#[test]
fn an_existing_configuration_directory_keeps_its_mode() {
    let machine = Machine::boot();
    let owner = || machine.sh("stat -c '%a %U:%G' /etc/einhyrningsins");
    machine.sh("install -d -m 0770 -o daemon -g daemon /etc/einhyrningsins");
    install_deb(&machine, &deb());
    assert_eq!(owner(), "770 daemon:daemon");
    machine.sh("dpkg -r einhyrningsins");
    assert!(!machine.has("/etc/einhyrningsins"));
    // dpkg remembers that it was installed once.
    install_deb(&machine, &deb());
    assert_eq!(owner(), "750 root:einhyrningsins");
}

#[test]
fn a_conffile_that_was_edited_is_kept_and_goes_with_a_purge() {
    let (machine, place) = (Machine::boot(), tempfile::tempdir().unwrap());
    install_deb(&machine, &deb());
    assert_eq!(machine.sh("dpkg-query -W -f '${Conffiles}' einhyrningsins | awk '{print $1}'").trim(), CONFFILE);
    machine.sh(&format!(
        "perl -we 'our %nrconf; do shift; die $@ if $@; die unless keys %{{$nrconf{{override_rc}}}} == 1' {CONFFILE}"
    ));
    let edited = machine.read(CONFFILE) + "# edited\n";
    machine.write(CONFFILE, &edited);
    let second = newer(&deb(), place.path(), |tree| {
        let path = tree.join(&CONFFILE[1..]);
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "# newer\n").unwrap();
    });
    let package = machine.copy_in(&second);
    machine.sh(&format!("dpkg --force-confdef --force-confold -i {package}"));
    assert_eq!(machine.read(CONFFILE), edited);
    assert!(machine.read(&format!("{CONFFILE}.dpkg-dist")).ends_with("# newer\n"));
    machine.sh("dpkg -r einhyrningsins");
    assert_eq!(machine.read(CONFFILE), edited);
    machine.sh("dpkg -P einhyrningsins");
    assert!(!machine.has("/etc/needrestart"));
}

#[test]
fn an_upgrade_keeps_files_and_workers_and_replaces_the_master() {
    let (machine, (second, _place)) = (Machine::boot(), second());
    install_deb(&machine, &deb());
    machine.write("/etc/einhyrningsins/web.toml", SERVICE);
    let drop_in = "/etc/systemd/system/einhyrningsins@web.service.d/local.conf";
    machine.write(drop_in, "[Service]\nEnvironment=LOCAL=yes\n");
    machine.sh(&format!("chmod 0770 /etc/einhyrningsins && systemctl enable --quiet --now {WEB}"));
    let (master, workers) = (machine.property(WEB, "MainPID"), machine.sh("pgrep --exact sleep"));

    let said = install_deb(&machine, &second);
    assert!(!said.contains("goes on with"), "{said}");
    assert!(machine.sh("einhyrningsins --version").contains(env!("CARGO_PKG_VERSION")));
    assert!(machine.sh("dpkg-query -W -f '${Version}' einhyrningsins").ends_with(".1"));
    assert_eq!(machine.read("/etc/einhyrningsins/web.toml"), SERVICE);
    assert!(machine.read(drop_in).contains("LOCAL"));
    assert_eq!(machine.sh("stat -c '%a %U:%G' /etc/einhyrningsins"), "770 root:einhyrningsins");
    // The old program's file is gone, so a process that still ran it would run a deleted one.
    let program = || machine.sh(&format!("readlink /proc/{master}/exe"));
    machine.wait_until("the master is the new program", || program() == "/usr/bin/einhyrningsins");
    assert_eq!((machine.property(WEB, "MainPID"), machine.sh("pgrep --exact sleep")), (master.clone(), workers));
    machine.wait_until("the service is as it was", || machine.property(WEB, "SubState") == "running");
    assert_eq!(machine.property(WEB, "NRestarts"), "0");
}

#[test]
fn a_master_that_cannot_be_asked_is_no_reason_to_fail() {
    let (machine, (second, _place)) = (Machine::boot(), second());
    install_deb(&machine, &deb());
    let elsewhere = format!("{SERVICE}socket-path = \"/run/einhyrningsins/web/other.sock\"\n");
    machine.write("/etc/einhyrningsins/web.toml", &elsewhere);
    machine.sh(&format!("systemctl start {WEB}"));
    let said = install_deb(&machine, &second);
    assert!(said.contains(&format!("{WEB} goes on with the program of before")), "{said}");
    assert_eq!(machine.sh("dpkg-query -W -f '${Status}' einhyrningsins"), "install ok installed");
    assert_eq!(machine.property(WEB, "ActiveState"), "active");
}

#[test]
fn a_program_that_does_not_work_is_told_of_and_the_one_before_goes_on() {
    let (machine, place) = (Machine::boot(), tempfile::tempdir().unwrap());
    install_deb(&machine, &deb());
    machine.write("/etc/einhyrningsins/web.toml", SERVICE);
    machine.sh(&format!("systemctl start {WEB}"));
    let (master, workers) = (machine.property(WEB, "MainPID"), machine.sh("pgrep --exact sleep"));
    let broken = newer(&deb(), place.path(), |tree| {
        let program = tree.join("usr/bin/einhyrningsins");
        std::fs::write(program, "#!/bin/sh\nexit 1\n").unwrap();
    });
    let said = install_deb(&machine, &broken);
    assert!(said.contains(&format!("{WEB} goes on with the program of before")), "{said}");
    assert_eq!((machine.property(WEB, "MainPID"), machine.sh("pgrep --exact sleep")), (master, workers));
}

/// What dpkg does if something else keeps it from removing the package.
#[test]
fn a_removal_that_fails_brings_back_what_ran_and_what_was_enabled() {
    let machine = Machine::boot();
    install_deb(&machine, &deb());
    for name in ["web", "other"] {
        machine.write(&format!("/etc/einhyrningsins/{name}.toml"), SERVICE);
    }
    machine.sh(&format!("systemctl enable --quiet {WEB} && systemctl start einhyrningsins@other"));
    let script = |name: &str| format!("/var/lib/dpkg/info/einhyrningsins.{name}");
    machine.sh(&format!("DPKG_MAINTSCRIPT_PACKAGE=einhyrningsins {} remove", script("prerm")));
    assert_eq!(machine.property("einhyrningsins@other", "ActiveState"), "inactive");
    // Once more, after a crash in the middle: what is known is not forgotten.
    machine.sh(&format!("DPKG_MAINTSCRIPT_PACKAGE=einhyrningsins {} remove", script("prerm")));
    machine.sh(&format!("DPKG_MAINTSCRIPT_PACKAGE=einhyrningsins {} abort-remove", script("postinst")));
    assert_eq!(machine.property("einhyrningsins@other", "ActiveState"), "active");
    assert_eq!(machine.sh(&format!("systemctl is-enabled {WEB}")), "enabled");
    assert!(!machine.has("/var/lib/einhyrningsins"));
}

#[test]
fn removal_stops_instances_and_reinstallation_restores_them() {
    let machine = Machine::boot();
    install_deb(&machine, &deb());
    for name in ["web", "other", "idle"] {
        machine.write(&format!("/etc/einhyrningsins/{name}.toml"), SERVICE);
    }
    machine.sh(&format!("systemctl enable --quiet --now {WEB} && systemctl start einhyrningsins@other"));
    machine.sh("systemctl enable --quiet einhyrningsins@idle");

    machine.sh("dpkg -r einhyrningsins");
    assert_eq!(machine.run(&["pgrep", "--exact", "sleep"]).status.code(), Some(1));
    assert_eq!(machine.sh("systemctl list-units --all --no-legend 'einhyrningsins@*'"), "");
    assert_eq!(machine.sh("find /etc/systemd/system -name 'einhyrningsins@*'"), "");
    assert!(!machine.has("/run/einhyrningsins"));
    assert!(machine.has("/etc/einhyrningsins/web.toml"));

    install_deb(&machine, &deb());
    assert_eq!(machine.sh(&format!("ls {WANTS}")), "einhyrningsins@idle.service\neinhyrningsins@web.service");
    assert_eq!(machine.sh(&format!("systemctl is-enabled {WEB}")), "enabled");
    assert_eq!(machine.property(WEB, "ActiveState"), "active");
    assert_eq!(machine.property("einhyrningsins@other", "ActiveState"), "inactive");
    assert!(!machine.has("/var/lib/einhyrningsins"));
}

#[test]
fn purge_leaves_the_user_and_what_the_administrator_wrote() {
    let machine = Machine::boot();
    let before = changes(&machine);
    let users = machine.sh("cat /etc/passwd");
    install_deb(&machine, &deb());
    install_deb(&machine, &einhorn_deb());
    machine.write("/etc/einhyrningsins/web.toml", SERVICE);
    machine.sh(&format!("systemctl enable --quiet --now {WEB}"));
    machine.sh("dpkg -r einhyrningsins-einhorn einhyrningsins");
    let kept = difference(&before, &changes(&machine));
    let administrators = ["/etc/einhyrningsins", "/etc/einhyrningsins/web.toml"];
    let conffile = ["/etc/needrestart", "/etc/needrestart/conf.d", CONFFILE];
    let state = ["/var/lib/einhyrningsins", "/var/lib/einhyrningsins/enabled-instances"];
    assert_eq!(kept, [&administrators[..], &conffile, &state].concat());

    let said = machine.sh("dpkg -P einhyrningsins-einhorn einhyrningsins 2>&1");
    assert_eq!(difference(&before, &changes(&machine)), administrators, "{said}");
    machine.sh("rm -r /etc/einhyrningsins");
    assert_eq!(difference(&before, &changes(&machine)), Vec::<String>::new());
    let now = machine.sh("cat /etc/passwd");
    let more: Vec<_> = now.lines().filter(|line| !users.contains(line)).collect();
    assert!(more.len() == 1 && more[0].starts_with("einhyrningsins:"), "{more:?}");
    assert_eq!(machine.sh("dpkg-query -W -f '${db:Status-Abbrev}' 'einhyrningsins*' 2>/dev/null || [ $? -eq 1 ]"), "");
}

#[test]
fn purge_at_once_leaves_nothing_but_the_user() {
    let machine = Machine::boot();
    let before = changes(&machine);
    install_deb(&machine, &deb());
    machine.sh("dpkg -P einhyrningsins");
    assert_eq!(difference(&before, &changes(&machine)), Vec::<String>::new());
}

#[test]
fn installation_and_purge_work_without_systemd() {
    let machine = Machine::boot();
    let package = machine.copy_in(&deb());
    // As in an image that is being built.
    machine.sh("mount --bind /mnt /run/systemd");
    machine.sh(&format!(
        "dpkg -i {package}; systemctl --root=/ enable --quiet {WEB}; dpkg -r einhyrningsins; dpkg -i {package}"
    ));
    assert!(machine.has(&format!("{WANTS}/{WEB}")));
    machine.sh("dpkg -P einhyrningsins");
    assert!(!machine.has(&format!("{WANTS}/{WEB}")) && !machine.has("/etc/einhyrningsins"));
}

#[test]
fn the_second_package_brings_einhorns_names() {
    let machine = Machine::boot();
    let failed = machine.try_sh(&format!("dpkg -i {}", machine.copy_in(&einhorn_deb())));
    assert!(!failed.status.success() && told(&failed).contains("depends on einhyrningsins"), "{}", told(&failed));
    install_deb(&machine, &deb());
    machine.sh("dpkg --configure --pending");
    assert_eq!(
        machine.sh("readlink -f /usr/bin/einhorn /usr/bin/einhornsh"),
        "/usr/bin/einhyrningsins\n/usr/bin/einhyrningsinsctl"
    );
    // Under that name it is einhorn 1.1.1.
    assert_eq!(machine.sh("einhorn --version"), "1.1.1");
    assert!(told(&machine.try_sh("einhornsh --help")).contains("Usage: einhornsh"));
    assert_eq!(machine.sh("dpkg --verify einhyrningsins-einhorn"), "");
    let provided = machine.sh("dpkg-query -W -f '${Provides} ${Conflicts} ${Replaces}' einhyrningsins-einhorn");
    assert_eq!(provided, "einhorn einhorn einhorn");
}

/// A package like the one that was built, of a higher version, and the directory that it lies in.
fn second() -> (PathBuf, TempDir) {
    let place = tempfile::tempdir().unwrap();
    (newer(&deb(), place.path(), |_| {}), place)
}

/// What the machine has changed by now, but for what may change.
fn changes(machine: &Machine) -> BTreeMap<PathBuf, String> {
    let changes = LOOKED_AT.iter().flat_map(|directory| machine.changes(directory));
    let is_kept = |path: &Path| MAY_CHANGE.iter().any(|may| path.starts_with(may));
    changes.filter(|(path, _)| !is_kept(path)).collect()
}

/// The paths that are otherwise in one than in the other.
fn difference(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differs = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    differs.map(|path| path.display().to_string()).collect()
}
