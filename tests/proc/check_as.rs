//! `--check-config` by root of what another user will run: number 24 of what operators trip over. Each check has a network
//! of its own, in which the ports below 1024 are root's, whatever this machine says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use nix::unistd::chown;

use crate::support::{EINHYRNINGSINS, OTHER_UID, Setup, is_root};

const SERVER: &str = "command = ['/bin/sleep', '1']\n";
const LOW_PORT: &str = "command = ['/bin/sleep', '1']\nbind = ['0.0.0.0:80', '[::]:80']\n";
const FILE: &str = "/etc/einhyrningsins/web.toml";

/// What systemd says of the unit, but for the user and the capabilities.
const UNIT: &str = "LoadState=loaded\\nGroup=\\nSupplementaryGroups=bin\\n";

/// A copy of /etc with a file of a service, and a `systemctl` that says so much of its unit.
fn service(file: &str, properties: &str) -> Setup {
    let setup = Setup::new("").open_to_all();
    let etc = setup.directory().join("etc");
    fs::create_dir_all(etc.join("einhyrningsins")).unwrap();
    for name in ["passwd", "group", "nsswitch.conf"] {
        let _may_be_missing = fs::copy(format!("/etc/{name}"), etc.join(name));
    }
    fs::write(etc.join("einhyrningsins/web.toml"), file).unwrap();
    // Its files do not go there, but where the unit has its RuntimeDirectory=.
    let tmp = setup.directory().join("tmp");
    fs::create_dir(&tmp).unwrap();
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(tmp.join("einhorn.lock"), "").unwrap();
    chown(&tmp.join("einhorn.lock"), Some(OTHER_UID.into()), None).unwrap();
    fs::create_dir(setup.directory().join("bin")).unwrap();
    let systemctl = setup.write("bin/systemctl", &format!("#!/bin/sh\nprintf '{properties}'\n"));
    fs::set_permissions(systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    setup
}

fn check(setup: &Setup, words: &str) -> Output {
    let script = format!(
        "test ! -d etc || mount --bind etc /etc; echo 1024 >/proc/sys/net/ipv4/ip_unprivileged_port_start; \
         exec {EINHYRNINGSINS} --check-config {words}"
    );
    let directory = setup.directory();
    let path = format!("{}/bin:/usr/bin:/bin", directory.display());
    let mut command = Command::new("unshare");
    command.args(["-m", "-n", "/bin/sh", "-ec", &script]).current_dir(directory).env_clear();
    let tmp = Some(directory.join("tmp")).filter(|tmp| tmp.exists()).unwrap_or("/tmp".into());
    command.env("PATH", path).env("TMPDIR", tmp).output().unwrap()
}

/// The words behind the program's name, and the code.
#[track_caller]
fn assert_said(output: &Output, code: i32, stdout: &str, lines: &[&str]) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    let lines: String = lines.iter().map(|line| format!("einhyrningsins: {line}\n")).collect();
    assert_eq!((output.status.code(), text(&output.stdout), text(&output.stderr)), (Some(code), stdout, &*lines));
}

#[test]
fn a_check_as_another_user_finds_what_that_user_may_not() {
    if !is_root() {
        return;
    }
    let setup = Setup::new("").open_to_all();
    let closed = setup.directory().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("server"), "").unwrap();
    for (path, mode) in [(closed.join("server"), 0o755), (closed.clone(), 0o700)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let words = format!("--config web.toml --as {OTHER_UID}");
    setup.write("web.toml", SERVER);
    let used = format!("The configuration can be used by user {OTHER_UID}\n");
    assert_said(&check(&setup, &words), 0, &used, &[]);
    let file = format!("command = ['{}/server']\nbind = ['0.0.0.0:80']\nworker.user = 'bin'\n", closed.display());
    setup.write("web.toml", &file);
    let command =
        format!("web.toml:1:12: command: cannot run {0}/server: directory {0} may not be searched", closed.display());
    let lines = [
        "web.toml:3:15: worker.user: cannot become another user or group without being root",
        &command,
        "web.toml:2:9: bind: 0.0.0.0:80: permission denied; give the master CAP_NET_BIND_SERVICE, or lower \
         net.ipv4.ip_unprivileged_port_start",
        &format!("WARN: this was checked as user {OTHER_UID}; --as root checks as root"),
    ];
    assert_said(&check(&setup, &words), 100, "", &lines);
    // Root may do all of that, and its workers cannot run the program.
    let of_workers = format!(
        "web.toml:3:15: worker.user: user \"bin\": cannot run {0}/server: directory {0} may not be searched",
        closed.display()
    );
    assert_said(&check(&setup, "--config web.toml"), 100, "", &[&of_workers]);
    fs::set_permissions(setup.directory().join("web.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let lines = ["cannot read web.toml: permission denied", lines[3]];
    assert_said(&check(&setup, &words), 100, "", &lines);
}

#[test]
fn a_file_of_a_service_is_checked_as_the_user_of_its_unit() {
    if !is_root() {
        return;
    }
    let plain = format!("{UNIT}User=daemon\\nAmbientCapabilities=\\nCapabilityBoundingSet=\\n");
    let drop_in = "systemctl edit einhyrningsins@web: [Service] AmbientCapabilities=CAP_NET_BIND_SERVICE \
                   CapabilityBoundingSet=CAP_NET_BIND_SERVICE (low-ports.conf)";
    let other_user = format!(
        "{FILE}:3:15: worker.user: cannot become another user or group without being root; systemctl edit \
         einhyrningsins@web: [Service] User=root Group=root (workers-as-users.conf)"
    );
    let port = |at, bind| format!("{FILE}:2:{at}: bind: {bind}: permission denied; {drop_in}");
    let lines = [
        &*other_user,
        &port(9, "0.0.0.0:80"),
        &port(23, "[::]:80"),
        "WARN: this was checked as user daemon, as einhyrningsins@web runs; --as root checks as root",
    ];
    let file = format!("{LOW_PORT}worker.user = 'bin'\n");
    let setup = service(&file, &plain);
    assert_said(&check(&setup, &format!("--config {FILE}")), 100, "", &lines);
    assert_said(&check(&setup, &format!("--config {FILE} --as root")), 0, "The configuration can be used\n", &[]);
}

#[test]
fn what_the_unit_allows_is_allowed_to_its_check() {
    if !is_root() {
        return;
    }
    let capabilities = "cap_net_bind_service cap_kill cap_setuid cap_setgid";
    let unit =
        format!("{UNIT}User=daemon\\nAmbientCapabilities={capabilities}\\nCapabilityBoundingSet={capabilities}\\n");
    let setup = service(&format!("{LOW_PORT}worker.user = 'bin'\n"), &unit);
    let used = "The configuration can be used by user daemon, as einhyrningsins@web runs\n";
    assert_said(&check(&setup, &format!("--config {FILE}")), 0, used, &[]);
    // No such unit, or no systemd.
    let setup = service(LOW_PORT, "LoadState=not-found\\nUser=\\n");
    assert_said(&check(&setup, &format!("--config {FILE}")), 0, "The configuration can be used\n", &[]);
}

#[test]
fn only_root_checks_as_another_user() {
    let setup = Setup::new("--check-config --as no-such-user sleep 1");
    setup.refused().assert(100, "--as no-such-user: there is no user \"no-such-user\"");
    let refusal = "--as: need --check-config too, a start takes no other user on";
    Setup::new("--as root sleep 1").refused().assert(100, refusal);
    if is_root() {
        let setup = Setup::new("--check-config --as root sleep 1").open_to_all();
        let user = format!("--reuid={OTHER_UID}");
        let refusal = setup.through(&["setpriv", &user, "--clear-groups"]).refused();
        refusal.assert(100, "--as root: only root can check as another user");
    }
}

/// The packaged unit tries a start again after 111, and not after 100: `| what no later start can do either, … |` of compat.md.
#[test]
fn a_start_that_may_not_bind_its_port_ends_as_one_with_a_wrong_option() {
    if !is_root() {
        return;
    }
    let setup = Setup::new("-b 0.0.0.0:80 sleep 1");
    chown(setup.directory(), Some(OTHER_UID.into()), None).unwrap();
    let user = format!("setpriv --reuid={OTHER_UID} --clear-groups \"$@\"");
    let script = format!("echo 1024 >/proc/sys/net/ipv4/ip_unprivileged_port_start; exec {user}");
    let refusal = setup.through(&["unshare", "-n", "/bin/sh", "-ec", &script, "sh"]).refused();
    refusal.assert(
        100,
        "cannot bind 0.0.0.0:80: permission denied; give the master CAP_NET_BIND_SERVICE, or lower \
         net.ipv4.ip_unprivileged_port_start",
    );
}
