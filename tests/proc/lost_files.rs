//! Number 19 of "what real operators trip over": the file of a bound unix socket or the pid file is deleted, or changed, while the master
//! runs. The control socket's own is in `control_faults`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::support::{LIMIT, Load, Master, Setup, ask, is_root};

fn start(bind: &str) -> Master {
    let setup = Setup::new("-n 2 -m manual -s 0.01").options(&format!("-b unix:web.sock{bind}"));
    let master = setup.http_worker("--ack manual").start();
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    master
}

fn lost_sockets(master: &Master) -> Json {
    let reply: Json = serde_json::from_str(&master.control("{command: status, format: json}")).unwrap();
    reply["status"]["lost_sockets"].clone()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_bound_socket_whose_file_is_deleted_is_told_and_mended_by_an_upgrade() {
    let master = start("");
    let path = master.file("web.sock");
    assert_eq!(lost_sockets(&master), Json::Array(Vec::new()));
    fs::remove_file(&path).unwrap();
    let line = master.wait_for_log("the file of unix:web.sock was removed", 1).remove(0);
    assert!(line.contains("ERROR") && line.contains("an upgrade makes it anew"), "{line}");
    assert_eq!(lost_sockets(&master)[0], "unix:web.sock");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully", 1);
    assert_eq!(lost_sockets(&master), Json::Array(Vec::new()));
    let load = Load::start(path.as_path(), 2);
    load.wait_for(20);
    load.stop().assert_nothing_lost();
    // The old version's socket is closed by now or soon; its end removes no file of the new one.
    master.wait_until("the old workers are gone", LIMIT, || master.log().count("===> Exited worker") == 2);
    master.wait_for_log("no worker needs it any more", 1);
    ask(&path.as_path().into(), "/").unwrap();
    // The new one is watched, too.
    fs::remove_file(&path).unwrap();
    master.wait_for_log("the file of unix:web.sock was removed", 2);
}

#[test]
fn a_bound_socket_gets_the_mode_back_that_is_configured() {
    let master = start(",mode=0660");
    let path = master.file("web.sock");
    for number in 1..=2 {
        set_mode(&path, 0o600);
        master.wait_for_log("the mode of unix:web.sock was changed from 0660 to 0600, set it back", number);
        assert_eq!(mode(&path), 0o660);
    }
}

// A script that starts the service may have set it on purpose.
#[test]
fn a_bound_socket_without_a_configured_mode_keeps_the_one_it_is_given() {
    let master = start("");
    let path = master.file("web.sock");
    set_mode(&path, 0o606);
    let line = master.wait_for_log("the mode of unix:web.sock was changed from ", 1).remove(0);
    assert!(line.contains("WARN") && line.ends_with(" to 0606; ,mode=0606 makes it last"), "{line}");
    assert_eq!(mode(&path), 0o606);
}

fn owner(path: &Path) -> (u32, u32) {
    let meta = fs::metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

#[test]
fn a_bound_socket_gets_the_user_and_the_group_back_that_are_configured() {
    if !is_root() {
        return;
    }
    let master = start(",user=65501,group=65502,mode=0660");
    let path = master.file("web.sock");
    for number in 1..=2 {
        chown(&path, Some(12_345), Some(12_346)).unwrap();
        master.wait_for_log("the user of unix:web.sock was changed from 65501 to 12345, set it back", number);
        master.wait_for_log("the group of unix:web.sock was changed from 65502 to 12346, set it back", number);
        assert_eq!((owner(&path), mode(&path)), ((65_501, 65_502), 0o660));
    }
}

#[test]
fn a_bound_socket_without_a_configured_owner_keeps_the_one_it_is_given() {
    if !is_root() {
        return;
    }
    let master = start("");
    let path = master.file("web.sock");
    let (user, group) = owner(&path);
    chown(&path, Some(12_345), None).unwrap();
    let line = master.wait_for_log("the user of unix:web.sock was changed", 1).remove(0);
    assert!(
        line.contains("WARN") && line.ends_with(&format!(" from {user} to 12345; ,user=12345 makes it last")),
        "{line}"
    );
    chown(&path, None, Some(12_346)).unwrap();
    let line = master.wait_for_log("the group of unix:web.sock was changed", 1).remove(0);
    assert!(
        line.contains("WARN") && line.ends_with(&format!(" from {group} to 12346; ,group=12346 makes it last")),
        "{line}"
    );
    assert_eq!((owner(&path), master.log().count("the user of unix:web.sock")), ((12_345, 12_346), 1));
}

/// Another user may have given it the second name, where the system lets them, and so may have put another socket of ours in its place.
#[test]
fn a_bound_socket_with_two_names_is_not_changed_and_that_is_told() {
    let master = start(",mode=0660");
    let path = master.file("web.sock");
    fs::hard_link(&path, master.file("second")).unwrap();
    set_mode(&path, 0o600);
    let line = master.wait_for_log("the mode of unix:web.sock was changed from 0660 to 0600", 1).remove(0);
    assert!(line.contains("WARN") && line.ends_with(": it has more than one name"), "{line}");
    assert_eq!(mode(&path), 0o600);
    fs::remove_file(master.file("second")).unwrap();
    master.wait_for_log("the mode of unix:web.sock was changed from 0660 to 0600, set it back", 1);
}

#[test]
fn what_was_told_of_a_file_is_not_told_again_after_a_re_exec() {
    let setup = Setup::new("-n 1 -m 0 -b unix:web.sock -b unix:named.sock -b unix:kept.sock,mode=0660");
    let master = setup.program(["sleep", "1000"]).start();
    master.wait_for_workers(1);
    fs::remove_file(master.file("web.sock")).unwrap();
    set_mode(&master.file("named.sock"), 0o606);
    let told = ["the file of unix:web.sock was removed", "the mode of unix:named.sock was changed"];
    told.iter().for_each(|line| drop(master.wait_for_log(line, 1)));
    master.reload();
    // It looks at all of them at once.
    set_mode(&master.file("kept.sock"), 0o600);
    master.wait_for_log("the mode of unix:kept.sock was changed from 0660 to 0600, set it back", 1);
    assert_eq!(told.map(|line| master.log().count(line)), [1, 1]);
}

#[test]
fn a_pid_file_that_is_deleted_or_changed_is_written_anew() {
    let master = Setup::new("-n 1 -m 0").program(["sleep", "1000"]).start();
    let path = master.file("einhorn.pid");
    master.wait_until("there is a pid file", LIMIT, || path.exists());
    let pid = master.pid().to_string();
    let read = || fs::read_to_string(&path).unwrap_or_default();
    let log = "was removed or changed, wrote it anew";
    let deeds: [&dyn Fn(); 3] = [&|| fs::remove_file(&path).unwrap(), &|| fs::write(&path, "12345").unwrap(), &|| {
        fs::write(master.file("other"), "1").unwrap();
        fs::rename(master.file("other"), &path).unwrap();
    }];
    for (number, deed) in deeds.into_iter().chain(deeds).enumerate() {
        if number == deeds.len() {
            // The next image watches it, too.
            master.reload();
        }
        deed();
        master.wait_for_log(log, number + 1);
        assert_eq!(read(), pid);
    }
    master.signal(Signal::SIGINT);
    master.wait_exit();
    assert!(!path.exists(), "it goes with its master");
}

/// Has a program called `einhorn`.
const CALL: &str = "exec -a einhorn \"$@\"";

// einhorn leaves it as it is.
#[test]
fn a_pid_file_of_einhorns_that_is_deleted_stays_away() {
    let master = Setup::new("-n 1 -m 0").program(["sleep", "1000"]).through(&["/bin/bash", "-c", CALL, "bash"]).start();
    let path = master.file("einhorn.pid");
    master.wait_until("there is a pid file", LIMIT, || path.exists());
    fs::remove_file(&path).unwrap();
    let line = master.wait_for_log("einhorn.pid was removed or changed", 1).remove(0);
    assert!(line.contains("WARN"), "{line}");
    assert!(!path.exists());
}
