//! Number 19 of "what real operators trip over": `bind.user` and `bind.group`, whose the file of a bound unix socket is. Only root gives
//! files away, so these tests end where we are not.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sys::signal::Signal;
use nix::unistd::User;

use crate::access::{MASTER_UID, SOCKET_GROUP, as_ordinary_user};
use crate::support::{Load, Master, Setup, is_root};

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// Of the socket's file: user, group and mode.
fn rights(master: &Master) -> (u32, u32, u32) {
    let meta = fs::metadata(master.file("web.sock")).unwrap();
    (meta.uid(), meta.gid(), meta.mode() & 0o777)
}

/// A user that every system has.
fn daemon() -> u32 {
    User::from_name("daemon").unwrap().unwrap().uid.as_raw()
}

fn file(settings: &str) -> String {
    format!("number = 2\nack-mode = 'manual'\nseconds = 0.01\n[[bind]]\naddress = 'unix:web.sock'\n{settings}")
}

#[test]
fn bind_user_and_group_are_those_of_the_file_and_change_with_an_upgrade() {
    if !is_root() {
        return;
    }
    let setup = Setup::new("--config web.toml");
    setup.write("web.toml", &file("user = 'daemon'\ngroup = 65502\nmode = '0640'\n"));
    let master = setup.http_worker("--ack manual").start();
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    assert_eq!(rights(&master), (daemon(), 65_502, 0o640));
    let load = Load::start(master.file("web.sock").as_path(), 2);
    let mut upgrades = 0;
    let mut upgrade = |settings: &str| {
        master.replace("web.toml", &file(settings));
        master.signal(Signal::SIGHUP);
        upgrades += 1;
        master.wait_for_log("Upgraded successfully", upgrades);
        rights(&master)
    };
    assert_eq!(upgrade("user = 65501\ngroup = 'root'\nmode = '0660'\n"), (65_501, 0, 0o660));
    assert_eq!(
        upgrade("group = 65502\nmode = '0660'\n"),
        (0, 65_502, 0o660),
        "an owner that is not said is the master"
    );
    assert_eq!(upgrade("mode = '0660'\n"), (0, 0, 0o660));
    load.stop().assert_nothing_lost();
    assert_eq!(master.log().count("Binding to unix:"), 1, "it is one socket all the time");
    // A name that is not known refuses the upgrade, and nothing changes.
    master.replace("web.toml", &file("user = 'no-such-user'\nmode = '0600'\n"));
    master.signal(Signal::SIGHUP);
    let line = master.wait_for_log("Upgrade refused, nothing was changed: ", 1).remove(0);
    assert!(line.ends_with("bind: unix:web.sock: there is no user \"no-such-user\""), "{line}");
    assert_eq!(rights(&master), (0, 0, 0o660));
    master.signal(Signal::SIGINT);
    master.wait_exit();
    assert!(!master.file("web.sock").exists());
}

#[test]
fn bind_user_is_that_of_the_file_from_the_command_line_and_a_stale_one_is_replaced() {
    if !is_root() {
        return;
    }
    let start = |setup: Setup| {
        let master = setup.options("-b unix:web.sock,user=daemon,group=65502,mode=0600").program(SLEEP).start();
        master.wait_for_workers(1);
        assert_eq!(rights(&master), (daemon(), 65_502, 0o600));
        master
    };
    let master = start(Setup::new("-k"));
    master.signal(Signal::SIGKILL);
    master.wait_exit();
    assert!(master.file("web.sock").exists());
    start(master.beside("-k"));
}

#[test]
fn bind_user_and_group_that_cannot_be_had_are_refused_by_a_check_and_a_start() {
    let unix = |settings: &str| format!("command = ['sleep', '9']\n[[bind]]\naddress = 'unix:web.sock'\n{settings}");
    for (text, reason) in [
        (unix("user = 'no-such-user'"), "bind: unix:web.sock: there is no user \"no-such-user\""),
        (unix("group = 'no-such-group'"), "bind: unix:web.sock: there is no group \"no-such-group\""),
        (unix("user = 'a,n'"), "bind.user: cannot have a comma"),
        (unix("group = true"), "bind.group: need a string or a number"),
        (
            unix("user = 7").replace("unix:web.sock", "127.0.0.1:0"),
            "option ,user=7 is for unix sockets: need r (so_reuseaddr) or n (o_nonblock)",
        ),
    ] {
        for check in ["", "--check-config"] {
            let setup = Setup::new(&format!("--config web.toml {check}"));
            setup.write("web.toml", &text);
            let refusal = setup.refused();
            assert_eq!(refusal.code, Some(100), "{refusal:?}");
            let place = "web.toml:";
            let is_named = refusal.lines.iter().any(|line| line.contains(place) && line.contains(reason));
            assert!(is_named, "{reason}: {refusal:?}");
            refusal.assert_nothing_left();
        }
    }
}

#[test]
fn bind_user_and_group_of_an_ordinary_master_are_what_it_may_give() {
    if !is_root() {
        return;
    }
    let ordinary = |options: &str| as_ordinary_user(Setup::new(options).program(SLEEP));
    for check in ["", "--check-config "] {
        let refused = |flag: &str, reason: &str| {
            let master = ordinary(&format!("{check}-b unix:web.sock,{flag}")).start();
            assert_eq!(master.wait_exit().code(), Some(100));
            assert_eq!(master.log().count(reason), 1, "{:?}", master.log().lines());
        };
        refused("user=root", "unix:web.sock: the master may not give the file to user \"root\", which takes root or");
        refused(
            "group=65502",
            "unix:web.sock: the master may not give the file to group \"65502\", which takes a master in",
        );
    }
    let bind = format!("-b unix:web.sock,user={MASTER_UID},group={SOCKET_GROUP},mode=0660");
    let master = ordinary(&bind).start();
    master.wait_for_workers(1);
    assert_eq!(rights(&master), (MASTER_UID, SOCKET_GROUP, 0o660));
}
