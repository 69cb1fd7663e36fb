//! Which users may own the directories of a master's files: what a start refuses, what a bind may allow, and that a master which
//! runs goes on whatever becomes of them. Only root has other users to fear, so these tests say so and end where we are not.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::support::{LIMIT, Master, OTHER_UID, Setup, Target, ask, is_root};

/// A worker that shows that it was started.
const WITNESS: &str = "echo >witness; exec sleep 1000";

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// `one/two` below the master's directory, and `one` belongs to another user.
fn foreign_way(setup: &Setup) -> PathBuf {
    let one = setup.directory().join("one");
    fs::create_dir_all(one.join("two")).unwrap();
    give(&one);
    one
}

fn give(path: &Path) {
    chown(path, Some(OTHER_UID), Some(OTHER_UID)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[track_caller]
fn end(master: &Master) {
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
}

#[test]
fn every_directory_on_the_way_to_a_file_is_judged() {
    if !is_root() {
        return;
    }
    for (option, refused) in [("-f", "lock"), ("-e", "write pid file"), ("-d", "lock")] {
        for place in ["one", "one/two"] {
            let setup = Setup::new(&format!("{option} {place}/x")).script(WITNESS);
            foreign_way(&setup);
            let file = if option == "-d" { format!("{place}/x.lock") } else { format!("{place}/x") };
            let reason = format!("cannot {refused} {file}: directory one: it belongs to uid 65534");
            setup.refused().assert(100, &reason);
        }
    }
    let setup = Setup::new("-f lock -d one/two/x").script(WITNESS);
    setup.write("lock", "");
    foreign_way(&setup);
    let refusal = setup.refused();
    assert_eq!(refusal.reason(), "cannot bind one/two/x: directory one: it belongs to uid 65534");
}

#[test]
fn a_configuration_is_not_read_where_another_user_has_a_directory_on_the_way() {
    if !is_root() {
        return;
    }
    let setup = Setup::new("--config one/two/web.toml");
    let one = foreign_way(&setup);
    fs::write(one.join("two/web.toml"), "command = 'sleep 1000'\n").unwrap();
    let refusal = setup.refused();
    assert_eq!(refusal.code, Some(100));
    assert_eq!(
        refusal.reason(),
        format!(
            "cannot trust one/two/web.toml: directory {}: it belongs to uid 65534; let root alone change it, mount it read-only, or \
             start with --trust-config",
            one.display()
        )
    );
}

#[test]
fn a_bind_in_another_users_directory_needs_shared_directory() {
    if !is_root() {
        return;
    }
    for place in ["one", "one/two"] {
        let setup = Setup::new(&format!("-b unix:{place}/web.sock")).script(WITNESS);
        foreign_way(&setup);
        let reason = format!(
            "cannot bind {place}/web.sock: directory one: it belongs to uid 65534; choose a directory that no other user can \
             change, or write unix:{place}/web.sock,shared-directory if its other users may have the socket"
        );
        setup.refused().assert(100, &reason);
        let setup = Setup::new(&format!("-b unix:{place}/web.sock,mode=0666,shared-directory"));
        foreign_way(&setup);
        let master = setup.http_worker("").release("one").start();
        let socket = master.file(place).join("web.sock");
        let target: Target = socket.as_path().into();
        master.wait_until("it serves", LIMIT, || ask(&target, "/x").is_ok());
        assert_eq!(mode(&socket), 0o666);
        end(&master);
        assert!(!socket.exists(), "the socket is left behind");
    }
}

#[test]
fn check_config_says_of_a_bind_what_a_start_says() {
    if !is_root() {
        return;
    }
    for (flag, code) in [("", 100), (",shared-directory", 0)] {
        let setup = Setup::new(&format!("--check-config -b unix:one/web.sock{flag}")).program(SLEEP);
        foreign_way(&setup);
        let refusal = setup.refused();
        assert_eq!(refusal.code, Some(code), "{refusal:?}");
        let named = refusal.lines.iter().filter(|line| line.contains("one: it belongs to uid 65534; choose")).count();
        assert_eq!(named, usize::from(code == 100), "{refusal:?}");
    }
}

/// A directory that has become another user's, or was never asked for by an older version of this program.
#[test]
fn a_master_that_runs_goes_on_with_its_sockets_in_such_a_directory() {
    if !is_root() {
        return;
    }
    let setup = Setup::new("-n 1 -b unix:one/web.sock").program(SLEEP);
    let one = setup.directory().join("one");
    fs::create_dir(&one).unwrap();
    let master = setup.socket(one.join("einhorn.sock")).start();
    master.wait_for_workers(1);
    give(&one);
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully", 1);
    let said = master.wait_for_log("WARN: directory", 2);
    assert!(said[0].contains("it belongs to uid 65534; the socket of unix:one/web.sock goes on"), "{said:?}");
    assert!(said[1].contains("it belongs to uid 65534; the control socket goes on"), "{said:?}");
    // It is made anew there, too, for workers have to ack.
    fs::remove_file(master.socket()).unwrap();
    master.wait_for_log("was removed, made it anew", 1);
    assert!(master.control("{command: ehlo, user: new}").contains("Welcome, new!"));
    end(&master);
    assert!(!one.join("web.sock").exists() && !master.socket().exists());
}

/// One that is new has to be trusted, and the upgrade that brings it is refused; the master goes on.
#[test]
fn an_upgrade_with_a_new_bind_in_such_a_directory_is_refused() {
    if !is_root() {
        return;
    }
    let setup = Setup::new("--config web.toml");
    foreign_way(&setup);
    setup.write("web.toml", "command = 'sleep 1000'\n");
    let master = setup.start();
    let worker = master.wait_for_workers(1);
    master.replace("web.toml", "command = 'sleep 1000'\nbind = ['unix:one/web.sock']\n");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("directory one: it belongs to uid 65534; choose a directory", 1);
    assert_eq!(master.wait_for_workers(1), worker);
    assert!(!master.file("one/web.sock").exists());
}

#[test]
fn a_group_that_may_write_is_named() {
    if !is_root() {
        return;
    }
    let setup = Setup::new("-e one/x").script(WITNESS);
    let one = setup.directory().join("one");
    fs::create_dir(&one).unwrap();
    chown(&one, None, Some(OTHER_UID)).unwrap();
    fs::set_permissions(&one, Permissions::from_mode(0o775)).unwrap();
    let reason = "cannot write pid file one/x: directory one: it is writable by the group with gid 65534";
    setup.beside("-e one/x").script(WITNESS).refused().assert(100, reason);
    // No user can take another's file from a directory like /tmp.
    fs::set_permissions(&one, Permissions::from_mode(0o1775)).unwrap();
    let master = setup.start();
    master.wait_for_workers(1);
    assert_eq!(fs::read_to_string(one.join("x")).unwrap(), master.pid().to_string());
}
